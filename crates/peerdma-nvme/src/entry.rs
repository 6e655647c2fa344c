//! Completion queue entries (NVM Express Base 2.0, 3.3.3.2): what the device says of a command's end.

/// Dword 3 of an entry: what one load reads first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail(pub(crate) u32);

impl Tail {
    /// P: tells an entry that has come from one of the round before.
    pub(crate) fn phase(self) -> u32 {
        self.0 >> 16 & 1
    }

    /// CID.
    pub(crate) fn id(self) -> u16 {
        self.0 as u16
    }

    /// Status code type in bits 10:8, status code in 7:0.
    pub(crate) fn status(self) -> u16 {
        (self.0 >> 17) as u16 & 0x7ff
    }
}

/// Dword 2 of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin(pub(crate) u32);

impl Origin {
    /// SQHD: how far the device has fetched.
    pub(crate) fn submission_head(self) -> u16 {
        self.0 as u16
    }

    /// SQID.
    pub(crate) fn submission_queue(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// Bytes of an entry.
pub(crate) const BYTES: u64 = 16;
/// The status of a command that was aborted at our request.
pub(crate) const ABORT_REQUESTED: u16 = 0x07;
/// The status of a command whose submission queue was deleted.
pub(crate) const QUEUE_DELETED: u16 = 0x08;

/// A status in words (4.6.1.2, and NVM Command Set 1.0, 3.1).
pub(crate) const fn meaning(status: u16) -> &'static str {
    match status {
        0x000 => "success",
        0x001 => "invalid opcode",
        0x002 => "invalid field in the command",
        0x003 => "command identifier conflict",
        0x004 => "data transfer error",
        0x005 => "aborted for loss of power",
        0x006 => "internal error",
        0x007 => "abort requested",
        0x008 => "aborted because its submission queue was deleted",
        0x00b => "invalid namespace or format",
        0x00c => "command sequence error",
        0x00d => "invalid SGL segment descriptor",
        0x00e => "invalid number of SGL descriptors",
        0x00f => "wrong length of the data SGL",
        0x011 => "invalid SGL descriptor type",
        0x012 => "invalid use of the controller memory buffer",
        0x013 => "invalid PRP offset",
        0x01e => "SGL data block granularity invalid",
        0x020 => "the namespace is write protected",
        0x080 => "block out of range",
        0x081 => "capacity exceeded",
        0x082 => "namespace not ready",
        0x083 => "reservation conflict",
        0x100 => "completion queue invalid",
        0x101 => "invalid queue identifier",
        0x102 => "invalid queue size",
        0x103 => "too many aborts at once",
        0x10c => "invalid queue deletion",
        0x182 => "the range is read only",
        0x280 => "write fault",
        0x281 => "unrecovered read error",
        0x285 => "compare failure",
        0x286 => "access denied",
        0x287 => "deallocated or unwritten block",
        _ => match status >> 8 {
            0 => "a generic status that has no name here",
            1 => "a status of the command that has no name here",
            2 => "a media or data integrity error",
            3 => "a status of the path",
            7 => "a status of the vendor",
            _ => "a status of a reserved type",
        },
    }
}
