//! The slowest link on the way, and what is wrong with it.

use crate::addr::Bdf;
use crate::fact::Fact;
use crate::pci::{Link, LinkState, PortType};
use crate::topology::{NodeId, Path, Place, Topology};
use alloc::vec::Vec;

/// The link above a function: seen from the port above and from the function below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LinkEnds {
    /// The function at the lower end.
    pub below: Bdf,
    /// The port at the upper end.
    pub above: Bdf,
    /// What the link does now.
    pub now: LinkState,
    /// The best that both ends can do; unknown where one end does not tell.
    pub best: Fact<LinkState>,
    /// Is it as good as it can be?
    pub health: LinkHealth,
}

/// Is a link as good as it can be?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum LinkHealth {
    /// Rate and width are the best that both ends can do, and neither end could do more.
    Full,
    /// It does what both ends can; one end alone could do more: a narrow or old slot, or a small card.
    LimitedByOneEnd,
    /// Full width at a lower rate than both ends can: most devices do that while idle, to save power.
    Downtrained,
    /// Fewer lanes than both ends have: a bad contact, or lanes that the board gave to another slot.
    Narrowed,
    /// No lane is up.
    Down,
    /// One end does not tell what it can do.
    Unknown,
}

/// The links on the way from client to provider, and the slowest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Bottleneck {
    /// Every link on the way whose state is known.
    pub links: Vec<LinkEnds>,
    /// Links on the way of which nothing is known.
    pub unknown: u32,
    /// Position of the slowest in `links`.
    pub slowest: Option<usize>,
}

impl Bottleneck {
    /// The links that a request from `client` to `provider` crosses. Where the way leads through the
    /// root complex these are the links below the root ports on both sides.
    pub fn new(topology: &Topology, path: &Path) -> Self {
        let mut links = Vec::new();
        let mut unknown = 0;
        for &node in path.up.iter().chain(&path.down) {
            match above(topology, node) {
                Some(Fact::Known(link)) => links.push(link),
                Some(Fact::Unknown(_)) => unknown += 1,
                None => {}
            }
        }
        let slowest = (0..links.len()).min_by_key(|&index| links[index].now.megabits_per_second());
        Self {
            links,
            unknown,
            slowest,
        }
    }
}

/// The link directly above a function; nothing where there is none (inside a switch, on a root bus, a
/// conventional bus).
pub fn above(topology: &Topology, node: NodeId) -> Option<Fact<LinkEnds>> {
    let Place::Below(bridge) = topology.place(node) else {
        return None;
    };
    let (lower, upper) = (topology.function(node), topology.function(bridge));
    if let Fact::Known(kind) = upper.port_type() {
        // Below an upstream port lies the inside of a switch, below a conventional bridge a bus.
        match kind {
            Some(PortType::ROOT_PORT | PortType::DOWNSTREAM | PortType::FROM_CONVENTIONAL) => {}
            _ => return None,
        }
    } else if matches!(lower.port_type(), Fact::Known(None | Some(PortType::DOWNSTREAM))) {
        return None;
    }
    let (low, high) = (end(lower.link()), end(upper.link()));
    let now = match (low, high) {
        // A device that was reset or moved may report nonsense; the port above keeps the link.
        (_, Fact::Known(Some(high))) => high.now,
        (Fact::Known(Some(low)), _) => low.now,
        (Fact::Known(None), Fact::Known(None)) => return None,
        (Fact::Unknown(why), _) | (_, Fact::Unknown(why)) => return Some(Fact::Unknown(why)),
    };
    let best = match (low, high) {
        (Fact::Known(Some(low)), Fact::Known(Some(high))) => Fact::Known(LinkState {
            rate: low.max.rate.min(high.max.rate),
            width: low.max.width.min(high.max.width),
        }),
        (Fact::Unknown(why), _) | (_, Fact::Unknown(why)) => Fact::Unknown(why),
        _ => Fact::NOT_IN_SOURCE,
    };
    let health = match (best, low, high) {
        _ if now.width == 0 => LinkHealth::Down,
        (Fact::Known(best), Fact::Known(Some(low)), Fact::Known(Some(high))) => {
            if now.width < best.width {
                LinkHealth::Narrowed
            } else if now.rate < best.rate {
                LinkHealth::Downtrained
            } else if low.max == high.max {
                LinkHealth::Full
            } else {
                LinkHealth::LimitedByOneEnd
            }
        }
        _ => LinkHealth::Unknown,
    };
    Some(Fact::Known(LinkEnds {
        below: lower.bdf,
        above: upper.bdf,
        now,
        best,
        health,
    }))
}

/// One end's word, where it makes sense: an unknown rate code is no information.
fn end(link: Fact<Option<Link>>) -> Fact<Option<Link>> {
    match link {
        Fact::Known(Some(link)) if link.now.width != 0 && link.now.megabits_per_second() == 0 => {
            Fact::NOT_IN_SOURCE
        }
        other => other,
    }
}
