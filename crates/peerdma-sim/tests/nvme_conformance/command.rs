//! Commands and completion entries as the specification prints them: dwords and status codes.

/// Status codes: type in bits 10:8, code in 7:0 (Base 4.6.1.2).
pub(crate) mod sc {
    pub(crate) const SUCCESS: u16 = 0;
    pub(crate) const INVALID_OPCODE: u16 = 0x001;
    pub(crate) const INVALID_FIELD: u16 = 0x002;
    pub(crate) const ID_CONFLICT: u16 = 0x003;
    pub(crate) const DATA_TRANSFER_ERROR: u16 = 0x004;
    pub(crate) const ABORT_REQUESTED: u16 = 0x007;
    pub(crate) const INVALID_NAMESPACE: u16 = 0x00b;
    pub(crate) const SEQUENCE_ERROR: u16 = 0x00c;
    pub(crate) const SGL_SEGMENT: u16 = 0x00d;
    pub(crate) const SGL_COUNT: u16 = 0x00e;
    pub(crate) const SGL_LENGTH: u16 = 0x00f;
    pub(crate) const SGL_TYPE: u16 = 0x011;
    pub(crate) const CMB_USE: u16 = 0x012;
    pub(crate) const PRP_OFFSET: u16 = 0x013;
    pub(crate) const LBA_RANGE: u16 = 0x080;
    pub(crate) const CQ_INVALID: u16 = 0x100;
    pub(crate) const QUEUE_ID: u16 = 0x101;
    pub(crate) const QUEUE_SIZE: u16 = 0x102;
    pub(crate) const EVENT_LIMIT: u16 = 0x105;
    pub(crate) const VECTOR: u16 = 0x108;
    pub(crate) const LOG_PAGE: u16 = 0x109;
    pub(crate) const QUEUE_DELETION: u16 = 0x10c;
    pub(crate) const NOT_SAVEABLE: u16 = 0x10d;
    pub(crate) const NOT_NAMESPACE_SPECIFIC: u16 = 0x10f;
    pub(crate) const UNRECOVERED_READ_ERROR: u16 = 0x281;
    pub(crate) const COMPARE_FAILURE: u16 = 0x285;
}

/// A completion entry (Base 3.3.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cqe {
    pub(crate) dword0: u32,
    pub(crate) head: u16,
    pub(crate) queue: u16,
    pub(crate) id: u16,
    /// The status field without the phase tag.
    pub(crate) field: u16,
}

impl Cqe {
    pub(crate) fn status(self) -> u16 {
        self.field & 0x7ff
    }

    pub(crate) fn do_not_retry(self) -> bool {
        self.field & 1 << 14 != 0
    }
}

/// A command: 16 dwords.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cmd(pub(crate) [u32; 16]);

impl Cmd {
    pub(crate) fn new(opcode: u8) -> Self {
        let mut dwords = [0; 16];
        dwords[0] = u32::from(opcode);
        Self(dwords)
    }

    pub(crate) fn with(mut self, dword: usize, value: u32) -> Self {
        self.0[dword] = value;
        self
    }

    pub(crate) fn flags(mut self, bits: u32) -> Self {
        self.0[0] |= bits;
        self
    }

    pub(crate) fn namespace(self, number: u32) -> Self {
        self.with(1, number)
    }

    pub(crate) fn prp(self, first: u64, second: u64) -> Self {
        self.with(6, first as u32)
            .with(7, (first >> 32) as u32)
            .with(8, second as u32)
            .with(9, (second >> 32) as u32)
    }

    pub(crate) fn sgl(self, descriptor: [u8; 16]) -> Self {
        let number =
            |range: std::ops::Range<usize>| u64::from_le_bytes(descriptor[range].try_into().unwrap());
        self.flags(1 << 14).prp(number(0..8), number(8..16))
    }

    pub(crate) fn blocks(self, first: u64, count: u32) -> Self {
        self.with(10, first as u32)
            .with(11, (first >> 32) as u32)
            .with(12, count - 1)
    }

    pub(crate) fn id(mut self, id: u16) -> Self {
        self.0[0] = self.0[0] & 0xffff | u32::from(id) << 16;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|dword| dword.to_le_bytes()).collect()
    }
}

pub(crate) fn read() -> Cmd {
    Cmd::new(2).namespace(1)
}

pub(crate) fn write() -> Cmd {
    Cmd::new(1).namespace(1)
}
