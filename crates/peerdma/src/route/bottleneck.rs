//! The slowest link on the way, and what is wrong with it.

#[cfg(test)]
mod tests;

use crate::addr::Bdf;
use crate::fact::Fact;
use crate::pci::{Link, LinkState, PortType};
use crate::snapshot::Function;
use crate::topology::{NodeId, Path, Place, Topology};
use alloc::vec::Vec;

/// The link above a function: seen from the port above and from the function below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LinkEnds {
    /// The function at the lower end.
    pub below: Bdf,
    /// The port at the upper end; nothing where the source lacks it.
    pub above: Option<Bdf>,
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
    let lower = topology.function(node);
    let upper = topology.function(bridge);
    let (low, high) = match (faces_up(lower), faces_down(upper)) {
        // The port that is named is not the one at the other end.
        (Facing::Yes | Facing::Unknown, _) if topology.has_gap_above(node) => {
            (own(lower), Fact::NOT_IN_SOURCE)
        }
        (Facing::No, _) | (_, Facing::No) => return None,
        (Facing::Yes, Facing::Yes) => (own(lower), own(upper)),
        (Facing::Unknown, Facing::Yes) => (Fact::NOT_IN_SOURCE, own(upper)),
        // A switch's upstream port has a link too, but above itself.
        (Facing::Yes, Facing::Unknown) => (own(lower), Fact::NOT_IN_SOURCE),
        (Facing::Unknown, Facing::Unknown) => (Fact::NOT_IN_SOURCE, Fact::NOT_IN_SOURCE),
    };
    let now = match (low, high) {
        // A device that was reset or moved may report nonsense; the port above keeps the link.
        (_, Fact::Known(Some(high))) => high.now,
        // A function that shows no lane, while nothing is known of the port, need not mean the link.
        (Fact::Known(Some(low)), _) if low.now.width != 0 => low.now,
        (Fact::Known(None), Fact::Known(None)) => return None,
        (Fact::Unknown(why), _) | (_, Fact::Unknown(why)) => return Some(Fact::Unknown(why)),
        _ => return Some(Fact::NOT_IN_SOURCE),
    };
    let best = match (low, high) {
        (Fact::Known(Some(low)), Fact::Known(Some(high))) => Fact::Known(LinkState {
            rate: low.max.rate.min(high.max.rate),
            width: low.max.width.min(high.max.width),
        }),
        (Fact::Unknown(why), _) | (_, Fact::Unknown(why)) => Fact::Unknown(why),
        _ => Fact::NOT_IN_SOURCE,
    };
    Some(Fact::Known(LinkEnds {
        below: lower.bdf,
        above: (!topology.has_gap_above(node)).then_some(upper.bdf),
        now,
        best,
        health: health(now, best, low, high),
    }))
}

fn health(
    now: LinkState,
    best: Fact<LinkState>,
    low: Fact<Option<Link>>,
    high: Fact<Option<Link>>,
) -> LinkHealth {
    match (best, low, high) {
        _ if now.width == 0 => LinkHealth::Down,
        // More than both can do: one of the registers means something else.
        (Fact::Known(best), ..) if now.width > best.width || now.rate > best.rate => LinkHealth::Unknown,
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
    }
}

/// Is a function's own link on this side of it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Facing {
    Yes,
    No,
    Unknown,
}

/// Is the function's link the one above it?
fn faces_up(function: &Function) -> Facing {
    let is_virtual = matches!(function.os.physical_function, Fact::Known(Some(_)));
    match function.port_type() {
        // The registers of a virtual function read 0.
        _ if is_virtual => Facing::Unknown,
        Fact::Known(
            None | Some(PortType::ROOT_PORT | PortType::DOWNSTREAM | PortType::FROM_CONVENTIONAL),
        ) => Facing::No,
        Fact::Known(Some(_)) => Facing::Yes,
        // What leads to no further bus is no port.
        Fact::Unknown(_) if function.config.bridge == Fact::Known(None) => Facing::Yes,
        Fact::Unknown(_) => Facing::Unknown,
    }
}

/// Is the function's link the one below it?
fn faces_down(function: &Function) -> Facing {
    match function.port_type() {
        Fact::Known(Some(PortType::ROOT_PORT | PortType::DOWNSTREAM | PortType::FROM_CONVENTIONAL)) => {
            Facing::Yes
        }
        Fact::Known(_) => Facing::No,
        Fact::Unknown(_) => Facing::Unknown,
    }
}

/// A function's word on its link, where it makes sense: an unknown rate code is no information.
fn own(function: &Function) -> Fact<Option<Link>> {
    match function.link() {
        Fact::Known(Some(link)) if link.now.width != 0 && link.now.megabits_per_second() == 0 => {
            Fact::NOT_IN_SOURCE
        }
        other => other,
    }
}
