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
    /// Whose memory it is.
    pub provider: NodeId,
    /// Who reads and writes it.
    pub client: NodeId,
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
    /// A port refuses the request, since it carries a translated address, or cannot be read.
    Blocked,
    /// No bridge above both: only the root complex connects them.
    NoSharedBridge,
    /// A bridge above both; whether ACS redirects is unknown.
    AcsUnknown,
    /// The place of one of them in the tree is unknown.
    PlaceUnknown,
}

impl Judge<'_> {
    /// The verdict for a pair, and why it is so for one class of packets.
    pub fn evidence(&self, provider: NodeId, client: NodeId, class: TlpClass) -> Evidence {
        let topology = self.topology();
        let verdict = self.verdict(provider, client);
        let (Some(provider_root), Some(client_root)) = (topology.root(provider), topology.root(client))
        else {
            return Evidence {
                provider,
                client,
                verdict,
                hops: Vec::new(),
                reason: Reason::PlaceUnknown,
                gate: None,
            };
        };
        let path = Path::new(topology, client, provider);
        let mut hops = self.hops(&path, class);
        let answer = verdict.answer(Access::Read, class);
        let (reason, deciding) = reason(&hops, path.turn.is_some(), provider == client, answer);
        for index in deciding {
            hops[index].decides = true;
        }
        let goes_up = !matches!(
            reason,
            Reason::SharedBridge | Reason::SameFunction | Reason::Blocked
        );
        let kernel = self.kernel();
        Evidence {
            provider,
            client,
            verdict,
            hops,
            reason,
            gate: goes_up.then(|| {
                self.gates()
                    .evidence(topology, kernel, provider_root, client_root)
            }),
        }
    }

    /// The functions on the way with what each does to the decision.
    fn hops(&self, path: &Path, class: TlpClass) -> Vec<Hop> {
        let sides = [
            (&path.up[..], Side::Client),
            (path.turn.as_slice(), Side::Common),
            (&path.down[..], Side::Provider),
        ];
        let mut hops = Vec::new();
        for (nodes, side) in sides {
            for (position, &node) in nodes.iter().enumerate() {
                let control = self.acs().control(node);
                let effect = match self.kernel() {
                    Kernel::Next => {
                        let part = match (side, position) {
                            _ if path.up.is_empty() || path.turn.is_some() && path.down.is_empty() => {
                                Part::Neither
                            }
                            (Side::Client, _) if path.turn.is_some() && position + 1 == nodes.len() => {
                                Part::RequestPort
                            }
                            (Side::Client, 1..) => Part::OnTheWayUp,
                            (Side::Provider, 0) if path.turn.is_some() => Part::CompletionPort,
                            _ => Part::Neither,
                        };
                        next_effect(control, part, class)
                    }
                    Kernel::Release(_) | Kernel::Unknown if path.turn.is_none() => Effect::DoesNotCount,
                    Kernel::Release(_) | Kernel::Unknown => mainline_effect(control),
                };
                hops.push(Hop {
                    bdf: self.topology().function(node).bdf,
                    side,
                    effect,
                    decides: false,
                });
            }
        }
        hops
    }
}

/// What decided, and at which hops: the first that redirects; all that may, where that is unknown; the
/// common ancestor where nothing redirects.
fn reason(hops: &[Hop], meets: bool, same: bool, answer: Answer) -> (Reason, Vec<usize>) {
    let first = |wanted: fn(&Effect) -> bool| hops.iter().position(|hop| wanted(&hop.effect));
    if let Some(index) = first(|effect| matches!(effect, Effect::Unreadable | Effect::BlocksTranslated)) {
        return (Reason::Blocked, [index].into());
    }
    if !meets {
        return (Reason::NoSharedBridge, Vec::new());
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

/// What a function is asked in the rewrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The client-side port below the common ancestor: where a request could turn.
    RequestPort,
    /// The provider-side one: where a completion could turn.
    CompletionPort,
    /// Any other port that the request enters from below.
    OnTheWayUp,
    Neither,
}

fn next_effect(control: Control, part: Part, class: TlpClass) -> Effect {
    if part == Part::Neither || part == Part::OnTheWayUp && !class.is_translated() {
        return Effect::DoesNotCount;
    }
    let flags = match control {
        Control::Flags(flags) => flags,
        Control::Unreadable if part == Part::OnTheWayUp => return Effect::BlocksTranslated,
        Control::Unreadable => return Effect::Unreadable,
        Control::Unknown(why) => return Effect::Unknown(why),
    };
    let (turn, counted) = match part {
        Part::CompletionPort => (next::completion(flags, class), AcsFlags::COMPLETION_REDIRECT),
        Part::RequestPort => (
            next::request(flags, class),
            AcsFlags::REQUEST_REDIRECT.union(AcsFlags::EGRESS_CONTROL),
        ),
        Part::OnTheWayUp | Part::Neither => {
            return match flags.contains(AcsFlags::TRANSLATION_BLOCKING) {
                true => Effect::BlocksTranslated,
                false => Effect::Passes,
            };
        }
    };
    match turn {
        Turn::Direct => Effect::Passes,
        Turn::Redirect => Effect::Redirects(flags.intersection(counted)),
        Turn::Blocked => Effect::BlocksTranslated,
    }
}
