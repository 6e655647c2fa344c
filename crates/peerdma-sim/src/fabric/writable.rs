//! Which bits of a configuration space software can write, and how: what is read-only, what is read and written, what a
//! written 1 clears. BARs and what acts when it is written are in `config_space`.

use super::layout::{HeaderKind, Layout};

/// How the 32 bits at one offset take a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mask {
    /// These take what is written.
    pub(super) write: u32,
    /// These are cleared by a 1 (RW1C).
    pub(super) clear: u32,
}

const fn write(write: u32) -> Mask {
    Mask { write, clear: 0 }
}

const NOTHING: Mask = write(0);
/// Status and Secondary Status: the error bits.
const STATUS_ERRORS: u32 = 0xf900_0000;

impl Layout {
    /// How the 32 bits at `offset` (a multiple of 4) take a write; `bytes` are the space.
    pub(super) fn mask(&self, bytes: &[u8], offset: u16) -> Mask {
        if offset < 0x40 {
            return match offset {
                // I/O, memory and bus-master enable, parity, SERR#, INTx disable.
                0x04 => Mask {
                    write: 0x0547,
                    clear: STATUS_ERRORS,
                },
                // Cache line size.
                0x0c => write(0xff),
                _ => self.header_mask(bytes, offset),
            };
        }
        let inside = |start: u16, len: u16| start != 0 && (start..start + len).contains(&offset);
        if inside(self.express, 0x3c) {
            express_mask(offset - self.express)
        } else if inside(self.aer, 0x38) {
            aer_mask(offset - self.aer)
        } else if inside(self.acs, 8) {
            self.acs_mask(bytes, offset)
        } else if inside(self.acs, 8 + 32) {
            self.vector_mask(bytes, offset)
                .unwrap_or_else(|| self.rest_mask(offset))
        } else {
            self.rest_mask(offset)
        }
    }

    fn header_mask(&self, bytes: &[u8], offset: u16) -> Mask {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        match (self.header, offset) {
            (HeaderKind::Function, 0x3c) => write(0xff),
            (HeaderKind::Bridge | HeaderKind::CardBus, 0x18) => write(0x00ff_ffff),
            (HeaderKind::Bridge, 0x1c) => Mask {
                write: 0xf0f0,
                clear: STATUS_ERRORS,
            },
            (HeaderKind::Bridge, 0x20 | 0x24) => write(0xfff0_fff0),
            (HeaderKind::Bridge, 0x28 | 0x2c) if byte(0x24) & 0xf == 1 => write(u32::MAX),
            (HeaderKind::Bridge, 0x30) if byte(0x1c) & 0xf == 1 => write(u32::MAX),
            // Interrupt line; Bridge Control: parity, SERR#, ISA, VGA, secondary bus reset.
            (HeaderKind::Bridge, 0x3c) => write(0x005f_00ff),
            _ => NOTHING,
        }
    }

    /// Control bits that the function is capable of (PCIe Base 7.7.11.3).
    fn acs_mask(&self, bytes: &[u8], offset: u16) -> Mask {
        match (offset - self.acs, bytes.get(usize::from(offset))) {
            (4, Some(&capable)) => write(u32::from(capable & 0x7f) << 16),
            _ => NOTHING,
        }
    }

    /// The bits of the egress control vector that are there (PCIe Base 7.7.11.4); nothing beyond it.
    fn vector_mask(&self, bytes: &[u8], offset: u16) -> Option<Mask> {
        let bits = self.vector_bits(bytes);
        let first = (offset - self.acs - 8) * 8;
        let used = bits.checked_sub(first).filter(|&used| used > 0)?;
        Some(write(u32::MAX >> (32 - used.min(32))))
    }

    /// How many bits the egress control vector has; 0 where there is none.
    pub(super) fn vector_bits(&self, bytes: &[u8]) -> u16 {
        let at = usize::from(self.acs) + 4;
        match (self.acs, bytes.get(at), bytes.get(at + 1)) {
            (1.., Some(&capable), Some(&size)) if capable & 0x20 != 0 => match size {
                0 => 256,
                size => size.into(),
            },
            _ => 0,
        }
    }

    fn rest_mask(&self, offset: u16) -> Mask {
        if self.ats != 0 && offset == self.ats + 4 {
            // Enable, smallest translation unit.
            return write(0x801f_0000);
        }
        if self.sriov != 0 && offset == self.sriov + 8 {
            // Memory enable of the virtual functions. How many there are does not change.
            return write(0x8);
        }
        NOTHING
    }
}

/// PCI Express capability (PCIe Base 7.5.3).
const fn express_mask(register: u16) -> Mask {
    match register {
        // Device Control (its highest bit acts and reads 0), Device Status.
        0x08 => Mask {
            write: 0x7fff,
            clear: 0x000f_0000,
        },
        // Link Control: ASPM, read completion boundary, common clock, extended synch; Link Status: bandwidth changed.
        0x10 => Mask {
            write: 0x00cb,
            clear: 0xc000_0000,
        },
        // Device Control 2: completion timeout, ARI, atomics, ID-based ordering.
        0x28 => write(0x03ff),
        _ => NOTHING,
    }
}

/// Advanced Error Reporting (PCIe Base 7.8.4).
const fn aer_mask(register: u16) -> Mask {
    match register {
        // Status registers.
        0x04 => Mask {
            write: 0,
            clear: 0x07ff_f030,
        },
        0x10 => Mask {
            write: 0,
            clear: 0xf1c1,
        },
        // Masks and severity.
        0x08 | 0x0c => write(0x07ff_f030),
        0x14 => write(0xf1c1),
        _ => NOTHING,
    }
}
