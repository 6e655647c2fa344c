//! `cargo xtask bench`: peerdma beside the tools that people use today, whole processes, in one run.
//!
//! The commands of a comparison take turns, so that whatever else the machine does hits all of them.
//! The table is Markdown, for `docs/benchmarks.md`.

mod contest;
mod tree;

use crate::chore::{self, Failure};
use crate::machine;
use contest::{Contender, Contest, WARM_RUNS_PER_TURN};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A captured sysfs tree, as a folder or a .tar.bz2 [default: hwloc's tree of 137 functions in
    /// $PEERDMA_SHARED/corpora/hwloc, else ../shared/corpora/hwloc beside the repository]
    #[arg(long)]
    tree: Option<PathBuf>,
    /// How many turns each command of a comparison takes
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
}

/// The matrix of the largest machine takes seconds, not milliseconds.
const RUNS_OF_MATRIX: u32 = 3;

/// Runs all comparisons and prints the tables.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let peerdma = chore::build_peerdma()?;
    let scratch = tempfile::tempdir().map_err(Failure::io("a temporary folder"))?;
    let tree = tree::folder(arguments.tree.as_deref(), scratch.path())?;
    let pinned = contest::pin_to_one_core();
    println!("{}", conditions(pinned, arguments.runs));
    let contests = [
        (of_tree(&peerdma, &tree), arguments.runs),
        (
            of_listing(&peerdma, &generated(scratch.path(), 2000)?),
            arguments.runs,
        ),
        (
            of_matrix(&peerdma, &generated(scratch.path(), 10_000)?),
            RUNS_OF_MATRIX,
        ),
    ];
    let mut outcome = Ok(());
    for (contest, runs) in contests {
        match contest.run(runs) {
            Ok(table) => println!("{table}"),
            Err(failure) => {
                eprintln!("xtask: {}: {failure}\n", contest.title);
                outcome = Err(Failure::Bad("a comparison could not be made".into()));
            }
        }
    }
    outcome
}

/// The tree of a captured machine.
fn of_tree(peerdma: &Path, tree: &Path) -> Contest {
    let lspci = |options: &[&str]| {
        let mut path = std::ffi::OsString::from("sysfs.path=");
        path.push(tree.join("sys/bus/pci"));
        Contender::new("lspci")
            .args(["-A", "linux-sysfs", "-O"])
            .arg(path)
            .args(options)
    };
    Contest {
        title: "The tree of a captured machine, from sysfs",
        ours: Contender::new(peerdma).args(["topo", "--sysfs"]).arg(tree),
        rivals: vec![
            lspci(&["-tnn"]).shown("lspci -A linux-sysfs -tnn"),
            lspci(&["-vvv"]).shown("lspci -A linux-sysfs -vvv"),
            Contender::new("lstopo-no-graphics")
                .args(["--of", "xml"])
                .env("HWLOC_FSROOT", tree)
                .shown("lstopo --of xml"),
        ],
    }
    .ours_shown("peerdma topo --sysfs TREE")
}

/// The tree of a machine from a hex dump.
fn of_listing(peerdma: &Path, dump: &Path) -> Contest {
    Contest {
        title: "The tree of 2,000 functions, from 27 MB of `lspci -D -n -xxxx`",
        ours: Contender::new(peerdma).args(["topo", "--from"]).arg(dump),
        rivals: vec![
            Contender::new("lspci")
                .arg("-F")
                .arg(dump)
                .arg("-tnn")
                .shown("lspci -F DUMP -tnn"),
        ],
    }
    .ours_shown("peerdma topo --from DUMP")
}

/// Every ordered pair of a machine, which no rival answers.
fn of_matrix(peerdma: &Path, dump: &Path) -> Contest {
    Contest {
        title: "All 10^8 ordered pairs of 10,000 functions, as tsv to /dev/null",
        ours: Contender::new(peerdma)
            .args(["matrix", "--policy", "linux", "--kernel", "7.2"])
            .args(["--cpu", "GenuineIntel:6", "--format", "tsv", "--from"])
            .arg(dump),
        rivals: Vec::new(),
    }
    .ours_shown("peerdma matrix --format tsv --from DUMP")
}

fn generated(folder: &Path, functions: usize) -> Result<PathBuf, Failure> {
    let path = folder.join(format!("generated-{functions}.lspci"));
    let file = File::create(&path).map_err(Failure::io(path.display()))?;
    machine::write_lspci(&machine::generate(functions, 1), &mut BufWriter::new(file))
        .map_err(Failure::io(path.display()))?;
    Ok(path)
}

/// On what, with what, and how it was measured.
fn conditions(pinned: Option<u32>, runs: u32) -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("a processor without a name", |(_, name)| name.trim());
    let core = match pinned {
        Some(core) => format!("pinned to core {core}"),
        None => "not pinned to a core (taskset is missing)".into(),
    };
    let versions: Vec<String> = [("lspci", "--version"), ("lstopo-no-graphics", "--version")]
        .iter()
        .filter_map(|(command, option)| {
            let output = Command::new(command).arg(option).output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Some(text.lines().next()?.to_owned())
        })
        .collect();
    format!(
        "Wall-clock time of whole processes on {cpu}, {core}; median of warm runs, output to /dev/null. The commands \
         take {runs} turns (3 for the matrix); in each turn a command runs first right after the others (a column of \
         its own), then {WARM_RUNS_PER_TURN} times warm. Peak memory as the kernel counts it (`time -f %M`). \
         Rivals: {}.\n",
        if versions.is_empty() {
            "none installed".into()
        } else {
            versions.join(", ")
        }
    )
}
