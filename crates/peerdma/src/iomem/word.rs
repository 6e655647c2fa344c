//! Copies of BAR memory, word by word.

use super::IomemError;
use crate::addr::{Address, PhysAddr, Span};
use crate::device::Host;
use crate::memory::Widths;

/// Can these bytes be read? A word that holds more than what is wanted is read as a whole where no narrower access is allowed; it lies within the
/// region.
pub(super) fn check_read(
    at: PhysAddr,
    len: usize,
    widths: Widths,
    region: Span<PhysAddr>,
) -> Result<(), IomemError> {
    let mut done = 0;
    while done < len {
        done += word_to_read(at, done, len, widths, region)?.wanted;
        // The middle is as good as its first word.
        // Past the last byte of the space there is nothing left to skip.
        let after = at.to_u64().wrapping_add(done as u64);
        let middle = (len - done) & !7;
        if after.is_multiple_of(8) && middle > 8 {
            done += middle - 8;
        }
    }
    Ok(())
}

pub(super) fn read<H: Host>(
    host: &H,
    at: PhysAddr,
    widths: Widths,
    region: Span<PhysAddr>,
    into: &mut [u8],
) -> Result<(), IomemError> {
    let (mut done, len) = (0, into.len());
    while done < len {
        let word = word_to_read(at, done, len, widths, region)?;
        let value = host.load_bar(word.at, word.width).map_err(IomemError::Device)?;
        let bytes = value.to_le_bytes();
        let wanted = bytes.get(word.skip..word.skip + word.wanted);
        let place = into.get_mut(done..done + word.wanted);
        if let (Some(place), Some(wanted)) = (place, wanted) {
            place.copy_from_slice(wanted);
        }
        done += word.wanted;
    }
    Ok(())
}

/// Can these bytes be written? Only by words that hold nothing else: to read the rest and write it back would undo what a device writes there
/// meanwhile.
pub(super) fn check_write(at: PhysAddr, len: usize, widths: Widths) -> Result<(), IomemError> {
    let mut done = 0;
    while done < len {
        done += usize::from(width_to_write(at, done, len, widths)?);
        // Past the last byte of the space there is nothing left to skip.
        let after = at.to_u64().wrapping_add(done as u64);
        let middle = (len - done) & !7;
        if after.is_multiple_of(8) && middle > 8 {
            done += middle - 8;
        }
    }
    Ok(())
}

pub(super) fn write<H: Host>(host: &H, at: PhysAddr, widths: Widths, from: &[u8]) -> Result<(), IomemError> {
    let mut done = 0;
    while done < from.len() {
        let width = width_to_write(at, done, from.len(), widths)?;
        let mut bytes = [0; 8];
        for (byte, from) in (bytes.iter_mut().zip(from.iter().skip(done))).take(width.into()) {
            *byte = *from;
        }
        let place = PhysAddr::from_u64(at.to_u64() + done as u64);
        (host.store_bar(place, width, u64::from_le_bytes(bytes))).map_err(IomemError::Device)?;
        done += usize::from(width);
    }
    Ok(())
}

/// One load.
struct Word {
    at: PhysAddr,
    width: u8,
    /// How many of its bytes come before those that are wanted.
    skip: usize,
    wanted: usize,
}

/// The load for the bytes from `done` on: the widest that holds nothing else, or the narrowest that holds the first.
fn word_to_read(
    start: PhysAddr,
    done: usize,
    len: usize,
    widths: Widths,
    region: Span<PhysAddr>,
) -> Result<Word, IomemError> {
    if let Ok(width) = width_to_write(start, done, len, widths) {
        return Ok(Word {
            at: PhysAddr::from_u64(start.to_u64() + done as u64),
            width,
            skip: 0,
            wanted: width.into(),
        });
    }
    let at = start.to_u64() + done as u64;
    let found = [1u8, 2, 4, 8].into_iter().find_map(|width| {
        let first = at & !(u64::from(width) - 1);
        let last = PhysAddr::from_u64(first | (u64::from(width) - 1));
        let is_within = region.contains(PhysAddr::from_u64(first)) && region.contains(last);
        (widths.allow(width) && is_within).then_some((first, width))
    });
    let (first, width) = found.ok_or(bad(start, len, widths))?;
    let skip = (at - first) as usize;
    Ok(Word {
        at: PhysAddr::from_u64(first),
        width,
        skip,
        wanted: (usize::from(width) - skip).min(len - done),
    })
}

/// The widest access from `done` on that is aligned and holds nothing else.
fn width_to_write(start: PhysAddr, done: usize, len: usize, widths: Widths) -> Result<u8, IomemError> {
    let at = start.to_u64() + done as u64;
    let aligned_bytes = 1 << at.trailing_zeros().min(3);
    let left = (len - done) as u64;
    widths
        .widest(left.min(aligned_bytes))
        .ok_or(bad(start, len, widths))
}

fn bad(at: PhysAddr, len: usize, allowed: Widths) -> IomemError {
    IomemError::BadAccess {
        at,
        len_bytes: len as u64,
        allowed,
    }
}
