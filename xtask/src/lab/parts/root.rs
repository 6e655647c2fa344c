//! Debian packages unpacked into a folder of their own, and programs run out of it.
//!
//! Nothing is installed: a program runs by the folder's own loader and libraries, whatever the host has, and the compiler
//! in a `chroot`. Called by [`super`].

use crate::chore::Failure;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder with Debian's tree in it.
#[derive(Debug, Clone)]
pub(crate) struct Root(PathBuf);

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADER: &str = "usr/lib64/ld-linux-x86-64.so.2";

impl Root {
    /// What is unpacked below `folder` already.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Unpacks `packages` below `folder`, which is emptied first.
    pub(crate) fn unpack(folder: PathBuf, packages: &[PathBuf]) -> Result<Self, Failure> {
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(Failure::io(folder.display()))?;
        }
        fs::create_dir_all(&folder).map_err(Failure::io(folder.display()))?;
        // The first brings the links from /lib and its like into /usr, which all others count on.
        let is_base = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with("base-files_")
        };
        let (base, others): (Vec<&PathBuf>, Vec<&PathBuf>) = packages.iter().partition(is_base);
        for package in base {
            unpack_one(package, &folder)?;
        }
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(package) = others.get(next.fetch_add(1, Ordering::Relaxed)) {
                unpack_one(package, &folder)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers = [scope.spawn(work), scope.spawn(work)];
            workers.into_iter().try_for_each(|worker| {
                let ended = worker.join();
                ended.unwrap_or_else(|_| Err(Failure::Bad("unpacking packages panicked".into())))
            })
        })?;
        let root = Self(folder);
        root.finish()?;
        Ok(root)
    }

    /// A path in it.
    pub(crate) fn path(&self, inner: impl AsRef<Path>) -> PathBuf {
        let inner = inner.as_ref();
        self.0.join(inner.strip_prefix("/").unwrap_or(inner))
    }

    /// A command that runs `program` (a path in it) by its own loader.
    pub(crate) fn program(&self, program: &str) -> Command {
        let mut command = Command::new(self.path(LOADER));
        command
            .arg("--library-path")
            .arg(self.library_path())
            .arg(self.path(program));
        command
    }

    /// The files of the libraries that `program` needs, as they are named in the root.
    pub(crate) fn libraries(&self, program: &str) -> Result<Vec<PathBuf>, Failure> {
        let output = Command::new(self.path(LOADER))
            .arg("--library-path")
            .arg(self.library_path())
            .arg("--list")
            .arg(self.path(program))
            .stdin(Stdio::null())
            .output()
            .map_err(Failure::io(LOADER))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Failure::Missing(format!("libraries of {program}: {why}")));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let files = text.lines().filter_map(|line| line.split_once("=> "));
        Ok(files
            .filter_map(|(_, file)| file.split(' ').next())
            .filter(|file| file.starts_with('/'))
            .map(PathBuf::from)
            .collect())
    }

    /// The loader, and where programs expect it.
    pub(crate) fn loader(&self) -> (PathBuf, &'static str) {
        (self.path(LOADER), "lib64/ld-linux-x86-64.so.2")
    }

    /// Runs a shell line in it as if it were the whole system, as root of its own where the caller is not root.
    pub(crate) fn shell(&self, line: &str) -> Result<std::process::Output, Failure> {
        let root = self.0.as_os_str();
        let am_root = rustix::process::geteuid().is_root();
        let device = self.path("dev/null");
        let mut command;
        if am_root && is_null_device(&device) {
            command = Command::new("chroot");
            command.arg(root).args(["/bin/sh", "-c", line]);
        } else {
            // The devices are bound in a mount namespace of its own, and gone with it.
            let script = "mount --rbind /dev \"$0/dev\" && exec chroot \"$0\" /bin/sh -c \"$1\"";
            command = Command::new("unshare");
            command.arg(if am_root { "-m" } else { "-Urm" });
            command.args(["sh", "-c"]).arg(script);
            command.arg(root).arg(line);
        }
        command
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .env_remove("CC")
            .env_remove("CFLAGS")
            .env_remove("MAKEFLAGS")
            .env_remove("TMPDIR")
            .stdin(Stdio::null())
            .output()
            .map_err(Failure::io("chroot into the unpacked packages"))
    }

    /// Fails with `Missing` where nothing can be run in it.
    pub(crate) fn check_shell(&self) -> Result<(), Failure> {
        let output = self.shell("exit 0")?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::Missing(format!(
            "this machine allows neither chroot nor namespaces of its own ({}): modules are compiled as root, or where \
             kernel.unprivileged_userns_clone is 1",
            said.trim()
        )))
    }

    fn library_path(&self) -> OsString {
        let mut paths = self.path(LIBRARIES).into_os_string();
        paths.push(":");
        paths.push(self.path(LIBRARIES).join("ceph"));
        paths
    }

    /// What the packages' installation would have done, as far as the lab needs it.
    fn finish(&self) -> Result<(), Failure> {
        for (link, target) in [("usr/bin/awk", "mawk"), ("usr/bin/sh", "dash")] {
            let link = self.path(link);
            if link.symlink_metadata().is_err() {
                symlink(target, &link).map_err(Failure::io(link.display()))?;
            }
        }
        for folder in ["tmp", "dev", "build"] {
            let folder = self.path(folder);
            fs::create_dir_all(&folder).map_err(Failure::io(folder.display()))?;
        }
        // Compiling modules runs objtool, which looks up its stack before it does anything.
        let itself = self.path("proc/self");
        fs::create_dir_all(&itself).map_err(Failure::io(itself.display()))?;
        let stack = "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]\n";
        fs::write(itself.join("maps"), stack).map_err(Failure::io(itself.display()))?;
        // Where this is not allowed, the host's devices are bound instead (`shell`).
        if rustix::process::geteuid().is_root() {
            let null = self.path("dev/null");
            let _ = Command::new("mknod")
                .arg("-m666")
                .arg(null)
                .args(["c", "1", "3"])
                .stderr(Stdio::null())
                .status();
        }
        Ok(())
    }
}

fn is_null_device(path: &Path) -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let null = (rustix::fs::makedev(1, 3), true);
    fs::metadata(path).is_ok_and(|found| (found.rdev(), found.file_type().is_char_device()) == null)
}

fn unpack_one(package: &Path, folder: &Path) -> Result<(), Failure> {
    let output = Command::new("dpkg-deb")
        .arg("-x")
        .args([package, folder])
        .stdin(Stdio::null())
        .output()
        .map_err(Failure::io("dpkg-deb"))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::Bad(format!("unpacking {}: {why}", package.display())))
}
