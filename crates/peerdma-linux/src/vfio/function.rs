//! A device as a driver has it: the seam of [`peerdma::device`].

use super::bar::BarMapping;
use super::device::Device;
use super::error::VfioError;
use crate::sys::barrier;
use peerdma::addr::{Bdf, BusAddr, PhysAddr, Span};
use peerdma::device::{BusMaster, DeviceError, Mmio, Presence};

/// A device that a driver has for itself.
#[derive(Debug, Clone)]
pub struct Function {
    device: Device,
}

/// Registers behind a BAR, by loads and stores of the CPU: each is one access, of exactly its width.
///
/// What cannot be mapped, because it shares a page with the MSI-X table, is accessed by the kernel in this process's name.
#[derive(Debug, Clone)]
pub struct Registers {
    device: Device,
    mapping: Option<BarMapping>,
    file_offset_bytes: u64,
    len_bytes: u64,
}

impl Function {
    /// The device as drivers want it.
    pub fn new(device: Device) -> Self {
        Self { device }
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl peerdma::device::Function for Function {
    type Mmio = Registers;

    fn bdf(&self) -> Bdf {
        self.device.bdf()
    }

    fn bar(&self, bar: u8) -> Option<Span<PhysAddr>> {
        Some(self.device.bar(bar)?.phys)
    }

    fn bar_address(&self, bar: u8) -> Option<BusAddr> {
        self.device.bar(bar)?.bus
    }

    fn registers(&self, bar: u8) -> Result<Registers, DeviceError> {
        if self.device.presence() == Presence::Removed {
            return Err(DeviceError::Removed);
        }
        let info = self.device.bar(bar).ok_or(DeviceError::NoSuchBar { bar })?;
        let mapping = match self.device.map_bar(bar) {
            Ok(mapping) => Some(mapping),
            Err(VfioError::NotMappable { .. }) => None,
            Err(error) => return Err(error.for_driver()),
        };
        Ok(Registers {
            device: self.device.clone(),
            mapping,
            file_offset_bytes: info.file_offset_bytes,
            len_bytes: info.len_bytes(),
        })
    }

    fn set_bus_master(&self, to: BusMaster) -> Result<(), DeviceError> {
        self.device.set_bus_master(to).map_err(|error| error.for_driver())
    }

    fn reset(&self) -> Result<(), DeviceError> {
        self.device.reset().map_err(|error| error.for_driver())
    }

    fn presence(&self) -> Presence {
        self.device.presence()
    }
}

impl Registers {
    /// Where in the device's file an access is that cannot be made in a mapping; nothing outside of the BAR or where it is not aligned.
    fn in_file(&self, offset: u64, width_bytes: u64) -> Option<u64> {
        let end = offset.checked_add(width_bytes)?;
        let is_inside = offset.is_multiple_of(width_bytes) && end <= self.len_bytes;
        is_inside.then(|| self.file_offset_bytes.checked_add(offset))?
    }

    fn read_by_kernel<const N: usize>(&self, offset: u64) -> [u8; N] {
        let mut bytes = [0xff; N];
        let at = self.in_file(offset, N as u64);
        match at.map(|at| rustix::io::pread(self.device.fd(), &mut bytes, at)) {
            Some(Ok(count)) if count == N => bytes,
            // Nothing answers.
            _ => [0xff; N],
        }
    }

    fn write_by_kernel<const N: usize>(&self, offset: u64, bytes: [u8; N]) {
        if let Some(at) = self.in_file(offset, N as u64) {
            // What a device that is gone is told is lost.
            let _ = rustix::io::pwrite(self.device.fd(), &bytes, at);
        }
    }
}

impl Mmio for Registers {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read32(&self, offset: u64) -> u32 {
        let place = self.mapping.as_ref().and_then(|mapping| mapping.find(offset, 4));
        let value = match place.and_then(|(memory, within)| memory.load_u32(within)) {
            Some(value) => u32::from_le(value),
            None => u32::from_le_bytes(self.read_by_kernel(offset)),
        };
        barrier::after_register_load();
        value
    }

    fn write32(&self, offset: u64, value: u32) {
        barrier::before_register_store();
        let place = self.mapping.as_ref().and_then(|mapping| mapping.find(offset, 4));
        if place
            .and_then(|(memory, within)| memory.store_u32(within, value.to_le()))
            .is_none()
        {
            self.write_by_kernel(offset, value.to_le_bytes());
        }
    }

    /// One access of 8 bytes, on processors that have such.
    fn read64(&self, offset: u64) -> u64 {
        let place = self.mapping.as_ref().and_then(|mapping| mapping.find(offset, 8));
        let value = match place.and_then(|(memory, within)| memory.load_u64(within)) {
            Some(value) => u64::from_le(value),
            None => u64::from_le_bytes(self.read_by_kernel(offset)),
        };
        barrier::after_register_load();
        value
    }

    /// One access of 8 bytes, on processors that have such.
    fn write64(&self, offset: u64, value: u64) {
        barrier::before_register_store();
        let place = self.mapping.as_ref().and_then(|mapping| mapping.find(offset, 8));
        if place
            .and_then(|(memory, within)| memory.store_u64(within, value.to_le()))
            .is_none()
        {
            self.write_by_kernel(offset, value.to_le_bytes());
        }
    }
}
