//! The decision of the posted rewrite that tells packet classes apart (KERNEL-FACTS, A7).
//!
//! Requests are judged at the client-side port below the common ancestor, completions at the
//! provider-side one; translation blocking at every port that a request enters.

use super::acs::{AcsSums, Control, Count, Tri};
use super::junction::Junction;
use crate::pci::AcsFlags;
use crate::route::{Answer, MapType, TlpClass};
use crate::topology::{NodeId, Topology};

/// What becomes of a request or a completion at the port where it could turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Direct,
    Redirect,
    Blocked,
}

/// A request at a port with these ACS bits set.
pub(super) fn request(flags: AcsFlags, class: TlpClass) -> Turn {
    if class.is_translated() {
        if flags.contains(AcsFlags::TRANSLATION_BLOCKING) {
            return Turn::Blocked;
        }
        if flags.contains(AcsFlags::DIRECT_TRANSLATED) {
            return Turn::Direct;
        }
    }
    if flags.intersects(AcsFlags::REQUEST_REDIRECT.union(AcsFlags::EGRESS_CONTROL)) {
        Turn::Redirect
    } else {
        Turn::Direct
    }
}

/// A completion at a port with these ACS bits set.
pub(super) fn completion(flags: AcsFlags, class: TlpClass) -> Turn {
    if !class.is_relaxed() && flags.contains(AcsFlags::COMPLETION_REDIRECT) {
        Turn::Redirect
    } else {
        Turn::Direct
    }
}

/// What one pair's way offers, found once for all four classes.
struct Way {
    request_port: Control,
    completion_port: Control,
    meets: bool,
    /// Does a port that every route passes block translated requests?
    blocked_on_path: Tri,
    /// Does a port that only the route to the root complex passes block them?
    blocked_above: Tri,
}

/// The answers for the four classes, in the order of [`TlpClass::ALL`].
pub(super) fn answers(
    topology: &Topology,
    acs: &AcsSums,
    client: NodeId,
    junction: Option<Junction>,
    through_host_bridge: Answer,
) -> [Answer; 4] {
    let way = way(topology, acs, client, junction);
    TlpClass::ALL.map(|class| answer(&way, class, through_host_bridge))
}

fn way(topology: &Topology, acs: &AcsSums, client: NodeId, junction: Option<Junction>) -> Way {
    // The client itself sends the request and checks nothing; the ports above it do.
    let above_client = topology
        .upstream(client)
        .map_or(Count::default(), |port| acs.up_from(port).blocking);
    let clear = Control::Flags(AcsFlags::default());
    let Some(junction) = junction else {
        return Way {
            request_port: clear,
            completion_port: clear,
            meets: false,
            blocked_on_path: above_client.any(),
            blocked_above: Tri::No,
        };
    };
    let above_junction = acs.up_from(junction.common).blocking;
    let (request_port, completion_port) = match (junction.client_child, junction.provider_child) {
        (Some(client_child), Some(provider_child)) => {
            (acs.control(client_child), acs.control(provider_child))
        }
        _ => (clear, clear),
    };
    match junction.client_child {
        // The request never goes up: the provider is the client, or sits below it.
        None => Way {
            request_port,
            completion_port,
            meets: true,
            blocked_on_path: Tri::No,
            blocked_above: Tri::No,
        },
        Some(_) => Way {
            request_port,
            completion_port,
            meets: true,
            blocked_on_path: above_client.less(above_junction).any(),
            blocked_above: above_junction.any(),
        },
    }
}

/// The answer for one class: the union over all that the unknown registers may hold.
fn answer(way: &Way, class: TlpClass, through_host_bridge: Answer) -> Answer {
    let refused = Answer::known(MapType::NotSupported);
    if way.request_port == Control::Unreadable || way.completion_port == Control::Unreadable {
        return refused;
    }
    let mut request = Turns::at(way.request_port, |flags| request(flags, class));
    let completion = Turns::at(way.completion_port, |flags| completion(flags, class));
    let mut up = through_host_bridge;
    if class.is_translated() {
        match way.blocked_on_path {
            Tri::Yes => request = Turns::one(Turn::Blocked),
            Tri::Unknown => request = request.or(Turns::one(Turn::Blocked)),
            Tri::No => {}
        }
        match way.blocked_above {
            Tri::Yes => up = refused,
            Tri::Unknown => up = up.or(refused),
            Tri::No => {}
        }
    }
    let mut possible = Answer::NONE;
    if request.allow(Turn::Blocked) {
        possible = possible.or(refused);
    }
    if request.allow(Turn::Direct) && completion.allow(Turn::Direct) {
        possible = possible.or(if way.meets {
            Answer::known(MapType::BusAddr)
        } else {
            up
        });
    }
    if request.allow(Turn::Redirect) || request.allow(Turn::Direct) && completion.allow(Turn::Redirect) {
        possible = possible.or(up);
    }
    possible
}

/// The turns that are possible at a port: one where its register is known, else whatever some value of
/// the register would make happen.
#[derive(Debug, Clone, Copy)]
struct Turns(u8);

impl Turns {
    fn at(control: Control, decide: impl Fn(AcsFlags) -> Turn) -> Self {
        match control {
            Control::Flags(flags) => Self::one(decide(flags)),
            Control::FlagsOrNone(flags, _) => {
                Self::one(decide(flags)).or(Self::one(decide(AcsFlags::default())))
            }
            Control::Unreadable | Control::Unknown(_) => (0..=0x7f)
                .map(|bits| Self::one(decide(AcsFlags::from_register(bits))))
                .fold(Self(0), Self::or),
        }
    }

    fn one(turn: Turn) -> Self {
        Self(1 << turn as u8)
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn allow(self, turn: Turn) -> bool {
        self.0 & Self::one(turn).0 != 0
    }
}
