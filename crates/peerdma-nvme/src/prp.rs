//! Physical region pages (NVM Express Base 2.0, 4.1.1): one entry a page, in the command and in lists that chain at the end of
//! each page of the list.
//!
//! A command's list memory is contiguous, and may begin and end inside a page: the entry at the end of a page leads to the next
//! page where more than one is left to say.

use crate::pointer::{Built, ListArea, Pointer, PointerError};
use peerdma::dma::DmaSegment;

const ENTRY_BYTES: u64 = 8;

/// The data pointer for these segments.
///
/// # Errors
/// [`PointerError`]
pub(crate) fn build(
    segments: &[DmaSegment],
    page_bytes: u64,
    area: ListArea<'_>,
) -> Result<Built, PointerError> {
    let count = entries(segments, page_bytes)?;
    let mut pages = pages(segments, page_bytes);
    let first = pages.next().ok_or(PointerError::Empty)?;
    let built = |second, list_bytes| Built {
        pointer: Pointer::Prp { first, second },
        list_bytes,
    };
    if count <= 2 {
        return Ok(built(pages.next().unwrap_or(0), 0));
    }
    let mut left = count - 1;
    let mut at = area.address;
    let mut places = area.bytes.chunks_exact_mut(ENTRY_BYTES as usize);
    let mut used = 0;
    let mut put = |entry: u64| {
        let place = places.next().ok_or(PointerError::ListFull)?;
        place.copy_from_slice(&entry.to_le_bytes());
        used += ENTRY_BYTES as usize;
        Ok(())
    };
    for page in pages {
        let ends_page = at & (page_bytes - 1) == page_bytes - ENTRY_BYTES;
        if ends_page && left > 1 {
            at = at.checked_add(ENTRY_BYTES).ok_or(PointerError::ListFull)?;
            put(at)?;
        }
        put(page)?;
        at = at.wrapping_add(ENTRY_BYTES);
        left -= 1;
    }
    Ok(built(area.address, used))
}

/// How many entries these segments need.
///
/// # Errors
/// [`PointerError`] but for [`PointerError::ListFull`]
pub(crate) fn entries(segments: &[DmaSegment], page_bytes: u64) -> Result<u64, PointerError> {
    let within = page_bytes - 1;
    let page_log2 = page_bytes.trailing_zeros();
    let mut count = 0_u64;
    for (index, segment) in segments.iter().enumerate() {
        let last = segment
            .addr
            .checked_add(u64::from(segment.len_bytes.saturating_sub(1)))
            .ok_or(PointerError::Wraps { segment: index })?;
        let begins_inside = segment.addr & within != 0;
        if index == 0 && segment.addr & 3 != 0 {
            return Err(PointerError::Unaligned);
        }
        if index != 0 && begins_inside {
            return Err(PointerError::Gap { segment: index });
        }
        if index + 1 < segments.len() && last & within != within {
            return Err(PointerError::Gap { segment: index + 1 });
        }
        count += (last >> page_log2) - (segment.addr >> page_log2) + 1;
    }
    Ok(count)
}

/// Bytes of a list for so many entries, of which one stands in the command; links are not counted.
pub(crate) fn list_bytes(entries: u64) -> u64 {
    match entries {
        ..=2 => 0,
        _ => (entries - 1) * ENTRY_BYTES,
    }
}

/// The most bytes of a list for so many entries, wherever in a page it begins.
pub(crate) fn most_list_bytes(entries: u64, page_bytes: u64) -> u64 {
    let a_page = page_bytes / ENTRY_BYTES - 1;
    let links = match list_bytes(entries) {
        0 => 0,
        _ => entries / a_page + 1,
    };
    list_bytes(entries) + links * ENTRY_BYTES
}

/// What the entries say: where the data begins, and every page after that.
fn pages(segments: &[DmaSegment], page_bytes: u64) -> impl Iterator<Item = u64> + '_ {
    let page_log2 = page_bytes.trailing_zeros();
    segments.iter().flat_map(move |segment| {
        let last = segment
            .addr
            .saturating_add(u64::from(segment.len_bytes.saturating_sub(1)));
        let (from, to) = (segment.addr >> page_log2, last >> page_log2);
        (from..=to).map(move |page| (page << page_log2).max(segment.addr))
    })
}
