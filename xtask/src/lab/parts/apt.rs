//! Debian's package manager on a leash: its own lists, cache and (empty) status below one folder.
//!
//! Nothing is installed into the host. Called by [`super`]; the archive's address comes from [`super::sources`].

use super::sources::{self, Archive};
use crate::chore::Failure;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A private configuration of apt.
pub(crate) struct Apt {
    configuration: PathBuf,
    folder: PathBuf,
}

/// Where Debian's packages install its keys.
const KEYS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// The release that the parts are of; its backports have the kernel.
const RELEASE: &str = "trixie";

impl Apt {
    /// Writes the configuration below `folder` and fetches the lists. `mirror` is the archive's address where
    /// the machine's own sources are not to be asked.
    ///
    /// Fails with `Missing` without apt, without an archive of Debian, without its keys, or offline.
    pub(crate) fn set_up(folder: &Path, mirror: Option<&str>) -> Result<Self, Failure> {
        for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
            if Command::new(tool).arg("--version").output().is_err() {
                return Err(Failure::Missing(format!(
                    "the lab's parts come as Debian packages, and `{tool}` is not here: run it on Debian or a \
                     derivative, or give --qemu and --kernel"
                )));
            }
        }
        let archive = match mirror {
            Some(address) => Archive {
                address: address.trim_end_matches('/').to_owned(),
                signed_by: None,
            },
            None => sources::archive(Path::new("/etc/apt")).ok_or_else(|| {
                Failure::Missing(
                    "/etc/apt names no archive of Debian (another distribution?): give its address with --mirror"
                        .into(),
                )
            })?,
        };
        let keys = archive
            .signed_by
            .iter()
            .cloned()
            .chain(KEYS.map(PathBuf::from))
            .find(|file| file.is_file())
            .ok_or_else(|| {
                Failure::Missing(format!(
                    "Debian's keys are not here ({}): install the package debian-archive-keyring",
                    KEYS[0]
                ))
            })?;
        for part in ["lists/partial", "cache/archives/partial", "etc"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).map_err(Failure::io(part.display()))?;
        }
        let apt = Self {
            configuration: folder.join("apt.conf"),
            folder: folder.to_owned(),
        };
        write(&folder.join("status"), "")?;
        write(&folder.join("etc/sources.list"), &entries(&archive, &keys))?;
        write(&apt.configuration, &apt.settings())?;
        apt.run("apt-get", &["update", "-qq"])?;
        Ok(apt)
    }

    /// Names of packages that begin with `prefix`.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let text = self.run("apt-cache", &["pkgnames", prefix])?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The version of a package that would be fetched.
    pub(crate) fn version(&self, package: &str) -> Result<String, Failure> {
        let text = self.run("apt-cache", &["show", "--no-all-versions", package])?;
        let version = text.lines().find_map(|line| line.strip_prefix("Version: "));
        version
            .map(str::to_owned)
            .ok_or_else(|| Failure::Missing(format!("the archive has no package {package}")))
    }

    /// Fetches `packages` and all that they depend on; the files, in order of their names.
    pub(crate) fn download(&self, packages: &[String]) -> Result<Vec<PathBuf>, Failure> {
        let nothing = self.folder.join("nothing");
        let partial = nothing.join("partial");
        fs::create_dir_all(&partial).map_err(Failure::io(partial.display()))?;
        let mut arguments = vec!["install", "--no-install-recommends", "-y", "-qq"];
        arguments.extend(packages.iter().map(String::as_str));
        // Asked with an empty cache, apt names every file of the closure, and none of an earlier one.
        let nowhere = format!("Dir::Cache::archives={}", nothing.display());
        let named = self.run(
            "apt-get",
            &[&["-o", &nowhere, "--print-uris"], &arguments[..]].concat(),
        )?;
        self.run("apt-get", &[&["--download-only"], &arguments[..]].concat())?;
        let archives = self.folder.join("cache/archives");
        let mut files: Vec<PathBuf> = named
            .lines()
            .filter(|line| line.starts_with('\''))
            .filter_map(|line| line.split(' ').nth(1))
            .map(|name| archives.join(name))
            .collect();
        files.sort();
        match files.iter().find(|file| !file.is_file()) {
            None if files.is_empty() => Err(Failure::Missing("apt names no package to fetch".into())),
            None => Ok(files),
            Some(file) => Err(Failure::Missing(format!("apt did not fetch {}", file.display()))),
        }
    }

    fn run(&self, tool: &str, arguments: &[&str]) -> Result<String, Failure> {
        let output = Command::new(tool)
            .env("APT_CONFIG", &self.configuration)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(Failure::io(tool))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let errors: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("E:"))
            .take(3)
            .collect();
        let why = if errors.is_empty() {
            said.trim().to_owned()
        } else {
            errors.join(" ")
        };
        let line = arguments
            .iter()
            .find(|word| !word.starts_with(['-', 'D']))
            .unwrap_or(&"");
        Err(Failure::Missing(format!("`{tool} {line}` failed: {why}")))
    }

    /// The host's own settings are not read (a hook of its would clean its cache), but for how it gets at archives.
    fn settings(&self) -> String {
        let folder = self.folder.display();
        format!(
            "Dir \"{folder}\";\n\
             Dir::Etc \"{folder}/etc\";\n\
             Dir::Etc::main \"/dev/null\";\n\
             Dir::Etc::parts \"/dev/null\";\n\
             Dir::Etc::sourcelist \"{folder}/etc/sources.list\";\n\
             Dir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\n\
             Dir::Etc::preferencesparts \"/dev/null\";\n\
             Dir::Etc::netrc \"/etc/apt/auth.conf\";\n\
             Dir::Etc::netrcparts \"/etc/apt/auth.conf.d\";\n\
             Dir::State \"{folder}\";\n\
             Dir::State::lists \"{folder}/lists\";\n\
             Dir::State::status \"{folder}/status\";\n\
             Dir::State::extended_states \"{folder}/extended_states\";\n\
             Dir::Cache \"{folder}/cache\";\n\
             Dir::Log \"{folder}\";\n\
             APT::Architecture \"amd64\";\n\
             APT::Architectures {{ \"amd64\"; }};\n\
             APT::Sandbox::User \"root\";\n\
             APT::Update::Error-Mode \"any\";\n\
             APT::Install-Recommends \"false\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::PDiffs \"false\";\n\
             Acquire::Retries \"3\";\n\
             {}",
            proxies()
        )
    }
}

fn entries(archive: &Archive, keys: &Path) -> String {
    let mut text = String::new();
    for suite in [
        RELEASE.to_owned(),
        format!("{RELEASE}-updates"),
        format!("{RELEASE}-backports"),
    ] {
        let (keys, address) = (keys.display(), &archive.address);
        text.push_str(&format!("deb [signed-by={keys}] {address} {suite} main\n"));
    }
    text
}

/// The host's settings for proxies, which its archive may be reachable by alone.
fn proxies() -> String {
    let Ok(output) = Command::new("apt-config").arg("dump").output() else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let of_proxies = |line: &&str| {
        let name = line.split(' ').next().unwrap_or("").to_ascii_lowercase();
        name.starts_with("acquire::http") && !line.ends_with(" \"\";")
    };
    text.lines()
        .filter(of_proxies)
        .map(|line| format!("{line}\n"))
        .collect()
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(Failure::io(path.display()))
}
