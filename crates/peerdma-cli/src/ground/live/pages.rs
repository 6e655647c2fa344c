//! The process's memory, for volumes that the kernel serves.

use peerdma::addr::PhysAddr;
use peerdma_linux::process::{Kind, Process};
use peerdma_linux::ring::{PageKind, Pages, Resolved};

/// What the process has registered.
#[derive(Debug, Clone)]
pub(crate) struct ProcessPages(pub(super) Process);

impl Pages for ProcessPages {
    fn resolve(&self, at: PhysAddr, len_bytes: u64) -> Option<Resolved> {
        let found = self.0.resolve(at, len_bytes)?;
        Some(Resolved {
            memory: found.memory,
            offset_bytes: found.offset_bytes,
            kind: match found.kind {
                Kind::Ram => PageKind::Ram,
                Kind::Bar => PageKind::Bar,
                Kind::P2pmem => PageKind::P2pmem,
            },
        })
    }
}
