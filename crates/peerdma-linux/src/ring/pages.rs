//! Whose memory lies at a physical address of this process's memory map.

use crate::process::{Process, Resolved};
use peerdma::addr::PhysAddr;

/// The memory of this process by the addresses of its memory map.
pub trait Pages {
    /// The memory from `at` on, all of `len_bytes`; nothing where they are not all in one mapping of this process. It stays mapped for as long
    /// as the result is held.
    fn resolve(&self, at: PhysAddr, len_bytes: u64) -> Option<Resolved>;
}

impl Pages for Process {
    fn resolve(&self, at: PhysAddr, len_bytes: u64) -> Option<Resolved> {
        Process::resolve(self, at, len_bytes)
    }
}
