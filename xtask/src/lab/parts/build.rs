//! What the lab compiles: the command line and the guest's program, static, and the kernel modules of `lab/modules`.
//!
//! Called by [`super`]. Programs are compiled by the host's Rust, modules by the compiler out of the unpacked packages.

use super::Root;
use super::kernel::Version;
use crate::chore::{self, Failure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Programs that need no library.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// The folder that they lie in.
    folder: PathBuf,
    /// The target that they are built for.
    pub(crate) target: &'static str,
}

impl Programs {
    /// The command line under test, which runs on the host as well.
    pub(crate) fn peerdma(&self) -> PathBuf {
        self.folder.join("peerdma")
    }

    /// What runs the checks in the guest.
    pub(crate) fn lab_guest(&self) -> PathBuf {
        self.folder.join("lab-guest")
    }

    /// The command line with its feature `faults`.
    pub(crate) fn faulty(&self) -> PathBuf {
        self.folder.join("peerdma-faults")
    }
}

const MUSL: &str = "x86_64-unknown-linux-musl";
const GNU: &str = "x86_64-unknown-linux-gnu";

/// Builds all for release into `folder`: for musl where the toolchain has it, else against the static C library.
pub(super) fn programs(folder: &Path) -> Result<Programs, Failure> {
    let target = if has_target(MUSL) { MUSL } else { GNU };
    let programs = Programs {
        folder: folder.join(target).join("release"),
        target,
    };
    // Both are called `peerdma`: the one that ships comes last and stays.
    compile(
        folder,
        target,
        "peerdma with faults (1 of 2)",
        &["--package", "peerdma-cli", "--features", "peerdma-cli/faults"],
    )?;
    let faulty = programs.faulty();
    fs::copy(programs.peerdma(), &faulty).map_err(Failure::io(faulty.display()))?;
    compile(
        folder,
        target,
        "peerdma and lab-guest (2 of 2)",
        &["--package", "peerdma-cli", "--package", "lab-guest"],
    )?;
    Ok(programs)
}

fn compile(folder: &Path, target: &str, what: &str, which: &[&str]) -> Result<(), Failure> {
    let started = Instant::now();
    eprintln!("lab: compiling {what} for release, static, {target}: minutes if nothing is compiled yet");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--locked", "--quiet", "--color", "never"])
        .args(which)
        .args(["--target", target, "--target-dir"])
        .arg(folder)
        .current_dir(chore::repository())
        // A target that is named keeps build scripts and macros out of this.
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        // The guest's memory need not hold what only a debugger reads.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .stdin(Stdio::null())
        .output()
        .map_err(Failure::io("cargo build"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        if let Some(line) = said.lines().find(|line| line.contains("cannot find -l")) {
            return Err(Failure::Missing(format!(
                "static libraries for {target} ({}): install libc6-dev, or `rustup target add {MUSL}`",
                line.trim()
            )));
        }
        return Err(Failure::Bad(format!(
            "static build for {target}: {}",
            said.trim_end()
        )));
    }
    eprintln!("lab: compiled {what} in {} s", started.elapsed().as_secs());
    Ok(())
}

fn has_target(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(chore::repository())
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// Compiles `lab/modules` for the kernel; the files by the modules' names. What is compiled of the same sources stays.
pub(super) fn modules(root: &Root, version: &Version) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let from = chore::repository().join("lab/modules");
    let sources = sources(&from)?;
    if sources.is_empty() {
        return Err(Failure::Missing(format!("{} has no modules", from.display())));
    }
    let version = version.name();
    let inside = "build/modules";
    let folder = root.path(inside);
    let done = folder.join(".done");
    let is_compiled = |(name, content): (&String, &Vec<u8>)| {
        let kept = fs::read(folder.join(name));
        kept.is_ok_and(|kept| kept == *content)
    };
    let of_this_kernel = fs::read_to_string(&done).is_ok_and(|of| of == version);
    if !(of_this_kernel && sources.iter().all(is_compiled)) {
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(Failure::io(folder.display()))?;
        }
        fs::create_dir_all(&folder).map_err(Failure::io(folder.display()))?;
        for (name, content) in &sources {
            let path = folder.join(name);
            fs::write(&path, content).map_err(Failure::io(path.display()))?;
        }
        root.check_shell()?;
        eprintln!("lab: compiling lab/modules");
        let output = root.shell(&format!(
            "make -s -C /usr/src/linux-headers-{version} M=/{inside} modules 2>&1"
        ))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            let text = format!("{said}{errors}");
            let from = text.lines().count().saturating_sub(12);
            let last: Vec<&str> = text.lines().skip(from).collect();
            return Err(Failure::Bad(format!(
                "compiling lab/modules: {}",
                last.join(" / ")
            )));
        }
        fs::write(&done, version).map_err(Failure::io(done.display()))?;
    }
    let mut built = BTreeMap::new();
    for entry in fs::read_dir(&folder)
        .map_err(Failure::io(folder.display()))?
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".ko") {
            built.insert(name.to_owned(), entry.path());
        }
    }
    Ok(built)
}

/// The files that a compilation is of.
fn sources(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let mut sources = BTreeMap::new();
    for entry in fs::read_dir(folder)
        .map_err(Failure::io(folder.display()))?
        .flatten()
    {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_source =
            name == "Makefile" || name == "Kbuild" || name.ends_with(".c") || name.ends_with(".h");
        if is_source {
            sources.insert(name, fs::read(&path).map_err(Failure::io(path.display()))?);
        }
    }
    Ok(sources)
}
