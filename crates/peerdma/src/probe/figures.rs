//! How long a route takes, and how much it lets through; and the same through RAM, to compare.

use super::Site;
use super::keep::{Kept, Window, at};
use crate::addr::{Address, Origin, PhysAddr, PhysVec};
use crate::block::{Data, Operation};
use crate::load::{self, Load, Order, Wish};
use crate::route::Access;
use alloc::vec::Vec;

/// How figures are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speed {
    /// Operations one at a time, at most.
    pub latency_operations: u64,
    /// Operations at once, in all, at most.
    pub bandwidth_operations: u64,
    /// How long each of the two may take, in nanoseconds.
    pub budget_ns: u64,
}

impl Default for Speed {
    fn default() -> Self {
        Self {
            latency_operations: 500,
            bandwidth_operations: 2_000,
            budget_ns: 1_000_000_000,
        }
    }
}

/// What was measured of one way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Bytes of an operation whose latency was measured.
    pub latency_bytes: u32,
    /// The shortest, in nanoseconds.
    pub min_ns: u64,
    /// As many were longer as shorter.
    pub median_ns: u64,
    /// One of a hundred was longer.
    pub p99_ns: u64,
    /// Bytes of an operation of many at once.
    pub bandwidth_bytes: u32,
    /// How many at once.
    pub depth: u32,
    /// Bytes moved by them.
    pub moved_bytes: u64,
    /// In so many nanoseconds.
    pub took_ns: u64,
}

impl Figures {
    /// Bytes a second; nothing where no time has passed.
    pub fn bytes_per_second(&self) -> Option<u64> {
        let per_second = u128::from(self.moved_bytes) * 1_000_000_000;
        let per_second = per_second.checked_div(u128::from(self.took_ns))?;
        u64::try_from(per_second).ok()
    }
}

const PAGE_BYTES: u64 = 4096;
/// Bytes of one of many operations at once.
const BANDWIDTH_BYTES: u64 = 64 << 10;

/// Takes figures of the pair and of RAM; nothing where an operation fails, or there is no room.
pub(super) fn take(
    site: &mut Site<'_>,
    kept: &Kept,
    access: Access,
    speed: &Speed,
    (max_bytes, depth): (u32, u16),
    wish: &mut dyn FnMut() -> Wish,
) -> Option<[Figures; 2]> {
    let Window {
        offset_bytes,
        len_bytes,
    } = kept.longest()?;
    let memory = page_aligned(at(site, offset_bytes), len_bytes)?;
    let ram = page_aligned(site.ram.first(), site.ram.len_bytes().unwrap_or(u64::MAX))?;
    let block = u64::from(site.volume.limits().block_bytes.max(1));
    // The same on both ways, or nothing is compared.
    let room = memory.1.min(ram.1).min(site.scratch.blocks.saturating_mul(block));
    let room = room.min(kept.scratch_bytes());
    let latency_bytes = PAGE_BYTES.next_multiple_of(block).min(room / block * block);
    let each = BANDWIDTH_BYTES.min(max_bytes.into()).min(room / 2) / block * block;
    let each = if each == 0 { latency_bytes } else { each };
    let stride = each.next_multiple_of(PAGE_BYTES);
    let at_once = (room / stride.max(1)).clamp(1, depth.into());
    if latency_bytes == 0 || latency_bytes > max_bytes.into() {
        return None;
    }
    let mut of = |first: PhysAddr, origin| {
        let mut go = |bytes: u64, count: u64, operations: u64| {
            if wish() == Wish::Stop {
                return None;
            }
            let slot = |index: u64| {
                let at = first.checked_add(index * stride)?;
                let piece = PhysVec::new(at, u32::try_from(bytes).ok()?, origin).ok()?;
                Some(Data::Vector(Vec::from([piece])))
            };
            let data: Option<Vec<Data>> = (0..count).map(slot).collect();
            let load = Load {
                operation: match access {
                    Access::Write => Operation::Read,
                    Access::Read => Operation::Write,
                },
                first_lba: site.scratch.lba,
                blocks: room / block,
                blocks_each: u32::try_from(bytes / block).ok()?,
                order: Order::Sequential,
                most_operations: operations,
                budget_ns: speed.budget_ns,
            };
            let ended = load::run(&load, &mut *site.volume, data?, site.host, &mut |_| wish());
            ended.trouble.is_none().then_some(ended.measured)
        };
        let alone = go(latency_bytes, 1, speed.latency_operations)?;
        let many = go(each, at_once, speed.bandwidth_operations)?;
        Some(Figures {
            latency_bytes: u32::try_from(latency_bytes).ok()?,
            min_ns: alone.latencies.min_ns()?,
            median_ns: alone.latencies.quantile_ns(50_000)?,
            p99_ns: alone.latencies.quantile_ns(99_000)?,
            bandwidth_bytes: u32::try_from(each).ok()?,
            depth: u32::try_from(at_once).ok()?,
            moved_bytes: many.bytes,
            took_ns: many.took_ns,
        })
    };
    let pair = of(memory.0, Origin::LookUp)?;
    let ram = of(ram.0, Origin::Ram)?;
    Some([pair, ram])
}

/// Where a stretch's first page begins, and how much follows.
fn page_aligned(first: PhysAddr, len_bytes: u64) -> Option<(PhysAddr, u64)> {
    let start = first.to_u64().checked_next_multiple_of(PAGE_BYTES)?;
    let left = len_bytes.checked_sub(start - first.to_u64())?;
    Some((PhysAddr::from_u64(start), left))
}
