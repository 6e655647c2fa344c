//! A volume that the kernel drives: a block device or a plain file, by io_uring.
//!
//! Used through [`Volume`]. An operation owns its bio, its mapping and the memory of this process that it names until the kernel says that it
//! has ended; dropping the volume waits for what is under way, and what has not ended by then is leaked rather than freed. What ends short
//! is gone on with, or fails.
#![allow(unsafe_code)]

use super::device::BlockDevice;
use super::error::RingError;
use super::failure::Asked;
use super::pages::Pages;
use super::transfer::{MOST_PIECES, Transfer};
use super::uring::{Completed, Ends, Kernel, Operation, Uring, Wait, What};
use peerdma::block::{
    Bio, CommandError, Data, Done, Limits, PeerSupport, Rejected, Ticket, Volume, VolumeError,
};
use peerdma::device::DeviceError;
use peerdma::dma::{Constraints, Ioas, Locks, Mapper, Mapping};
use peerdma::memory::RegionId;
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a volume is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingOptions {
    /// How many bios can be under way at once, at least 1 and at most 4096.
    pub depth: u16,
    /// How it is told that they have ended.
    pub mode: Mode,
}

/// How a volume is told that an operation has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The device interrupts.
    #[default]
    Interrupts,
    /// The kernel asks the device whenever the volume is polled.
    Polled,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self {
            depth: 32,
            mode: Mode::Interrupts,
        }
    }
}

/// A volume of a block device or a plain file.
///
/// *Threads.* It may be given to another thread at any time, and be used by one at a time. To the kernel an operation belongs to the thread that was
/// in [`Volume::poll`], [`Volume::submit`] or [`Self::wait`] when it was told of it: that thread's time is charged, and when it ends, the kernel cancels what it has not
/// begun. The volume submits that again from the thread that polls next, so that nothing is lost; but a thread that ends waits, as any that exits, for
/// what its devices have begun. A thread that is to end soon had better poll until nothing is [under way](Volume::under_way).
pub struct RingVolume<L: Locks, P: Pages> {
    /// Before the device: operations end before the file is closed.
    pub(super) kernel: Box<dyn Kernel>,
    pub(super) device: BlockDevice,
    pub(super) pages: P,
    pub(super) mapper: Mapper<L>,
    pub(super) limits: Limits,
    pub(super) mode: Mode,
    pub(super) slots: Vec<Slot>,
    /// Slots that are not in use.
    pub(super) free: Vec<u16>,
    pub(super) completed: VecDeque<Completed>,
    /// What was queued that the kernel has not been asked to look at.
    pub(super) is_entry_due: bool,
    pub(super) tickets: u64,
    /// Why it takes nothing more.
    pub(super) dead: Option<Errno>,
    /// Bios that ended without the kernel.
    pub(super) ended: Vec<(u16, CommandError)>,
}

/// Room for an operation.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) transfer: Transfer,
    /// Counts the operations that it was used for, so that none is taken for another.
    pub(super) sequence: u32,
    pub(super) busy: Option<Busy>,
}

/// A bio under way.
#[derive(Debug)]
pub(super) struct Busy {
    pub(super) ticket: Ticket,
    pub(super) bio: Bio,
    /// Of its vector.
    pub(super) mapping: Option<Mapping>,
    pub(super) asked: Asked,
    /// How often the kernel put it off.
    pub(super) put_off: u32,
    /// How often it ended with the thread that submitted it.
    pub(super) cancelled: u32,
    pub(super) is_aborted: bool,
}

/// The most bytes of one bio: more brings no more, and each holds its memory for longer.
const MOST_BYTES: u32 = 4 << 20;
const MOST_DEPTH: u16 = 4096;
/// How long a volume that is dropped waits for what is under way.
const PATIENCE: Duration = Duration::from_secs(30);
/// The name of cancellations, whose completions say nothing.
pub(super) const NO_SLOT: u64 = u64::MAX;

impl<L: Locks, P: Pages> RingVolume<L, P> {
    /// A volume of `device` with memory of `pages`, judged by `ioas`: that of [`kernel_space`](super::kernel_space) for
    /// [`BlockDevice::initiator`].
    ///
    /// # Errors
    /// [`RingError`]
    pub fn new(
        device: BlockDevice,
        pages: P,
        ioas: &Arc<Ioas<L>>,
        options: RingOptions,
    ) -> Result<Self, RingError> {
        let depth = options.depth.clamp(1, MOST_DEPTH);
        let ends = match options.mode {
            Mode::Interrupts => Ends::ByInterrupt,
            Mode::Polled if !device.is_polled() => {
                let path = device.path().to_owned();
                return Err(RingError::NotPolled { path });
            }
            Mode::Polled => Ends::ByPolling,
        };
        // Each bio has one operation in the ring at a time, and perhaps its cancellation.
        let ring = Uring::new(device.fd().as_fd(), 2 * u32::from(depth), ends);
        let kernel = Box::new(ring.map_err(|source| RingError::Uring { source })?);
        Self::with_kernel(device, pages, ioas, RingOptions { depth, ..options }, kernel)
    }

    pub(super) fn with_kernel(
        device: BlockDevice,
        pages: P,
        ioas: &Arc<Ioas<L>>,
        options: RingOptions,
        kernel: Box<dyn Kernel>,
    ) -> Result<Self, RingError> {
        let initiator = device.initiator();
        let mapper = ioas.mapper(initiator).map_err(RingError::Ioas)?;
        let block_bytes = device.block_bytes();
        let limits = Limits {
            initiator,
            block_bytes,
            blocks: device.blocks(),
            max_transfer_bytes: (MOST_BYTES / block_bytes).max(1) * block_bytes,
            queue_depth: options.depth,
            constraints: Constraints {
                max_segments: MOST_PIECES,
                align_bytes: device.align_bytes().max(1),
                ..Constraints::NONE
            },
            peer: match device.takes_peer_memory() {
                // What one operation cannot mix is carried by several.
                true => PeerSupport::Mixed,
                false => PeerSupport::None,
            },
        };
        Ok(Self {
            kernel,
            device,
            pages,
            mapper,
            limits,
            mode: options.mode,
            slots: (0..options.depth).map(|_| Slot::default()).collect(),
            free: (0..options.depth).rev().collect(),
            completed: VecDeque::with_capacity(2 * usize::from(options.depth)),
            is_entry_due: false,
            tickets: 0,
            dead: None,
            ended: Vec::new(),
        })
    }

    /// What it is a volume of.
    pub fn device(&self) -> &BlockDevice {
        &self.device
    }

    /// For who maps memory that bios carry ([`Data::Mapped`]).
    pub fn mapper(&mut self) -> &mut Mapper<L> {
        &mut self.mapper
    }

    /// Waits for an operation to end, or for so long; then as [`Volume::poll`]. With nothing under way, and where the device is polled, it returns
    /// at once.
    ///
    /// # Errors
    /// As [`Volume::poll`].
    pub fn wait(&mut self, time: Duration, done: &mut dyn FnMut(Done)) -> Result<(), VolumeError> {
        let wait = match self.under_way() > 0 && self.ended.is_empty() {
            true => Wait::For(time),
            false => Wait::No,
        };
        self.enter(wait);
        self.poll(done)
    }
}

impl<L: Locks, P: Pages> Volume for RingVolume<L, P> {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    /// It is told to the kernel by the next [`Self::poll`], together with all others, or before where there is no more room.
    fn submit(&mut self, bio: Bio) -> Result<Ticket, Rejected> {
        match self.prepare(&bio) {
            Ok(prepared) => Ok(self.begin(bio, prepared)),
            Err(why) => Err(Rejected { bio, why }),
        }
    }

    fn poll(&mut self, done: &mut dyn FnMut(Done)) -> Result<(), VolumeError> {
        let is_asked = self.is_entry_due || (self.mode == Mode::Polled && self.under_way() > 0);
        if is_asked {
            self.enter(Wait::No);
        }
        self.reap(done);
        if self.is_entry_due {
            self.enter(Wait::No);
        }
        match self.dead {
            // What the kernel has ends by itself; without being asked it only does where devices interrupt.
            Some(error) if self.under_way() == 0 || self.mode == Mode::Polled => Err(dead(error)),
            _ => Ok(()),
        }
    }

    fn under_way(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// What the kernel has not begun yet is cancelled; a device that has begun goes on to the end.
    fn abort_uses(&mut self, region: RegionId) {
        for slot in 0..self.slots.len() {
            let Some(slot) = u16::try_from(slot).ok() else {
                return;
            };
            let Some(of) = self.slots.get_mut(usize::from(slot)) else {
                return;
            };
            let id = of.id(slot);
            let uses = |busy: &&mut Busy| !busy.is_aborted && busy.uses(region);
            if let Some(busy) = of.busy.as_mut().filter(uses) {
                busy.is_aborted = true;
                self.cancel(id);
            }
        }
    }
}

impl<L: Locks, P: Pages> RingVolume<L, P> {
    /// Tells the kernel what is queued.
    pub(super) fn enter(&mut self, wait: Wait) {
        match self.kernel.enter(wait) {
            Ok(()) => self.is_entry_due = self.kernel.has_queued(),
            // It cannot take it now: later.
            Err(Errno::INTR | Errno::AGAIN | Errno::BUSY | Errno::TIME | Errno::NOMEM) => {}
            Err(error) => self.die(error),
        }
    }

    /// Takes nothing more. What the kernel has not taken has ended.
    fn die(&mut self, error: Errno) {
        self.dead = self.dead.or(Some(error));
        self.is_entry_due = false;
        let mut ids = Vec::new();
        self.kernel.abandon(&mut ids);
        for id in ids {
            if let Some(slot) = self.slot_of(id) {
                self.ended.push((slot, CommandError::Aborted));
            }
        }
    }

    /// Asks the kernel to end an operation.
    fn cancel(&mut self, id: u64) {
        // A ring for polling takes no such thing.
        if self.mode == Mode::Polled || self.dead.is_some() {
            return;
        }
        let cancel = Operation {
            what: What::Cancel(id),
            id: NO_SLOT,
        };
        // SAFETY: it names no memory.
        if unsafe { self.kernel.push(cancel) }.is_ok() {
            self.is_entry_due = true;
        }
    }

    /// The slot of an operation that is under way.
    pub(super) fn slot_of(&self, id: u64) -> Option<u16> {
        let slot = u16::try_from(id & 0xffff).ok()?;
        let of = self.slots.get(usize::from(slot))?;
        (of.busy.is_some() && of.id(slot) == id).then_some(slot)
    }
}

impl Slot {
    /// The name of its operation.
    pub(super) fn id(&self, slot: u16) -> u64 {
        u64::from(self.sequence) << 16 | u64::from(slot)
    }
}

impl Busy {
    fn uses(&self, region: RegionId) -> bool {
        let given = match &self.bio.data {
            Data::Mapped(mapping) => Some(mapping),
            Data::Vector(_) | Data::None => None,
        };
        self.mapping
            .iter()
            .chain(given)
            .any(|mapping| mapping.uses(region))
    }
}

impl<L: Locks, P: Pages> Drop for RingVolume<L, P> {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            if let Some(busy) = &mut slot.busy {
                busy.is_aborted = true;
            }
        }
        let mut left = Vec::new();
        let until = Instant::now() + PATIENCE;
        while self.under_way() > 0 && Instant::now() < until {
            let gone = self.wait(Duration::from_millis(100), &mut |done| left.push(done));
            if gone.is_err() {
                break;
            }
        }
        for done in left {
            // Nobody is left to give it back to.
            if let Data::Mapped(mapping) = done.bio.data {
                let _ = self.mapper.unmap(mapping);
            }
        }
        for slot in &mut self.slots {
            if let Some(busy) = slot.busy.take() {
                // The kernel may still write there: it stays mapped, in this process and for the device.
                slot.transfer.leak();
                std::mem::forget(busy);
            }
        }
    }
}

impl<L: Locks, P: Pages> fmt::Debug for RingVolume<L, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingVolume")
            .field("device", &self.device)
            .field("limits", &self.limits)
            .field("mode", &self.mode)
            .field("under_way", &self.under_way())
            .field("dead", &self.dead)
            .finish_non_exhaustive()
    }
}

/// What a volume has failed of that takes nothing more.
pub(super) fn dead(error: Errno) -> VolumeError {
    VolumeError::Device(DeviceError::System(error.raw_os_error()))
}
