//! What must be so, told from the vector and the memory map alone: nothing here asks the code under test.

use super::story::{Piece, Request};
use super::world::{Actor, World};
use peerdma::addr::{Address, Bdf, Origin, PhysAddr};
use peerdma::dma::{Constraints, DmaList, LookUpError, MemoryKind, Space};
use peerdma::memory::{Memory, RegionId};

/// A part of a piece that lies in one region.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) region: RegionId,
    pub(super) provider: Option<Bdf>,
    pub(super) addr: u64,
    pub(super) len_bytes: u64,
}

/// The parts of a vector; nothing where some byte of it is no memory.
pub(super) fn parts(world: &World, pieces: &[Piece]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    for piece in pieces {
        let mut addr = piece.addr;
        loop {
            let region = world.map.find(PhysAddr::from_u64(addr))?;
            let last = region.span.last().to_u64().min(piece.last());
            parts.push(Part {
                region: region.id,
                provider: match region.memory {
                    Memory::Ram => None,
                    Memory::Bar(bar) => Some(bar.provider),
                },
                addr,
                len_bytes: last - addr + 1,
            });
            if last == piece.last() {
                break;
            }
            addr = last + 1;
        }
    }
    Some(parts)
}

/// Was the vector looked up, or refused, rightly?
pub(super) fn check_look_up(
    world: &World,
    pieces: &[Piece],
    found: Result<(), LookUpError>,
) -> Result<(), String> {
    let wrongs = |piece: &Piece| {
        let parts = parts(world, std::slice::from_ref(piece));
        let known = parts.iter().flatten();
        let is_flagged = piece.origin == Origin::LookUp;
        let begins_in = |part: &Part| part.provider.is_some();
        let has_bar = known.clone().any(begins_in) || first_bar(world, *piece);
        let crosses = parts
            .iter()
            .any(|parts| parts.windows(2).any(|two| two[0].provider != two[1].provider));
        (parts.is_none(), !is_flagged && has_bar, crosses)
    };
    let first_wrong = pieces.iter().position(|piece| {
        let (hole, unflagged, crosses) = wrongs(piece);
        hole || unflagged || crosses
    });
    let is_right = match (found, first_wrong) {
        (Ok(()), None) => !pieces.is_empty(),
        (Err(LookUpError::Empty), None) => pieces.is_empty(),
        (Err(LookUpError::Hole { index, .. }), Some(wrong)) => index == wrong && wrongs(&pieces[index]).0,
        (Err(LookUpError::UnflaggedPeer { index, .. }), Some(wrong)) => {
            index == wrong && wrongs(&pieces[index]).1
        }
        // It ends in other memory, or before that in none.
        (Err(LookUpError::CrossesRegions { index, .. }), Some(wrong)) => index == wrong,
        _ => false,
    };
    match is_right {
        true => Ok(()),
        false => Err(format!(
            "looked up with the result {found:?}; the first wrong piece is {first_wrong:?}"
        )),
    }
}

/// Does a piece, some of which may be no memory, begin in a BAR?
fn first_bar(world: &World, piece: Piece) -> bool {
    let region = world.map.find(PhysAddr::from_u64(piece.addr));
    region.is_some_and(|region| region.memory != Memory::Ram)
}

/// Is the list one that the device takes, and does it go along the vector, nothing of two kinds or BARs in one segment?
pub(super) fn check_list(
    world: &World,
    actor: &Actor,
    request: &Request,
    list: &DmaList,
) -> Result<(), String> {
    let parts = parts(world, &request.pieces).ok_or("a vector with a hole was mapped")?;
    let own = actor.initiator.bdf;
    let mut parts = parts.into_iter();
    let mut part = parts.next();
    let mut left = part.map_or(0, |part| part.len_bytes);
    let mut total = 0;
    for segment in list.segments() {
        let mut rest = u64::from(segment.len_bytes);
        let mut before: Option<Part> = None;
        total += rest;
        while rest > 0 {
            let now = part.ok_or("the list is longer than the vector")?;
            let is_ram = now.provider.is_none();
            if before.is_some_and(|before| {
                (before.region != now.region && !is_ram) || before.provider != now.provider
            }) {
                return Err(format!("{segment:x?} is of two kinds, or of two BARs"));
            }
            let is_right = match (segment.kind, segment.space) {
                (MemoryKind::Ram, Space::Iova) => is_ram,
                (MemoryKind::OwnBar, Space::Own) => now.provider == Some(own),
                (MemoryKind::PeerOnBus | MemoryKind::PeerThroughHostBridge, Space::Iova | Space::Bus) => {
                    now.provider.is_some_and(|provider| provider != own)
                }
                _ => false,
            };
            if !is_right {
                return Err(format!("{segment:x?} is not of the kind of {now:x?}"));
            }
            before = Some(now);
            let step = rest.min(left);
            rest -= step;
            left -= step;
            if left == 0 {
                part = parts.next();
                left = part.map_or(0, |part| part.len_bytes);
            }
        }
    }
    if part.is_some() || total != list.len_bytes() {
        return Err("the list is not as long as the vector".into());
    }
    check_constraints(actor, &request.constraints, list)
}

fn check_constraints(actor: &Actor, constraints: &Constraints, list: &DmaList) -> Result<(), String> {
    let count = list.segments().len();
    if count > constraints.max_segments as usize {
        return Err(format!("{count} segments"));
    }
    for (index, segment) in list.segments().iter().enumerate() {
        let (addr, len) = (segment.addr, u64::from(segment.len_bytes));
        let mask = match segment.space {
            Space::Own => constraints.address_mask,
            _ => constraints.address_mask.min(actor.initiator.address_mask),
        };
        let last = addr.checked_add(len - 1).filter(|last| *last <= mask);
        let last = last.ok_or_else(|| format!("{segment:x?} is beyond {mask:#x}"))?;
        let align = u64::from(constraints.align_bytes);
        let is_bad = len > constraints.max_segment_bytes.into()
            || addr & !constraints.boundary_mask != last & !constraints.boundary_mask
            || !addr.is_multiple_of(align)
            || !len.is_multiple_of(align)
            || (index > 0 && addr & constraints.gap_mask != 0)
            || (index + 1 < count && (addr + len) & constraints.gap_mask != 0);
        if is_bad {
            return Err(format!(
                "{segment:x?}, segment {index} of {count}, breaks {constraints:x?}"
            ));
        }
    }
    Ok(())
}
