//! The controller memory buffer (NVM Express Base 2.0, 3.1.3.11 to 3.1.3.15, 8.2.1): where it is, what it may hold, and how the
//! controller is told its address.
//!
//! From 1.4 on (CAP.CMBS) CMBLOC and CMBSZ show nothing before CMBMSC.CRE is set, and the controller takes an address for its own
//! memory only in the range that CMBMSC.CBA begins: the bus address of the memory itself is put there, so that one address means
//! one thing, whoever issues it. Before 1.4 that is what the controller compares with anyway.

use crate::register;
use peerdma::addr::{Address, PhysAddr, Span};
use peerdma::device::{Function, Mmio};
use peerdma::dma::OwnBase;

/// A controller's memory that others may use as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// What the controller calls it: for [`peerdma::dma::Ioas::set_own_base`].
    pub own_base: OwnBase,
    /// Where it lies in the machine's memory map.
    pub span: Span<PhysAddr>,
    /// What it may hold.
    pub abilities: Abilities,
    /// How it was told its address.
    pub control: BufferControl,
}

/// How a controller knows its own memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BufferControl {
    /// By CMBMSC.CBA: 1.4 and later.
    BaseRegister,
    /// By the address in the BAR: before 1.4.
    BarAddress,
}

/// What a controller memory buffer may hold: CMBSZ in bits 4:0, CMBLOC bits 8:3 above.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Abilities {
    size_bits: u8,
    location_bits: u16,
}

impl Abilities {
    /// SQS: submission queues.
    pub const fn submission_queues(self) -> bool {
        self.size_bits & 1 != 0
    }

    /// CQS: completion queues.
    pub const fn completion_queues(self) -> bool {
        self.size_bits & 2 != 0
    }

    /// LISTS: PRP lists and SGL segments.
    pub const fn lists(self) -> bool {
        self.size_bits & 4 != 0
    }

    /// RDS: data that reading blocks puts there.
    pub const fn data_of_reads(self) -> bool {
        self.size_bits & 8 != 0
    }

    /// WDS: data that is written to blocks.
    pub const fn data_of_writes(self) -> bool {
        self.size_bits & 16 != 0
    }

    /// CDPMLS: one command's lists may lie there in part.
    pub const fn mixed_lists(self) -> bool {
        self.location_bits & 1 << 5 != 0
    }

    /// CDPCILS: lists may lie there though the command does not.
    pub const fn independent_lists(self) -> bool {
        self.location_bits & 1 << 6 != 0
    }

    /// CDMMMS: one command's data may lie there in part.
    pub const fn mixed_data(self) -> bool {
        self.location_bits & 1 << 7 != 0
    }
}

impl core::fmt::Debug for Abilities {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let names = [
            (self.submission_queues(), "SQS"),
            (self.completion_queues(), "CQS"),
            (self.lists(), "LISTS"),
            (self.data_of_reads(), "RDS"),
            (self.data_of_writes(), "WDS"),
            (self.mixed_lists(), "CDPMLS"),
            (self.independent_lists(), "CDPCILS"),
            (self.mixed_data(), "CDMMMS"),
        ];
        let mut set = f.debug_set();
        for (_, name) in names.iter().filter(|(is, _)| *is) {
            set.entry(&format_args!("{name}"));
        }
        set.finish()
    }
}

/// What a controller says of its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    bar: u8,
    offset_bytes: u64,
    len_bytes: u64,
    abilities: Abilities,
}

/// Bits of CMBMSC.
const CAPABILITIES_ENABLED: u64 = 1;
const MEMORY_SPACE_ENABLED: u64 = 2;

/// Finds a controller's memory and has the controller take its bus address for it. Nothing where there is none, or none that
/// could be used: the controller's own words lead out of its BARs, or it does not take the address.
pub(crate) fn enable<F: Function>(
    function: &F,
    registers: &F::Mmio,
    control: BufferControl,
) -> Option<Buffer> {
    if control == BufferControl::BaseRegister {
        registers.write64(register::CMBMSC, CAPABILITIES_ENABLED);
    }
    let told = parse(
        registers.read32(register::CMBLOC),
        registers.read32(register::CMBSZ),
    );
    let buffer = told.and_then(|told| place(told, function, control));
    if control == BufferControl::BarAddress {
        return buffer;
    }
    let taken = buffer.filter(|buffer| {
        write_base(registers, buffer);
        const BASE_INVALID: u32 = 1;
        registers.read32(register::CMBSTS) & BASE_INVALID == 0
    });
    if taken.is_none() {
        registers.write64(register::CMBMSC, 0);
    }
    taken
}

/// Tells the controller its address again, after a reset that may have lost it.
pub(crate) fn write_base<M: Mmio>(registers: &M, buffer: &Buffer) {
    if buffer.control == BufferControl::BaseRegister {
        let base = buffer.own_base.base | CAPABILITIES_ENABLED;
        // A qword may be stored as two dwords: the address is whole before it counts.
        registers.write64(register::CMBMSC, base);
        registers.write64(register::CMBMSC, base | MEMORY_SPACE_ENABLED);
    }
}

/// Has the controller forget its address.
pub(crate) fn disable<M: Mmio>(registers: &M, buffer: &Buffer) {
    if buffer.control == BufferControl::BaseRegister {
        registers.write64(register::CMBMSC, 0);
    }
}

/// CMBLOC and CMBSZ, in bytes. Nothing for no memory, and for numbers that cannot be.
fn parse(location: u32, size: u32) -> Option<Told> {
    if location == u32::MAX && size == u32::MAX {
        return None;
    }
    let unit_bytes = match size >> 8 & 0xf {
        unit @ 0..=6 => 4096_u64 << (4 * unit),
        _ => return None,
    };
    let bar = (location & 7) as u8;
    // The second half of BAR 0 is no BAR of its own.
    if !matches!(bar, 0 | 2..=5) {
        return None;
    }
    let len_bytes = u64::from(size >> 12).checked_mul(unit_bytes)?;
    let offset_bytes = u64::from(location >> 12).checked_mul(unit_bytes)?;
    let abilities = Abilities {
        size_bits: (size & 0x1f) as u8,
        location_bits: (location & 0x1f8) as u16,
    };
    (len_bytes != 0).then_some(Told {
        bar,
        offset_bytes,
        len_bytes,
        abilities,
    })
}

/// Where it lies: cut to its BAR, as the specification has it for a BAR that is smaller.
fn place<F: Function>(told: Told, function: &F, control: BufferControl) -> Option<Buffer> {
    let bar = function.bar(told.bar)?;
    let base = function
        .bar_address(told.bar)?
        .checked_add(told.offset_bytes)?
        .to_u64();
    let first = bar.first().checked_add(told.offset_bytes)?;
    if !bar.contains(first) || !base.is_multiple_of(4096) {
        return None;
    }
    let most_less_one = bar.last().to_u64() - first.to_u64();
    let len_bytes = told.len_bytes.min(most_less_one.saturating_add(1));
    let last = first.checked_add(len_bytes - 1)?;
    base.checked_add(len_bytes - 1)?;
    Some(Buffer {
        own_base: OwnBase {
            bar: told.bar,
            offset_bytes: told.offset_bytes,
            len_bytes,
            base,
        },
        span: Span::new(first, last).ok()?,
        abilities: told.abilities,
        control,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_and_size_are_counted_in_their_unit() {
        let told = parse(2 | 3 << 12 | 1 << 7, 16 << 12 | 1 << 8 | 0b11000).unwrap();
        assert_eq!(
            (told.bar, told.offset_bytes, told.len_bytes),
            (2, 3 << 16, 16 << 16)
        );
        assert!(told.abilities.data_of_reads() && told.abilities.data_of_writes());
        assert!(told.abilities.mixed_data() && !told.abilities.mixed_lists());
    }

    #[test]
    fn what_cannot_be_is_no_memory() {
        assert_eq!(parse(u32::MAX, u32::MAX), None);
        assert_eq!(parse(2, 0), None);
        assert_eq!(parse(1, 1 << 12), None);
        assert_eq!(parse(6, 1 << 12), None);
        assert_eq!(parse(2, 1 << 12 | 7 << 8), None);
    }
}
