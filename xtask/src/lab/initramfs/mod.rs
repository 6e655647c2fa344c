//! The guest's file system: one base for all boots, and what a boot adds to it.
//!
//! Called by [`super::boot`]. Not packed: emulated, unpacking takes longer than the larger file costs.

mod newc;

use super::parts::{KERNEL_MODULES, Parts, Root};
use crate::chore::Failure;
use newc::Newc;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

const INIT: &str = include_str!("init.sh");
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const FOLDERS: [&str; 19] = [
    "bin",
    "dev",
    "etc",
    "lib",
    "lib/modules",
    "lib64",
    "mnt",
    "payload",
    "proc",
    "root",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr",
    "usr/bin",
    "usr/sbin",
    "usr/lib",
    LIBRARIES,
];
/// Programs of Debian that checks may use.
const TOOLS: [&str; 3] = ["fio", "lspci", "setpci"];

/// Writes what all boots share to `path`.
///
/// Fails with `Missing` without a busybox or the programs under test; tools and modules that are not there are left out.
pub(crate) fn write_base(parts: &Parts, path: &Path) -> Result<(), Failure> {
    let missing = |why: &String| Failure::Missing(why.clone());
    let busybox = parts.busybox.as_ref().map_err(missing)?;
    let programs = parts.programs.as_ref().map_err(missing)?;
    let mut files = vec![
        ("bin/busybox".to_owned(), busybox.clone()),
        ("bin/peerdma".to_owned(), programs.peerdma()),
        ("bin/lab-guest".to_owned(), programs.lab_guest()),
    ];
    let built = parts.modules.iter().flatten();
    for (name, file) in parts.kernel_modules.iter().chain(built) {
        files.push((format!("lib/modules/{name}.ko"), file.clone()));
    }
    if let Ok(root) = &parts.debian {
        files.extend(tools(root)?);
    }
    let failed = || Failure::io(path.display());
    let mut archive = Newc::new(BufWriter::new(File::create(path).map_err(failed())?));
    for folder in FOLDERS {
        archive.folder(folder).map_err(failed())?;
    }
    archive.device("dev/console", 5, 1).map_err(failed())?;
    archive.device("dev/null", 1, 3).map_err(failed())?;
    archive.file("init", INIT.as_bytes()).map_err(failed())?;
    for applet in applets(busybox)? {
        if applet != "busybox" {
            archive
                .link(&format!("bin/{applet}"), "busybox")
                .map_err(failed())?;
        }
    }
    for (name, from) in &files {
        let content = fs::read(from).map_err(Failure::io(from.display()))?;
        archive.file(name, &content).map_err(failed())?;
    }
    // In an order in which they can be loaded, for whoever wants all.
    let names = KERNEL_MODULES.join(" ");
    archive.file("etc/modules", names.as_bytes()).map_err(failed())?;
    archive.finish().map_err(failed())?;
    Ok(())
}

/// Writes the base followed by `payload` (files of `/payload`) to `path`.
pub(crate) fn write_boot(
    base: &Path,
    script: &str,
    payload: &[(PathBuf, String)],
    path: &Path,
) -> Result<(), Failure> {
    let failed = || Failure::io(path.display());
    let mut out = BufWriter::new(File::create(path).map_err(failed())?);
    let mut base = File::open(base).map_err(Failure::io(base.display()))?;
    let written = io::copy(&mut base, &mut out).map_err(failed())?;
    let padding = written.next_multiple_of(4) - written;
    out.write_all(&[0; 3][..padding as usize]).map_err(failed())?;
    let mut archive = Newc::new(out);
    archive
        .file("payload/script", script.as_bytes())
        .map_err(failed())?;
    for (from, name) in payload {
        let content = fs::read(from).map_err(Failure::io(from.display()))?;
        archive
            .file(&format!("payload/{name}"), &content)
            .map_err(failed())?;
    }
    archive.finish().map_err(failed())?;
    Ok(())
}

/// The tools and their libraries, under the names that the guest has them by.
fn tools(root: &Root) -> Result<Vec<(String, PathBuf)>, Failure> {
    let (loader, place) = root.loader();
    let mut files = vec![(place.to_owned(), loader)];
    for tool in TOOLS {
        let inner = format!("usr/bin/{tool}");
        let program = root.path(&inner);
        if !program.is_file() {
            continue;
        }
        for library in root.libraries(&inner)? {
            let name = library.file_name().unwrap_or_default().to_string_lossy();
            let place = format!("{LIBRARIES}/{name}");
            if !name.starts_with("ld-linux") && !files.iter().any(|(known, _)| *known == place) {
                files.push((place, library));
            }
        }
        files.push((inner, program));
    }
    Ok(files)
}

/// What busybox can be called as.
fn applets(busybox: &Path) -> Result<Vec<String>, Failure> {
    let output = Command::new(busybox)
        .arg("--list")
        .output()
        .map_err(Failure::io(busybox.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let applets: Vec<String> = text.lines().map(str::to_owned).collect();
    if applets.is_empty() {
        return Err(Failure::Missing(format!("{} is no busybox", busybox.display())));
    }
    Ok(applets)
}
