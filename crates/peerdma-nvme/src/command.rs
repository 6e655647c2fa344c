//! Submission queue entries (NVM Express Base 2.0, 3.3.3.1): what commands look like.

use crate::pointer::Pointer;

/// 64 bytes for a submission queue. The identifier is filled in when it is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Command {
    dwords: [u32; 16],
}

/// CNS of Identify: what is asked for (5.17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identify {
    /// A namespace.
    Namespace(u32),
    /// The controller.
    Controller,
    /// Active namespaces above this number.
    ActiveAbove(u32),
}

/// A queue to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewQueue {
    /// Its number.
    pub(crate) id: u16,
    /// How many entries, at least 2.
    pub(crate) entries: u32,
    /// Where the device finds it: one piece.
    pub(crate) address: u64,
}

/// What an I/O command does to blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// Read.
    Read,
    /// Write.
    Write,
}

impl Command {
    /// Bytes of an entry.
    pub(crate) const BYTES: u64 = 64;

    /// Identify (5.17), a page of 4096 bytes to `page`.
    pub(crate) fn identify(what: Identify, page: u64) -> Self {
        let (namespace, cns) = match what {
            Identify::Namespace(id) => (id, 0),
            Identify::Controller => (0, 1),
            Identify::ActiveAbove(id) => (id, 2),
        };
        let mut command = Self::of(0x06, namespace).with_prp1(page);
        command.dwords[10] = cns;
        command
    }

    /// Set Features, Number of Queues (5.27.1.5): asks for `pairs`, at least 1.
    pub(crate) fn set_queue_count(pairs: u16) -> Self {
        const NUMBER_OF_QUEUES: u32 = 0x07;
        let less_one = u32::from(pairs.saturating_sub(1).min(0xfffe));
        let mut command = Self::of(0x09, 0);
        command.dwords[10] = NUMBER_OF_QUEUES;
        command.dwords[11] = less_one << 16 | less_one;
        command
    }

    /// Create I/O Completion Queue (5.4), in one piece, without interrupts.
    pub(crate) fn create_completion_queue(queue: NewQueue) -> Self {
        Self::create(0x05, queue)
    }

    /// Create I/O Submission Queue (5.5), in one piece, to the completion queue of the same number.
    pub(crate) fn create_submission_queue(queue: NewQueue) -> Self {
        let mut command = Self::create(0x01, queue);
        command.dwords[11] |= u32::from(queue.id) << 16;
        command
    }

    /// Delete I/O Completion Queue (5.6).
    pub(crate) fn delete_completion_queue(id: u16) -> Self {
        let mut command = Self::of(0x04, 0);
        command.dwords[10] = id.into();
        command
    }

    /// Delete I/O Submission Queue (5.7).
    pub(crate) fn delete_submission_queue(id: u16) -> Self {
        let mut command = Self::of(0x00, 0);
        command.dwords[10] = id.into();
        command
    }

    /// Abort (5.1).
    pub(crate) fn abort(queue: u16, command_id: u16) -> Self {
        let mut command = Self::of(0x08, 0);
        command.dwords[10] = u32::from(command_id) << 16 | u32::from(queue);
        command
    }

    /// Flush (7.1).
    pub(crate) fn flush(namespace: u32) -> Self {
        Self::of(0x00, namespace)
    }

    /// Read or Write (NVM Command Set 1.0, 3.2.4 and 3.2.6) of 1 to 65536 blocks.
    pub(crate) fn transfer(what: Transfer, namespace: u32, lba: u64, blocks: u32, data: Pointer) -> Self {
        let opcode = match what {
            Transfer::Write => 0x01,
            Transfer::Read => 0x02,
        };
        let mut command = Self::of(opcode, namespace);
        let (kind, low, high) = data.to_raw();
        command.dwords[0] |= kind << 14;
        command.set_qword(6, low);
        command.set_qword(8, high);
        command.set_qword(10, lba);
        command.dwords[12] = blocks.saturating_sub(1) & 0xffff;
        command
    }

    /// Its bytes, with the identifier filled in.
    pub(crate) fn to_bytes(self, id: u16) -> [u8; 64] {
        let mut bytes = [0; 64];
        for (to, from) in bytes.chunks_exact_mut(4).zip(self.dwords) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        bytes[2..4].copy_from_slice(&id.to_le_bytes());
        bytes
    }

    fn of(opcode: u32, namespace: u32) -> Self {
        let mut dwords = [0; 16];
        dwords[0] = opcode;
        dwords[1] = namespace;
        Self { dwords }
    }

    fn create(opcode: u32, queue: NewQueue) -> Self {
        const CONTIGUOUS: u32 = 1;
        let mut command = Self::of(opcode, 0).with_prp1(queue.address);
        command.dwords[10] = queue.entries.saturating_sub(1) << 16 | u32::from(queue.id);
        command.dwords[11] = CONTIGUOUS;
        command
    }

    fn with_prp1(mut self, address: u64) -> Self {
        self.set_qword(6, address);
        self
    }

    fn set_qword(&mut self, at: usize, value: u64) {
        self.dwords[at] = value as u32;
        self.dwords[at + 1] = (value >> 32) as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_has_its_fields_where_the_specification_puts_them() {
        let data = Pointer::Prp {
            first: 0x1_2345_6000,
            second: 0x9_8765_4000,
        };
        let bytes = Command::transfer(Transfer::Write, 7, 0x1_0000_0002, 65536, data).to_bytes(0xabcd);
        assert_eq!(bytes[0..8], [1, 0, 0xcd, 0xab, 7, 0, 0, 0]);
        assert_eq!(bytes[24..32], 0x1_2345_6000_u64.to_le_bytes());
        assert_eq!(bytes[32..40], 0x9_8765_4000_u64.to_le_bytes());
        assert_eq!(bytes[40..48], 0x1_0000_0002_u64.to_le_bytes());
        assert_eq!(bytes[48..52], [0xff, 0xff, 0, 0]);
    }

    #[test]
    fn queues_are_made_in_one_piece_and_without_interrupts() {
        let queue = NewQueue {
            id: 3,
            entries: 64,
            address: 0x5000,
        };
        let bytes = Command::create_submission_queue(queue).to_bytes(1);
        assert_eq!((bytes[0], &bytes[24..26]), (1, &[0x00, 0x50][..]));
        assert_eq!(bytes[40..48], [3, 0, 63, 0, 1, 0, 3, 0]);
        let bytes = Command::create_completion_queue(queue).to_bytes(1);
        assert_eq!((bytes[0], &bytes[40..48]), (5, &[3, 0, 63, 0, 1, 0, 0, 0][..]));
    }
}
