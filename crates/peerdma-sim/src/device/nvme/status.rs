//! The status of a command (NVM Express Base 4.6.1): what the completion entry says of its end.

/// A status field without the phase tag: status code in bits 7:0, its type in 10:8, More in 13, Do Not Retry in 14.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(u16);

const GENERIC: u16 = 0;
const COMMAND: u16 = 1 << 8;
const MEDIA: u16 = 2 << 8;
const MORE: u16 = 1 << 13;
const DO_NOT_RETRY: u16 = 1 << 14;

/// The same command would fail again.
const fn lasting(status: u16) -> Status {
    Status(status | DO_NOT_RETRY)
}

#[allow(
    missing_docs,
    reason = "each has the name that the specification's tables of status values give it"
)]
impl Status {
    pub const SUCCESS: Self = Self(GENERIC);
    pub const INVALID_OPCODE: Self = lasting(GENERIC | 0x01);
    pub const INVALID_FIELD: Self = lasting(GENERIC | 0x02);
    pub const COMMAND_ID_CONFLICT: Self = lasting(GENERIC | 0x03);
    pub const DATA_TRANSFER_ERROR: Self = Self(GENERIC | 0x04);
    pub const INTERNAL_ERROR: Self = Self(GENERIC | 0x06);
    pub const ABORT_REQUESTED: Self = Self(GENERIC | 0x07);
    pub const INVALID_NAMESPACE_OR_FORMAT: Self = lasting(GENERIC | 0x0b);
    pub const COMMAND_SEQUENCE_ERROR: Self = lasting(GENERIC | 0x0c);
    pub const INVALID_SGL_SEGMENT: Self = lasting(GENERIC | 0x0d);
    pub const INVALID_SGL_COUNT: Self = lasting(GENERIC | 0x0e);
    pub const DATA_SGL_LENGTH_INVALID: Self = lasting(GENERIC | 0x0f);
    pub const SGL_TYPE_INVALID: Self = lasting(GENERIC | 0x11);
    pub const INVALID_USE_OF_CMB: Self = lasting(GENERIC | 0x12);
    pub const PRP_OFFSET_INVALID: Self = lasting(GENERIC | 0x13);
    pub const WRITE_PROTECTED: Self = lasting(GENERIC | 0x20);
    pub const LBA_OUT_OF_RANGE: Self = lasting(GENERIC | 0x80);
    pub const COMPLETION_QUEUE_INVALID: Self = lasting(COMMAND);
    pub const INVALID_QUEUE_IDENTIFIER: Self = lasting(COMMAND | 0x01);
    pub const INVALID_QUEUE_SIZE: Self = lasting(COMMAND | 0x02);
    pub const ASYNC_EVENT_LIMIT_EXCEEDED: Self = lasting(COMMAND | 0x05);
    pub const INVALID_INTERRUPT_VECTOR: Self = lasting(COMMAND | 0x08);
    pub const INVALID_LOG_PAGE: Self = lasting(COMMAND | 0x09);
    pub const INVALID_QUEUE_DELETION: Self = lasting(COMMAND | 0x0c);
    pub const FEATURE_NOT_SAVEABLE: Self = lasting(COMMAND | 0x0d);
    pub const FEATURE_NOT_NAMESPACE_SPECIFIC: Self = lasting(COMMAND | 0x0f);
    pub const WRITE_FAULT: Self = Self(MEDIA | 0x80);
    pub const UNRECOVERED_READ_ERROR: Self = Self(MEDIA | 0x81);
    pub const COMPARE_FAILURE: Self = lasting(MEDIA | 0x85);
}

impl Status {
    /// Did the command do what it was asked for?
    pub fn is_success(self) -> bool {
        self.0 & 0x7ff == 0
    }

    /// The same, and the error log has an entry about it.
    #[must_use]
    pub fn with_more(self) -> Self {
        Self(self.0 | MORE)
    }

    /// As it stands in bits 31:17 of a completion entry's last dword.
    pub fn bits(self) -> u16 {
        self.0
    }
}
