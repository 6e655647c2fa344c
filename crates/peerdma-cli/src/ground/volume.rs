//! A volume of an end, whoever serves it.

use super::Ground;
use super::meter::Meter;
use peerdma::block::{Bio, CompletionPlace, Done, Limits, Rejected, Ticket, Volume, VolumeError};
use peerdma::dma::SingleThread;
use peerdma::memory::RegionId;
use peerdma_nvme::Queue;

/// A volume of an end, which counts what its commands name where nobody else does.
pub(crate) struct EndVolume<G: Ground> {
    inner: Inner<G>,
    meter: Option<Meter>,
}

/// Who serves it.
pub(super) enum Inner<G: Ground> {
    /// Our driver, by a queue pair.
    Queue(Box<Queue<G::Function, G, SingleThread>>),
    /// Somebody else.
    Own(G::Volume),
}

impl<G: Ground> EndVolume<G> {
    pub(super) fn new(inner: Inner<G>, meter: Option<Meter>) -> Self {
        Self { inner, meter }
    }

    /// Ends it; what is under way is aborted.
    ///
    /// # Errors
    /// Why something of its memory may still be mapped.
    pub(crate) fn close(self) -> Result<(), String> {
        match self.inner {
            Inner::Queue(queue) => queue.close(&mut |_| ()).map_err(|error| error.to_string()),
            Inner::Own(_) => Ok(()),
        }
    }

    fn get(&self) -> &dyn Volume {
        match &self.inner {
            Inner::Queue(queue) => &**queue,
            Inner::Own(volume) => volume,
        }
    }

    fn get_mut(&mut self) -> &mut dyn Volume {
        match &mut self.inner {
            Inner::Queue(queue) => &mut **queue,
            Inner::Own(volume) => volume,
        }
    }
}

impl<G: Ground> Volume for EndVolume<G> {
    fn limits(&self) -> &Limits {
        self.get().limits()
    }

    fn submit(&mut self, bio: Bio) -> Result<Ticket, Rejected> {
        let ram_bytes = self.meter.as_ref().map(|meter| meter.ram_bytes(&bio));
        let submitted = match &mut self.inner {
            Inner::Queue(queue) => queue.submit(bio),
            Inner::Own(volume) => volume.submit(bio),
        };
        if let (Ok(_), Some(meter), Some(ram_bytes)) = (&submitted, &self.meter, ram_bytes) {
            meter.add(ram_bytes);
        }
        submitted
    }

    fn poll(&mut self, done: &mut dyn FnMut(Done)) -> Result<(), VolumeError> {
        self.get_mut().poll(done)
    }

    fn completion_place(&self) -> CompletionPlace {
        self.get().completion_place()
    }

    fn under_way(&self) -> usize {
        self.get().under_way()
    }

    fn abort_uses(&mut self, region: RegionId) {
        self.get_mut().abort_uses(region);
    }
}

/// A ground has no volumes of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NoVolume {}

impl Volume for NoVolume {
    fn limits(&self) -> &Limits {
        match *self {}
    }

    fn submit(&mut self, _: Bio) -> Result<Ticket, Rejected> {
        match *self {}
    }

    fn poll(&mut self, _: &mut dyn FnMut(Done)) -> Result<(), VolumeError> {
        match *self {}
    }

    fn under_way(&self) -> usize {
        match *self {}
    }

    fn abort_uses(&mut self, _: RegionId) {
        match *self {}
    }
}
