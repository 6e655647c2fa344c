//! Makes the entries of a view: for each region and access the address that the initiator must issue, and where no address will do, why.

use super::hold::RegionState;
use super::mapping::Hold;
use super::state::InitiatorState;
use super::view::{Entry, Reached, Way, Why};
use super::{MemoryKind, PeerRoute, Refused, Space};
use crate::addr::{Address, Iova, Span};
use crate::memory::{BarMemory, CpuView, Memory, Region};
use crate::route::spec::Form;
use crate::route::{Access, MapType};
use alloc::vec::Vec;

/// What the survey of one initiator sees.
pub(super) struct Survey<'s> {
    pub(super) initiator: &'s InitiatorState,
    pub(super) is_translated: bool,
    /// All that may not be issued unless it leads to exactly those bytes: sorted, apart from each other.
    pub(super) reserved: &'s [Span<Iova>],
    /// The part of it that is the initiator's own: no request for another's memory may carry it.
    pub(super) own: &'s [Span<Iova>],
    /// Bus addresses by which it would reach more than one BAR.
    pub(super) doubled: &'s [Span<Iova>],
}

/// A part of a region, reached in one way.
type Part = (u64, u64, Way);

impl Survey<'_> {
    /// The entries of one region, by address.
    pub(super) fn region(&self, place: u32, region: &Region, state: &RegionState, into: &mut Vec<Entry>) {
        let span = (region.span.first().to_u64(), region.span.last().to_u64());
        let provider = match region.memory {
            Memory::Ram => None,
            Memory::Bar(bar) => Some(bar.provider),
        };
        let parts = |access| match region.memory {
            _ if state.is_revoked => whole(span, Way::No(Why::Revoked)),
            _ if state.is_leaving => whole(span, Way::No(Why::Leaving)),
            Memory::Ram => self.ram(span, self.initiator.route(place, access), state),
            Memory::Bar(bar) if bar.provider == self.initiator.initiator.bdf => self.own_bar(span, bar),
            Memory::Bar(bar) => self.peer(span, bar, self.initiator.route(place, access), state),
        };
        let (reads, writes) = (parts(Access::Read), parts(Access::Write));
        // Both cover the region without gaps: an entry ends where either has a part that ends.
        let (mut read, mut write) = (reads.iter().peekable(), writes.iter().peekable());
        let mut first = span.0;
        while let (Some(reads), Some(writes)) = (read.peek(), write.peek()) {
            let last = reads.1.min(writes.1);
            let ways = (reads.2, writes.2);
            into.push(Entry::new((first, last), region.id, place, provider, ways));
            if reads.1 == last {
                read.next();
            }
            if writes.1 == last {
                write.next();
            }
            let Some(next) = last.checked_add(1) else { return };
            first = next;
        }
    }

    fn ram(&self, span: (u64, u64), route: Routed, state: &RegionState) -> Vec<Part> {
        let is_forced = match route {
            Routed::Reached { is_forced, .. } => is_forced,
            Routed::Refused(refused) => return whole(span, Way::No(Why::Route(refused))),
        };
        let reached = Reached {
            space: Space::Iova,
            kind: MemoryKind::Ram,
            is_forced,
        };
        if !self.is_translated {
            return self.at_offset(span, self.to_host(), reached, self.reserved);
        }
        let way = match state.registered_delta(Hold::Iova) {
            Some(delta) => Way::Ready { delta, reached },
            None => Way::ByRequest { is_forced },
        };
        match self.initiator.initiator.class.is_translated() {
            // The requests carry what a translation agent answers.
            true => self.but_where_named_twice(span, self.to_host(), way, self.reserved),
            false => whole(span, way),
        }
    }

    /// What is added to a physical address where no IOMMU translates.
    fn to_host(&self) -> i128 {
        -i128::from(self.initiator.initiator.inbound_offset as i64)
    }

    fn own_bar(&self, span: (u64, u64), bar: BarMemory) -> Vec<Part> {
        let mut parts = Parts::of(span, Way::No(Why::Route(Refused::NotNamed(bar.provider))));
        // In bytes from the start of the BAR; the region's last byte, too, has an address.
        let to_bar = i128::from(bar.offset_bytes) - i128::from(span.0);
        let reached = Reached {
            space: Space::Own,
            kind: MemoryKind::OwnBar,
            is_forced: false,
        };
        for own in self.initiator.own.iter().filter(|own| own.bar == bar.bar) {
            let first = i128::from(own.offset_bytes) - to_bar;
            let delta = own
                .base
                .wrapping_sub(own.offset_bytes)
                .wrapping_add(to_bar as u64);
            let ready = Way::Ready { delta, reached };
            parts.put(first, first + i128::from(own.len_bytes) - 1, ready);
        }
        parts.done
    }

    fn peer(&self, span: (u64, u64), bar: BarMemory, route: Routed, state: &RegionState) -> Vec<Part> {
        let (map_type, form, is_forced) = match route {
            Routed::Reached {
                map_type,
                form,
                is_forced,
            } => (map_type, form, is_forced),
            Routed::Refused(refused) => return whole(span, Way::No(Why::Route(refused))),
        };
        let kind = match map_type {
            MapType::BusAddr => MemoryKind::PeerOnBus,
            MapType::ThruHostBridge => MemoryKind::PeerThroughHostBridge,
            MapType::NotSupported => {
                return whole(span, Way::No(Why::Route(Refused::NotSupported(bar.provider))));
            }
        };
        let to_bus = i128::from(span.0.wrapping_add(bar.bus_offset)) - i128::from(span.0);
        let reached = |space| Reached {
            space,
            kind,
            is_forced,
        };
        let is_translated_request = self.initiator.initiator.class.is_translated();
        match form {
            // What the CPU cannot address has no physical address: its name leads nowhere, or to another's memory.
            _ if bar.cpu == CpuView::None
                && (form == Form::HostAddress || (self.is_translated && is_translated_request)) =>
            {
                whole(span, Way::No(Why::NoAddress))
            }
            _ if self.is_translated && (form == Form::HostAddress || is_translated_request) => {
                let reached = reached(Space::Iova);
                whole(span, held(Hold::Iova, reached, state))
            }
            Form::BusAddress => {
                let reached = reached(Space::Bus);
                let mut parts = Parts::of(span, self.by_bus(bar, reached, state));
                for span in self.own.iter().chain(self.doubled) {
                    parts.two_things(*span, to_bus);
                }
                parts.done
            }
            // Where the two addresses are one number it leads to the same bytes either way.
            Form::HostAddress if self.to_host() == to_bus => {
                self.at_offset(span, to_bus, reached(Space::Iova), self.own)
            }
            Form::HostAddress => self.at_offset(span, self.to_host(), reached(Space::Iova), self.reserved),
        }
    }

    /// By its bus address, which the IOMMU translates to the same bytes if it comes to see it (invariant 7).
    fn by_bus(&self, bar: BarMemory, reached: Reached, state: &RegionState) -> Way {
        let delta = bar.bus_offset;
        if !self.is_translated {
            return Way::Ready { delta, reached };
        }
        if state.has_net {
            return held(Hold::Bus, reached, state);
        }
        match reached.kind {
            // The IOMMU does not see it, as far as anybody knows.
            MemoryKind::PeerOnBus => Way::Ready { delta, reached },
            _ => Way::No(Why::OutsideAperture),
        }
    }

    /// At `phys + offset`, but where that is reserved or is no address.
    fn at_offset(
        &self,
        span: (u64, u64),
        offset: i128,
        reached: Reached,
        reserved: &[Span<Iova>],
    ) -> Vec<Part> {
        let delta = offset as u64;
        self.but_where_named_twice(span, offset, Way::Ready { delta, reached }, reserved)
    }

    /// In this way, but where `phys + offset` is reserved or is no address.
    fn but_where_named_twice(
        &self,
        span: (u64, u64),
        offset: i128,
        way: Way,
        reserved: &[Span<Iova>],
    ) -> Vec<Part> {
        let mut parts = Parts::of(span, way);
        for span in reserved {
            parts.two_things(*span, offset);
        }
        parts.outside((-offset, i128::from(u64::MAX) - offset), Way::No(Why::NoAddress));
        parts.done
    }
}

/// How a peer, or RAM, is reached, or not, overrides included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Routed {
    Reached {
        map_type: MapType,
        form: Form,
        is_forced: bool,
    },
    Refused(Refused),
}

impl Routed {
    pub(super) fn judged(route: PeerRoute) -> Self {
        match route {
            PeerRoute::Reached { map_type, form } => Self::Reached {
                map_type,
                form,
                is_forced: false,
            },
            PeerRoute::Refused(refused) => Self::Refused(refused),
        }
    }
}

fn whole(span: (u64, u64), way: Way) -> Vec<Part> {
    alloc::vec![(span.0, span.1, way)]
}

fn held(hold: Hold, reached: Reached, state: &RegionState) -> Way {
    match state.registered_delta(hold) {
        Some(delta) => Way::Ready { delta, reached },
        None => Way::Held { hold, reached },
    }
}

/// A region that is cut into parts.
struct Parts {
    done: Vec<Part>,
}

impl Parts {
    fn of(span: (u64, u64), way: Way) -> Self {
        Self {
            done: whole(span, way),
        }
    }

    /// Where `phys + offset` lies in `span`, it is not reached.
    fn two_things(&mut self, span: Span<Iova>, offset: i128) {
        let first = i128::from(span.first().to_u64()) - offset;
        let last = i128::from(span.last().to_u64()) - offset;
        let delta = offset as u64;
        self.put(first, last, Way::No(Why::TwoThings { delta }));
    }

    fn outside(&mut self, (first, last): (i128, i128), way: Way) {
        self.put(i128::MIN, first - 1, way);
        self.put(last + 1, i128::MAX, way);
    }

    /// From `first` to `last` it is reached in this way, as far as it reaches.
    fn put(&mut self, first: i128, last: i128, way: Way) {
        let mut parts = Vec::with_capacity(self.done.len() + 2);
        for &(start, end, before) in &self.done {
            let low = i128::from(start).max(first);
            let high = i128::from(end).min(last);
            if low > high {
                parts.push((start, end, before));
                continue;
            }
            // Both lie within the part, whose ends are addresses.
            let (low, high) = (low as u64, high as u64);
            if start < low {
                parts.push((start, low - 1, before));
            }
            parts.push((low, high, way));
            if high < end {
                parts.push((high + 1, end, before));
            }
        }
        self.done = parts;
    }
}
