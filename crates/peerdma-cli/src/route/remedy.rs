//! What would change the answer: switching ACS redirects off, hop by hop.

use super::Direction;
use crate::acs::REDIRECT;
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::pci::AcsFlags;
use peerdma::route::linux::{Effect, Judge};
use peerdma::route::{Access, MapType, TlpClass};
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use serde::Serialize;
use std::collections::BTreeMap;

/// How to make requests turn around at the switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Remedy {
    /// For the command line of the kernel, from the next boot on.
    pub(super) kernel_parameter: String,
    /// Until the next boot, one command a hop.
    pub(super) setpci: Vec<String>,
    /// The hops that redirect.
    pub(super) hops: Vec<Change>,
    /// What Linux would then say of the client's access to the provider's memory; nothing where unknown.
    pub(super) then: Option<MapType>,
    /// Functions on the way whose ACS is unknown and that might redirect too.
    pub(super) unsure: Vec<Bdf>,
}

/// One ACS control register, now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    pub(super) bdf: Bdf,
    pub(super) control: AcsFlags,
    pub(super) becomes: AcsFlags,
}

impl Remedy {
    /// The remedy for a pair, nothing where no ACS setting stands in the way.
    pub(super) fn new(judge: &Judge<'_>, directions: [&Direction; 2]) -> Option<Self> {
        let topology = judge.topology();
        let mut controls: BTreeMap<Bdf, AcsFlags> = BTreeMap::new();
        let mut unsure: Vec<Bdf> = Vec::new();
        for hop in directions.iter().flat_map(|direction| &direction.evidence.hops) {
            match hop.effect {
                Effect::Redirects(_) => {
                    if let Some(control) = control(topology, hop.bdf) {
                        controls.insert(hop.bdf, control);
                    }
                }
                Effect::Unknown(_) => unsure.push(hop.bdf),
                _ => {}
            }
        }
        if controls.is_empty() {
            return None;
        }
        unsure.sort_unstable();
        unsure.dedup();
        let hops: Vec<Change> = controls
            .into_iter()
            .map(|(bdf, control)| Change {
                bdf,
                control,
                becomes: AcsFlags::from_register(control.bits() & !REDIRECT.bits()),
            })
            .collect();
        let addresses: Vec<String> = hops.iter().map(|hop| hop.bdf.to_string()).collect();
        let [there, _] = directions;
        Some(Self {
            then: judged_anew(judge, there, &hops),
            kernel_parameter: format!("pci=disable_acs_redir={}", addresses.join(";")),
            // With a mask: the bits beyond those that we know stay as they are.
            setpci: hops
                .iter()
                .map(|hop| {
                    format!(
                        "setpci -s {} ECAP_ACS+0x6.w={:04x}:{:04x}",
                        hop.bdf,
                        hop.becomes.bits() & REDIRECT.bits(),
                        REDIRECT.bits()
                    )
                })
                .collect(),
            hops,
            unsure,
        })
    }
}

/// What the same kernel would say with the registers changed: the remedy is judged before it is
/// recommended.
fn judged_anew(judge: &Judge<'_>, there: &Direction, hops: &[Change]) -> Option<MapType> {
    let mut snapshot = judge.topology().snapshot().clone();
    for hop in hops {
        let position = snapshot.position(hop.bdf)?;
        if let Fact::Known(Some(acs)) = &mut snapshot.functions_mut().get_mut(position)?.config.acs {
            acs.control = hop.becomes;
        }
    }
    let changed = Topology::new(snapshot, &mut Warnings::default());
    let verdict = Judge::new(&changed, judge.kernel()).verdict(there.provider, there.client);
    verdict.answer(Access::Read, TlpClass::Strict).map_type()
}

fn control(topology: &Topology, bdf: Bdf) -> Option<AcsFlags> {
    match &topology.function(topology.find(bdf)?).config.acs {
        Fact::Known(Some(acs)) => Some(acs.control),
        _ => None,
    }
}
