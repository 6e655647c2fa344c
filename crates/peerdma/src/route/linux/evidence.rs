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
    /// The class of packets that the rest speaks of.
    pub class: TlpClass,
    /// The verdict.
    pub verdict: Verdict,
    /// The way of a request, from the client up and down to the provider. Bridges above the common one
    /// are among them where a request that goes on to the root complex is checked there
    /// ([`Side::AboveCommon`], after the common one).
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
    /// A bridge above that, which only a request to the root complex passes.
    AboveCommon,
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
                class,
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
            class,
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
        let topology = self.topology();
        // Only the rewrite looks above the common bridge, and only for translated requests.
        let above: Vec<NodeId> = match path.turn {
            Some(turn) if self.kernel() == Kernel::Next && class.is_translated() && !path.up.is_empty() => {
                topology.climb(turn).skip(1).collect()
            }
            _ => Vec::new(),
        };
        let sides = [
            (&path.up[..], Side::Client),
            (path.turn.as_slice(), Side::Common),
            (&above[..], Side::AboveCommon),
            (&path.down[..], Side::Provider),
        ];
        let mut hops = Vec::new();
        for (nodes, side) in sides {
            for (position, &node) in nodes.iter().enumerate() {
                let control = self.acs().control(node);
                let effect = match self.kernel() {
                    Kernel::Next => next_effect(control, part(path, side, position), class),
                    Kernel::Release(_) | Kernel::Unknown if path.turn.is_none() => Effect::DoesNotCount,
                    Kernel::Release(_) | Kernel::Unknown => mainline_effect(control),
                };
                hops.push(Hop {
                    bdf: topology.function(node).bdf,
                    side,
                    effect,
                    decides: false,
                });
            }
        }
        // What is above the common bridge counts for a request that goes there.
        let is_redirected = hops.iter().any(|hop| {
            hop.side != Side::AboveCommon && matches!(hop.effect, Effect::Redirects(_) | Effect::Unknown(_))
        });
        if path.turn.is_some() && !is_redirected {
            for hop in &mut hops {
                if matches!(hop.side, Side::Common | Side::AboveCommon) && self.kernel() == Kernel::Next {
                    hop.effect = Effect::DoesNotCount;
                }
            }
        }
        hops
    }
}

/// What the rewrite asks of a function on the way.
fn part(path: &Path, side: Side, position: usize) -> Part {
    // The request never goes up where the client is above the provider, or is it.
    if path.up.is_empty() {
        return Part::Neither;
    }
    let parts = path.turn.is_some() && !path.down.is_empty();
    match side {
        Side::Client if parts && position + 1 == path.up.len() => Part::RequestPort,
        Side::Client if position > 0 => Part::OnTheWayUp,
        Side::Common | Side::AboveCommon => Part::OnTheWayUp,
        Side::Provider if parts && position == 0 => Part::CompletionPort,
        Side::Client | Side::Provider => Part::Neither,
    }
}

/// What decided, and at which hops: the first that redirects; all that may, where that is unknown; the
/// common ancestor where nothing redirects.
fn reason(hops: &[Hop], meets: bool, same: bool, answer: Answer) -> (Reason, Vec<usize>) {
    let positions = |wanted: fn(&Effect) -> bool| -> Vec<usize> {
        let all = hops.iter().enumerate().filter(|(_, hop)| wanted(&hop.effect));
        all.map(|(index, _)| index).collect()
    };
    let refusing = positions(|effect| matches!(effect, Effect::Unreadable | Effect::BlocksTranslated));
    if let (Some(&first), true) = (refusing.first(), answer.surely_refused()) {
        return (Reason::Blocked, [first].into());
    }
    if !meets {
        return (Reason::NoSharedBridge, Vec::new());
    }
    let unknown = positions(|effect| matches!(effect, Effect::Unknown(_)));
    if let Some(&first) = positions(|effect| matches!(effect, Effect::Redirects(_))).first() {
        return (Reason::Redirected, [first].into());
    }
    if !unknown.is_empty() && answer != Answer::known(MapType::BusAddr) {
        return (Reason::AcsUnknown, unknown);
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
        (Control::FlagsOrNone(..), Tri::No) => Effect::Passes,
        (Control::Unreadable, _) => Effect::Unknown(Unread::Unreadable),
        (Control::FlagsOrNone(_, why) | Control::Unknown(why), _) => Effect::Unknown(why),
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
        Control::Unreadable => return Effect::Unreadable,
        Control::Unknown(why) => return Effect::Unknown(why),
        Control::FlagsOrNone(flags, why) => {
            return match (
                next_effect(Control::Flags(flags), part, class),
                next_effect(Control::Flags(AcsFlags::default()), part, class),
            ) {
                (seen, hidden) if seen == hidden => seen,
                _ => Effect::Unknown(why),
            };
        }
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
