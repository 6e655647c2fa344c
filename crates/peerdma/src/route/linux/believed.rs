//! What Linux's trust in a root complex tells of its forwarding, as a step that somebody has to take.
//!
//! No register tells what a host bridge does with requests between devices, so that a machine that exists leaves
//! [`HostBridge::forwarding`] unknown, and the specification's judge says so. Linux trusts processors and host bridges by a
//! list that people keep. Whoever is about to move data may want to believe that list too: a live copy or a
//! trial calls [`believed`] and shows the [`Belief`]s. No judge does it by itself, and a bridge of which the list says nothing stays
//! unknown: that it is not listed does not mean that it forwards nothing.

use super::Kernel;
use super::gate::{Accepted, Listing, listing};
use super::host_bridges::Scope;
use crate::addr::Bdf;
use crate::fact::{Fact, Unread};
use crate::snapshot::{Cpu, Forwarding, HostBridge, Snapshot};
use crate::topology::Topology;
use alloc::vec::Vec;
use core::fmt;

/// What was believed of one host bridge, and on whose word.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Belief {
    /// PCI domain.
    pub domain: u32,
    /// The root bus.
    pub bus: u8,
    /// What it is taken to forward.
    pub forwarding: Forwarding,
    /// Why.
    pub word: Word,
}

/// On whose word a host bridge is taken to forward.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Word {
    /// Linux trusts this processor whatever its host bridges (`cpu_supports_p2pdma`).
    Processor(Cpu),
    /// Linux lists it (`pci_p2pdma_whitelist`).
    Listed(Listing),
}

/// The snapshot with [`HostBridge::forwarding`] filled in where it is unknown and Linux trusts the bridge, and what was
/// filled in. What the snapshot knows is left as it is.
pub fn believed(topology: &Topology, kernel: Kernel) -> (Snapshot, Vec<Belief>) {
    let mut snapshot = topology.snapshot().clone();
    let processor = snapshot.host.cpu.clone().known().filter(Cpu::is_amd_zen);
    let (mut bridges, why) = match core::mem::take(&mut snapshot.host.bridges) {
        Fact::Known(bridges) => (bridges, None),
        Fact::Unknown(why) => (Vec::new(), Some(why)),
    };
    let mut beliefs = Vec::new();
    for root in topology.roots() {
        let word = match &processor {
            Some(processor) => Some((Forwarding::Everything, Word::Processor(processor.clone()))),
            None => listed(listing(topology, *root, kernel)),
        };
        let Some((forwarding, word)) = word else {
            continue;
        };
        let (domain, bus) = (root.domain, root.bus);
        let unknown = why.unwrap_or(Unread::NotInSource);
        let bridge = match bridges
            .iter()
            .position(|bridge| (bridge.domain, bridge.bus) == (domain, bus))
        {
            Some(index) => bridges.get_mut(index),
            None => {
                bridges.push(HostBridge {
                    domain,
                    bus,
                    windows: Fact::Unknown(unknown),
                    inbound_offset: Fact::Unknown(unknown),
                    forwarding: Fact::Unknown(unknown),
                });
                bridges.last_mut()
            }
        };
        if let Some(bridge) = bridge.filter(|bridge| !bridge.forwarding.is_known()) {
            bridge.forwarding = Fact::Known(forwarding);
            beliefs.push(Belief {
                domain,
                bus,
                forwarding,
                word,
            });
        }
    }
    snapshot.host.bridges = match why {
        Some(why) if beliefs.is_empty() => Fact::Unknown(why),
        _ => Fact::Known(bridges),
    };
    (snapshot, beliefs)
}

fn listed(listing: Listing) -> Option<(Forwarding, Word)> {
    let forwarding = match listing.scope? {
        Scope::SameHostBridge => Forwarding::SameBridge,
        Scope::AnyHostBridge => Forwarding::Everything,
    };
    (listing.listed == Accepted::Yes).then_some((forwarding, Word::Listed(listing)))
}

impl fmt::Display for Belief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (domain, bus) = (self.domain, self.bus);
        let what = match self.forwarding {
            Forwarding::Nothing => "forwards nothing",
            Forwarding::StoresOnly => "forwards writes only",
            Forwarding::SameBridge => "forwards between devices below itself",
            Forwarding::Everything => "forwards everything",
        };
        write!(
            f,
            "host bridge {domain:04x}:{bus:02x} is taken to be one that {what}: "
        )?;
        match &self.word {
            Word::Processor(cpu) => write!(
                f,
                "Linux trusts every AMD processor of family 17h or later, and this is {cpu}"
            ),
            Word::Listed(Listing { first, id, since, .. }) => {
                write!(f, "Linux lists ")?;
                match id {
                    Fact::Known(id) => write!(f, "{id} at {first}")?,
                    Fact::Unknown(_) => write!(f, "{first}")?,
                }
                match since {
                    Some(since) => write!(f, ", since {since}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Belief {
    /// The function by which Linux knows the bridge, where it was looked up in the list.
    pub fn key(&self) -> Option<Bdf> {
        match &self.word {
            Word::Processor(_) => None,
            Word::Listed(listing) => Some(listing.first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::{ClassCode, Id};
    use crate::snapshot::{Function, Host, Warnings};
    use alloc::string::ToString;

    fn machine(cpu: &str, device: u16, bridges: Fact<Vec<HostBridge>>) -> Topology {
        let mut function = Function::new(Bdf::from_devfn(0, 0, 0));
        function.upstream = Fact::Known(None);
        function.config.id = Fact::Known(Id {
            vendor: 0x8086,
            device,
        });
        function.config.class = Fact::Known(ClassCode::new(0x06_0000));
        let host = Host {
            cpu: Fact::Known(cpu.parse().unwrap()),
            bridges,
            ..Host::default()
        };
        let snapshot = Snapshot::new(host, [function].into(), &mut Warnings::default());
        Topology::new(snapshot, &mut Warnings::default())
    }

    const KERNEL: Kernel = Kernel::Unknown;

    #[test]
    fn a_listed_bridge_is_believed_and_one_that_is_not_stays_unknown() {
        for (device, expected) in [
            (0x2f00, Some(Forwarding::SameBridge)),
            (0x09a2, Some(Forwarding::Everything)),
            (0x4c43, None),
        ] {
            let unknown = Fact::Unknown(Unread::AccessDenied);
            let (snapshot, beliefs) = believed(&machine("GenuineIntel:6", device, unknown.clone()), KERNEL);
            assert_eq!(
                beliefs.first().map(|belief| belief.forwarding),
                expected,
                "{device:x}"
            );
            match expected {
                None => assert_eq!(snapshot.host.bridges, unknown),
                Some(forwarding) => {
                    let bridges = snapshot.host.bridges.known().unwrap();
                    assert_eq!(bridges[0].forwarding, Fact::Known(forwarding));
                    assert_eq!(bridges[0].windows, Fact::Unknown(Unread::AccessDenied));
                    assert!(beliefs[0].to_string().contains("Linux lists 8086:"));
                }
            }
        }
    }

    #[test]
    fn a_trusted_processor_is_believed_and_what_is_known_is_never_overwritten() {
        let (_, beliefs) = believed(&machine("AuthenticAMD:0x19", 0x1, Fact::NOT_IN_SOURCE), KERNEL);
        assert!(matches!(beliefs[0].word, Word::Processor(_)));
        assert_eq!(beliefs[0].key(), None);
        let told = HostBridge {
            domain: 0,
            bus: 0,
            windows: Fact::Known(Vec::new()),
            inbound_offset: Fact::Known(0),
            forwarding: Fact::Known(Forwarding::Nothing),
        };
        let bridges = Fact::Known([told].into());
        let topology = machine("AuthenticAMD:0x19", 0x1, bridges);
        let (snapshot, beliefs) = believed(&topology, KERNEL);
        assert_eq!((&snapshot, beliefs.len()), (topology.snapshot(), 0));
    }
}
