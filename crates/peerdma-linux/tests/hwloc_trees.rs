//! Captured trees of real machines, with `lspci` and `lstopo` as judges.
//!
//! The trees are not part of this repository: `PEERDMA_SHARED` names a folder that holds them, in
//! `corpora/hwloc` (those of the hwloc project) and `kernel-truth/sysfs`. Without it, or without the
//! judges (Debian packages pciutils and hwloc-nox), the tests say that they were skipped.

use peerdma::addr::{Address, Bdf};
use peerdma::fact::Fact;
use peerdma::pci::{BarKind, LinkRate};
use peerdma::snapshot::{Function, Snapshot, Warnings};
use peerdma::topology::Topology;
use peerdma_linux::{KeepConfig, source};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A captured machine, unpacked for the judges.
struct Machine {
    archive: PathBuf,
    root: PathBuf,
    snapshot: Snapshot,
    _folder: tempfile::TempDir,
}

fn open(path: &Path) -> Snapshot {
    let mut warnings = Warnings::default();
    let snapshot = source::open(path, KeepConfig::Drop, &mut warnings).unwrap();
    assert_eq!(warnings.list(), [], "{}", path.display());
    snapshot
}

fn unpack(archive: PathBuf) -> Machine {
    let folder = tempfile::tempdir().unwrap();
    let file = BufReader::new(File::open(&archive).unwrap());
    let input: Box<dyn Read> = match archive.extension().is_some_and(|end| end == "bz2") {
        true => Box::new(bzip2::read::MultiBzDecoder::new(file)),
        false => Box::new(flate2::read::MultiGzDecoder::new(file)),
    };
    tar::Archive::new(input).unpack(folder.path()).unwrap();
    let mut root = folder.path().to_owned();
    if !root.join("sys").exists() {
        root = fs::read_dir(&root).unwrap().next().unwrap().unwrap().path();
    }
    Machine {
        snapshot: open(&archive),
        archive,
        root,
        _folder: folder,
    }
}

/// All machines, unpacked once; none where there is nothing to compare, which is said.
fn machines() -> &'static [Machine] {
    static MACHINES: OnceLock<Vec<Machine>> = OnceLock::new();
    let machines = MACHINES.get_or_init(unpack_all);
    if machines.is_empty() {
        eprintln!("skipped: PEERDMA_SHARED names no folder with captured trees");
    }
    machines
}

fn unpack_all() -> Vec<Machine> {
    let Some(shared) = std::env::var_os("PEERDMA_SHARED") else {
        return Vec::new();
    };
    let machines: Vec<Machine> = ["corpora/hwloc", "kernel-truth/sysfs"]
        .iter()
        .filter_map(|folder| fs::read_dir(Path::new(&shared).join(folder)).ok())
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".tar."))
        .map(unpack)
        .collect();
    assert!(!machines.is_empty(), "PEERDMA_SHARED holds no captured trees");
    machines
}

/// What `lspci` prints for the tree; nothing where it is not installed.
fn lspci(machine: &Machine, options: &str) -> Option<String> {
    let path = machine.root.join("sys/bus/pci");
    let output = Command::new("lspci")
        .args(["-A", "linux-sysfs", "-O"])
        .arg(format!("sysfs.path={}", path.display()))
        .args(["-D", "-n", options])
        .output();
    match output {
        Ok(output) => Some(String::from_utf8(output.stdout).unwrap()),
        Err(_) => {
            eprintln!("skipped: lspci (package pciutils) is not installed");
            None
        }
    }
}

/// The lines of `lspci -v` below each function's first line.
fn details(text: &str) -> BTreeMap<Bdf, Vec<&str>> {
    let mut functions = BTreeMap::new();
    let mut last = None;
    for line in text.lines() {
        if line.starts_with('\t') {
            let lines: &mut Vec<&str> = functions.entry(last.unwrap()).or_default();
            lines.push(line.trim());
        } else if let Some((bdf, _)) = Bdf::split_from(line.as_bytes()) {
            last = Some(bdf);
            functions.insert(bdf, Vec::new());
        }
    }
    functions
}

#[test]
fn an_archive_and_its_folder_tell_the_same_machine() {
    for machine in machines() {
        assert_eq!(
            open(&machine.root),
            machine.snapshot,
            "{}",
            machine.archive.display()
        );
    }
}

#[test]
fn parent_edges_are_those_of_lspci() {
    let mut edges = 0;
    for machine in machines() {
        let Some(text) = lspci(machine, "-PP") else {
            return;
        };
        let topology = Topology::new(machine.snapshot.clone(), &mut Warnings::default());
        let mut seen = 0;
        for line in text.lines() {
            // 0000:17:00.0/18:00.0/19:04.0 0604: ...
            let path: Vec<&str> = line.split(' ').next().unwrap().split('/').collect();
            let domain = path[0].split(':').next().unwrap();
            let address = |part: &str| -> Bdf {
                match part.matches(':').count() {
                    1 => format!("{domain}:{part}").parse().unwrap(),
                    _ => part.parse().unwrap(),
                }
            };
            let bdf = address(path[path.len() - 1]);
            let above = path.len().checked_sub(2).map(|above| address(path[above]));
            // One tree names a bridge above two functions that it does not hold: shown is then the next
            // one up, as lspci does.
            let found = topology.upstream(topology.find(bdf).unwrap());
            assert_eq!(found.map(|bridge| topology.function(bridge).bdf), above, "{bdf}");
            seen += 1;
            edges += usize::from(above.is_some());
        }
        assert_eq!(seen, machine.snapshot.functions().len());
    }
    eprintln!("{edges} parent edges agree");
}

#[test]
fn bars_and_numa_nodes_are_those_of_lspci() {
    let (mut bars, mut nodes) = (0, 0);
    for machine in machines() {
        let Some(text) = lspci(machine, "-vv") else {
            return;
        };
        let details = details(&text);
        assert_eq!(details.len(), machine.snapshot.functions().len());
        for function in machine.snapshot.functions() {
            let lines = &details[&function.bdf];
            bars += compare_bars(function, lines);
            let value = |key: &str| lines.iter().find_map(|line| line.strip_prefix(key));
            let node = value("NUMA node: ").map(|node| node.parse().unwrap());
            // lspci says nothing of a node that firmware did not name, nor of a missing file.
            assert_eq!(function.os.numa_node.known().flatten(), node, "{}", function.bdf);
            nodes += usize::from(node.is_some());
        }
    }
    eprintln!("{bars} BARs, {nodes} NUMA nodes agree");
}

/// Compares with lines such as `Region 0: Memory at fe000000 (64-bit, prefetchable) [size=16K]`.
fn compare_bars(function: &Function, lines: &[&str]) -> usize {
    let regions: Vec<&&str> = lines
        .iter()
        .filter(|line| line.starts_with("Region ") && !line.contains("<unassigned>"))
        .collect();
    let placed: Vec<_> = function
        .bars()
        .known()
        .unwrap()
        .into_iter()
        .filter(|bar| bar.phys.is_known())
        .collect();
    assert_eq!(placed.len(), regions.len(), "{}: {regions:?}", function.bdf);
    for (bar, line) in placed.iter().zip(&regions) {
        let what = format!("{} {line}", function.bdf);
        assert!(line.starts_with(&format!("Region {}: ", bar.index)), "{what}");
        let kind = match line {
            line if line.contains("I/O ports at") => BarKind::Io,
            line if line.contains("(64-bit") => BarKind::Memory64,
            _ => BarKind::Memory32,
        };
        assert_eq!(bar.kind, kind, "{what}");
        assert_eq!(bar.prefetchable, line.contains(", prefetchable"), "{what}");
        let address = line.split(" at ").nth(1).unwrap();
        let address = u64::from_str_radix(address.split(' ').next().unwrap(), 16).unwrap();
        // lspci prints the register's address, which has four-byte steps (of two ports at 3f6, 3f4).
        let first = bar.phys.known().unwrap().first().to_u64();
        assert_eq!(first & !3, address, "{what}");
        let size = match line.split("[size=").nth(1) {
            Some(size) => bytes(size.split(']').next().unwrap()),
            None => 1,
        };
        assert_eq!(bar.size_bytes, Fact::Known(size), "{what}");
    }
    regions.len()
}

/// `16K` as lspci prints it.
fn bytes(text: &str) -> u64 {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        unit => panic!("{unit}"),
    };
    digits.parse::<u64>().unwrap() << shift
}

#[test]
fn links_are_those_of_lspci_where_it_may_read_them() {
    let mut links = 0;
    for machine in machines() {
        let Some(text) = lspci(machine, "-vv") else {
            return;
        };
        let details = details(&text);
        for function in machine.snapshot.functions() {
            let lines = &details[&function.bdf];
            // LnkSta: Speed 2.5GT/s (downgraded), Width x1
            let state = |key: &str| {
                let line = lines.iter().find_map(|line| line.strip_prefix(key))?;
                let speed = line.split("Speed ").nth(1)?.split([',', ' ']).next()?;
                let width = line.split("Width x").nth(1)?.split([',', ' ']).next()?;
                Some((
                    LinkRate::from_text(speed).unwrap_or(LinkRate(0)),
                    width.parse::<u8>().unwrap(),
                ))
            };
            let (Some(max), Some(now)) = (state("LnkCap:"), state("LnkSta:")) else {
                continue;
            };
            if max.1 == 0 {
                assert_eq!(function.link(), Fact::Known(None), "{}", function.bdf);
                continue;
            }
            let link = function.link().known().unwrap().unwrap();
            assert_eq!((link.max.rate, link.max.width), max, "{}", function.bdf);
            assert_eq!((link.now.rate, link.now.width), now, "{}", function.bdf);
            links += 1;
        }
    }
    eprintln!("{links} links agree");
}

#[test]
fn bandwidths_are_those_of_lstopo() {
    let mut links = 0;
    for machine in machines() {
        let output = Command::new("lstopo-no-graphics")
            .args(["--if", "fsroot", "--whole-io", "--of", "xml", "--input"])
            .args([machine.root.as_os_str(), "-".as_ref()])
            .output();
        let Ok(output) = output else {
            eprintln!("skipped: lstopo (package hwloc-nox) is not installed");
            return;
        };
        let text = String::from_utf8(output.stdout).unwrap();
        for object in text.lines().filter(|line| line.contains("pci_link_speed=")) {
            let value = |key: &str| object.split(key).nth(1).unwrap().split('"').nth(1).unwrap();
            let bdf: Bdf = value("pci_busid=").parse().unwrap();
            let gigabytes: f64 = value("pci_link_speed=").parse().unwrap();
            if gigabytes == 0.0 {
                continue;
            }
            let function = &machine.snapshot.functions()[machine.snapshot.position(bdf).unwrap()];
            let link = function.link().known().unwrap().unwrap();
            let ours = link.now.megabits_per_second() as f64 / 8000.0;
            assert!(
                (ours / gigabytes - 1.0).abs() < 0.001,
                "{bdf}: {ours} {gigabytes}"
            );
            links += 1;
        }
    }
    eprintln!("{links} bandwidths agree");
}

#[test]
fn acs_is_unknown_where_configuration_space_is_cut() {
    for machine in machines() {
        if machine.archive.to_string_lossy().contains("hwloc") {
            for function in machine.snapshot.functions() {
                // Without capabilities there is none; all others may have it.
                let acs = &function.config.acs;
                assert!(*acs == Fact::Known(None) || !acs.is_known(), "{}", function.bdf);
                if !function.config.express.is_known() {
                    assert!(!acs.is_known(), "{}", function.bdf);
                }
            }
        }
    }
}
