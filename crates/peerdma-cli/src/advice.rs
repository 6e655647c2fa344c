//! What is unknown about answers, and the command that would settle it.

use crate::capture::Source;
use crate::input::Machine;
use peerdma::addr::Bdf;
use peerdma::fact::Unread;
use peerdma::route::linux::{Accepted, Effect, Evidence, Gate, GateKeeper, Judge, Kernel, Reason};
use peerdma::route::spec;
use peerdma::topology::NodeId;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;

/// The facts that answers lack.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// Whose ACS registers were not read.
    acs: BTreeSet<Bdf>,
    /// Whose ACS registers the operating system itself could not read.
    silent: BTreeSet<Bdf>,
    /// Whose place in the tree is unknown.
    places: BTreeSet<Bdf>,
    /// Host bridges of which the source tells too little.
    host_bridges: BTreeSet<Bdf>,
    processor: bool,
    kernel: bool,
}

/// The facts that answers of the specification lack, with the functions whose facts they are.
#[derive(Debug, Default)]
pub(crate) struct Lacking {
    facts: BTreeMap<String, (spec::Missing, BTreeSet<Bdf>)>,
}

impl Lacking {
    pub(crate) fn add(&mut self, at: Bdf, missing: spec::Missing) {
        let fact = self.facts.entry(missing.to_string());
        fact.or_insert_with(|| (missing, BTreeSet::new())).1.insert(at);
    }

    /// The advice; `command` as for [`Missing::advice`].
    pub(crate) fn advice(&self, machine: &Machine, command: &str) -> Vec<Advice> {
        let line = |(words, (missing, at)): (&String, &(spec::Missing, BTreeSet<Bdf>))| Advice {
            unknown: format!("{}: {words}", functions(at)),
            settle: settle(*missing, &machine.source, command),
        };
        self.facts.iter().map(line).collect()
    }
}

/// What tells a fact that the specification's judge lacks.
fn settle(missing: spec::Missing, source: &Source, command: &str) -> String {
    use spec::Missing as Fact;
    match missing {
        Fact::HostWindows if *source == Source::Live && !is_root() => {
            format!("{} (/proc/iomem tells it to CAP_SYS_ADMIN)", capture(source, command))
        }
        Fact::HostMemory if *source == Source::Live => {
            format!("{} (/proc/iomem tells it to CAP_SYS_ADMIN)", capture(source, command))
        }
        Fact::Forwarding | Fact::HostWindows | Fact::InboundOffset => {
            "no register tells it; a snapshot states it under `host`, `bridges` (`forwarding`, `windows`, `inbound_offset`)"
                .into()
        }
        Fact::HostAddress => {
            "nothing but the running system tells it: a snapshot or a sysfs tree of it holds the placement".into()
        }
        Fact::IommuMode => format!("peerdma {command} --iommu on, pt or off"),
        Fact::InsideDevice | Fact::OwnBar | Fact::OwnPackets | Fact::TranslatedWithoutIommu => {
            "the specification leaves it to the device; only a trial tells".into()
        }
        Fact::TwoClaims => "look at the windows and BARs (`peerdma topo -v`): two of them overlap".into(),
        Fact::TooMuch => "settle the other facts first".into(),
        _ => capture(source, command),
    }
}

/// A gap, and how to fill it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Advice {
    /// What is unknown.
    pub(crate) unknown: String,
    /// What tells it: a command, or an option of this one.
    pub(crate) settle: String,
}

impl Missing {
    /// Adds what an unknown answer of the judge lacks.
    pub(crate) fn add(&mut self, judge: &Judge<'_>, evidence: &Evidence, ends: [NodeId; 2]) {
        let topology = judge.topology();
        if evidence.reason == Reason::PlaceUnknown {
            let lost = ends.iter().filter(|&&end| topology.root(end).is_none());
            self.places.extend(lost.map(|&end| topology.function(end).bdf));
        }
        for hop in &evidence.hops {
            match hop.effect {
                Effect::Unknown(Unread::Unreadable) => self.silent.insert(hop.bdf),
                Effect::Unknown(_) => self.acs.insert(hop.bdf),
                _ => false,
            };
        }
        if let Some(gate) = &evidence.gate {
            self.add_gate(gate, judge.kernel());
        }
    }

    fn add_gate(&mut self, gate: &Gate, kernel: Kernel) {
        if gate.open != Accepted::Unknown {
            return;
        }
        self.processor |= gate.keeper == GateKeeper::ListAndUnknownProcessor;
        for listing in [gate.provider, gate.client] {
            if listing.listed != Accepted::Unknown {
                continue;
            }
            if !listing.id.is_known() || listing.is_key == Accepted::Unknown {
                self.host_bridges.insert(listing.first);
            } else if kernel == Kernel::Unknown {
                self.kernel = true;
            }
        }
    }

    /// The advice; `command` is what was run, without `peerdma`: `matrix`, `route nvme0 gpu0`.
    pub(crate) fn advice(&self, machine: &Machine, command: &str) -> Vec<Advice> {
        let mut list = Vec::new();
        let mut add = |unknown: String, settle: String| list.push(Advice { unknown, settle });
        let captured = capture(&machine.source, command);
        if !self.acs.is_empty() {
            add(
                format!("the ACS control register of {}", functions(&self.acs)),
                captured.clone(),
            );
        }
        if !self.silent.is_empty() {
            add(
                format!(
                    "the ACS control register of {}: the operating system could not read it",
                    functions(&self.silent)
                ),
                "wake or rescan the device (look at `dmesg`), then ask again".into(),
            );
        }
        if !self.host_bridges.is_empty() {
            add(
                format!("what host bridge {} is", functions(&self.host_bridges)),
                captured.clone(),
            );
        }
        if !self.places.is_empty() {
            add(
                format!("the place in the tree of {}", functions(&self.places)),
                captured,
            );
        }
        if self.processor {
            add(
                "the processor (Linux trusts the root complex of AMD's from family 17h on)".into(),
                format!(
                    "peerdma {command} --cpu VENDOR:FAMILY, with `vendor_id` and `cpu family` of its /proc/cpuinfo"
                ),
            );
        }
        if self.kernel {
            add(
                "the kernel (releases list different host bridges)".into(),
                format!("peerdma {command} --kernel X.Y, with what `uname -r` prints there"),
            );
        }
        list
    }
}

/// The command that reads what was left out.
pub(crate) fn capture(source: &Source, command: &str) -> String {
    match source {
        Source::Live if is_root() => format!(
            "peerdma {command}, as root outside of any container: this one hides configuration space from root"
        ),
        Source::Live => format!("sudo peerdma {command}"),
        Source::Sysfs(_) | Source::File(_) | Source::Machine(_) => format!(
            "on that machine: sudo lspci -D -nn -vvvxxxx > FILE (or sudo peerdma snapshot -o FILE); \
             then peerdma {command} --from FILE"
        ),
    }
}

/// Do we run as root? The owner of our own folder in /proc tells.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// The first few addresses, and how many more.
fn functions(set: &BTreeSet<Bdf>) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = set.iter().take(SHOWN).map(Bdf::to_string).collect();
    match set.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        1 => format!("{} and 1 more function", shown.join(", ")),
        more => format!("{} and {more} more functions", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_function_is_no_more_functions() {
        let said = |count: u8| {
            let all = (0..count).filter_map(|device| format!("01:{device:02x}.0").parse().ok());
            functions(&all.collect())
        };
        assert_eq!(said(1), "0000:01:00.0");
        assert!(said(4).ends_with("0000:01:02.0 and 1 more function"));
        assert!(said(5).ends_with("and 2 more functions"));
    }
}
