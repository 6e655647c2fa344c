//! An accelerator: registers in BAR 0, large memory in BAR 2, and an engine that moves bytes between its memory and
//! addresses on the bus.
//!
//! [`registers`] is the reference from which a driver can be written; [`channel`] is one channel of the engine,
//! [`translations`] the cache of translated addresses (ATS). The machine makes an [`Accelerator`] and calls it by way of
//! [`Device`]; transfer scripts drive it by writing its registers.

mod channel;
pub mod registers;
mod translations;

#[cfg(test)]
mod tests;

use super::{Abort, Device, Outcome, Region, TransferId, Translation, Wire};
use crate::blueprint::AcceleratorKind;
use crate::memory::{BankId, Banks, Place};
use channel::{Channel, Engine};
use registers::{CHANNELS, Error, global};
use translations::Translations;

/// The accelerator of a function that has memory BARs of these numbers and sizes in bytes.
pub(super) fn furnish(kind: &AcceleratorKind, bars: &[(u8, u64)], banks: &mut Banks) -> Accelerator {
    let memory = bars.iter().find(|(bar, _)| *bar == registers::MEMORY_BAR);
    let memory_bytes = memory.map_or(0, |(_, size_bytes)| *size_bytes);
    Accelerator::new(kind, banks.add(memory_bytes), memory_bytes)
}

/// The model of one accelerator.
#[derive(Debug)]
pub struct Accelerator {
    engine: Engine,
    channels: [Channel; CHANNELS],
    interrupts: u32,
    broken: bool,
}

impl Accelerator {
    /// An accelerator whose BAR 2 shows all `memory_bytes` of `memory`, beginning with its first byte.
    pub fn new(kind: &AcceleratorKind, memory: BankId, memory_bytes: u64) -> Self {
        Self {
            engine: Engine {
                memory,
                memory_bytes,
                outstanding_bytes: kind.outstanding_bytes,
                on_failure: kind.on_failure,
                translations: Translations::default(),
            },
            channels: Default::default(),
            interrupts: 0,
            broken: false,
        }
    }

    fn read_word(&self, offset: u64) -> u32 {
        if let Some((index, register)) = registers::channel_at(offset) {
            return self.channels[index].read(register);
        }
        let memory_bytes = self.engine.memory_bytes;
        match offset {
            global::ID => registers::ID_VALUE,
            global::VERSION => 1,
            global::CHANNEL_COUNT => CHANNELS as u32,
            global::STATUS => u32::from(self.broken),
            global::INTERRUPT_STATUS => self.interrupts,
            global::MEMORY_LOW => memory_bytes as u32,
            global::MEMORY_HIGH => (memory_bytes >> 32) as u32,
            global::OUTSTANDING => self.engine.outstanding_bytes,
            global::TRANSLATIONS => self.engine.translations.len() as u32,
            _ => 0,
        }
    }

    fn write_word(&mut self, offset: u64, value: u32, wire: &mut dyn Wire) {
        if let Some((index, register)) = registers::channel_at(offset) {
            if self.channels[index].write(register, value) {
                if self.broken {
                    self.channels[index].refuse(Error::Broken);
                } else {
                    self.channels[index].start(&mut self.engine, wire);
                }
                self.tell_end(index, wire);
            }
            return;
        }
        match offset {
            global::CONTROL if value & registers::CONTROL_RESET != 0 => self.clear(),
            global::INTERRUPT_STATUS => self.interrupts &= !value,
            global::TRANSLATIONS => self.engine.translations.clear(),
            _ => {}
        }
    }

    /// What every reset does; memory keeps its bytes, and what is under way is no longer listened to.
    fn clear(&mut self) {
        self.channels = Default::default();
        self.engine.translations.clear();
        self.interrupts = 0;
        self.broken = false;
    }

    fn tell_end(&mut self, index: usize, wire: &mut dyn Wire) {
        if self.channels[index].take_interrupt() {
            self.interrupts |= 1 << index;
            wire.interrupt(index as u16);
        }
    }
}

impl Device for Accelerator {
    fn decode(&self, bar: u8, offset: u64) -> Region {
        let memory_bytes = self.engine.memory_bytes;
        match bar {
            registers::REGISTER_BAR if offset < registers::REGISTER_BYTES => Region::Registers,
            registers::MEMORY_BAR if offset < memory_bytes => Region::Memory {
                place: Place {
                    bank: self.engine.memory,
                    offset,
                },
                len_bytes: memory_bytes - offset,
            },
            _ => Region::Nothing,
        }
    }

    fn read_registers(&mut self, _: u8, offset: u64, data: &mut [u8], _: &mut dyn Wire) -> Result<(), Abort> {
        for (at, byte) in (offset..).zip(data) {
            *byte = self.read_word(at & !3).to_le_bytes()[(at & 3) as usize];
        }
        Ok(())
    }

    fn write_registers(&mut self, _: u8, offset: u64, data: &[u8], wire: &mut dyn Wire) {
        if !offset.is_multiple_of(4) {
            return;
        }
        for (at, bytes) in (offset..).step_by(4).zip(data.as_chunks::<4>().0) {
            self.write_word(at, u32::from_le_bytes(*bytes), wire);
        }
    }

    fn transfer_ended(&mut self, transfer: TransferId, outcome: Outcome, wire: &mut dyn Wire) {
        for index in 0..CHANNELS {
            if self.channels[index].piece_ended(transfer, outcome, &mut self.engine, wire) {
                self.tell_end(index, wire);
                return;
            }
        }
    }

    fn translation_ended(&mut self, asked: TransferId, found: Option<Translation>, wire: &mut dyn Wire) {
        for index in 0..CHANNELS {
            if self.channels[index].translated(asked, found, &mut self.engine, wire) {
                self.tell_end(index, wire);
                return;
            }
        }
    }

    fn invalidate(&mut self, iova: u64, len: u64) {
        self.engine.translations.invalidate(iova, len);
        for channel in &mut self.channels {
            channel.invalidate(iova, len);
        }
    }

    fn woken(&mut self, _: u64, _: &mut dyn Wire) {}

    fn reset(&mut self, _: &mut dyn Wire) {
        self.clear();
    }

    fn fail(&mut self, wire: &mut dyn Wire) {
        self.broken = true;
        for index in 0..CHANNELS {
            self.channels[index].break_down();
            self.tell_end(index, wire);
        }
    }
}
