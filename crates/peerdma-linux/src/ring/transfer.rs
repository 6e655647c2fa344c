//! The memory of one bio as the kernel takes it: pieces of this process, in runs that one operation may carry, and how much of them is done.
//!
//! Pure: [`super::volume`] submits what [`Transfer::operation`] gives and tells [`Transfer::advance`] what came of it.
#![allow(unsafe_code)]

use crate::sys::Memory;
use peerdma::addr::Bdf;
use peerdma::block::SubmitError;
use peerdma::dma::MemoryKind;
use std::sync::Arc;

/// The most pieces of one operation (`UIO_MAXIOV`, include/uapi/linux/uio.h).
pub(super) const MOST_PIECES: u32 = 1024;

/// The memory of one bio.
#[derive(Debug, Default)]
pub(super) struct Transfer {
    pieces: Vec<Piece>,
    /// What is not done begins in this piece,
    next: usize,
    /// so far into it.
    into_bytes: u64,
    /// Of what is not done, as far as one operation carries.
    run: Vec<IoVec>,
    done_bytes: u64,
}

/// A piece of memory of this process. Kept mapped.
#[derive(Debug, Clone)]
struct Piece {
    memory: Arc<Memory>,
    offset_bytes: u64,
    len_bytes: u64,
    peer: Option<Peer>,
}

/// Memory of a device, as it was judged for the one who does the DMA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) provider: Bdf,
    pub(super) judged: MemoryKind,
}

/// A piece as the kernel reads it.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
struct IoVec(libc::iovec);

// SAFETY: it is an address and a length, which only the kernel follows; the memory there is a `Memory`, which threads share.
unsafe impl Send for IoVec {}

impl Transfer {
    /// Begins with nothing; what was allocated is used again.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.run.clear();
        self.next = 0;
        self.into_bytes = 0;
        self.done_bytes = 0;
    }

    /// Adds `len_bytes` of `memory` from `offset_bytes` on, which lie within it.
    ///
    /// # Errors
    /// [`SubmitError::NotAddressable`]
    pub(super) fn push(
        &mut self,
        memory: Arc<Memory>,
        offset_bytes: u64,
        len_bytes: u64,
        peer: Option<Peer>,
    ) -> Result<(), SubmitError> {
        let end = offset_bytes.checked_add(len_bytes);
        if len_bytes == 0 || end.is_none_or(|end| end > memory.len_bytes()) {
            let why = "a piece does not lie within memory of this process";
            return Err(SubmitError::NotAddressable { why });
        }
        if let Some(last) = self.pieces.last_mut()
            && Arc::ptr_eq(&last.memory, &memory)
            && last.peer == peer
            && last.offset_bytes + last.len_bytes == offset_bytes
        {
            last.len_bytes += len_bytes;
            return Ok(());
        }
        if self.pieces.len() >= MOST_PIECES as usize {
            let why = "its memory is in more than 1024 pieces; split it";
            return Err(SubmitError::NotAddressable { why });
        }
        self.pieces.push(Piece {
            memory,
            offset_bytes,
            len_bytes,
            peer,
        });
        Ok(())
    }

    /// Does every run end with a block? One operation carries RAM, or memory of one device.
    ///
    /// # Errors
    /// [`SubmitError::Mixed`]
    pub(super) fn check_runs(&self, block_bytes: u32) -> Result<(), SubmitError> {
        let mut so_far = 0_u64;
        for pair in self.pieces.windows(2) {
            let [piece, next] = pair else { continue };
            so_far = so_far.saturating_add(piece.len_bytes);
            if piece.peer != next.peer && !so_far.is_multiple_of(block_bytes.into()) {
                return Err(SubmitError::Mixed);
            }
        }
        Ok(())
    }

    /// What the next operation carries: the pieces, how far into the bio they begin, and whose memory they are. Valid until the transfer is
    /// advanced, cleared or dropped; nothing where all is done.
    pub(super) fn operation(&mut self) -> Option<(*const libc::iovec, u32, u64, Option<Peer>)> {
        let first = self.pieces.get(self.next)?;
        let peer = first.peer;
        self.run.clear();
        let mut into_bytes = self.into_bytes;
        let rest = self.pieces.get(self.next..).unwrap_or_default();
        for piece in rest.iter().take_while(|piece| piece.peer == peer) {
            // `push` has checked that all of it lies within the memory.
            let at = piece.memory.address() + piece.offset_bytes + into_bytes;
            self.run.push(IoVec(libc::iovec {
                iov_base: at as *mut libc::c_void,
                iov_len: (piece.len_bytes - into_bytes) as usize,
            }));
            into_bytes = 0;
        }
        let count = u32::try_from(self.run.len()).ok()?;
        Some((self.run.as_ptr().cast(), count, self.done_bytes, peer))
    }

    /// So much of the last operation is done.
    ///
    /// # Errors
    /// [`Overrun`] where that is more than it had.
    pub(super) fn advance(&mut self, bytes: u64) -> Result<Left, Overrun> {
        let of_run: u64 = self.run.iter().map(|piece| piece.0.iov_len as u64).sum();
        if bytes > of_run {
            return Err(Overrun);
        }
        self.done_bytes += bytes;
        self.into_bytes += bytes;
        while let Some(piece) = self.pieces.get(self.next)
            && self.into_bytes >= piece.len_bytes
        {
            self.into_bytes -= piece.len_bytes;
            self.next += 1;
        }
        match self.next < self.pieces.len() {
            true => Ok(Left::Some),
            false => Ok(Left::None),
        }
    }

    /// What keeps the memory mapped.
    pub(super) fn leak(&mut self) {
        for piece in self.pieces.drain(..) {
            std::mem::forget(piece.memory);
        }
        std::mem::forget(std::mem::take(&mut self.run));
    }
}

/// Is there more to do?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    None,
    Some,
}

/// The kernel says that it did more than it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overrun;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Addresses of every byte of what is not done, and whose they are.
    fn left(transfer: &mut Transfer) -> Vec<(u64, Option<Peer>)> {
        let mut bytes = Vec::new();
        while let Some((_, _, _, peer)) = transfer.operation() {
            let mut of_run = 0;
            for piece in &transfer.run {
                let first = piece.0.iov_base as u64;
                bytes.extend((first..first + piece.0.iov_len as u64).map(|at| (at, peer)));
                of_run += piece.0.iov_len as u64;
            }
            transfer.advance(of_run).unwrap();
        }
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn operations_name_every_byte_once_and_in_order_however_short_they_end(
            pieces in prop::collection::vec((0..200_u64, 1..40_u64, prop::option::of(0..2_u8)), 1..40),
            shorts in prop::collection::vec(0..100_u64, 0..60),
        ) {
            let memory = Arc::new(Memory::anonymous(4096).unwrap());
            let mut transfer = Transfer::default();
            let mut expected = Vec::new();
            for (offset, len, peer) in pieces {
                let peer = peer.map(|devfn| Peer {
                    provider: Bdf::from_devfn(0, 0, devfn),
                    judged: MemoryKind::PeerOnBus,
                });
                transfer.push(memory.clone(), offset, len, peer).unwrap();
                let first = memory.address() + offset;
                expected.extend((first..first + len).map(|at| (at, peer)));
            }
            let mut done = 0;
            for short in shorts {
                let Some((_, _, so_far, _)) = transfer.operation() else { break };
                prop_assert_eq!(so_far, done as u64);
                let of_run: u64 = transfer.run.iter().map(|piece| piece.0.iov_len as u64).sum();
                prop_assert_eq!(transfer.advance(of_run + 1), Err(Overrun));
                let short = short.min(of_run);
                let now = transfer.advance(short).unwrap();
                done += short as usize;
                prop_assert_eq!(now == Left::None, done == expected.len());
            }
            prop_assert_eq!(left(&mut transfer), &expected[done..]);
        }
    }

    #[test]
    fn memory_of_two_devices_meets_at_blocks_only() {
        let memory = Arc::new(Memory::anonymous(4096).unwrap());
        let peer = |devfn| {
            Some(Peer {
                provider: Bdf::from_devfn(0, 0, devfn),
                judged: MemoryKind::PeerOnBus,
            })
        };
        let mut transfer = Transfer::default();
        transfer.push(memory.clone(), 0, 512, None).unwrap();
        transfer.push(memory.clone(), 512, 1024, peer(1)).unwrap();
        transfer.push(memory.clone(), 2048, 512, peer(2)).unwrap();
        assert_eq!(transfer.check_runs(512), Ok(()));
        assert_eq!(transfer.check_runs(1024), Err(SubmitError::Mixed));
    }

    #[test]
    fn what_does_not_lie_within_its_memory_is_refused() {
        let memory = Arc::new(Memory::anonymous(4096).unwrap());
        let mut transfer = Transfer::default();
        for (offset, len) in [(0, 0), (0, 4097), (4096, 1), (u64::MAX, 2), (1, u64::MAX)] {
            assert!(transfer.push(memory.clone(), offset, len, None).is_err());
        }
        for _ in 0..MOST_PIECES {
            transfer.push(memory.clone(), 0, 8, None).unwrap();
        }
        assert!(transfer.push(memory, 0, 8, None).is_err());
    }
}
