//! One function as its driver has it.

use super::Computer;
use crate::fabric::{FunctionId, Width};
use peerdma::addr::{Address, Bdf, BusAddr, PhysAddr, Span};
use peerdma::device::{BusMaster, DeviceError, Function, Mmio, Presence};

/// A function of a [`Computer`].
#[derive(Debug, Clone)]
pub struct PciFunction {
    pub(super) computer: Computer,
    pub(super) bdf: Bdf,
    pub(super) id: FunctionId,
}

/// Registers (or memory) behind a BAR of a [`PciFunction`], by loads and stores of the CPU: each is one TLP, and a load takes
/// until its completion has come.
#[derive(Debug, Clone)]
pub struct Registers {
    computer: Computer,
    first: u64,
    len_bytes: u64,
}

pub(super) const COMMAND: u16 = 0x04;
pub(super) const BUS_MASTER: u32 = 1 << 2;

impl Computer {
    /// The function at an address, also if it was removed meanwhile.
    pub fn function(&self, bdf: Bdf) -> Option<PciFunction> {
        let id = self.shared.machine.borrow().fabric().find(bdf)?;
        Some(PciFunction {
            computer: self.clone(),
            bdf,
            id,
        })
    }
}

impl PciFunction {
    /// The machine that it is in.
    pub fn computer(&self) -> &Computer {
        &self.computer
    }

    /// Reads configuration space at no cost of time.
    pub(super) fn config(&self, offset: u16) -> u32 {
        let machine = self.computer.shared.machine.borrow();
        machine.fabric().config_read(self.id, offset, Width::Dword)
    }

    pub(super) fn write_config(&self, offset: u16, width: Width, value: u32) {
        let mut machine = self.computer.shared.machine.borrow_mut();
        machine.config_write(self.bdf, offset, width, value);
    }

    pub(super) fn check_presence(&self) -> Result<(), DeviceError> {
        match self.presence() {
            Presence::Present => Ok(()),
            Presence::Removed => Err(DeviceError::Removed),
        }
    }

    /// Writes the command register with bus mastering as given.
    pub(super) fn command(before: u32, to: BusMaster) -> u32 {
        let rest = before & 0xffff & !BUS_MASTER;
        match to {
            BusMaster::On => rest | BUS_MASTER,
            BusMaster::Off => rest,
        }
    }
}

impl Function for PciFunction {
    type Mmio = Registers;

    fn bdf(&self) -> Bdf {
        self.bdf
    }

    /// Nothing where the CPU does not see it.
    fn bar(&self, bar: u8) -> Option<Span<PhysAddr>> {
        let range = self.computer.bus_range(self.bdf, bar)?;
        self.computer.seen(self.bdf, range)
    }

    fn bar_address(&self, bar: u8) -> Option<BusAddr> {
        let (first, _) = self.computer.bus_range(self.bdf, bar)?;
        Some(BusAddr::from_u64(first))
    }

    fn registers(&self, bar: u8) -> Result<Registers, DeviceError> {
        self.check_presence()?;
        let span = Function::bar(self, bar).ok_or(DeviceError::NoSuchBar { bar })?;
        Ok(Registers {
            computer: self.computer.clone(),
            first: span.first().to_u64(),
            len_bytes: span.len_minus_one().saturating_add(1),
        })
    }

    fn set_bus_master(&self, to: BusMaster) -> Result<(), DeviceError> {
        self.check_presence()?;
        let command = Self::command(self.config(COMMAND), to);
        self.write_config(COMMAND, Width::Word, command);
        self.check_presence()
    }

    /// Function level reset; afterwards configuration space is as it was, but bus mastering is off.
    fn reset(&self) -> Result<(), DeviceError> {
        self.reset_function()
    }

    fn presence(&self) -> Presence {
        let machine = self.computer.shared.machine.borrow();
        match machine.fabric().function(self.id).answers {
            true => Presence::Present,
            false => Presence::Removed,
        }
    }
}

impl Registers {
    /// The physical address of an access, if there may be such a one.
    fn at(&self, offset: u64, width_bytes: u64) -> Option<u64> {
        let last = offset.checked_add(width_bytes - 1)?;
        let is_inside = offset.is_multiple_of(width_bytes) && last < self.len_bytes;
        is_inside.then(|| self.first + offset)
    }

    fn read<const N: usize>(&self, offset: u64) -> [u8; N] {
        let mut bytes = [0xff; N];
        if let Some(phys) = self.at(offset, N as u64) {
            self.computer
                .shared
                .machine
                .borrow_mut()
                .cpu_read(phys, &mut bytes);
        }
        bytes
    }

    fn write<const N: usize>(&self, offset: u64, bytes: [u8; N]) {
        if let Some(phys) = self.at(offset, N as u64) {
            self.computer.shared.machine.borrow_mut().cpu_write(phys, &bytes);
        }
    }
}

impl Mmio for Registers {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read32(&self, offset: u64) -> u32 {
        u32::from_le_bytes(self.read(offset))
    }

    fn write32(&self, offset: u64, value: u32) {
        self.write(offset, value.to_le_bytes());
    }

    /// One access of 8 bytes.
    fn read64(&self, offset: u64) -> u64 {
        u64::from_le_bytes(self.read(offset))
    }

    /// One access of 8 bytes.
    fn write64(&self, offset: u64, value: u64) {
        self.write(offset, value.to_le_bytes());
    }
}
