//! Routes of a live machine: by the specification where our driver programs the device, by the kernel's own rules where the kernel does.

use peerdma::addr::Bdf;
use peerdma::dma::{KernelRoutes, PeerRoute, Refused, Routes, SpecRoutes};
use peerdma::route::{Access, TlpClass, linux, spec};
use std::collections::BTreeSet;

/// Both judges.
pub(super) struct LiveRoutes<'j> {
    pub(super) hardware: &'j spec::Judge<'j>,
    pub(super) kernel: linux::Judge<'j>,
    /// Initiators that our driver has.
    pub(super) ours: BTreeSet<Bdf>,
}

impl Routes for LiveRoutes<'_> {
    fn route(&self, initiator: Bdf, provider: Bdf, bar: u8, access: Access, class: TlpClass) -> PeerRoute {
        match self.ours.contains(&initiator) {
            true => SpecRoutes::new(self.hardware).route(initiator, provider, bar, access, class),
            false => {
                KernelRoutes::new(&self.kernel, self.hardware).route(initiator, provider, bar, access, class)
            }
        }
    }

    fn ram(&self, initiator: Bdf, access: Access, class: TlpClass) -> Result<(), Refused> {
        match self.ours.contains(&initiator) {
            true => match SpecRoutes::new(self.hardware).ram(initiator, access, class) {
                // The kernel has let the function go only with an address space by which it reaches this process's memory: what keeps it from
                // there is known for certain or is not there.
                Err(Refused::Unknown { .. }) => Ok(()),
                judged => judged,
            },
            // The kernel sees to it.
            false => Ok(()),
        }
    }
}
