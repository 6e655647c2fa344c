//! What sits at the ends of the fabric: the seam between a device's model and the machine that it is plugged into.
//!
//! A model implements [`Device`]; the machine calls it when a request reaches one of its BARs, when a transfer of its own
//! has ended, and when a time that it asked for has come. It acts through the [`Wire`] that each call hands it. Models
//! know nothing of the fabric: whether an address leads to RAM, to a peer or nowhere shows in the outcome only.

pub mod accelerator;
mod card;
pub mod nvme;

pub use accelerator::Accelerator;
pub use card::Card;

use crate::blueprint::DeviceKind;
use crate::fabric::BuildError;
use crate::memory::{Banks, Place};
use crate::time::Time;
use crate::tlp::{AddressType, Failure, Ordering};
use peerdma::snapshot::Function;
use std::any::Any;
use std::fmt;

/// A model of one function.
pub trait Device: fmt::Debug + Any {
    /// What `bar` holds at `offset`. Asked for every request that reaches it; what holds for a range is said for as much
    /// of it as possible.
    fn decode(&self, bar: u8, offset: u64) -> Region;

    /// Fills `data` from registers at `offset` of `bar`.
    ///
    /// # Errors
    /// [`Abort`] where the function refuses: the requester gets a Completer Abort.
    fn read_registers(
        &mut self,
        bar: u8,
        offset: u64,
        data: &mut [u8],
        wire: &mut dyn Wire,
    ) -> Result<(), Abort>;

    /// Takes a write to registers at `offset` of `bar`.
    fn write_registers(&mut self, bar: u8, offset: u64, data: &[u8], wire: &mut dyn Wire);

    /// One of its transfers has ended.
    fn transfer_ended(&mut self, transfer: TransferId, outcome: Outcome, wire: &mut dyn Wire);

    /// A translation that it asked for has come (ATS).
    fn translation_ended(&mut self, transfer: TransferId, found: Option<Translation>, wire: &mut dyn Wire) {
        let _ = (transfer, found, wire);
    }

    /// A translation that it holds is no longer true (ATS invalidation): all of it must be forgotten now.
    fn invalidate(&mut self, iova: u64, len: u64) {
        let _ = (iova, len);
    }

    /// A time that it asked for has come.
    fn woken(&mut self, cookie: u64, wire: &mut dyn Wire);

    /// The function was reset (function level reset, or power).
    fn reset(&mut self, wire: &mut dyn Wire);

    /// It breaks down, as its kind of device does (an NVMe controller sets CFS). For fault plans.
    fn fail(&mut self, wire: &mut dyn Wire);
}

/// The model of `function`, which is of this kind and has memory BARs of these numbers and sizes in bytes.
///
/// # Errors
/// [`BuildError`] where it cannot be furnished so.
pub(crate) fn build(
    function: &Function,
    kind: &DeviceKind,
    bars: &[(u8, u64)],
    banks: &mut Banks,
) -> Result<Box<dyn Device>, BuildError> {
    Ok(match kind {
        DeviceKind::Accelerator(kind) => Box::new(accelerator::furnish(kind, bars, banks)),
        DeviceKind::Nvme(kind) => Box::new(nvme::furnish(function, kind, bars, banks)?),
        DeviceKind::Card => Box::new(Card::new(bars, banks)),
    })
}

/// What a device sees of the machine.
pub trait Wire {
    /// The time.
    fn now(&self) -> Time;

    /// Starts a transfer; transfers of one function leave it in the order in which they were started.
    fn start(&mut self, transfer: Transfer) -> TransferId;

    /// Asks the root complex's translation agent for `iova` (ATS, PCIe Base 10.2).
    fn translate(&mut self, iova: u64, len: u64, access: crate::tlp::Access) -> TransferId;

    /// Asks to be woken.
    fn wake_at(&mut self, at: Time, cookie: u64);

    /// Raises an interrupt (MSI-X vector), in order behind the writes that left before.
    fn interrupt(&mut self, vector: u16);

    /// The address in one of its own base address registers.
    fn bar_address(&self, bar: u8) -> Option<u64>;

    /// All memory, to read and write what is inside the device.
    fn banks(&mut self) -> &mut Banks;
}

/// What a BAR holds from an offset on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// Memory, for `len_bytes` from here on: the machine reads and writes the bank without asking.
    Memory {
        /// Where it is.
        place: Place,
        /// How many bytes follow, at least 1.
        len_bytes: u64,
    },
    /// Registers.
    Registers,
    /// Nothing: reads are unsupported requests, writes vanish with an error.
    Nothing,
}

/// The function refuses to complete a request as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort;

/// A transfer or a translation under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransferId(pub u64);

/// A transfer that a device starts: as many TLPs as payload sizes and boundaries ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Which way the data goes.
    pub direction: Direction,
    /// The first address on the wire.
    pub address: u64,
    /// Where the data is inside the device, or goes to.
    pub local: Place,
    /// How many bytes.
    pub len_bytes: u64,
    /// What kind of address it is.
    pub address_type: AddressType,
    /// The relaxed-ordering attribute.
    pub ordering: Ordering,
    /// What it is for, in the counters.
    pub purpose: Purpose,
}

/// Which way data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The device reads what is at the address.
    In,
    /// The device writes it.
    Out,
}

/// What a TLP is for; counters keep the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// User data.
    Payload,
    /// Commands, completions, lists, doorbells, interrupts.
    Queue,
}

/// How a transfer ended. A write has ended when its last TLP has left the device: nobody tells it more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All data came, or left.
    Done,
    /// A request of it failed; what lies before `good_bytes` was fetched.
    Failed {
        /// Bytes from the start that are good.
        good_bytes: u64,
        /// What went wrong with the first that failed.
        failure: Failure,
    },
}

/// What a translation agent answered (PCIe Base 10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// The address to use in translated requests.
    pub address: u64,
    /// For how many bytes from the requested address on it holds.
    pub len_bytes: u64,
    /// May it be read?
    pub may_read: bool,
    /// May it be written?
    pub may_write: bool,
}
