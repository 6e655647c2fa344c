//! Physical region pages (NVM Express Base 4.1.1).

use super::pointer::{Pieces, Want};
use super::status::Status;

/// A walk along PRP entries. It ends: a list page after the first holds at least one entry for data.
#[derive(Debug, Clone)]
pub(super) struct Prp {
    page_bytes: u64,
    /// Of the data.
    rest_bytes: u64,
    /// The address of the next entry.
    next: u64,
}

const ENTRY_BYTES: u64 = 8;

impl Prp {
    pub(super) fn new(
        prp1: u64,
        prp2: u64,
        len_bytes: u64,
        page_bytes: u64,
        found: &mut Pieces,
    ) -> Result<(Self, Want), Status> {
        // Only the first may begin inside a page, at a dword.
        if !prp1.is_multiple_of(4) {
            return Err(Status::PRP_OFFSET_INVALID);
        }
        let first_bytes = len_bytes.min(page_bytes - prp1 % page_bytes);
        found.data(prp1, first_bytes)?;
        let mut prp = Self {
            page_bytes,
            rest_bytes: len_bytes - first_bytes,
            next: prp2,
        };
        if prp.rest_bytes == 0 {
            return Ok((prp, Want::Nothing));
        }
        if prp.rest_bytes <= page_bytes {
            prp.page(prp2, found)?;
            return Ok((prp, Want::Nothing));
        }
        // A pointer to a list may begin inside a page, at an entry.
        if !prp2.is_multiple_of(ENTRY_BYTES) {
            return Err(Status::PRP_OFFSET_INVALID);
        }
        let want = prp.want(found)?;
        Ok((prp, want))
    }

    pub(super) fn take(&mut self, bytes: &[u8], found: &mut Pieces) -> Result<Want, Status> {
        for entry in bytes.chunks_exact(ENTRY_BYTES as usize) {
            let entry = entry
                .iter()
                .rev()
                .fold(0, |all, &byte| all << 8 | u64::from(byte));
            let last_of_page = self.next % self.page_bytes == self.page_bytes - ENTRY_BYTES;
            if last_of_page && self.rest_bytes > self.page_bytes {
                if !entry.is_multiple_of(self.page_bytes) {
                    return Err(Status::PRP_OFFSET_INVALID);
                }
                self.next = entry;
                break;
            }
            self.page(entry, found)?;
            self.next = self.next.wrapping_add(ENTRY_BYTES);
            if self.rest_bytes == 0 {
                return Ok(Want::Nothing);
            }
        }
        self.want(found)
    }

    fn page(&mut self, address: u64, found: &mut Pieces) -> Result<(), Status> {
        if !address.is_multiple_of(self.page_bytes) {
            return Err(Status::PRP_OFFSET_INVALID);
        }
        let len_bytes = self.rest_bytes.min(self.page_bytes);
        found.data(address, len_bytes)?;
        self.rest_bytes -= len_bytes;
        Ok(())
    }

    fn want(&self, found: &mut Pieces) -> Result<Want, Status> {
        let entries_bytes = self.rest_bytes.div_ceil(self.page_bytes) * ENTRY_BYTES;
        found.list(
            self.next,
            entries_bytes.min(self.page_bytes - self.next % self.page_bytes),
        )
    }
}
