//! The controller's registers (NVM Express Base 3.1.3): where they are and what they read as. What writing them does is in
//! `control` and `doorbell`.

use super::cmb::Cmb;
use super::traits::Traits;
use crate::blueprint::CmbStyle;

pub(super) const CAP: u64 = 0x00;
pub(super) const VS: u64 = 0x08;
pub(super) const INTMS: u64 = 0x0c;
pub(super) const INTMC: u64 = 0x10;
pub(super) const CC: u64 = 0x14;
pub(super) const CSTS: u64 = 0x1c;
pub(super) const NSSR: u64 = 0x20;
pub(super) const AQA: u64 = 0x24;
pub(super) const ASQ: u64 = 0x28;
pub(super) const ACQ: u64 = 0x30;
pub(super) const CMBLOC: u64 = 0x38;
pub(super) const CMBSZ: u64 = 0x3c;
pub(super) const CMBMSC: u64 = 0x50;
pub(super) const CMBSTS: u64 = 0x58;
/// Where the doorbells begin.
pub(super) const DOORBELLS: u64 = 0x1000;
/// Where they end at the latest; the MSI-X table follows.
pub(super) const DOORBELLS_END: u64 = 0x2000;

/// 1.4.0.
pub(super) const VERSION_1_4: u32 = 0x0001_0400;
/// What NSSR takes: "NVMe".
pub(super) const SUBSYSTEM_RESET: u32 = 0x4e56_4d65;
/// The largest queue, in entries.
pub(super) const MOST_ENTRIES: u64 = 4096;
/// CAP.TO: how long software waits for CSTS.RDY, in units of 500 ms. A reset waits for transfers under way, which may take
/// a completion timeout.
const TIMEOUT: u64 = 4;
/// CAP.MPSMAX: pages of 64 KiB.
const LARGEST_PAGE: u64 = 4;

/// CC bits that can be set: EN, CSS, MPS, AMS, SHN, IOSQES, IOCQES.
pub(super) const CC_MASK: u32 = 0x00ff_fff1;
/// Those that stay as they are while EN is set.
pub(super) const CC_LATCHED: u32 = 0x0000_3ff0;
pub(super) const AQA_MASK: u32 = 0x0fff_0fff;
pub(super) const BASE_MASK: u64 = !0xfff;
/// CMBMSC: CRE, CMSE, CBA.
pub(super) const CMBMSC_MASK: u64 = !0xfff | 3;

/// What software wrote, and what the controller says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Registers {
    pub(super) mask: u32,
    pub(super) configuration: u32,
    pub(super) admin_sizes: u32,
    pub(super) admin_submission: u64,
    pub(super) admin_completion: u64,
    pub(super) ready: Flag,
    pub(super) fatal: Flag,
    pub(super) subsystem_was_reset: Flag,
    pub(super) shutdown: Shutdown,
}

/// A status bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Flag {
    #[default]
    Clear,
    Set,
}

impl Flag {
    pub(super) fn is_set(self) -> bool {
        self == Self::Set
    }
}

/// CSTS.SHST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Shutdown {
    #[default]
    None,
    Underway,
    Complete,
}

impl Registers {
    /// CC.EN.
    pub(super) fn enabled(&self) -> bool {
        self.configuration & 1 != 0
    }

    /// CC.MPS, in bytes.
    pub(super) fn page_bytes(&self) -> u64 {
        1 << (12 + (self.configuration >> 7 & 0xf))
    }

    /// CC.IOSQES.
    pub(super) fn submission_entry_log2(&self) -> u8 {
        (self.configuration >> 16 & 0xf) as u8
    }

    /// CC.IOCQES.
    pub(super) fn completion_entry_log2(&self) -> u8 {
        (self.configuration >> 20 & 0xf) as u8
    }

    /// Are CSS, MPS, AMS and the admin queues such that it can be enabled?
    pub(super) fn can_be_enabled(&self) -> bool {
        let field = |shift: u32, bits: u32| u64::from(self.configuration >> shift & bits);
        let page_aligned = |base: u64| base.is_multiple_of(self.page_bytes());
        field(4, 7) == 0
            && field(7, 15) <= LARGEST_PAGE
            && field(11, 7) == 0
            && self.admin_submission_entries() >= 2
            && self.admin_completion_entries() >= 2
            && page_aligned(self.admin_submission)
            && page_aligned(self.admin_completion)
    }

    pub(super) fn admin_submission_entries(&self) -> u64 {
        u64::from(self.admin_sizes & 0xfff) + 1
    }

    pub(super) fn admin_completion_entries(&self) -> u64 {
        u64::from(self.admin_sizes >> 16 & 0xfff) + 1
    }

    /// CSTS.
    pub(super) fn state(&self) -> u32 {
        let flag = |flag: Flag| u32::from(flag.is_set());
        flag(self.ready)
            | flag(self.fatal) << 1
            | (self.shutdown as u32) << 2
            | flag(self.subsystem_was_reset) << 4
    }

    /// The dword at `offset`, a multiple of 4; reserved ones are zeros.
    pub(super) fn dword(&self, offset: u64, traits: &Traits, cmb: Option<&Cmb>) -> u32 {
        let (low, high) = (|value: u64| value as u32, |value: u64| (value >> 32) as u32);
        match offset {
            CAP => low(capabilities(traits, cmb)),
            0x04 => high(capabilities(traits, cmb)),
            VS => version(cmb),
            INTMS | INTMC => self.mask,
            CC => self.configuration,
            CSTS => self.state(),
            AQA => self.admin_sizes,
            ASQ => low(self.admin_submission),
            0x2c => high(self.admin_submission),
            ACQ => low(self.admin_completion),
            0x34 => high(self.admin_completion),
            CMBLOC => cmb.map_or(0, Cmb::location),
            CMBSZ => cmb.map_or(0, Cmb::size),
            CMBMSC => cmb.map_or(0, |cmb| low(cmb.control())),
            0x54 => cmb.map_or(0, |cmb| high(cmb.control())),
            CMBSTS => cmb.map_or(0, Cmb::state),
            // NSSR reads as zero. No elasticity buffer (CMBEBS), no boot partitions, no persistent memory region.
            _ => 0,
        }
    }
}

/// VS and VER: 1.3.0 where the buffer is of that time, else 1.4.0.
pub(super) fn version(cmb: Option<&Cmb>) -> u32 {
    match cmb.map(Cmb::style) {
        Some(CmbStyle::V1_2) => 0x0001_0300,
        Some(CmbStyle::V1_4) | None => VERSION_1_4,
    }
}

/// CAP: round robin only, contiguous queues only, the NVM command set only.
fn capabilities(traits: &Traits, cmb: Option<&Cmb>) -> u64 {
    const CONTIGUOUS_REQUIRED: u64 = 1 << 16;
    const SUBSYSTEM_RESET_SUPPORTED: u64 = 1 << 36;
    const NVM_COMMAND_SET: u64 = 1 << 37;
    (MOST_ENTRIES - 1)
        | CONTIGUOUS_REQUIRED
        | TIMEOUT << 24
        | u64::from(traits.doorbell_stride_log2 & 0xf) << 32
        | SUBSYSTEM_RESET_SUPPORTED
        | NVM_COMMAND_SET
        | LARGEST_PAGE << 52
        | u64::from(cmb.is_some_and(|cmb| cmb.style() == CmbStyle::V1_4)) << 57
}
