//! Which parts of a bank were ever written: all that who compares memory has to look at.

use super::{BankId, Banks};

impl Banks {
    /// Bytes that come into being together: the unit of [`Self::written`].
    pub const fn unit_bytes() -> u64 {
        Self::CHUNK_BYTES
    }

    /// Where the parts of a bank begin that hold memory, each of [`Self::unit_bytes`] (the last of a bank may be cut by its
    /// end), in ascending order. All else reads as zeros.
    pub fn written(&self, bank: BankId) -> Vec<u64> {
        let chunks = self.banks.get(bank.0 as usize).map(|bank| bank.chunks.keys());
        let mut starts: Vec<u64> = chunks
            .into_iter()
            .flatten()
            .map(|index| index * Self::CHUNK_BYTES)
            .collect();
        starts.sort_unstable();
        starts
    }
}
