//! Scatter gather lists (NVM Express Base 4.1.2): data blocks, bit buckets, segments and last segments, by address.

use super::pointer::{Pieces, Want};
use super::status::Status;
use crate::device::Direction;

/// A walk along SGL descriptors.
#[derive(Debug, Clone)]
pub(super) struct Sgl {
    direction: Direction,
    /// Of the data.
    rest_bytes: u64,
    /// The address of the next descriptor.
    next: u64,
    /// How much of the current segment is left.
    segment_bytes: u64,
    kind: Segment,
    seen: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment {
    /// In the command.
    First,
    /// One that says where the next is.
    Middle,
    Last,
}

const DESCRIPTOR_BYTES: u64 = 16;

/// A list that is longer is refused: it may be a ring.
pub(super) const MOST_DESCRIPTORS: u32 = 8192;

impl Sgl {
    pub(super) fn new(
        first: [u8; 16],
        len_bytes: u64,
        direction: Direction,
        found: &mut Pieces,
    ) -> Result<(Self, Want), Status> {
        let mut sgl = Self {
            direction,
            rest_bytes: len_bytes,
            next: 0,
            segment_bytes: DESCRIPTOR_BYTES,
            kind: Segment::First,
            seen: 0,
        };
        let want = sgl.take(&first, found)?;
        Ok((sgl, want))
    }

    pub(super) fn take(&mut self, bytes: &[u8], found: &mut Pieces) -> Result<Want, Status> {
        let mut taken = 0;
        for descriptor in bytes.chunks_exact(DESCRIPTOR_BYTES as usize) {
            taken += DESCRIPTOR_BYTES;
            self.seen += 1;
            if self.seen > MOST_DESCRIPTORS {
                return Err(Status::INVALID_SGL_COUNT);
            }
            self.next = self.next.wrapping_add(DESCRIPTOR_BYTES);
            self.segment_bytes -= DESCRIPTOR_BYTES.min(self.segment_bytes);
            if self.descriptor(descriptor, found)? == Found::Link {
                return self.want(found);
            }
            if self.segment_bytes == 0 {
                return self.end();
            }
        }
        match taken {
            // A descriptor that is cut by an end of the controller memory buffer.
            0 => Err(Status::INVALID_USE_OF_CMB),
            _ => self.want(found),
        }
    }

    fn descriptor(&mut self, bytes: &[u8], found: &mut Pieces) -> Result<Found, Status> {
        let number = |range: std::ops::Range<usize>| {
            let bytes = bytes.get(range).unwrap_or_default();
            bytes
                .iter()
                .rev()
                .fold(0, |all, &byte| all << 8 | u64::from(byte))
        };
        let (address, len_bytes, identifier) = (number(0..8), number(8..12), number(15..16));
        // The sub type "offset" belongs to fabrics.
        if identifier & 0xf != 0 {
            return Err(Status::SGL_TYPE_INVALID);
        }
        match identifier >> 4 {
            0 => {
                self.consume(len_bytes)?;
                found.data(address, len_bytes)?;
            }
            // In a source of data it counts for nothing.
            1 if self.direction == Direction::In => {}
            1 => {
                self.consume(len_bytes)?;
                found.nowhere(len_bytes);
            }
            link @ (2 | 3) => {
                if self.segment_bytes != 0 {
                    return Err(Status::INVALID_SGL_COUNT);
                }
                let sound =
                    len_bytes != 0 && len_bytes.is_multiple_of(DESCRIPTOR_BYTES) && address.is_multiple_of(8);
                if self.kind == Segment::Last || !sound {
                    return Err(Status::INVALID_SGL_SEGMENT);
                }
                self.kind = if link == 2 { Segment::Middle } else { Segment::Last };
                (self.next, self.segment_bytes) = (address, len_bytes);
                return Ok(Found::Link);
            }
            _ => return Err(Status::SGL_TYPE_INVALID),
        }
        Ok(Found::Data)
    }

    fn consume(&mut self, len_bytes: u64) -> Result<(), Status> {
        self.rest_bytes = self
            .rest_bytes
            .checked_sub(len_bytes)
            .ok_or(Status::DATA_SGL_LENGTH_INVALID)?;
        Ok(())
    }

    fn end(&self) -> Result<Want, Status> {
        match (self.kind, self.rest_bytes) {
            // It promised a link.
            (Segment::Middle, _) => Err(Status::INVALID_SGL_SEGMENT),
            (_, 0) => Ok(Want::Nothing),
            _ => Err(Status::DATA_SGL_LENGTH_INVALID),
        }
    }

    fn want(&self, found: &mut Pieces) -> Result<Want, Status> {
        found.list(self.next, self.segment_bytes)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Data,
    Link,
}
