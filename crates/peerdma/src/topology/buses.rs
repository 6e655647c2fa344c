//! From bus numbers to places: which bridge leads to which bus.
//!
//! Within a domain every configured bridge claims the buses from its secondary to its subordinate
//! number. Sound claims are nested like the bridges themselves. A bus that two bridges claim without
//! one being below the other has no known bridge; a bus that nobody claims is a root bus, unless the
//! listing was cut.

use super::claims_buses;
use crate::addr::Bdf;
use crate::fact::{Fact, Unread};
use crate::pci::{ClassCode, PortType};
use crate::snapshot::{Function, Snapshot, Warnings};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// What is directly above a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upstream {
    /// Nothing: it is on the root bus with this number.
    RootBus(u8),
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
            places[index] = place(snapshot, &functions[index], &buses, warnings);
        }
        start = end;
    }
    places
}

fn place(snapshot: &Snapshot, function: &Function, buses: &Buses, warnings: &mut Warnings) -> Upstream {
    match function.upstream {
        Fact::Known(Some(bridge)) => match snapshot.position(bridge) {
            Some(position) if leads_to(&snapshot.functions()[position], function.bdf) => {
                Upstream::Bridge(position)
            }
            Some(_) => {
                warnings.push(
                    function.bdf,
                    format!(
                        "the source puts it below {bridge}, which leads to no such bus; every verdict about it, and about \
                         what is below it, is unknown"
                    ),
                );
                Upstream::Unknown
            }
            None => {
                warnings.push(
                    function.bdf,
                    format!(
                        "the bridge {bridge} above it is missing from the source; every verdict about it, and about \
                         what is below it, is unknown"
                    ),
                );
                match buses.above[usize::from(function.bdf.bus())] {
                    Upstream::Bridge(next) | Upstream::BeyondGap(next) => Upstream::BeyondGap(next),
                    _ => Upstream::Unknown,
                }
            }
        },
        Fact::Known(None) => match function.os.physical_function {
            // A virtual function may have a bus number of its own; it belongs where its physical one does.
            Fact::Known(Some(physical)) if snapshot.position(physical).is_none() => {
                warnings.push(
                    function.bdf,
                    format!("its physical function {physical} is missing from the source; every verdict about it is unknown"),
                );
                Upstream::Unknown
            }
            Fact::Known(Some(physical)) => Upstream::RootBus(physical.bus()),
            _ => Upstream::RootBus(function.bdf.bus()),
        },
        Fact::Unknown(Unread::Contradictory) => Upstream::Unknown,
        Fact::Unknown(_) => {
            let bus = buses
                .virtual_functions
                .physical_bus(function.bdf)
                .unwrap_or(function.bdf.bus());
            buses.above[usize::from(bus)]
        }
    }
}

/// Can the function at `below` be below `bridge`, as far as its own bus numbers tell?
fn leads_to(bridge: &Function, below: Bdf) -> bool {
    bridge.bdf.domain() == below.domain()
        && match bridge.config.bridge {
            Fact::Known(None) => false,
            Fact::Known(Some(numbers)) => (numbers.secondary..=numbers.subordinate).contains(&below.bus()),
            Fact::Unknown(_) => true,
        }
}

/// What leads to each bus of one domain.
struct Buses {
    above: [Upstream; 256],
    virtual_functions: VirtualFunctions,
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
        let mut above: [Upstream; 256] = core::array::from_fn(|bus| Upstream::RootBus(bus as u8));
        let is_told = |function: &Function| match function.upstream {
            Fact::Known(Some(bridge)) => snapshot.position(bridge).is_some(),
            Fact::Known(None) => true,
            Fact::Unknown(_) => false,
        };
        if functions.iter().all(is_told) {
            return Self {
                above,
                virtual_functions: VirtualFunctions::default(),
            };
        }
        claims.sort_by_key(|claim| (claim.first, core::cmp::Reverse(claim.last)));
        nest(snapshot, &claims, &mut doubtful, warnings);
        // Inner claims come after outer ones, so the innermost claim is written last.
        for claim in &claims {
            above[usize::from(claim.first)] = Upstream::Bridge(claim.bridge);
            // Only its secondary bus is directly below a bridge. On a further bus that no bridge leads
            // to, and no virtual functions, something in between is missing.
            for bus in claim.first..claim.last {
                above[usize::from(bus) + 1] = Upstream::BeyondGap(claim.bridge);
            }
        }
        let mut buses = Self {
            above,
            virtual_functions: VirtualFunctions::of(functions),
        };
        for (bus, doubtful) in doubtful.iter().enumerate() {
            if *doubtful {
                buses.above[bus] = Upstream::Unknown;
            }
        }
        buses.doubt_orphans(functions, warnings);
        buses.doubt_cut_listings(functions, warnings);
        buses.tell_of_gaps(snapshot, functions, warnings);
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
            bus > own && self.is_root(bus) && !function.upstream.is_known()
        };
        if functions.iter().any(|function| orphan(&function)) {
            warnings.push(
                silent.bdf,
                "its bus numbers are unknown, if it is a bridge; what lies on higher buses that no other bridge \
                 claims has no known place",
            );
        }
        for above in &mut self.above[usize::from(own) + 1..] {
            if matches!(above, Upstream::RootBus(_)) {
                *above = Upstream::Unknown;
            }
        }
    }

    /// A bus that no bridge leads to is a root bus, unless the listing was cut. Bus 0 always is one; a
    /// higher bus has to show it: by a function that only root buses have, or because bus 0 shows a host
    /// bridge, so that the listing was not cut down to some devices. Where a function must sit below a link
    /// (PCIe Base 7.5.3.2: endpoints and ports of switches), it was cut.
    fn doubt_cut_listings(&mut self, functions: &[Function], warnings: &mut Warnings) {
        let is_host_bridge =
            |function: &Function| function.class().map(ClassCode::class) == Some(ClassCode::HOST_BRIDGE);
        let port_type = |function: &Function| function.port_type().known().flatten();
        let shows_bus_0 = functions
            .iter()
            .any(|function| function.bdf.bus() == 0 && is_host_bridge(function));
        for bus in functions.chunk_by(|one, next| one.bdf.bus() == next.bdf.bus()) {
            let Some(first) = bus.first() else { continue };
            let number = first.bdf.bus();
            if number == 0 || !self.is_root(number) || bus.iter().all(|function| function.upstream.is_known())
            {
                continue;
            }
            let below_a_link =
                |function: &Function| port_type(function).is_some_and(PortType::sits_below_a_link);
            let on_root_bus = |function: &Function| {
                is_host_bridge(function) || port_type(function).is_some_and(PortType::sits_on_a_root_bus)
            };
            if bus.iter().any(below_a_link) || !shows_bus_0 && !bus.iter().any(on_root_bus) {
                warnings.push(
                    first.bdf,
                    format!(
                        "no bridge in the source leads to bus {number:02x}, and nothing shows that it is a root bus: the \
                         listing was cut, or taken without privilege; take it again without a filter, as root. Every \
                         verdict about this bus is unknown"
                    ),
                );
                self.above[usize::from(number)] = Upstream::Unknown;
            }
        }
    }

    /// Says for each bus with functions that something above it is missing.
    fn tell_of_gaps(&self, snapshot: &Snapshot, functions: &[Function], warnings: &mut Warnings) {
        for bus in functions.chunk_by(|one, next| one.bdf.bus() == next.bdf.bus()) {
            let affected = bus.iter().find(|function| {
                !function.upstream.is_known() && self.virtual_functions.physical_bus(function.bdf).is_none()
            });
            let Some(affected) = affected else { continue };
            if let Upstream::BeyondGap(bridge) = self.above[usize::from(affected.bdf.bus())] {
                warnings.push(
                    affected.bdf,
                    format!(
                        "the bridge that leads to bus {:02x}, somewhere below {}, is missing from the source; every verdict \
                         about this bus is unknown",
                        affected.bdf.bus(),
                        snapshot.functions()[bridge].bdf
                    ),
                );
            }
        }
    }

    fn is_root(&self, bus: u8) -> bool {
        matches!(self.above[usize::from(bus)], Upstream::RootBus(_))
    }
}

/// The routing IDs of the virtual functions of a domain, as their physical functions tell them (PCIe Base
/// 9.2.1.2): they may lie on buses to which no bridge leads.
#[derive(Default)]
struct VirtualFunctions {
    /// Bus of the physical function, plus one, for each routing ID; empty where there are none.
    physical_buses: Vec<u16>,
}

impl VirtualFunctions {
    /// Real devices stay far below this sum over all physical functions of a domain.
    const MOST: u32 = 1 << 20;

    fn of(functions: &[Function]) -> Self {
        let mut physical_buses = Vec::new();
        let mut budget = Self::MOST;
        for function in functions {
            let Fact::Known(Some(sriov)) = function.config.sriov else {
                continue;
            };
            if !sriov.enabled || u32::from(sriov.count) > budget {
                continue;
            }
            budget -= u32::from(sriov.count);
            physical_buses.resize(1 << 16, 0);
            let bus = function.bdf.bus();
            let own = u32::from(bus) << 8 | u32::from(function.bdf.devfn());
            for number in 0..u32::from(sriov.count) {
                let id = own + u32::from(sriov.first_offset) + number * u32::from(sriov.stride);
                if let Some(slot) = physical_buses.get_mut(id as usize) {
                    *slot = u16::from(bus) + 1;
                }
            }
        }
        Self { physical_buses }
    }

    /// The bus of the physical function, if this is a virtual one.
    fn physical_bus(&self, bdf: Bdf) -> Option<u8> {
        let id = usize::from(bdf.bus()) << 8 | usize::from(bdf.devfn());
        let bus = self.physical_buses.get(id)?.checked_sub(1)?;
        u8::try_from(bus).ok()
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
