//! May a request pass through the root complex? The processor decides, else the list of host bridges.

#[cfg(test)]
mod tests;

use super::host_bridges::{self, Entry, Scope, Since};
use super::{Kernel, acs::Tri};
use crate::addr::Bdf;
use crate::fact::Fact;
use crate::pci::{Id, PortType};
use crate::route::{Answer, MapType};
use crate::snapshot::{Cpu, Host};
use crate::topology::{Root, RootId, Topology};
use alloc::vec::Vec;

/// Whom Linux asked before it let a request through the root complex, and the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Gate {
    /// Who decided.
    pub keeper: GateKeeper,
    /// Is the way open?
    pub open: Accepted,
    /// The provider's host bridge.
    pub provider: Listing,
    /// The client's host bridge.
    pub client: Listing,
    /// Are the two the same?
    pub same_host_bridge: bool,
}

/// Who decides whether requests pass the root complex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum GateKeeper {
    /// An AMD processor of family 17h or later: accepted, the list is not asked.
    Processor,
    /// Another processor: the list of host bridges.
    List,
    /// The processor is unknown: the list where it says yes, else nobody can tell.
    ListAndUnknownProcessor,
}

/// Yes, no, or unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Accepted {
    /// Accepted.
    Yes,
    /// Refused.
    No,
    /// A fact is missing.
    Unknown,
}

/// What the list says of one host bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Listing {
    /// The function that Linux looks up: the first on the root bus.
    pub first: Bdf,
    /// Its vendor and device.
    pub id: Fact<Id>,
    /// Does Linux accept it as a key: function 00.0, or a root port?
    pub is_key: Accepted,
    /// Between which bridges its entry allows; nothing where it has none in any release.
    pub scope: Option<Scope>,
    /// The first releases with the entry.
    pub since: Option<Since>,
    /// Is it listed in the kernel at hand?
    pub listed: Accepted,
}

/// The gate as known before any pair is asked: one entry a root bus.
#[derive(Debug, Clone)]
pub(super) struct Gates {
    processor: Tri,
    roots: Vec<RootGate>,
}

/// The list's answers for one root bus.
#[derive(Debug, Clone, Copy)]
struct RootGate {
    /// Among functions below this bridge.
    same: Tri,
    /// From or to another bridge.
    other: Tri,
}

impl Gates {
    pub(super) fn new(topology: &Topology, kernel: Kernel) -> Self {
        let roots = topology
            .roots()
            .iter()
            .map(|root| {
                let listing = listing(topology, *root, kernel);
                let listed = match listing.listed {
                    Accepted::Yes => Tri::Yes,
                    Accepted::No => Tri::No,
                    Accepted::Unknown => Tri::Unknown,
                };
                RootGate {
                    same: listed,
                    other: match listing.scope {
                        Some(Scope::SameHostBridge) => Tri::No,
                        _ => listed,
                    },
                }
            })
            .collect();
        Self {
            processor: processor(&topology.snapshot().host),
            roots,
        }
    }

    /// The answer for a request that goes up to the root complex.
    pub(super) fn answer(&self, provider: RootId, client: RootId) -> Answer {
        match self.open(provider, client) {
            Tri::Yes => Answer::known(MapType::ThruHostBridge),
            Tri::No => Answer::known(MapType::NotSupported),
            Tri::Unknown => Answer::known(MapType::ThruHostBridge).or(Answer::known(MapType::NotSupported)),
        }
    }

    /// The same with the evidence.
    pub(super) fn evidence(
        &self,
        topology: &Topology,
        kernel: Kernel,
        provider: RootId,
        client: RootId,
    ) -> Gate {
        Gate {
            keeper: match self.processor {
                Tri::Yes => GateKeeper::Processor,
                Tri::No => GateKeeper::List,
                Tri::Unknown => GateKeeper::ListAndUnknownProcessor,
            },
            open: match self.open(provider, client) {
                Tri::Yes => Accepted::Yes,
                Tri::No => Accepted::No,
                Tri::Unknown => Accepted::Unknown,
            },
            provider: listing(topology, topology.roots()[provider.index()], kernel),
            client: listing(topology, topology.roots()[client.index()], kernel),
            same_host_bridge: provider == client,
        }
    }

    fn open(&self, provider: RootId, client: RootId) -> Tri {
        if self.processor == Tri::Yes {
            return Tri::Yes;
        }
        let (provider_gate, client_gate) = (self.roots[provider.index()], self.roots[client.index()]);
        let list = if provider == client {
            provider_gate.same
        } else {
            match (provider_gate.other, client_gate.other) {
                (Tri::No, _) | (_, Tri::No) => Tri::No,
                (Tri::Yes, Tri::Yes) => Tri::Yes,
                _ => Tri::Unknown,
            }
        };
        match (list, self.processor) {
            (Tri::No, Tri::Unknown) => Tri::Unknown,
            (list, _) => list,
        }
    }
}

/// Does the processor open the way by itself (`cpu_supports_p2pdma`)?
fn processor(host: &Host) -> Tri {
    match host.cpu.as_ref().map(Cpu::is_amd_zen) {
        Fact::Known(true) => Tri::Yes,
        Fact::Known(false) => Tri::No,
        Fact::Unknown(_) => Tri::Unknown,
    }
}

/// What the list says of the bridge above a root bus (`__host_bridge_whitelist`).
pub(super) fn listing(topology: &Topology, root: Root, kernel: Kernel) -> Listing {
    let first = topology.function(root.first);
    // The key must be function 00.0 or a root port (`pci_host_bridge_dev`).
    let is_key = if first.bdf.devfn() == 0 {
        Accepted::Yes
    } else {
        match first.port_type() {
            Fact::Known(Some(PortType::ROOT_PORT)) => Accepted::Yes,
            Fact::Known(_) => Accepted::No,
            Fact::Unknown(_) => Accepted::Unknown,
        }
    };
    let entry: Fact<Option<&Entry>> = first.config.id.map(host_bridges::find);
    let held = match entry {
        Fact::Unknown(_) => Accepted::Unknown,
        Fact::Known(None) => Accepted::No,
        Fact::Known(Some(entry)) => match entry.since.holds(kernel) {
            Some(true) => Accepted::Yes,
            Some(false) => Accepted::No,
            None => Accepted::Unknown,
        },
    };
    let entry = entry.known().flatten();
    Listing {
        first: first.bdf,
        id: first.config.id,
        is_key,
        scope: entry.map(|entry| entry.scope),
        since: entry.map(|entry| entry.since),
        listed: match (is_key, held) {
            (Accepted::No, _) | (_, Accepted::No) => Accepted::No,
            (Accepted::Yes, Accepted::Yes) => Accepted::Yes,
            _ => Accepted::Unknown,
        },
    }
}
