//! What a mapper reads on the way of every request: each stretch of memory, and by which address its initiator reaches it.
//!
//! A view is made under the lock ([`super::state`]), once after each change, and is the mapper's own. Where one region is reached in several ways
//! (the part of its own BAR that a function can name, RAM with a reserved range in it), it has several entries, so that a request need compare
//! nothing more.

use super::mapping::Hold;
use super::{Direction, MapError, MemoryKind, Refused, Space};
use crate::addr::{Bdf, PhysAddr};
use crate::memory::{MemoryMap, RegionId};
use crate::route::Access;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// All stretches, as one initiator sees them.
#[derive(Debug)]
pub(super) struct View {
    /// By address.
    pub(super) entries: Vec<Entry>,
    /// The last address of each: close together, for the search.
    pub(super) lasts: Vec<u64>,
    pub(super) map: Arc<MemoryMap>,
    pub(super) generation: usize,
    pub(super) map_version: usize,
    pub(super) initiator: Bdf,
    pub(super) issued_mask: u64,
    pub(super) page_bytes: u64,
}

/// One stretch of memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) region: RegionId,
    /// The region's place in the map.
    pub(super) place: u32,
    /// Whose BAR it is.
    pub(super) provider: Option<Bdf>,
    reads: Way,
    writes: Way,
    both: Way,
}

/// How an initiator reaches a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// At `phys + delta`, modulo 2^64.
    Ready { delta: u64, reached: Reached },
    /// RAM under translation that is not registered: mapped for each request.
    ByRequest { is_forced: bool },
    /// Once the region's translations are held.
    Held { hold: Hold, reached: Reached },
    /// Not.
    No(Why),
}

/// What is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) space: Space,
    pub(super) kind: MemoryKind,
    pub(super) is_forced: bool,
}

/// Why a stretch is not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Route(Refused),
    Revoked,
    /// The region is being taken out of the map.
    Leaving,
    /// At `phys + delta` the device would reach something else.
    TwoThings {
        delta: u64,
    },
    NoAddress,
    TwoAddresses,
    OutsideAperture,
}

impl Entry {
    pub(super) fn new(
        span: (u64, u64),
        region: RegionId,
        place: u32,
        provider: Option<Bdf>,
        ways: (Way, Way),
    ) -> Self {
        let (reads, writes) = ways;
        Self {
            first: span.0,
            last: span.1,
            region,
            place,
            provider,
            reads,
            writes,
            both: reads.and(writes),
        }
    }

    #[inline]
    pub(super) fn holds(&self, addr: u64) -> bool {
        self.first <= addr && addr <= self.last
    }

    #[inline]
    pub(super) fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::DeviceReads => &self.reads,
            Direction::DeviceWrites => &self.writes,
            Direction::Both => &self.both,
        }
    }

    /// The error for a piece that is not reached.
    pub(super) fn refusal(&self, why: Why, initiator: Bdf, direction: Direction, addr: u64) -> MapError {
        let access = match direction {
            Direction::DeviceReads => Access::Read,
            Direction::DeviceWrites => Access::Write,
            Direction::Both if matches!(self.reads, Way::No(_)) => Access::Read,
            Direction::Both => Access::Write,
        };
        let phys = <PhysAddr as crate::addr::Address>::from_u64(addr);
        match why {
            Why::Route(refused) => match self.provider {
                Some(provider) => MapError::Unreachable {
                    initiator,
                    provider,
                    access,
                    refused,
                },
                None => MapError::RamUnreachable {
                    initiator,
                    access,
                    refused,
                },
            },
            Why::Revoked => MapError::Revoked(self.region),
            Why::Leaving => MapError::Stale,
            Why::TwoThings { delta } => MapError::AddressMeansTwoThings {
                addr: addr.wrapping_add(delta),
            },
            Why::NoAddress => MapError::NoAddress(phys),
            Why::TwoAddresses => MapError::TwoAddresses(self.region),
            Why::OutsideAperture => MapError::Iommu(crate::iommu::IommuError::BadRange),
        }
    }
}

impl Way {
    /// The way for reads and writes both: the one address of both, or none.
    fn and(self, writes: Self) -> Self {
        match (self, writes) {
            (Self::No(why), _) | (_, Self::No(why)) => Self::No(why),
            (Self::ByRequest { is_forced }, Self::ByRequest { is_forced: other }) => Self::ByRequest {
                is_forced: is_forced || other,
            },
            (
                Self::Ready { delta, reached },
                Self::Ready {
                    delta: other,
                    reached: and,
                },
            ) if delta == other && reached.space == and.space => {
                let reached = reached.and(and);
                Self::Ready { delta, reached }
            }
            (
                Self::Held { hold, reached },
                Self::Held {
                    hold: other,
                    reached: and,
                },
            ) if hold == other => {
                let reached = reached.and(and);
                Self::Held { hold, reached }
            }
            _ => Self::No(Why::TwoAddresses),
        }
    }
}

impl Reached {
    /// Where the two accesses go different ways by one address, the longer way gives the kind.
    fn and(self, other: Self) -> Self {
        Self {
            space: self.space,
            kind: match self.kind {
                MemoryKind::PeerOnBus => other.kind,
                kind => kind,
            },
            is_forced: self.is_forced || other.is_forced,
        }
    }
}

impl View {
    /// The place of the entry that holds an address. It is sought first where the last ones were found: requests go on in the region where
    /// they were, or turn between two.
    #[inline]
    pub(super) fn find(&self, addr: u64, hints: &mut [u32; 2]) -> Option<u32> {
        let [last, before] = *hints;
        let holds = |place: u32| (self.entries.get(place as usize)).is_some_and(|entry| entry.holds(addr));
        if holds(last) {
            return Some(last);
        }
        let place = match holds(before) {
            true => before,
            false => self.search(addr)?,
        };
        *hints = [place, last];
        Some(place)
    }

    fn search(&self, addr: u64) -> Option<u32> {
        let place = self.lasts.partition_point(|last| *last < addr);
        self.entries.get(place).filter(|entry| entry.first <= addr)?;
        u32::try_from(place).ok()
    }
}
