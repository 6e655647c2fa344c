//! Namespaces: blocks in a bank, and in a file if there is one. The file is read piece by piece when a command first touches
//! it, and written through: what a completed write wrote is in the file.

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
}

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
        })
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
            // Zeros cost nothing where they are not written.
            if bytes.iter().any(|&byte| byte != 0) {
                banks.write(Place { bank, offset }, &bytes)?;
            }
            self.fetched.insert(piece);
        }
        Ok(())
    }
}
