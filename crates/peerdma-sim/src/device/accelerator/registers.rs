//! The registers in BAR 0, for those who write a driver.
//!
//! Registers are 32 bits wide and little-endian. Reads may have any size and alignment. Writes have an effect where they
//! cover whole registers from an aligned offset on, several at once from the lowest to the highest; other writes are
//! ignored. Registers that are not named here read as zero. BAR 0 decodes the first [`REGISTER_BYTES`]; BAR 2 is memory.
//!
//! | offset | name | access | meaning |
//! |---|---|---|---|
//! | 0x000 | `ID` | read | `0x4143_4350` ("PCCA" in memory order) |
//! | 0x004 | `VERSION` | read | 1 |
//! | 0x008 | `CHANNEL_COUNT` | read | 8 |
//! | 0x00c | `CONTROL` | write | bit 0: reset. Channels, translations and errors are forgotten, memory stays |
//! | 0x010 | `STATUS` | read | bit 0: broken. Every command fails until a reset |
//! | 0x014 | `INTERRUPT_STATUS` | read, write 1 to clear | bit n: channel n has raised its interrupt |
//! | 0x018, 0x01c | `MEMORY` | read | size of the memory in BAR 2, low and high half |
//! | 0x020 | `OUTSTANDING` | read | bytes that a channel asks for before it waits for answers |
//! | 0x024 | `TRANSLATIONS` | read; write to forget all | how many translated addresses are held |
//! | 0x100 + 0x40 n | channel n | | see below |
//!
//! Of a channel, from its first offset on:
//!
//! | offset | name | access | meaning |
//! |---|---|---|---|
//! | 0x00, 0x04 | `SOURCE` | read, write | where bytes come from: an offset in memory, or an address on the bus |
//! | 0x08, 0x0c | `DESTINATION` | read, write | where they go |
//! | 0x10, 0x14 | `LENGTH` | read, write | how many bytes; 0 ends well at once |
//! | 0x18 | `COMMAND` | read, write | flags ([`command`]); bit 0 starts the transfer and is clear again when it has ended |
//! | 0x1c | `STATUS` | read | bits 7:0 state: 0 never used, 1 running, 2 done, 3 failed; bits 15:8 the [`Error`] of a failure |
//! | 0x20, 0x24 | `GOOD` | read | bytes from the start that are good: all of them, or the offset of the first bad one |
//!
//! While a channel runs, writes to its registers are ignored. A transfer from the bus to memory issues reads, one from
//! memory to the bus writes; exactly one of `SOURCE_REMOTE` and `DESTINATION_REMOTE` must be set. After a failure bytes
//! behind the first bad one may or may not have been moved. A write has ended when its last packet has left: what happened to it then is
//! not known here. A channel that ends raises the MSI-X vector of its number if `INTERRUPT` was set, in order behind its writes.

/// BAR of the registers.
pub const REGISTER_BAR: u8 = 0;
/// BAR of the memory.
pub const MEMORY_BAR: u8 = 2;
/// How much of BAR 0 is registers.
pub const REGISTER_BYTES: u64 = 0x1000;
/// How many channels there are.
pub const CHANNELS: usize = 8;
/// What the register `ID` holds.
pub const ID_VALUE: u32 = 0x4143_4350;
/// `CONTROL`: reset.
pub const CONTROL_RESET: u32 = 1;

/// Offset of the registers of `channel` in BAR 0; channels from [`CHANNELS`] on do not exist.
pub const fn channel_offset(channel: usize) -> u64 {
    FIRST_CHANNEL + channel as u64 * CHANNEL_STRIDE
}

/// Offsets of registers that belong to no channel.
pub(super) mod global {
    pub(in super::super) const ID: u64 = 0x00;
    pub(in super::super) const VERSION: u64 = 0x04;
    pub(in super::super) const CHANNEL_COUNT: u64 = 0x08;
    pub(in super::super) const CONTROL: u64 = 0x0c;
    pub(in super::super) const STATUS: u64 = 0x10;
    pub(in super::super) const INTERRUPT_STATUS: u64 = 0x14;
    pub(in super::super) const MEMORY_LOW: u64 = 0x18;
    pub(in super::super) const MEMORY_HIGH: u64 = 0x1c;
    pub(in super::super) const OUTSTANDING: u64 = 0x20;
    pub(in super::super) const TRANSLATIONS: u64 = 0x24;
}

/// Offsets in a channel.
pub mod channel {
    /// Where bytes come from, low half.
    pub const SOURCE: u64 = 0x00;
    /// Where they go, low half.
    pub const DESTINATION: u64 = 0x08;
    /// How many, low half.
    pub const LENGTH: u64 = 0x10;
    /// Flags and start.
    pub const COMMAND: u64 = 0x18;
    /// State and error.
    pub const STATUS: u64 = 0x1c;
    /// Good bytes, low half.
    pub const GOOD: u64 = 0x20;
}

/// Bits of `COMMAND`.
pub mod command {
    /// Start; reads as set while the transfer runs.
    pub const START: u32 = 1 << 0;
    /// The source is an address on the bus: the engine reads it.
    pub const SOURCE_REMOTE: u32 = 1 << 1;
    /// The destination is an address on the bus: the engine writes it.
    pub const DESTINATION_REMOTE: u32 = 1 << 2;
    /// Set the relaxed-ordering attribute in all requests.
    pub const RELAXED: u32 = 1 << 3;
    /// Have addresses translated first (ATS) and send translated requests.
    pub const TRANSLATED: u32 = 1 << 4;
    /// Raise an interrupt at the end.
    pub const INTERRUPT: u32 = 1 << 5;
}

/// State of a channel, bits 7:0 of its `STATUS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Never used since the last reset.
    #[default]
    Idle = 0,
    /// A transfer is under way.
    Running = 1,
    /// The last transfer ended well, as far as the engine knows.
    Done = 2,
    /// The last transfer failed.
    Failed = 3,
}

/// Why a transfer failed, bits 15:8 of a channel's `STATUS`; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// A read was answered with Unsupported Request.
    UnsupportedRequest = 1,
    /// A read was answered with Completer Abort.
    CompleterAbort = 2,
    /// A read was not answered in time.
    CompletionTimeout = 3,
    /// The data of a read was marked as bad.
    Poisoned = 4,
    /// Bus-master enable is clear.
    MasterDisabled = 5,
    /// The address has no translation, or none that allows this.
    TranslationRefused = 6,
    /// Not exactly one side was remote.
    BadCommand = 7,
    /// The range leaves the memory or the address space.
    BadRange = 8,
    /// The accelerator is broken.
    Broken = 9,
}

impl Error {
    const ALL: [Self; 9] = [
        Self::UnsupportedRequest,
        Self::CompleterAbort,
        Self::CompletionTimeout,
        Self::Poisoned,
        Self::MasterDisabled,
        Self::TranslationRefused,
        Self::BadCommand,
        Self::BadRange,
        Self::Broken,
    ];

    /// The error that a channel's `STATUS` tells.
    pub fn of_status(status: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|error| *error as u32 == (status >> 8) & 0xff)
    }
}

impl State {
    /// The state that a channel's `STATUS` tells.
    pub fn of_status(status: u32) -> Option<Self> {
        [Self::Idle, Self::Running, Self::Done, Self::Failed]
            .into_iter()
            .find(|state| *state as u32 == status & 0xff)
    }
}

const FIRST_CHANNEL: u64 = 0x100;
const CHANNEL_STRIDE: u64 = 0x40;

/// The channel at an offset of BAR 0, and the offset in it.
pub(super) fn channel_at(offset: u64) -> Option<(usize, u64)> {
    let within = offset.checked_sub(FIRST_CHANNEL)?;
    let index = within / CHANNEL_STRIDE;
    (index < CHANNELS as u64).then_some((index as usize, within % CHANNEL_STRIDE))
}
