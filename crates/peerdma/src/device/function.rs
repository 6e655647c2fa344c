//! One function: its registers, and what a driver may do to it as a whole.

use super::DeviceError;
use crate::addr::{Bdf, BusAddr, PhysAddr, Span};

/// A function that a driver has for itself.
pub trait Function {
    /// Its registers.
    type Mmio: Mmio;

    /// Its address.
    fn bdf(&self) -> Bdf;

    /// Where a memory BAR lies in the machine's memory map.
    fn bar(&self, bar: u8) -> Option<Span<PhysAddr>>;

    /// What the register of a memory BAR holds.
    fn bar_address(&self, bar: u8) -> Option<BusAddr>;

    /// The registers behind a BAR.
    ///
    /// # Errors
    /// [`DeviceError::NoSuchBar`], [`DeviceError::Removed`]
    fn registers(&self, bar: u8) -> Result<Self::Mmio, DeviceError>;

    /// Lets the function issue requests, or not.
    ///
    /// # Errors
    /// [`DeviceError::Removed`], [`DeviceError::System`]
    fn set_bus_master(&self, to: BusMaster) -> Result<(), DeviceError>;

    /// Resets the function (FLR or what there is): all it does ends, and it reaches no memory before it is set up again.
    ///
    /// # Errors
    /// [`DeviceError::NoReset`], [`DeviceError::Removed`]
    fn reset(&self) -> Result<(), DeviceError>;

    /// Is it still there?
    fn presence(&self) -> Presence;
}

/// May a function issue requests?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusMaster {
    /// It may.
    On,
    /// It may not.
    Off,
}

/// Is a function there?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It answers.
    Present,
    /// It is gone: registers read as all ones, and nothing that it had under way goes on.
    Removed,
}

/// Registers behind a BAR: each call is one access of exactly this width, in the order of the calls. What a removed device is asked reads as all
/// ones. Offsets outside the BAR or not aligned read as all ones, and are not written.
pub trait Mmio {
    /// Bytes of the BAR.
    fn len_bytes(&self) -> u64;

    /// Loads a dword.
    fn read32(&self, offset: u64) -> u32;

    /// Stores a dword; what was written to RAM before is there before it.
    fn write32(&self, offset: u64, value: u32);

    /// Loads a qword, as one access or as two dwords, the lower first (NVMe allows both).
    fn read64(&self, offset: u64) -> u64;

    /// Stores a qword, in the same way.
    fn write64(&self, offset: u64, value: u64);
}
