//! Why a verdict is what it is: as data, hop by hop.

use super::acs::{self, Control, Tri};
use super::gate::Gate;
use super::judge::Judge;
use super::next::{self, Turn};
use super::{Kernel, acs::REDIRECT};
use crate::addr::Bdf;
use crate::fact::Unread;
use crate::pci::AcsFlags;
use crate::route::{Access, Answer, MapType, TlpClass, Verdict};
use crate::topology::{NodeId, Path};
use alloc::vec::Vec;

/// A verdict with all that it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The verdict.
    pub verdict: Verdict,
    /// The way of a request, from the client up and down to the provider.
    pub hops: Vec<Hop>,
    /// What decided between the turn at a switch and the way through the root complex.
    pub reason: Reason,
    /// What the root complex was asked; nothing where the request turns below it for sure.
    pub gate: Option<Gate>,
}

/// One function on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Hop {
    /// The function.
    pub bdf: Bdf,
    /// Which part of the way it belongs to.
    pub side: Side,
    /// What it does to the decision.
    pub effect: Effect,
    /// Is this the hop that decides?
    pub decides: bool,
}

/// A part of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Side {
    /// The client, or a bridge above it.
    Client,
    /// The nearest function above both.
    Common,
    /// The provider, or a bridge above it.
    Provider,
}

/// What a function on the way does to the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Effect {
    /// It has no ACS capability, or none of its bits counts here.
    Passes,
    /// These of its ACS control bits send requests or completions up to the root complex.
    Redirects(AcsFlags),
    /// It blocks translated requests.
    BlocksTranslated,
    /// The kernel cannot read its ACS control register.
    Unreadable,
    /// Its ACS control register is unknown, and it counts.
    Unknown(Unread),
    /// The request does not turn below the root complex whatever it says.
    DoesNotCount,
}

/// What decided between the turn at a switch and the way through the root complex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Reason {
    /// Provider and client are one function: no request travels.
    SameFunction,
    /// A bridge above both, and nothing redirects.
    SharedBridge,
    /// A bridge above both, but ACS sends requests or completions on to the root complex.
    Redirected,
    /// A bridge above both, and translated requests are blocked.
    Blocked,
    /// No bridge above both: only the root complex connects them.
    NoSharedBridge,
    /// A bridge above both; whether ACS redirects is unknown.
    AcsUnknown,
    /// The place of one of them in the tree is unknown.
    PlaceUnknown,
}

/// Gathers the evidence for the strict class (what a device without special settings sends).
pub(super) fn gather(judge: &Judge<'_>, provider: NodeId, client: NodeId) -> Evidence {
    let topology = judge.topology();
    let verdict = judge.verdict(provider, client);
    let answer = verdict.answer(Access::Read, TlpClass::Strict);
    let (Some(provider_root), Some(client_root)) = (topology.root(provider), topology.root(client)) else {
        return Evidence {
            verdict,
            hops: Vec::new(),
            reason: Reason::PlaceUnknown,
            gate: None,
        };
    };
    let path = Path::new(topology, client, provider);
    let mut hops: Vec<Hop> = Vec::new();
    let sides = [
        (&path.up[..], Side::Client),
        (path.turn.as_slice(), Side::Common),
        (&path.down[..], Side::Provider),
    ];
    for (nodes, side) in sides {
        for (position, &node) in nodes.iter().enumerate() {
            // The rewrite looks at the two functions directly below the common ancestor.
            let below_common = match side {
                Side::Client => position + 1 == nodes.len(),
                Side::Provider => position == 0,
                Side::Common => false,
            };
            let effect = match (path.turn, judge.kernel()) {
                (None, _) => Effect::DoesNotCount,
                (Some(_), Kernel::Next) if !below_common || path.up.is_empty() || path.down.is_empty() => {
                    Effect::DoesNotCount
                }
                (Some(_), Kernel::Next) => next_effect(judge.acs().control(node), side),
                (Some(_), Kernel::Release(_) | Kernel::Unknown) => mainline_effect(judge.acs().control(node)),
            };
            hops.push(Hop {
                bdf: topology.function(node).bdf,
                side,
                effect,
                decides: false,
            });
        }
    }
    let (reason, deciding) = reason(&hops, path.turn.is_some(), provider == client, answer);
    for index in deciding {
        hops[index].decides = true;
    }
    let goes_up = !matches!(
        reason,
        Reason::SharedBridge | Reason::SameFunction | Reason::Blocked
    );
    Evidence {
        verdict,
        hops,
        reason,
        gate: goes_up.then(|| {
            judge
                .gates()
                .evidence(topology, judge.kernel(), provider_root, client_root)
        }),
    }
}

/// What decided, and at which hops: the first that redirects; all that may, where that is unknown; the
/// common ancestor where nothing redirects.
fn reason(hops: &[Hop], meets: bool, same: bool, answer: Answer) -> (Reason, Vec<usize>) {
    if !meets {
        return (Reason::NoSharedBridge, Vec::new());
    }
    let first = |wanted: fn(&Effect) -> bool| hops.iter().position(|hop| wanted(&hop.effect));
    if let Some(index) = first(|effect| matches!(effect, Effect::Unreadable)) {
        return (Reason::Blocked, [index].into());
    }
    if let Some(index) = first(|effect| matches!(effect, Effect::Redirects(_))) {
        return (Reason::Redirected, [index].into());
    }
    let unknown = |hop: &Hop| matches!(hop.effect, Effect::Unknown(_));
    if hops.iter().any(unknown) && answer != Answer::known(MapType::BusAddr) {
        let all = hops.iter().enumerate().filter(|(_, hop)| unknown(hop));
        return (Reason::AcsUnknown, all.map(|(index, _)| index).collect());
    }
    let common = hops.iter().position(|hop| hop.side == Side::Common);
    let reason = if same {
        Reason::SameFunction
    } else {
        Reason::SharedBridge
    };
    (reason, common.into_iter().collect())
}

fn mainline_effect(control: Control) -> Effect {
    match (control, acs::redirects(control)) {
        (Control::Flags(flags), Tri::Yes) => Effect::Redirects(flags.intersection(REDIRECT)),
        (Control::Flags(_), _) => Effect::Passes,
        (Control::Unreadable, _) => Effect::Unknown(Unread::Unreadable),
        (Control::Unknown(why), _) => Effect::Unknown(why),
    }
}

fn next_effect(control: Control, side: Side) -> Effect {
    let flags = match control {
        Control::Flags(flags) => flags,
        Control::Unreadable => return Effect::Unreadable,
        Control::Unknown(why) => return Effect::Unknown(why),
    };
    let (turn, counted) = match side {
        Side::Client => (
            next::request(flags, TlpClass::Strict),
            AcsFlags::REQUEST_REDIRECT.union(AcsFlags::EGRESS_CONTROL),
        ),
        _ => (
            next::completion(flags, TlpClass::Strict),
            AcsFlags::COMPLETION_REDIRECT,
        ),
    };
    match turn {
        Turn::Direct => Effect::Passes,
        Turn::Redirect => Effect::Redirects(flags.intersection(counted)),
        Turn::Blocked => Effect::BlocksTranslated,
    }
}
