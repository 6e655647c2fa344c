//! What disks hold before anything goes wrong, and which parts copies were let loose on.
//!
//! The host knows the same content (`xtask/src/lab/checks/going_wrong.rs`) and looks at every block of every disk afterwards.

use super::controllers::Controller;
use crate::outbox;
use std::cell::RefCell;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

pub(super) const BLOCK_BYTES: u64 = 512;
/// Nothing is copied beyond.
const DISK_BYTES: u64 = 64 << 20;
const PIECE_BYTES: u64 = 1 << 20;

/// Has the kernel's driver fill a disk: every block of every disk has content of its own.
pub(super) fn fill(controller: &Controller) -> Result<(), String> {
    let block = controller.block()?;
    let failed = |error| format!("{block}: {error}");
    let file = OpenOptions::new().write(true).open(&block).map_err(failed)?;
    for first in (0..DISK_BYTES / BLOCK_BYTES).step_by((PIECE_BYTES / BLOCK_BYTES) as usize) {
        let blocks = first..first + PIECE_BYTES / BLOCK_BYTES;
        let bytes: Vec<u8> = blocks
            .flat_map(|index| block_of(controller.number, index))
            .collect();
        file.write_all_at(&bytes, first * BLOCK_BYTES).map_err(failed)?;
    }
    file.sync_all().map_err(failed)
}

/// The content of a block.
fn block_of(disk: u64, index: u64) -> [u8; BLOCK_BYTES as usize] {
    let word = (disk << 32 | index).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut block = [0; BLOCK_BYTES as usize];
    for place in block.chunks_exact_mut(8) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    block
}

/// What is to be seen on the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// The source's blocks.
    New,
    /// Each block is whole: the source's, or what was there; so many bytes from the first on are the source's.
    OldOrNew { written_bytes: u64 },
    /// What was there.
    Old,
    /// Nobody knows, and the copy says so.
    Anything,
}

/// The part of source and destination that one copy is about: the same place on both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) first_block: u64,
    pub(super) blocks: u64,
}

/// Of a copy that ended in a way that lets it say nothing.
pub(super) const OLD_OR_NEW: Holds = Holds::OldOrNew { written_bytes: 0 };

/// Parts of disks, each given away once, and what became of them.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    next_block: RefCell<u64>,
    lines: RefCell<String>,
}

impl Ranges {
    /// A part that no other copy has.
    pub(super) fn take(&self, len_bytes: u64) -> Result<Range, String> {
        let mut next = self.next_block.borrow_mut();
        let range = Range {
            first_block: *next,
            blocks: len_bytes.div_ceil(BLOCK_BYTES),
        };
        // A block between two parts belongs to neither.
        *next += range.blocks + 1;
        match *next * BLOCK_BYTES <= DISK_BYTES {
            true => Ok(range),
            false => Err("the disks are too small for so many copies".into()),
        }
    }

    /// Keeps what the host is to see.
    pub(super) fn keep(&self, name: &str, from: &Controller, to: &Controller, range: Range, holds: Holds) {
        let (word, new_blocks) = match holds {
            Holds::New => ("new", range.blocks),
            Holds::OldOrNew { written_bytes } => ("old-or-new", written_bytes / BLOCK_BYTES),
            Holds::Old => ("old", 0),
            Holds::Anything => ("anything", 0),
        };
        let line = format!(
            "{name} {} {} {} {} {word} {new_blocks}\n",
            from.number, to.number, range.first_block, range.blocks
        );
        self.lines.borrow_mut().push_str(&line);
    }

    /// Tells the host; `filled` are the disks that hold anything.
    pub(super) fn send(&self, filled: &[&Controller]) -> Result<(), String> {
        let numbers: Vec<String> = filled.iter().map(|one| one.number.to_string()).collect();
        let text = format!("{}\n{}", numbers.join(" "), self.lines.borrow());
        outbox::send("ranges", text.as_bytes())
    }
}
