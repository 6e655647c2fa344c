//! Resetting a function as an operating system does it: quiet, save, reset, wait, restore.

use super::function::{COMMAND, PciFunction};
use super::refusal::Step;
use crate::fabric::Width;
use crate::time::Time;
use peerdma::device::{BusMaster, DeviceError};

/// How long software leaves a function alone after a function level reset (PCIe Base 6.6.2).
const WAIT_PS: u64 = 100_000_000_000;
const CAPABILITIES: u16 = 0x34;
const EXPRESS: u8 = 0x10;
/// Device Capabilities, Device Control: offsets in the PCI Express capability.
const DEVICE_CAPABILITIES: u16 = 4;
const DEVICE_CONTROL: u16 = 8;
const FLR_CAPABLE: u32 = 1 << 28;
const INITIATE_FLR: u32 = 1 << 15;
const CONVENTIONAL_BYTES: u16 = 256;
const EXTENDED_BYTES: u16 = 4096;

impl PciFunction {
    pub(super) fn reset_function(&self) -> Result<(), DeviceError> {
        self.check_presence()?;
        let express = self.express().ok_or(DeviceError::NoReset)?;
        let is_capable = self.config(express + DEVICE_CAPABILITIES) & FLR_CAPABLE != 0;
        if !is_capable || !self.computer.is_allowed(Step::Reset) {
            return Err(DeviceError::NoReset);
        }
        let command = Self::command(self.config(COMMAND), BusMaster::Off);
        self.write_config(COMMAND, Width::Word, command);
        let saved: Vec<(u16, u32)> = (0..EXTENDED_BYTES)
            .step_by(4)
            .map(|at| (at, self.config(at)))
            .collect();
        let control = express + DEVICE_CONTROL;
        let before = self.config(control) & 0xffff;
        self.write_config(control, Width::Word, before | INITIATE_FLR);
        self.wait();
        self.check_presence()?;
        for (at, value) in saved {
            if self.config(at) == value {
                continue;
            }
            // In the upper halves of these two a 1 that was written would clear what an error has left.
            let is_control = at == COMMAND || at == control;
            match is_control {
                // The command register comes last: BARs are in place when the function answers at them.
                true if at == COMMAND => {}
                true => self.write_config(at, Width::Word, value & 0xffff),
                false => self.write_config(at, Width::Dword, value),
            }
        }
        self.write_config(COMMAND, Width::Word, command);
        self.check_presence()
    }

    fn wait(&self) {
        let mut machine = self.computer.shared.machine.borrow_mut();
        let until = machine.now().after_ps(WAIT_PS);
        machine.run_until(Time::from_ps(until.as_ps()));
    }

    /// Where its PCI Express capability is.
    fn express(&self) -> Option<u16> {
        let mut at = (self.config(CAPABILITIES) & 0xfc) as u16;
        // A chain that goes in circles ends too.
        for _ in 0..CONVENTIONAL_BYTES / 4 {
            if at < 0x40 {
                return None;
            }
            let header = self.config(at);
            if header as u8 == EXPRESS {
                return Some(at);
            }
            at = (header >> 8 & 0xfc) as u16;
        }
        None
    }
}
