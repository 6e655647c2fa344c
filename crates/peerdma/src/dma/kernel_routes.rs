//! Routes where the system's kernel moves the data: its own block layer maps memory for its own drivers.
//!
//! Asked by who builds the address space of a kernel volume (io_uring on block devices and files). Two judges have a say: the kernel does nothing
//! that it refuses ([`linux`]), and what it does may still not work ([`spec`]). RAM is always reached: the kernel sees to it, by its
//! IOMMU or by copies.

use super::{PeerRoute, Refused, Routes};
use crate::addr::Bdf;
use crate::route::spec::{Form, Outcome, Question};
use crate::route::{Access, MapType, TlpClass};
use crate::route::{linux, spec};
use crate::topology::Topology;

/// The kernel's judge, with the specification's as a second opinion.
///
/// The form of a route is always [`Form::BusAddress`]: it tells a volume which memory is meant, and is never told to a device. What the
/// kernel programs its device with (the bus address for `BUS_ADDR`, an address that its IOMMU translates for `THRU_HOST_BRIDGE`) is for
/// the kernel alone to know.
#[derive(Debug)]
pub struct KernelRoutes<'j, 't> {
    kernel: &'j linux::Judge<'t>,
    hardware: &'j spec::Judge<'t>,
}

impl<'j, 't> KernelRoutes<'j, 't> {
    /// Routes of the kernel that `kernel` judges for, but those of which `hardware` says for certain that they do not work. Both judge one
    /// machine.
    pub fn new(kernel: &'j linux::Judge<'t>, hardware: &'j spec::Judge<'t>) -> Self {
        Self { kernel, hardware }
    }
}

impl Routes for KernelRoutes<'_, '_> {
    fn route(&self, initiator: Bdf, provider: Bdf, bar: u8, access: Access, class: TlpClass) -> PeerRoute {
        match self.judge((initiator, provider, bar), access, class) {
            Ok(map_type) => PeerRoute::Reached {
                map_type,
                form: Form::BusAddress,
            },
            Err(refused) => PeerRoute::Refused(refused),
        }
    }
}

impl KernelRoutes<'_, '_> {
    fn judge(
        &self,
        (initiator, provider, bar): (Bdf, Bdf, u8),
        access: Access,
        class: TlpClass,
    ) -> Result<MapType, Refused> {
        let nodes = |topology: &Topology| {
            let find = |bdf| topology.find(bdf).ok_or(Refused::NoSuchFunction(bdf));
            Ok((find(initiator)?, find(provider)?))
        };
        let (client, of) = nodes(self.kernel.topology())?;
        let answer = self.kernel.verdict(of, client).answer(access, class);
        if answer.surely_refused() {
            return Err(Refused::NotSupported(provider));
        }
        // It is reached by one way or another: the longer one is promised.
        let map_type = match answer.map_type() {
            Some(map_type) => map_type,
            None if answer.surely_reached() => MapType::ThruHostBridge,
            None => return Err(Refused::Undecided(provider)),
        };
        let (client, provider) = nodes(self.hardware.topology())?;
        let stopped = |form| {
            let question = Question {
                provider,
                client,
                bar: Some(bar),
                access,
                class,
                form,
            };
            match self.hardware.fate_at(question, 0).outcome {
                Outcome::Refused { at, why } => Err(Refused::Stopped { at, why }),
                Outcome::Delivered { .. } | Outcome::SameFunction | Outcome::Unknown { .. } => Ok(map_type),
            }
        };
        match answer.map_type() {
            Some(MapType::BusAddr) => stopped(Form::BusAddress),
            Some(_) => stopped(Form::HostAddress),
            // The kernel knows which of the two it takes; for certain it fails only where both do.
            None => stopped(Form::BusAddress).or_else(|_| stopped(Form::HostAddress)),
        }
    }
}
