//! From bus numbers to places: which bridge leads to which bus.
//!
//! Within a domain every configured bridge claims the buses from its secondary to its subordinate
//! number. Sound claims are nested like the bridges themselves. A bus that two bridges claim without
//! one being below the other has no known bridge; a bus that nobody claims is a root bus.

use super::claims_buses;
use crate::addr::Bdf;
use crate::fact::Fact;
use crate::snapshot::{Function, Snapshot, Warnings};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// What is directly above a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upstream {
    RootBus,
    /// Position of the bridge in the snapshot.
    Bridge(usize),
    /// The same of a bridge further up: the one directly above is missing from the source.
    BeyondGap(usize),
    Unknown,
}

/// A bridge's claim on buses of its domain.
#[derive(Debug, Clone, Copy)]
struct Claim {
    bridge: usize,
    /// The bus that the bridge itself sits on.
    own: u8,
    first: u8,
    last: u8,
}

/// What is directly above each function, in the order of the snapshot.
pub(super) fn places(snapshot: &Snapshot, warnings: &mut Warnings) -> Vec<Upstream> {
    let functions = snapshot.functions();
    let mut places = vec![Upstream::Unknown; functions.len()];
    let mut start = 0;
    while start < functions.len() {
        let domain = functions[start].bdf.domain();
        let end = start + functions[start..].partition_point(|function| function.bdf.domain() == domain);
        let buses = Buses::of_domain(snapshot, start..end, warnings);
        for index in start..end {
            let function = &functions[index];
            places[index] = match function.upstream {
                Fact::Known(None) => Upstream::RootBus,
                Fact::Known(Some(bridge)) => match snapshot.position(bridge) {
                    Some(position) => Upstream::Bridge(position),
                    None => {
                        warnings.push(
                            function.bdf,
                            format!(
                                "the bridge {bridge} above it is missing from the source; every verdict about it, \
                                 and about what is below it, is unknown"
                            ),
                        );
                        match buses.above[usize::from(function.bdf.bus())] {
                            Upstream::Bridge(next) => Upstream::BeyondGap(next),
                            _ => Upstream::Unknown,
                        }
                    }
                },
                Fact::Unknown(crate::fact::Unread::Contradictory) => Upstream::Unknown,
                Fact::Unknown(_) => buses.above[usize::from(function.bdf.bus())],
            };
        }
        start = end;
    }
    places
}

/// What leads to each bus of one domain.
struct Buses {
    above: [Upstream; 256],
}

impl Buses {
    fn of_domain(snapshot: &Snapshot, range: core::ops::Range<usize>, warnings: &mut Warnings) -> Self {
        let functions = &snapshot.functions()[range.clone()];
        let mut claims = Vec::new();
        // Buses of whose bridge nothing certain is known.
        let mut doubtful = [false; 256];
        for (offset, function) in functions.iter().enumerate() {
            let Some((first, last)) = claims_buses(function) else {
                continue;
            };
            let own = function.bdf.bus();
            if first > own && last >= first {
                claims.push(Claim {
                    bridge: range.start + offset,
                    own,
                    first,
                    last,
                });
            } else if (first, last) != (0, 0) && !function.upstream.is_known() {
                // Firmware leaves an unused bridge at 0-0, which is sound and claims nothing.
                warnings.push(
                    function.bdf,
                    format!(
                        "the bridge sits on bus {own:02x} and claims the buses {first:02x} to {last:02x}, which cannot be; \
                         what lies on them has no known place"
                    ),
                );
                for bus in first.max(1)..=last {
                    doubtful[usize::from(bus)] |= bus != own;
                }
            }
        }
        let mut above = [Upstream::RootBus; 256];
        let is_told = |function: &Function| match function.upstream {
            Fact::Known(Some(bridge)) => snapshot.position(bridge).is_some(),
            Fact::Known(None) => true,
            Fact::Unknown(_) => false,
        };
        if functions.iter().all(is_told) {
            return Self { above };
        }
        claims.sort_by_key(|claim| (claim.first, core::cmp::Reverse(claim.last)));
        nest(snapshot, &claims, &mut doubtful, warnings);
        // Inner claims come after outer ones, so the innermost claim is written last.
        for claim in &claims {
            for bus in claim.first..=claim.last {
                above[usize::from(bus)] = Upstream::Bridge(claim.bridge);
            }
        }
        let mut buses = Self { above };
        for (bus, doubtful) in doubtful.iter().enumerate() {
            if *doubtful {
                buses.above[bus] = Upstream::Unknown;
            }
        }
        buses.doubt_orphans(functions, warnings);
        buses.doubt_cut_listings(functions, warnings);
        buses
    }

    /// A bridge whose bus numbers nobody knows may lead to any higher bus that no other bridge claims.
    fn doubt_orphans(&mut self, functions: &[Function], warnings: &mut Warnings) {
        let silent = functions.iter().find(|function| {
            let may_be_bridge = function.class().is_none_or(|class| class.is_bridge_to_buses());
            may_be_bridge && !function.config.bridge.is_known() && !function.upstream.is_known()
        });
        let Some(silent) = silent else {
            return;
        };
        let own = silent.bdf.bus();
        let orphan = |function: &&Function| {
            let bus = function.bdf.bus();
            bus > own && self.above[usize::from(bus)] == Upstream::RootBus && !function.upstream.is_known()
        };
        if functions.iter().any(|function| orphan(&function)) {
            warnings.push(
                silent.bdf,
                "its bus numbers are unknown, if it is a bridge; what lies on higher buses that no other bridge \
                 claims has no known place",
            );
        }
        for above in &mut self.above[usize::from(own) + 1..] {
            if *above == Upstream::RootBus {
                *above = Upstream::Unknown;
            }
        }
    }

    /// A PCIe endpoint or switch port cannot sit on a root bus of a physical machine; virtual machines
    /// put them on bus 0. On a higher bus to which no bridge leads, the listing was cut.
    fn doubt_cut_listings(&mut self, functions: &[Function], warnings: &mut Warnings) {
        let mut last_bus = None;
        for function in functions {
            let bus = function.bdf.bus();
            if last_bus == Some(bus) {
                continue;
            }
            last_bus = Some(bus);
            let below_a_link =
                matches!(function.port_type(), Fact::Known(Some(kind)) if kind.sits_below_a_link());
            if bus != 0
                && below_a_link
                && !function.upstream.is_known()
                && self.above[usize::from(bus)] == Upstream::RootBus
            {
                warnings.push(
                    function.bdf,
                    format!(
                        "no bridge in the source leads to bus {bus:02x}, though a link must: the listing was cut; \
                         take it again without a filter. Every verdict about this bus is unknown"
                    ),
                );
                self.above[usize::from(bus)] = Upstream::Unknown;
            }
        }
    }
}

/// Finds claims that are not nested as bridges are, and marks the buses that are in doubt.
fn nest(snapshot: &Snapshot, claims: &[Claim], doubtful: &mut [bool; 256], warnings: &mut Warnings) {
    let bdf = |claim: &Claim| -> Bdf { snapshot.functions()[claim.bridge].bdf };
    let mut open: Vec<Claim> = Vec::new();
    for claim in claims {
        while open.last().is_some_and(|outer| outer.last < claim.first) {
            open.pop();
        }
        if let Some(outer) = open.last() {
            let inside = claim.last <= outer.last && claim.own >= outer.first && claim.own <= outer.last;
            if !inside {
                let last = claim.last.min(outer.last);
                warnings.push(
                    bdf(claim),
                    format!(
                        "this bridge and {} both claim the buses {:02x} to {last:02x}; what lies on them has no known place",
                        bdf(outer),
                        claim.first,
                    ),
                );
                for bus in claim.first..=last {
                    doubtful[usize::from(bus)] = true;
                }
            }
        }
        // Of two claims that cross, the one that reaches further stays open.
        match open.last_mut() {
            Some(outer) if claim.last > outer.last => *outer = *claim,
            _ => open.push(*claim),
        }
    }
}
