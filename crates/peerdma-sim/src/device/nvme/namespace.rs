//! Namespaces: blocks in a bank, and in a file if there is one. The file is read piece by piece when a command first touches
//! it, and written through: what a completed write wrote is in the file. So pieces that no command is at can be forgotten, and are where
//! many were read: a file may be larger than the memory.

use super::traits::NvmeError;
use crate::blueprint::{NamespaceKind, Protection};
use crate::memory::{BankId, Banks, MemoryError, Place};
use std::collections::HashSet;
use std::fs::{File, FileType};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

/// A namespace.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) block_log2: u8,
    pub(super) blocks: u64,
    pub(super) protection: Protection,
    bank: BankId,
    file: Option<Backing>,
}

/// The file behind a namespace.
#[derive(Debug)]
struct Backing {
    file: File,
    bytes: u64,
    /// Pieces that are in the bank, by their number; of all others the file knows more.
    fetched: HashSet<u64>,
    /// How many of them there may be before those that nobody is at are forgotten.
    most_fetched: usize,
}

/// Pieces of a file that are kept: 128 MiB.
const MOST_FETCHED: usize = 2048;

/// Bytes that are moved between bank and file at once.
const PIECE_BYTES: usize = 64 << 10;

impl Namespace {
    pub(super) fn new(number: u32, kind: &NamespaceKind, banks: &mut Banks) -> Result<Self, NvmeError> {
        let block_bytes = kind.block_bytes;
        if !matches!(block_bytes, 512 | 4096) {
            return Err(NvmeError::BlockSize {
                namespace: number,
                block_bytes,
            });
        }
        let bytes = kind
            .blocks
            .checked_mul(u64::from(block_bytes))
            .filter(|bytes| (1..1 << 63).contains(bytes));
        let Some(bytes) = bytes else {
            return Err(NvmeError::NamespaceSize {
                namespace: number,
                blocks: kind.blocks,
                block_bytes,
            });
        };
        let bank = banks.add(bytes);
        let file = match &kind.file {
            None => None,
            Some(path) => Some(Backing::open(number, path, bytes, kind.protection)?),
        };
        Ok(Self {
            block_log2: block_bytes.trailing_zeros() as u8,
            blocks: kind.blocks,
            protection: kind.protection,
            bank,
            file,
        })
    }

    /// The bytes of `count` blocks from `first` on; nothing where they leave the namespace.
    pub(super) fn span(&self, first: u64, count: u64) -> Option<Range<u64>> {
        let end = first.checked_add(count).filter(|&end| end <= self.blocks)?;
        Some(first << self.block_log2..end << self.block_log2)
    }

    /// Where a byte is.
    pub(super) fn place(&self, offset: u64) -> Place {
        Place {
            bank: self.bank,
            offset,
        }
    }

    pub(super) fn is_on_file(&self) -> bool {
        self.file.is_some()
    }

    /// Has a range in the bank, before it is read there or a part of it is written.
    ///
    /// # Errors
    /// [`Fault`]
    pub(super) fn fetch(&mut self, span: Range<u64>, banks: &mut Banks) -> Result<(), Fault> {
        match &mut self.file {
            Some(backing) => backing.fetch(span, self.bank, banks),
            None => Ok(()),
        }
    }

    /// Forgets pieces that the file knows as well, where there are many; but for those that commands are at, whose data may be in
    /// the bank alone.
    ///
    /// # Errors
    /// [`Fault`]
    pub(super) fn make_room(
        &mut self,
        used: impl FnOnce() -> Vec<Range<u64>>,
        banks: &mut Banks,
    ) -> Result<(), Fault> {
        match &mut self.file {
            Some(backing) if backing.fetched.len() > backing.most_fetched => {
                backing.forget(&used(), self.bank, banks)
            }
            _ => Ok(()),
        }
    }

    /// Makes zeros of a range, in the file as well.
    ///
    /// # Errors
    /// [`Fault`]
    pub(super) fn clear(&mut self, span: Range<u64>, banks: &mut Banks) -> Result<(), Fault> {
        // The pieces at the ends hold more than the range; those between will be zeros here and there.
        for end in [span.start, span.end.saturating_sub(1)] {
            if span.contains(&end) {
                self.fetch(end..end + 1, banks)?;
            }
        }
        banks.clear(self.place(span.start), span.end - span.start)?;
        self.write_through(span, banks)
    }

    /// Copies a range from the bank to the file, if there is one.
    ///
    /// # Errors
    /// [`Fault`]
    pub(super) fn write_through(&mut self, span: Range<u64>, banks: &Banks) -> Result<(), Fault> {
        let Some(Backing { file, .. }) = &mut self.file else {
            return Ok(());
        };
        let mut buffer = vec![0; PIECE_BYTES.min((span.end - span.start) as usize)];
        file.seek(SeekFrom::Start(span.start)).map_err(|_| Fault)?;
        let mut offset = span.start;
        while offset < span.end {
            let count = buffer.len().min((span.end - offset) as usize);
            let now = &mut buffer[..count];
            banks.read(
                Place {
                    bank: self.bank,
                    offset,
                },
                now,
            )?;
            file.write_all(now).map_err(|_| Fault)?;
            offset += count as u64;
        }
        Ok(())
    }

    /// Has the file's data on its medium.
    ///
    /// # Errors
    /// [`Fault`]
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        self.file
            .as_mut()
            .map_or(Ok(()), |backing| backing.file.sync_data().map_err(|_| Fault))
    }
}

/// The medium did not take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault;

impl From<MemoryError> for Fault {
    fn from(_: MemoryError) -> Self {
        Self
    }
}

impl Backing {
    /// Opens the file of a namespace of `bytes`; nothing of it is read yet.
    fn open(number: u32, path: &Path, bytes: u64, protection: Protection) -> Result<Self, NvmeError> {
        let failed = |attempt| {
            move |cause: std::io::Error| NvmeError::File {
                namespace: number,
                path: path.to_owned(),
                attempt,
                cause: cause.to_string(),
            }
        };
        let is_file = |kind: FileType| match kind.is_file() {
            true => Ok(()),
            false => Err(NvmeError::NotAFile {
                namespace: number,
                path: path.to_owned(),
            }),
        };
        // Opening a device or a pipe may do something, or wait: what it is comes first.
        let before = std::fs::metadata(path).map_err(failed("looked at"))?;
        is_file(before.file_type())?;
        let (is_written, attempt) = match protection {
            Protection::None => (true, "opened for reading and writing"),
            Protection::WriteProtected => (false, "opened for reading"),
        };
        let opened = File::options().read(true).write(is_written).open(path);
        let file = opened.map_err(failed(attempt))?;
        let metadata = file.metadata().map_err(failed("measured"))?;
        is_file(metadata.file_type())?;
        if metadata.len() != bytes {
            return Err(NvmeError::FileSize {
                namespace: number,
                path: path.to_owned(),
                have_bytes: metadata.len(),
                need_bytes: bytes,
            });
        }
        Ok(Self {
            file,
            bytes,
            fetched: HashSet::new(),
            most_fetched: MOST_FETCHED,
        })
    }

    fn forget(&mut self, used: &[Range<u64>], bank: BankId, banks: &mut Banks) -> Result<(), Fault> {
        let piece_bytes = PIECE_BYTES as u64;
        let mut kept: HashSet<u64> = HashSet::new();
        for span in used {
            kept.extend(span.start / piece_bytes..span.end.div_ceil(piece_bytes));
        }
        // In order, whatever that of the set is: the same run leaves the same trace.
        let mut forgotten: Vec<u64> = self.fetched.difference(&kept).copied().collect();
        forgotten.sort_unstable();
        for piece in forgotten {
            let offset = piece * piece_bytes;
            let count = self.bytes.saturating_sub(offset).min(piece_bytes);
            banks.clear(Place { bank, offset }, count)?;
            self.fetched.remove(&piece);
        }
        // Where many are in use there is no sense in looking again at once.
        self.most_fetched = MOST_FETCHED.max(self.fetched.len().saturating_mul(2));
        Ok(())
    }

    fn fetch(&mut self, span: Range<u64>, bank: BankId, banks: &mut Banks) -> Result<(), Fault> {
        let piece_bytes = PIECE_BYTES as u64;
        for piece in span.start / piece_bytes..span.end.div_ceil(piece_bytes) {
            if self.fetched.contains(&piece) {
                continue;
            }
            let offset = piece * piece_bytes;
            let count = self.bytes.saturating_sub(offset).min(piece_bytes);
            let mut bytes = vec![0; count as usize];
            self.file.seek(SeekFrom::Start(offset)).map_err(|_| Fault)?;
            self.file.read_exact(&mut bytes).map_err(|_| Fault)?;
            // Zeros cost nothing where they are not written; data that came too late for its command may lie there.
            match bytes.iter().any(|&byte| byte != 0) {
                true => banks.write(Place { bank, offset }, &bytes)?,
                false => banks.clear(Place { bank, offset }, count)?,
            }
            self.fetched.insert(piece);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_larger_than_memory_and_what_commands_are_at_stays() {
        let pieces = 16;
        let bytes: Vec<u8> = (0..pieces * PIECE_BYTES)
            .map(|at| (at / PIECE_BYTES + 1) as u8)
            .collect();
        let path = std::env::temp_dir().join(format!("peerdma-namespace-{}", std::process::id()));
        std::fs::write(&path, &bytes).unwrap();
        let kind = NamespaceKind {
            block_bytes: 512,
            blocks: bytes.len() as u64 / 512,
            file: Some(path.clone()),
            ..NamespaceKind::default()
        };
        // Memory for half of it.
        let mut banks = Banks::new((pieces * PIECE_BYTES / 2) as u64);
        let mut namespace = Namespace::new(1, &kind, &mut banks).unwrap();
        namespace.file.as_mut().unwrap().most_fetched = 4;
        let span = |piece: usize| (piece * PIECE_BYTES) as u64..((piece + 1) * PIECE_BYTES) as u64;
        // A command has brought data that is not in the file yet.
        namespace.fetch(span(0), &mut banks).unwrap();
        banks.write(namespace.place(0), &[0xee; 512]).unwrap();
        for piece in 1..pieces {
            if let Some(file) = &mut namespace.file {
                file.most_fetched = file.most_fetched.min(4);
            }
            namespace
                .make_room(|| std::iter::once(0..512).collect(), &mut banks)
                .unwrap();
            namespace.fetch(span(piece), &mut banks).unwrap();
            let mut found = vec![0; PIECE_BYTES];
            banks
                .read(namespace.place(span(piece).start), &mut found)
                .unwrap();
            assert!(found == bytes[piece * PIECE_BYTES..][..PIECE_BYTES], "{piece}");
        }
        let mut found = [0; 512];
        banks.read(namespace.place(0), &mut found).unwrap();
        assert_eq!(found, [0xee; 512]);
        std::fs::remove_file(path).unwrap();
    }
}
