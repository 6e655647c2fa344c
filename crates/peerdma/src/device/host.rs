//! The host: RAM that devices use, memory of BARs as the CPU sees it, and the time.

use super::DeviceError;
use crate::addr::PhysAddr;

/// What a driver needs of the machine that it runs on.
pub trait Host {
    /// RAM for devices: `len_bytes` that read as zero, physically contiguous, at a multiple of `align_bytes` (a power of two).
    ///
    /// # Errors
    /// [`DeviceError::NoMemory`]
    fn allocate(&self, len_bytes: u64, align_bytes: u64) -> Result<PhysAddr, DeviceError>;

    /// Gives back what [`Self::allocate`] gave. No device may reach it any more. Nothing else is ever freed: other addresses are ignored.
    fn free(&self, at: PhysAddr);

    /// Copies from RAM. What devices have written is seen in the order in which [`Self::load_acquire`] says it came.
    ///
    /// # Errors
    /// [`DeviceError::NoSuchMemory`]
    fn read_ram(&self, at: PhysAddr, into: &mut [u8]) -> Result<(), DeviceError>;

    /// Copies to RAM; it is there before a later [`Mmio::write32`](super::Mmio::write32) reaches a device.
    ///
    /// # Errors
    /// [`DeviceError::NoSuchMemory`]
    fn write_ram(&self, at: PhysAddr, from: &[u8]) -> Result<(), DeviceError>;

    /// Loads an aligned dword of RAM; what its writer wrote before it is seen by what is read after it.
    ///
    /// # Errors
    /// [`DeviceError::NoSuchMemory`], [`DeviceError::NoAccess`] where it is not aligned.
    fn load_acquire(&self, at: PhysAddr) -> Result<u32, DeviceError>;

    /// Loads 1, 2, 4 or 8 bytes, aligned, from memory behind a BAR: one load of this width, never more, never less.
    ///
    /// # Errors
    /// [`DeviceError::NoSuchMemory`], [`DeviceError::NoAccess`]
    fn load_bar(&self, at: PhysAddr, width_bytes: u8) -> Result<u64, DeviceError>;

    /// Stores 1, 2, 4 or 8 bytes, aligned, to memory behind a BAR: one store of this width.
    ///
    /// # Errors
    /// [`DeviceError::NoSuchMemory`], [`DeviceError::NoAccess`]
    fn store_bar(&self, at: PhysAddr, width_bytes: u8, value: u64) -> Result<(), DeviceError>;

    /// Time since some moment, in nanoseconds; never goes back.
    fn now_ns(&self) -> u64;

    /// Called by who polls and found nothing: lets others go on. In a simulated machine time only goes on here and in accesses.
    fn relax(&self);
}
