//! Records of probes: lines of JSON in a file, written by `probe --record` and shown by `route --records`.
//!
//! What decides whether a route works is the root complex, the processor, the firmware and the ACS bits on the way: a line holds them beside what was
//! seen, so that it can be told whether it says something of another machine.

use super::json::DirectionLine;
use super::session::Account;
use crate::ground::{Ground, Sort};
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::topology::{NodeId, Topology};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) const SCHEMA: &str = "peerdma.record/1";
/// One probe, kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(super) schema: String,
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
pub(super) fn date(seconds: u64) -> String {
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
}
