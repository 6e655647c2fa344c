//! Scatter gather lists (NVM Express Base 2.0, 4.1.2): one descriptor a segment. A single one stands in the command; more of them
//! in one last segment, which may be of any length.

use crate::pointer::{Built, ListArea, Pointer, PointerError};
use peerdma::dma::DmaSegment;

/// Bytes of a descriptor.
const DESCRIPTOR_BYTES: u64 = 16;
/// Identifiers: type in bits 7:4, sub type "address" in 3:0.
const DATA_BLOCK: u8 = 0x00;
const LAST_SEGMENT: u8 = 0x30;

/// The data pointer for these segments.
///
/// # Errors
/// [`PointerError`]
pub(crate) fn build(segments: &[DmaSegment], area: ListArea<'_>) -> Result<Built, PointerError> {
    for (index, segment) in segments.iter().enumerate() {
        let less_one = u64::from(segment.len_bytes.saturating_sub(1));
        if segment.addr.checked_add(less_one).is_none() {
            return Err(PointerError::Wraps { segment: index });
        }
    }
    if let [only] = segments {
        let pointer = Pointer::Sgl {
            address: only.addr,
            len_bytes: only.len_bytes,
            identifier: DATA_BLOCK,
        };
        return Ok(Built {
            pointer,
            list_bytes: 0,
        });
    }
    let list_bytes = list_bytes(segments.len());
    let len_bytes = u32::try_from(list_bytes).map_err(|_| PointerError::ListFull)?;
    let room = area.bytes.get_mut(..len_bytes as usize);
    let room = room.ok_or(PointerError::ListFull)?;
    for (to, segment) in room.chunks_exact_mut(DESCRIPTOR_BYTES as usize).zip(segments) {
        let descriptor = u128::from(segment.addr) | u128::from(segment.len_bytes) << 64;
        to.copy_from_slice(&descriptor.to_le_bytes());
    }
    Ok(Built {
        pointer: Pointer::Sgl {
            address: area.address,
            len_bytes,
            identifier: LAST_SEGMENT,
        },
        list_bytes: len_bytes as usize,
    })
}

/// Bytes of the list for so many segments.
pub(crate) fn list_bytes(segments: usize) -> u64 {
    match segments {
        ..=1 => 0,
        _ => segments as u64 * DESCRIPTOR_BYTES,
    }
}
