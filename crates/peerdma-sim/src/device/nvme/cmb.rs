//! The controller memory buffer (NVM Express Base 8.2.1): where it is for the controller itself, and what it may hold.
//!
//! Its BAR always leads to its memory. The controller takes an address in a command or queue for its own buffer only in the
//! range that software defined with CMBMSC: with CRE and CMSE set, and a base that is valid. Nothing else ever matches, above
//! all not the address in the BAR.
//!
//! In controllers before NVM Express 1.4 (1.3, 3.1.11, 3.1.12, 4.7) there is no CMBMSC: CMBLOC and CMBSZ always show, and the
//! address in the BAR is the one that matches.

use super::registers::CMBMSC_MASK;
use super::status::Status;
use super::traits::NvmeError;
use crate::blueprint::{CmbAbilities, CmbKind, CmbStyle};
use crate::memory::{BankId, Place};

/// CMBSZ bits.
pub(super) const SUBMISSION_QUEUES: u8 = 1;
pub(super) const COMPLETION_QUEUES: u8 = 2;
pub(super) const LISTS: u8 = 4;
pub(super) const READ_DATA: u8 = 8;
pub(super) const WRITE_DATA: u8 = 16;

/// CMBLOC bits.
const QUEUE_MIXED: u16 = 1 << 3;
const LIST_MIXED: u16 = 1 << 5;
const LIST_INDEPENDENT: u16 = 1 << 6;
const DATA_MIXED: u16 = 1 << 7;
const QUEUE_DWORD_ALIGNED: u16 = 1 << 8;

/// CMBMSC bits.
const CAPABILITIES_ENABLED: u64 = 1;
const MEMORY_SPACE_ENABLED: u64 = 2;

/// The buffer of a controller that has one.
#[derive(Debug)]
pub(super) struct Cmb {
    pub(super) kind: CmbKind,
    pub(super) bank: BankId,
    size_bytes: u64,
    control: u64,
}

impl Cmb {
    pub(super) fn new(kind: CmbKind, bank: BankId, size_bytes: u64) -> Self {
        Self {
            kind,
            bank,
            size_bytes,
            control: 0,
        }
    }

    /// CMBLOC, as long as software lets it show.
    pub(super) fn location(&self) -> u32 {
        match self.shows() {
            false => 0,
            true => u32::from(self.kind.bar) | u32::from(self.kind.abilities.location_bits),
        }
    }

    fn shows(&self) -> bool {
        self.kind.style == CmbStyle::V1_2 || self.control & CAPABILITIES_ENABLED != 0
    }

    /// CMBSZ, as long as software lets it show: in the smallest unit that can tell the size.
    pub(super) fn size(&self) -> u32 {
        if !self.shows() {
            return 0;
        }
        let unit = (0..6)
            .find(|unit| self.size_bytes >> (12 + 4 * unit) < 1 << 20)
            .unwrap_or(6);
        let count = (self.size_bytes >> (12 + 4 * unit)).min((1 << 20) - 1) as u32;
        count << 12 | unit << 8 | u32::from(self.kind.abilities.size_bits)
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(super) fn style(&self) -> CmbStyle {
        self.kind.style
    }

    /// CMBMSC.
    pub(super) fn control(&self) -> u64 {
        self.control
    }

    /// Writes CMBMSC, where there is one.
    pub(super) fn set_control(&mut self, control: u64) {
        if self.kind.style == CmbStyle::V1_4 {
            self.control = control & CMBMSC_MASK;
        }
    }

    /// CMBSTS: bit 0 says that the memory space is enabled at a base where it does not fit.
    pub(super) fn state(&self) -> u32 {
        let enabled = self.control & MEMORY_SPACE_ENABLED != 0;
        u32::from(enabled && self.base().checked_add(self.size_bytes - 1).is_none())
    }

    fn base(&self) -> u64 {
        self.control & !0xfff
    }

    /// The addresses that mean the buffer at this moment, when its BAR holds `bar_address`.
    pub(super) fn window(&self, bar_address: Option<u64>) -> Option<Window> {
        let both = CAPABILITIES_ENABLED | MEMORY_SPACE_ENABLED;
        let base = match self.kind.style {
            // A register of zeros has no address yet.
            CmbStyle::V1_2 => bar_address.filter(|address| *address != 0)?,
            CmbStyle::V1_4 if self.control & both == both => self.base(),
            CmbStyle::V1_4 => return None,
        };
        Some(Window {
            base,
            last: base.checked_add(self.size_bytes - 1)?,
            bank: self.bank,
            abilities: self.kind.abilities,
        })
    }
}

/// Can there be such a buffer in BARs of these sizes?
///
/// # Errors
/// [`NvmeError::BufferBar`], [`NvmeError::BufferAbilities`]
pub(super) fn check(cmb: &CmbKind, bars: &[u64; 6]) -> Result<(), NvmeError> {
    let size_bytes = bars.get(usize::from(cmb.bar)).copied().unwrap_or(0);
    if cmb.bar < 2 || size_bytes < 4096 || !size_bytes.is_power_of_two() {
        return Err(NvmeError::BufferBar {
            bar: cmb.bar,
            size_bytes,
        });
    }
    let (size_bits, location_bits) = (cmb.abilities.size_bits, cmb.abilities.location_bits);
    let can_be = match cmb.style {
        CmbStyle::V1_2 => 0,
        CmbStyle::V1_4 => 0x1f8,
    };
    if size_bits & !0x1f == 0 && location_bits & !can_be == 0 {
        return Ok(());
    }
    Err(NvmeError::BufferAbilities {
        size_bits,
        location_bits,
    })
}

/// A range of addresses that mean the buffer, and what it may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    base: u64,
    last: u64,
    bank: BankId,
    abilities: CmbAbilities,
}

/// What an address means to the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    /// It goes out on the link.
    Wire(u64),
    /// It stays inside.
    Cmb(Place),
}

impl Spot {
    pub(super) fn is_inside(self) -> bool {
        matches!(self, Self::Cmb(_))
    }
}

impl Window {
    pub(super) fn can(&self, size_bit: u8) -> bool {
        self.abilities.size_bits & size_bit != 0
    }

    fn lifts(&self, location_bit: u16) -> bool {
        self.abilities.location_bits & location_bit != 0
    }
}

/// Where `address` leads, and how many of `len` bytes (at least 1) lead to the same memory.
pub(super) fn locate(window: Option<&Window>, address: u64, len: u64) -> (Spot, u64) {
    match window {
        Some(window) if (window.base..=window.last).contains(&address) => {
            let offset = address - window.base;
            let place = Place {
                bank: window.bank,
                offset,
            };
            (
                Spot::Cmb(place),
                len.min((window.last - address).saturating_add(1)),
            )
        }
        Some(window) if address < window.base => (Spot::Wire(address), len.min(window.base - address)),
        _ => (Spot::Wire(address), len),
    }
}

/// The memory of a queue, as it was when the queue was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueMemory {
    base: u64,
    window: Option<Window>,
}

impl QueueMemory {
    /// The memory of a queue of `len_bytes` at `base`, if it may be there. `ability` is the CMBSZ bit that it needs.
    ///
    /// # Errors
    /// The status of the Create command.
    pub(super) fn new(
        base: u64,
        len_bytes: u64,
        page_bytes: u64,
        window: Option<Window>,
        ability: u8,
    ) -> Result<Self, Status> {
        let (first, same) = locate(window.as_ref(), base, len_bytes);
        let whole = same == len_bytes;
        let aligned = match window {
            Some(window) if whole && first.is_inside() && window.lifts(QUEUE_DWORD_ALIGNED) => 4,
            _ => page_bytes,
        };
        if !base.is_multiple_of(aligned) {
            return Err(Status::PRP_OFFSET_INVALID);
        }
        if base.checked_add(len_bytes).is_none() {
            return Err(Status::INVALID_FIELD);
        }
        match window {
            Some(window) if !whole && !window.lifts(QUEUE_MIXED) => Err(Status::INVALID_USE_OF_CMB),
            Some(window) if (!whole || first.is_inside()) && !window.can(ability) => {
                Err(Status::INVALID_USE_OF_CMB)
            }
            window => Ok(Self { base, window }),
        }
    }

    /// Where the bytes from `offset` on are, and how many of `len` are in the same memory.
    pub(super) fn at(&self, offset: u64, len: u64) -> (Spot, u64) {
        locate(self.window.as_ref(), self.base.wrapping_add(offset), len)
    }
}

/// What one command's lists and data may do with the buffer, and what they did so far (NVM Express Base 8.2.1).
///
/// CDPMLS is about the memory that holds a command's PRP lists or SGL segments, CDPCILS about that memory and the submission
/// queue, CDMMMS about its data. CQPDS is about queues in pieces, which CAP.CQR rules out.
#[derive(Debug, Clone)]
pub(super) struct Placement {
    pub(super) window: Option<Window>,
    /// READ_DATA or WRITE_DATA.
    pub(super) ability: u8,
    pub(super) command_is_inside: bool,
    pub(super) lists_are_inside: Option<bool>,
    pub(super) data_is_inside: Option<bool>,
}

impl Placement {
    /// Where a list is, and how many of `len` bytes in one piece.
    ///
    /// # Errors
    /// [`Status::INVALID_USE_OF_CMB`]
    pub(super) fn list(&mut self, address: u64, len: u64) -> Result<(Spot, u64), Status> {
        let (spot, same) = locate(self.window.as_ref(), address, len);
        if let Some(window) = &self.window {
            let inside = spot.is_inside();
            let mixed = self.lists_are_inside.is_some_and(|before| before != inside);
            if inside && !window.can(LISTS)
                || inside && !self.command_is_inside && !window.lifts(LIST_INDEPENDENT)
                || mixed && !window.lifts(LIST_MIXED)
            {
                return Err(Status::INVALID_USE_OF_CMB);
            }
            self.lists_are_inside = Some(inside);
        }
        Ok((spot, same))
    }

    /// Where data is, and how many of `len` bytes in one piece.
    ///
    /// # Errors
    /// [`Status::INVALID_USE_OF_CMB`]
    pub(super) fn data(&mut self, address: u64, len: u64) -> Result<(Spot, u64), Status> {
        let (spot, same) = locate(self.window.as_ref(), address, len);
        if let Some(window) = &self.window {
            let inside = spot.is_inside();
            let mixed = self.data_is_inside.is_some_and(|before| before != inside);
            if inside && !window.can(self.ability) || mixed && !window.lifts(DATA_MIXED) {
                return Err(Status::INVALID_USE_OF_CMB);
            }
            self.data_is_inside = Some(inside);
        }
        Ok((spot, same))
    }
}
