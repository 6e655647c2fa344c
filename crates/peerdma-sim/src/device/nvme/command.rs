//! A submission queue entry (NVM Express Base 3.3.3.1, common command format) as fields.

/// 64 bytes of a submission queue, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Command {
    dwords: [u32; 16],
}

impl Command {
    pub(super) const BYTES_LOG2: u8 = 6;
    pub(super) const BYTES: u64 = 1 << Self::BYTES_LOG2;

    /// Reads an entry; bytes that are missing are zeros.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut dwords = [0; 16];
        for (dword, bytes) in dwords.iter_mut().zip(bytes.chunks_exact(4)) {
            *dword = bytes
                .iter()
                .rev()
                .fold(0, |all, &byte| all << 8 | u32::from(byte));
        }
        Self { dwords }
    }

    pub(super) fn opcode(&self) -> u8 {
        self.dwords[0] as u8
    }

    /// FUSE, bits 9:8.
    pub(super) fn fused(&self) -> u8 {
        (self.dwords[0] >> 8 & 3) as u8
    }

    /// PSDT, bits 15:14: PRP, SGL, SGL with a metadata segment.
    pub(super) fn pointer_kind(&self) -> u8 {
        (self.dwords[0] >> 14) as u8 & 3
    }

    pub(super) fn id(&self) -> u16 {
        (self.dwords[0] >> 16) as u16
    }

    pub(super) fn namespace(&self) -> u32 {
        self.dwords[1]
    }

    pub(super) fn prp1(&self) -> u64 {
        self.qword(6)
    }

    pub(super) fn prp2(&self) -> u64 {
        self.qword(8)
    }

    /// The first SGL descriptor, in the place of the two PRP entries.
    pub(super) fn sgl(&self) -> [u8; 16] {
        (u128::from(self.prp2()) << 64 | u128::from(self.prp1())).to_le_bytes()
    }

    /// Command dword `number`, 10 to 15; 0 for others.
    pub(super) fn dword(&self, number: usize) -> u32 {
        self.dwords.get(number).copied().unwrap_or(0)
    }

    /// Two dwords from `number` on as one value.
    pub(super) fn qword(&self, number: usize) -> u64 {
        u64::from(self.dword(number)) | u64::from(self.dword(number + 1)) << 32
    }
}
