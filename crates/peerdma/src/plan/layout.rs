//! Where slots and completion queue lie in the memory of a plan.

use super::{DeviceMemory, QueueNeeds, Reason, Situation, Unfit};
use crate::addr::{Address, Bdf, Origin, PhysAddr, PhysVec, Span};
use crate::block::{Limits, common_multiple, contiguous_bytes};

/// What a plan does with its memory: a completion queue where one is needed, then slots of one chunk each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Whose memory; nothing for RAM.
    pub provider: Option<Bdf>,
    /// Where the first slot begins.
    pub slots_at: PhysAddr,
    /// How far one slot is from the next, in bytes.
    pub stride_bytes: u64,
    /// How many slots.
    pub slots: u32,
    /// How many bytes of each are used: a whole number of blocks of both ends.
    pub chunk_bytes: u32,
    /// Where the source's completion entries must lie for the proof of arrival; nothing where RAM will do.
    pub completion_queue: Option<Span<PhysAddr>>,
}

/// Memory that a plan could use.
#[derive(Debug, Clone, Copy)]
pub(super) enum Memory {
    Ram(Span<PhysAddr>),
    Device(DeviceMemory),
}

/// Slots begin at a page, so that no list of pages has more entries than it must.
const PAGE_BYTES: u64 = 4096;

/// Fewer slots than this leave ends waiting for each other: rather make them smaller.
const FEW_SLOTS: u64 = 4;

/// More than this are never under way.
const MOST_SLOTS: u32 = 4096;

impl Layout {
    /// The memory of a slot, for its first `len_bytes`.
    pub fn slot(&self, index: u32, len_bytes: u32) -> Option<PhysVec> {
        let within = u64::from(index).checked_mul(self.stride_bytes)?;
        let origin = match self.provider {
            Some(_) => Origin::LookUp,
            None => Origin::Ram,
        };
        let fits = index < self.slots && u64::from(len_bytes) <= self.stride_bytes;
        fits.then_some(())?;
        PhysVec::new(self.slots_at.checked_add(within)?, len_bytes, origin).ok()
    }
}

/// The chunk that fits both ends, as large as it may be, and what every chunk is a multiple of.
pub(super) fn chunk(situation: &Situation<'_>) -> Result<(u32, u64), Unfit> {
    let source = &situation.source.limits;
    let destination = &situation.destination.limits;
    for limits in [source, destination] {
        if limits.block_bytes == 0 {
            return Err(Unfit::NoBlock { of: limits.initiator });
        }
    }
    if situation.shape.depth == 0 {
        return Err(Unfit::NoDepth);
    }
    let blocks = common_multiple(source.block_bytes, destination.block_bytes);
    let least = u32::try_from(blocks).unwrap_or(u32::MAX);
    let asked = situation.shape.chunk_bytes;
    let most = |limits| most_bytes(limits, asked.max(least));
    let most = most(source).min(most(destination));
    if blocks > u64::from(most) {
        return Err(Unfit::BlockSizes {
            source_bytes: source.block_bytes,
            destination_bytes: destination.block_bytes,
            most_bytes: most,
        });
    }
    if asked == 0 || u64::from(asked) % blocks != 0 {
        return Err(Unfit::Chunk {
            chunk_bytes: asked,
            multiple_bytes: blocks,
        });
    }
    let chunk = u64::from(asked.min(most)) / blocks * blocks;
    // Not above `asked`, which is a u32.
    Ok((u32::try_from(chunk).unwrap_or(asked), blocks))
}

/// How much of `asked_bytes` one operation on one slot moves.
fn most_bytes(limits: &Limits, asked_bytes: u32) -> u32 {
    contiguous_bytes(&limits.constraints, limits.max_transfer_bytes.min(asked_bytes))
}

/// Lays slots and queue out in free memory.
pub(super) fn lay_out(
    situation: &Situation<'_>,
    memory: Memory,
    queue: Option<QueueNeeds>,
    chunk_bytes: u32,
    multiple_bytes: u64,
) -> Result<Layout, Reason> {
    let (free, provider) = match memory {
        Memory::Ram(free) => (free, None),
        Memory::Device(memory) => (memory.free, Some(memory.provider)),
    };
    let align = [situation.source.limits, situation.destination.limits]
        .map(|limits| u64::from(limits.constraints.align_bytes))
        .into_iter()
        .fold(PAGE_BYTES, u64::max);
    let stride = |chunk: u64| chunk.div_ceil(align).saturating_mul(align);
    let queue_bytes = queue.map_or(0, |queue| u64::from(queue.len_bytes));
    let too_small = Reason::TooSmall {
        of: provider,
        free_bytes: free.len_bytes().unwrap_or(u64::MAX),
        needed_bytes: queue_bytes.saturating_add(stride(multiple_bytes)),
    };
    let completion_queue = match queue {
        None => None,
        Some(needs) => Some(place_queue(free, needs).ok_or(too_small)?),
    };
    let after = match completion_queue {
        None => Some(free.first()),
        Some(queue) => queue.last().checked_add(1),
    };
    let slots_at = after.and_then(|at| at.to_u64().checked_next_multiple_of(align));
    let slots_at = PhysAddr::from_u64(slots_at.ok_or(too_small)?);
    let room = Span::new(slots_at, free.last()).map_err(|_| too_small)?;
    let room = room.len_bytes().unwrap_or(u64::MAX);
    let depth = u64::from(situation.shape.depth.min(MOST_SLOTS));
    let mut chunk = u64::from(chunk_bytes);
    // A smaller chunk makes more room as long as its slot becomes smaller with it, which none does below the alignment.
    while room / stride(chunk) < depth.min(FEW_SLOTS) && stride(chunk) > stride(multiple_bytes) {
        chunk = (chunk / 2)
            .next_multiple_of(multiple_bytes)
            .min(chunk - multiple_bytes);
    }
    let fills_slot = stride(chunk) / multiple_bytes * multiple_bytes;
    let chunk = fills_slot.min(u64::from(chunk_bytes)).max(chunk);
    let slots = (room / stride(chunk)).min(depth);
    let slots = u32::try_from(slots).ok().filter(|slots| *slots > 0);
    Ok(Layout {
        provider,
        slots_at,
        stride_bytes: stride(chunk),
        slots: slots.ok_or(too_small)?,
        chunk_bytes: u32::try_from(chunk).unwrap_or(chunk_bytes),
        completion_queue,
    })
}

fn place_queue(free: Span<PhysAddr>, needs: QueueNeeds) -> Option<Span<PhysAddr>> {
    let align = u64::from(needs.align_bytes.max(1));
    let first = free.first().to_u64().checked_next_multiple_of(align)?;
    let first = PhysAddr::from_u64(first);
    let last = first.checked_add(u64::from(needs.len_bytes).checked_sub(1)?)?;
    let queue = Span::new(first, last).ok()?;
    (last <= free.last()).then_some(queue)
}
