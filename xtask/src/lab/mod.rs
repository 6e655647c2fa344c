//! `cargo xtask lab`: boots a real Linux in QEMU and asks it what peerdma says of the same machine.
//!
//! Gets the parts ([`parts`]), boots what the checks want ([`boot`]), and reports a line a check ([`report`]).
//! `docs/lab.md` tells how to use it, `lab/README.md` how to add a check.

mod boot;
mod checks;
mod initramfs;
mod machine;
mod parts;
mod qmp;
mod report;
mod serial;
mod topologies;

use crate::chore::{self, Failure};
use boot::{Boot, Ground, Kernel};
use checks::{Check, Plan, Scope};
use parts::{Iommufd, Parts, Wish};
use report::{Line, Outcome, Report};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Some minutes: the default
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Every combination, in less than two hours
    #[arg(long)]
    full: bool,
    /// Only checks whose name, or whose boots' names, hold this; may come several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Print the checks and what they prove
    #[arg(long)]
    list: bool,
    /// Keep the folder of each boot: disks, logs, what the guest sent
    #[arg(long)]
    keep: bool,
    /// Where fetched and built parts are kept [default: target/lab]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Ask the archive again although all parts are there
    #[arg(long)]
    refresh: bool,
    /// Address of an archive of Debian [default: that of this machine's own package sources]
    #[arg(long, value_name = "ADDRESS")]
    mirror: Option<String>,
    /// This QEMU (qemu-system-x86_64) instead of Debian's
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,
    /// This image of a kernel instead of Debian's; checks that need modules are missing then
    #[arg(long, value_name = "PATH")]
    kernel: Option<PathBuf>,
    /// This image of a kernel with IOMMUFD instead of one that --full builds (lab/kernel): for the checks of it
    #[arg(long, value_name = "PATH")]
    kernel_iommufd: Option<PathBuf>,
    /// This static busybox instead of Debian's
    #[arg(long, value_name = "PATH")]
    busybox: Option<PathBuf>,
    /// What runs the guest's processor
    #[arg(long, value_enum, default_value = "tcg")]
    accel: Acceleration,
    /// How many guests run at once [default: as many as there are processors, up to 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: Option<u8>,
}

/// What runs the guest's processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Acceleration {
    /// Software emulation: the same everywhere
    Tcg,
    /// The host's hardware
    Kvm,
}

/// What becomes of a boot's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Nothing,
    Folders,
}

/// Boots, with the checks that they belong to.
type Boots = Vec<(&'static Check, Boot)>;

/// Runs the checks; [`Failure::Missing`] if all that could be asked held but not all could be asked, [`Failure::Nothing`] if nothing could.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.list {
        for check in &checks::ALL {
            println!("{:10} {}", check.name, check.promise);
        }
        return Ok(());
    }
    let started = Instant::now();
    let cache = match &arguments.cache {
        Some(folder) => folder.clone(),
        None => chore::target().join("lab"),
    };
    let folder = tempfile::Builder::new()
        .prefix("lab.")
        .tempdir()
        .map_err(Failure::io("a folder for the boots"))?;
    are_there(arguments)?;
    parts::make_folder(&cache)?;
    let boots = boots(arguments, folder.path())?;
    let wish = match boots.iter().any(|(_, boot)| boot.kernel == Kernel::Iommufd) {
        false => Wish::Nothing,
        true if arguments.full => Wish::Build,
        true => Wish::IfThere,
    };
    let parts = parts::get(arguments, &cache, wish)?;
    let report = Report::default();
    // A part that is there proves nothing yet; one that is not is told with what depends on it.
    for line in parts.lines() {
        match line.outcome {
            Outcome::Held => println!("{line}"),
            _ => report.add(vec![line]),
        }
    }
    let ready = started.elapsed().as_secs();
    let (boots, left_out) = without_iommufd(arguments, boots, &parts);
    check_all(arguments, &parts, boots, folder.path(), &report)?;
    if arguments.keep {
        eprintln!("lab: kept in {}", folder.keep().display());
    }
    let sum = report.sum();
    println!(
        "\n{sum}; {} s, {ready} of them for the parts",
        started.elapsed().as_secs()
    );
    if let (false, Err(why)) = (left_out.is_empty(), parts.iommufd.image()) {
        println!("not part of this run: {} ({why})", left_out.join(", "));
    }
    if sum.failed > 0 {
        Err(Failure::Bad(format!("lab: {sum}")))
    } else if let (0, Err(why)) = (sum.held, parts.fetched()) {
        let text = format!("lab: {sum}: NOTHING was asked, for the parts cannot be fetched: {why}");
        Err(Failure::Nothing(text))
    } else if sum.held == 0 {
        Err(Failure::Bad(format!(
            "lab: {sum}: nothing was asked, and nothing is proven"
        )))
    } else if sum.missing > 0 {
        Err(Failure::Missing(format!("lab: {sum}: not all could be asked")))
    } else {
        Ok(())
    }
}

/// What was named is there, before anything is fetched.
fn are_there(arguments: &Arguments) -> Result<(), Failure> {
    let named = [
        ("--qemu", &arguments.qemu),
        ("--kernel", &arguments.kernel),
        ("--kernel-iommufd", &arguments.kernel_iommufd),
        ("--busybox", &arguments.busybox),
    ];
    for (option, path) in named {
        if let Some(path) = path.as_ref().filter(|path| !path.is_file()) {
            let text = format!("lab: {option}: {} is not a file", path.display());
            return Err(Failure::Arguments(text));
        }
    }
    Ok(())
}

/// What the checks boot, as far as it is asked for.
fn boots(arguments: &Arguments, folder: &Path) -> Result<Boots, Failure> {
    let scope = if arguments.full { Scope::Full } else { Scope::Quick };
    let plan = Plan { scope, folder };
    let mut boots = Boots::new();
    let mut unknown = arguments.only.clone();
    for check in &checks::ALL {
        for boot in (check.boots)(&plan)? {
            let name = format!("{} {}", check.name, boot.name);
            if arguments.only.is_empty() || arguments.only.iter().any(|only| name.contains(only.as_str())) {
                unknown.retain(|only| !name.contains(only.as_str()));
                boots.push((check, boot));
            }
        }
    }
    if !unknown.is_empty() {
        let text = format!(
            "lab: --only {}: no check or boot of this run has such a name (--list prints the checks; some are of --full alone)",
            unknown.join(" ")
        );
        return Err(Failure::Arguments(text));
    }
    Ok(boots)
}

/// Leaves out what needs a kernel with IOMMUFD where none was to be built; the names of those checks. Who names one wants to know that it is missing.
fn without_iommufd(arguments: &Arguments, mut boots: Boots, parts: &Parts) -> (Boots, Vec<&'static str>) {
    let mut left_out = Vec::new();
    if parts.iommufd == Iommufd::NotBuilt && arguments.only.is_empty() {
        boots.retain(|(check, boot)| {
            let is_out = boot.kernel == Kernel::Iommufd;
            if is_out && !left_out.contains(&check.name) {
                left_out.push(check.name);
            }
            !is_out
        });
    }
    (boots, left_out)
}

fn check_all(
    arguments: &Arguments,
    parts: &Parts,
    mut boots: Boots,
    folder: &Path,
    report: &Report,
) -> Result<(), Failure> {
    let mut wanted_somewhere = false;
    let lacks = |check: &Check| check.needs.iter().find_map(|need| need.missing(parts));
    for check in &checks::ALL {
        if let (Some(why), true) = (lacks(check), boots.iter().any(|(of, _)| of.name == check.name)) {
            report.add(vec![Line::missing(check.name, why)]);
            boots.retain(|(of, _)| of.name != check.name);
        }
        wanted_somewhere |= boots.iter().any(|(of, _)| of.name == check.name);
    }
    if !wanted_somewhere {
        return Ok(());
    }
    let guest = (&parts.busybox, &parts.programs);
    let (Ok(qemu), Ok(kernel), (Ok(_), Ok(_))) = (&parts.qemu, &parts.kernel, guest) else {
        let names: std::collections::BTreeSet<&str> = boots.iter().map(|(check, _)| check.name).collect();
        let line = |name| Line::missing(name, "nothing can be booted");
        report.add(names.into_iter().map(line).collect());
        return Ok(());
    };
    let base = folder.join("base");
    initramfs::write_base(parts, &base)?;
    let stopped = stop_on_signals();
    let keep = if arguments.keep {
        Keep::Folders
    } else {
        Keep::Nothing
    };
    let ground = Ground {
        qemu,
        kernel,
        base: &base,
        acceleration: arguments.accel,
        folder,
        keep,
        stopped: &stopped,
    };
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((check, boot)) = boots.get(next.fetch_add(1, Ordering::Relaxed)) {
            let lines = boot::run(&ground, check.name, boot, parts)?;
            // The terminal sends the signal to QEMU as well: what that boot came to is no finding.
            if stopped.load(Ordering::Relaxed) {
                return Err(Failure::Bad("stopped by a signal".into()));
            }
            report.add(lines);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs(arguments)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            let panicked = |_| Err(Failure::Bad("a boot's thread panicked".into()));
            worker.join().unwrap_or_else(panicked)
        })
    })
}

/// Set once someone wants the run to end, so that it can clear away its folders.
fn stop_on_signals() -> Arc<AtomicBool> {
    let stopped = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stopped);
    // Where no handler can be set, a signal ends the run as any program.
    let _ = ctrlc::set_handler(move || seen.store(true, Ordering::Relaxed));
    stopped
}

fn jobs(arguments: &Arguments) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.jobs.map_or(processors.min(4), usize::from)
}
