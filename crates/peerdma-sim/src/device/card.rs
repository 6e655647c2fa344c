//! A card of plain memory: all of its memory BARs can be read and written, and it does nothing of its own.

use super::{Abort, Device, Outcome, Region, TransferId, Wire};
use crate::memory::{BankId, Banks, Place};

/// A card of plain memory.
#[derive(Debug, Clone)]
pub struct Card {
    /// Number, bank and size of each BAR.
    bars: Vec<(u8, BankId, u64)>,
}

impl Card {
    /// A card with BARs of these numbers and sizes in bytes.
    pub fn new(bars: &[(u8, u64)], banks: &mut Banks) -> Self {
        let bank = |&(bar, size_bytes): &(u8, u64)| (bar, banks.add(size_bytes), size_bytes);
        Self {
            bars: bars.iter().map(bank).collect(),
        }
    }

    /// The memory behind a BAR.
    pub fn bank(&self, bar: u8) -> Option<BankId> {
        self.bars
            .iter()
            .find(|(number, _, _)| *number == bar)
            .map(|(_, bank, _)| *bank)
    }
}

impl Device for Card {
    fn decode(&self, bar: u8, offset: u64) -> Region {
        match self.bars.iter().find(|(number, _, _)| *number == bar) {
            Some((_, bank, size_bytes)) if offset < *size_bytes => Region::Memory {
                place: Place { bank: *bank, offset },
                len_bytes: size_bytes - offset,
            },
            _ => Region::Nothing,
        }
    }

    fn read_registers(&mut self, _: u8, _: u64, _: &mut [u8], _: &mut dyn Wire) -> Result<(), Abort> {
        Err(Abort)
    }

    fn write_registers(&mut self, _: u8, _: u64, _: &[u8], _: &mut dyn Wire) {}

    fn transfer_ended(&mut self, _: TransferId, _: Outcome, _: &mut dyn Wire) {}

    fn woken(&mut self, _: u64, _: &mut dyn Wire) {}

    fn reset(&mut self, _: &mut dyn Wire) {}

    fn fail(&mut self, _: &mut dyn Wire) {}
}
