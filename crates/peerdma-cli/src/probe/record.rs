//! Records of probes: lines of JSON in a file, written by `probe --record` and shown by `route --records`.
//!
//! What decides whether a route works is the root complex, the processor, the firmware and the ACS bits on the way: a line holds them beside what was
//! seen, so that it can be told whether it says something of another machine.

use super::json::DirectionLine;
use super::session::Account;
use crate::error::Problem;
use crate::ground::{Ground, Sort};
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::topology::{NodeId, Topology};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const SCHEMA: &str = "peerdma.record/1";
/// What a file may have: some ten thousand records.
const MOST_BYTES: u64 = 32 << 20;
const MOST_LINES: usize = 20_000;

/// One probe, kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    schema: String,
    /// UTC, as RFC 3339 has it.
    pub(crate) date: String,
    /// The version of peerdma.
    pub(crate) tool: String,
    /// `live` or `simulated`.
    pub(crate) machine: String,
    /// Vendor and family.
    pub(crate) cpu: Option<String>,
    pub(crate) cpu_model: Option<String>,
    pub(crate) firmware: Option<String>,
    pub(crate) kernel: Option<String>,
    pub(crate) iommu: Option<String>,
    pub(crate) client: End,
    pub(crate) provider: End,
    pub(crate) bar: u8,
    /// Did the kernel move the data, and not a driver of peerdma's?
    pub(crate) by_kernel: bool,
    /// Do both lie below one port, so that requests can turn around below the root complex?
    pub(crate) share_a_port: bool,
    /// Ports and bridges above both, each once.
    pub(crate) ports: Vec<Port>,
    pub(crate) directions: Vec<Direction>,
}

/// One of both functions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    pub(crate) bdf: String,
    pub(crate) id: Option<String>,
    /// The function by which Linux knows the host bridge.
    pub(crate) host_bridge: Option<String>,
    pub(crate) root_port: Option<String>,
}

/// A port or bridge on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Port {
    pub(crate) bdf: String,
    pub(crate) id: Option<String>,
    /// The control register; nothing where there is none, or it is not known.
    pub(crate) acs_control: Option<u16>,
    pub(crate) acs_is_known: bool,
}

/// What was seen in one direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Direction {
    /// `read` or `write`.
    pub(crate) access: String,
    pub(crate) promise: String,
    pub(crate) map_type: Option<String>,
    pub(crate) outcome: Option<String>,
    pub(crate) judgement: Option<String>,
    pub(crate) said: Option<String>,
    pub(crate) median_ns: Option<u64>,
    pub(crate) bytes_per_second: Option<u64>,
}

impl Line {
    pub(super) fn new<G: Ground>(account: &Account, topology: &Topology) -> Self {
        let host = &topology.snapshot().host;
        let is_live = G::SORT == Sort::Live;
        let find = |bdf| topology.find(bdf);
        let ends = [find(account.initiator), find(account.memory.provider)];
        let end = |bdf: Bdf, node: Option<NodeId>| match node {
            Some(node) => End::of(topology, node),
            None => End {
                bdf: bdf.to_string(),
                id: None,
                host_bridge: None,
                root_port: None,
            },
        };
        Self {
            schema: SCHEMA.into(),
            date: now(),
            tool: env!("CARGO_PKG_VERSION").into(),
            machine: G::SORT.name().into(),
            cpu: cpu(topology),
            cpu_model: is_live.then(cpu_model).flatten(),
            firmware: is_live.then(firmware).flatten(),
            kernel: host.kernel.known().map(|kernel| kernel.to_string()),
            iommu: host.iommu.known().map(|iommu| iommu.to_string()),
            client: end(account.initiator, ends[0]),
            provider: end(account.memory.provider, ends[1]),
            bar: account.memory.bar,
            by_kernel: account.by_kernel,
            share_a_port: share_a_port(topology, ends),
            ports: ports(topology, ends.into_iter().flatten()),
            directions: (account.tried.iter())
                .map(|one| Direction::of(DirectionLine::new(one)))
                .collect(),
        }
    }
}

/// The processor, as machines are compared by it.
pub(crate) fn cpu(topology: &Topology) -> Option<String> {
    match &topology.snapshot().host.cpu {
        Fact::Known(cpu) => Some(format!("{}:{:#x}", cpu.vendor, cpu.family)),
        Fact::Unknown(_) => None,
    }
}

impl End {
    /// A function and what is above it.
    pub(crate) fn of(topology: &Topology, node: NodeId) -> Self {
        let id = |node: NodeId| topology.function(node).id().map(|id| id.to_string());
        let root = topology
            .root(node)
            .and_then(|root| topology.roots().get(root.index()));
        Self {
            bdf: topology.function(node).bdf.to_string(),
            id: id(node),
            host_bridge: root.and_then(|root| id(root.first)),
            root_port: topology
                .climb(node)
                .last()
                .filter(|top| *top != node)
                .and_then(id),
        }
    }

    /// Is it below such a root complex?
    pub(crate) fn is_below_such(&self, other: &Self) -> bool {
        self.host_bridge.is_some()
            && (&self.host_bridge, &self.root_port) == (&other.host_bridge, &other.root_port)
    }
}

/// Does any of these ports send requests or completions up to the root complex? Nothing where nobody can say.
pub(crate) fn redirect(ports: &[Port]) -> Option<bool> {
    const REDIRECT: u16 = 0b1100;
    let is_set = |port: &Port| port.acs_control.is_some_and(|control| control & REDIRECT != 0);
    match ports.iter().any(is_set) {
        true => Some(true),
        false => ports.iter().all(|port| port.acs_is_known).then_some(false),
    }
}

impl Direction {
    fn of(line: DirectionLine) -> Self {
        let figures = line
            .pair
            .as_ref()
            .map(|pair| (pair.median_ns, pair.bytes_per_second));
        Self {
            access: match line.access {
                peerdma::route::Access::Read => "read",
                peerdma::route::Access::Write => "write",
            }
            .into(),
            promise: line.promise.into(),
            map_type: line.map_type.map(str::to_owned),
            outcome: line.outcome.map(str::to_owned),
            judgement: line.judgement.map(str::to_owned),
            said: line.said,
            median_ns: figures.map(|(median_ns, _)| median_ns),
            bytes_per_second: figures.and_then(|(_, bytes_per_second)| bytes_per_second),
        }
    }
}

/// Do both lie below one port?
pub(crate) fn share_a_port(topology: &Topology, ends: [Option<NodeId>; 2]) -> bool {
    let shared = ends[0].zip(ends[1]);
    shared.is_some_and(|(one, other)| topology.common_ancestor(one, other).is_some())
}

/// Ports and bridges above functions, each once.
pub(crate) fn ports(topology: &Topology, ends: impl Iterator<Item = NodeId>) -> Vec<Port> {
    let mut found: Vec<Port> = Vec::new();
    for end in ends {
        for node in topology.climb(end).filter(|node| *node != end) {
            let function = topology.function(node);
            let bdf = function.bdf.to_string();
            if found.iter().any(|port| port.bdf == bdf) {
                continue;
            }
            let acs = &function.config.acs;
            found.push(Port {
                bdf,
                id: function.id().map(|id| id.to_string()),
                acs_is_known: acs.is_known(),
                acs_control: match acs {
                    Fact::Known(Some(acs)) => Some(acs.control.bits()),
                    _ => None,
                },
            });
        }
    }
    found
}

/// A record goes to the end of a regular file, or to a new one.
///
/// # Errors
/// A [`Problem`] where it cannot: told before anything is touched.
pub(super) fn check_appendable(path: &Path) -> Result<(), Problem> {
    let bad = |why: &dyn std::fmt::Display| {
        Problem::new(
            format_args!("what is seen cannot be recorded in {}", path.display()),
            why,
            "name a file in a folder that exists and may be written",
        )
    };
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(bad(&"it is no regular file")),
        Ok(_) => OpenOptions::new()
            .append(true)
            .open(path)
            .map(|_| ())
            .map_err(|error| bad(&error)),
        Err(_) => {
            let folder = path.parent().filter(|folder| *folder != Path::new(""));
            match std::fs::metadata(folder.unwrap_or(Path::new("."))) {
                Ok(folder) if folder.is_dir() => Ok(()),
                Ok(_) => Err(bad(&"what should be its folder is none")),
                Err(error) => Err(bad(&error)),
            }
        }
    }
}

/// Appends a line, in one go.
///
/// # Errors
/// A [`Problem`]
pub(super) fn append(path: &Path, line: &Line) -> Result<(), Problem> {
    let bad = |why: &dyn std::fmt::Display| {
        Problem::new(
            format_args!("what was seen could not be recorded in {}", path.display()),
            why,
            "look at the disk and the permissions of the file",
        )
    };
    let mut text = serde_json::to_string(line).map_err(|error| bad(&error))?;
    text.push('\n');
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| bad(&error))
}

/// Reads the records of a file.
///
/// # Errors
/// A [`Problem`] with the line that is none: no record is taken from a file that is not sound.
pub(crate) fn read(path: &Path) -> Result<Vec<Line>, Problem> {
    let bad = |why: &dyn std::fmt::Display, fix: &str| {
        Problem::new(format_args!("{} holds no records", path.display()), why, fix)
    };
    let file = File::open(path).map_err(|error| bad(&error, "check the path and its permissions"))?;
    let mut text = String::new();
    (file.take(MOST_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| bad(&error, "give a file that `peerdma probe --record` wrote"))?;
    if text.len() as u64 > MOST_BYTES {
        let why = format!("it has more than {MOST_BYTES} bytes");
        return Err(bad(&why, "keep the last of its lines: tail -n 1000"));
    }
    let mut lines = Vec::new();
    for (number, line) in (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
    {
        if lines.len() >= MOST_LINES {
            let why = format!("it has more than {MOST_LINES} records");
            return Err(bad(&why, "keep the last of its lines: tail -n 1000"));
        }
        let wrong = |why: &dyn std::fmt::Display| {
            bad(
                &format_args!("line {number}: {why}"),
                "give a file that `peerdma probe --record` wrote, or take out that line",
            )
        };
        let line: Line = serde_json::from_str(line).map_err(|error| wrong(&error))?;
        if line.schema != SCHEMA {
            return Err(wrong(&format_args!(
                "its schema is {}, not {SCHEMA}",
                line.schema
            )));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// The model of the processor that runs us.
fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let value = |key: &str| {
        let line = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim().to_owned())
        });
        line.filter(|value| !value.is_empty())
    };
    match (value("model"), value("model name")) {
        (Some(number), Some(name)) => Some(format!("{number} ({name})")),
        (number, name) => number.or(name),
    }
}

/// The version of the firmware, where it may be read.
fn firmware() -> Option<String> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(Path::new("/sys/class/dmi/id").join(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    match (read("bios_vendor"), read("bios_version")) {
        (Some(vendor), Some(version)) => Some(format!("{vendor} {version}")),
        (_, version) => version,
    }
}

fn now() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    date(seconds)
}

/// Seconds since 1970 as a date (the civil calendar, by eras of 400 years).
fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Counted from the first of March of the year 0: leap days come last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }

    fn line() -> Line {
        let end = |bdf: &str| End {
            bdf: bdf.into(),
            id: Some("1b36:0010".into()),
            host_bridge: None,
            root_port: None,
        };
        Line {
            schema: SCHEMA.into(),
            date: date(0),
            tool: "0".into(),
            machine: "live".into(),
            cpu: None,
            cpu_model: None,
            firmware: None,
            kernel: None,
            iommu: None,
            client: end("0000:01:00.0"),
            provider: end("0000:02:00.0"),
            bar: 2,
            by_kernel: false,
            share_a_port: true,
            ports: Vec::new(),
            directions: Vec::new(),
        }
    }

    #[test]
    fn what_was_recorded_is_read_and_what_is_no_record_is_named_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("probes.jsonl");
        check_appendable(&path).unwrap();
        append(&path, &line()).unwrap();
        append(&path, &line()).unwrap();
        assert_eq!(read(&path).unwrap(), [line(), line()]);
        let sound = std::fs::read_to_string(&path).unwrap();
        for wrong in [
            "{}".to_owned(),
            "[[[[[[".into(),
            "nul\0l".into(),
            sound.lines().next().unwrap().replace("record/1", "record/9"),
            sound.lines().next().unwrap().replace("\"tool\"", "\"fool\""),
            "[".repeat(100_000),
        ] {
            std::fs::write(&path, format!("{sound}{wrong}\n")).unwrap();
            let problem = read(&path).unwrap_err();
            assert!(problem.why.starts_with("line 3: "), "{}", problem.why);
        }
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read(&path).is_err());
        assert!(check_appendable(folder.path()).is_err());
        assert!(check_appendable(&folder.path().join("none/probes.jsonl")).is_err());
    }
}
