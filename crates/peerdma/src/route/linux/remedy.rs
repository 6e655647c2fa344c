//! What would change an answer: switching ACS redirects off, hop by hop.
//!
//! The texts follow Documentation/admin-guide/kernel-parameters.txt (`pci=disable_acs_redir=`) and
//! setpci(8). A remedy is judged before it is given: it says what Linux would answer with it.

#[cfg(test)]
mod tests;

use super::acs::REDIRECT;
use super::{Effect, Evidence, Judge};
use crate::addr::Bdf;
use crate::fact::Fact;
use crate::pci::AcsFlags;
use crate::route::{Access, Answer, MapType, TlpClass, Verdict};
use crate::snapshot::Warnings;
use crate::topology::Topology;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// How to make requests turn around at the switch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Remedy {
    /// For the command line of the kernel, from the next boot on.
    pub kernel_parameter: String,
    /// Until the next boot, one command a hop.
    pub setpci: Vec<String>,
    /// The hops that redirect.
    pub hops: Vec<Change>,
    /// What Linux would then say of the client's access to the provider's memory, read and write; nothing
    /// where unknown.
    pub then: [Option<MapType>; 2],
    /// Functions on the way whose ACS is unknown and that might redirect too.
    pub unsure: Vec<Bdf>,
}

/// One ACS control register, now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Change {
    /// The function whose register it is.
    pub bdf: Bdf,
    /// What is set now.
    pub control: AcsFlags,
    /// What would be set.
    pub becomes: AcsFlags,
}

impl Remedy {
    /// The remedy for a pair, given the evidence of `judge` for the wanted direction and for the other;
    /// nothing where no ACS setting stands in the way of either.
    pub fn new(judge: &Judge<'_>, wanted: &Evidence, other: &Evidence) -> Option<Self> {
        let topology = judge.topology();
        let mut controls: BTreeMap<Bdf, AcsFlags> = BTreeMap::new();
        let mut unsure: Vec<Bdf> = Vec::new();
        for hop in wanted.hops.iter().chain(&other.hops) {
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
        let then = judged_anew(judge, wanted, &hops);
        // What changes nothing is no remedy.
        let differs = |evidence: &Evidence| {
            judged_anew(judge, evidence, &hops) != answers(&evidence.verdict, evidence.class)
        };
        if !differs(wanted) && !differs(other) {
            return None;
        }
        let addresses: Vec<String> = hops.iter().map(|hop| hop.bdf.to_string()).collect();
        Some(Self {
            then: then.map(Answer::map_type),
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
fn judged_anew(judge: &Judge<'_>, evidence: &Evidence, hops: &[Change]) -> [Answer; 2] {
    let mut snapshot = judge.topology().snapshot().clone();
    snapshot.edit(|function| {
        let change = hops.iter().find(|hop| hop.bdf == function.bdf);
        if let (Some(change), Fact::Known(Some(acs))) = (change, &mut function.config.acs) {
            acs.control = change.becomes;
        }
    });
    let changed = Topology::new(snapshot, &mut Warnings::default());
    let verdict = Judge::new(&changed, judge.kernel()).verdict(evidence.provider, evidence.client);
    answers(&verdict, evidence.class)
}

fn answers(verdict: &Verdict, class: TlpClass) -> [Answer; 2] {
    Access::ALL.map(|access| verdict.answer(access, class))
}

fn control(topology: &Topology, bdf: Bdf) -> Option<AcsFlags> {
    match &topology.function(topology.find(bdf)?).config.acs {
        Fact::Known(Some(acs)) => Some(acs.control),
        _ => None,
    }
}
