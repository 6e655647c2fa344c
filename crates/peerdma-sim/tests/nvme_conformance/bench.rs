//! What the tests need of a machine around the controller.

pub(crate) use crate::rig::Rig;
use peerdma_sim::device::Transfer;
use std::ops::Range;

pub(crate) const CMB_BAR: u8 = 2;
pub(crate) const CMB_BYTES: u64 = 1 << 20;

/// Software's side of a machine with one controller.
pub(crate) trait Bench {
    fn mmio_read(&mut self, bar: u8, offset: u64, into: &mut [u8]);
    fn mmio_write(&mut self, bar: u8, offset: u64, from: &[u8]);
    fn memory_read(&mut self, address: u64, into: &mut [u8]);
    fn memory_write(&mut self, address: u64, from: &[u8]);
    /// Lets time pass until something happens, or this much has passed.
    fn pass(&mut self, ps: u64);
    fn now_ps(&self) -> u64;
    /// The vectors raised since it was last asked.
    fn interrupts(&mut self) -> Vec<u16>;
    /// What the controller sent out since it was last asked: direction, address, length.
    fn sent(&mut self) -> Vec<Transfer>;
    /// Requests to these addresses fail from now on.
    fn break_memory(&mut self, addresses: Range<u64>);
    /// A function level reset.
    fn reset(&mut self);
    /// The controller breaks down.
    fn fail(&mut self);
    /// What is in the BAR of the buffer.
    fn buffer_address(&self) -> u64;
}
