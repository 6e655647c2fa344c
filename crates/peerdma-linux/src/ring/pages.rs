//! Whose memory lies at a physical address of this process's memory map.

use crate::sys::Memory;
use peerdma::addr::PhysAddr;
use std::sync::Arc;

/// The memory of this process by the addresses of its memory map.
pub trait Pages {
    /// The memory from `at` on, all of `len_bytes`; nothing where they are not all in one mapping of this process.
    fn resolve(&self, at: PhysAddr, len_bytes: u64) -> Option<Resolved>;
}

/// Memory of this process; mapped for as long as this lives.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The mapping.
    pub memory: Arc<Memory>,
    /// Where in it.
    pub offset_bytes: u64,
    /// What it is.
    pub kind: PageKind,
}

/// What a mapping of this process shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PageKind {
    /// RAM.
    Ram,
    /// A BAR that is open by VFIO.
    Bar,
    /// Memory behind a BAR, from the kernel's own pool.
    P2pmem,
}

impl<P: Pages + ?Sized> Pages for Arc<P> {
    fn resolve(&self, at: PhysAddr, len_bytes: u64) -> Option<Resolved> {
        (**self).resolve(at, len_bytes)
    }
}
