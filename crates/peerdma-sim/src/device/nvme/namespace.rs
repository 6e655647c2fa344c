//! Namespaces: blocks in a bank, and in a file if there is one. The file is read when the controller is made, and written
//! through: what a completed write wrote is in the file.

use super::traits::NvmeError;
use crate::blueprint::NamespaceKind;
use crate::memory::{BankId, Banks, MemoryError, Place};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;

/// A namespace.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) block_log2: u8,
    pub(super) blocks: u64,
    bank: BankId,
    file: Option<File>,
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
            Some(path) => {
                let failed = |attempt| {
                    move |cause: std::io::Error| NvmeError::File {
                        namespace: number,
                        path: path.clone(),
                        attempt,
                        cause: cause.to_string(),
                    }
                };
                let opened = File::options().read(true).write(true).open(path);
                let mut file = opened.map_err(failed("opened for reading and writing"))?;
                let have_bytes = file.seek(SeekFrom::End(0)).map_err(failed("measured"))?;
                if have_bytes < bytes {
                    let path = path.clone();
                    return Err(NvmeError::ShortFile {
                        namespace: number,
                        path,
                        have_bytes,
                        need_bytes: bytes,
                    });
                }
                file.rewind().map_err(failed("read"))?;
                load(&mut file, bank, bytes, banks, &failed("read"))?;
                Some(file)
            }
        };
        Ok(Self {
            block_log2: block_bytes.trailing_zeros() as u8,
            blocks: kind.blocks,
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

    /// Makes zeros of a range, in the file as well.
    ///
    /// # Errors
    /// [`Fault`]
    pub(super) fn clear(&mut self, span: Range<u64>, banks: &mut Banks) -> Result<(), Fault> {
        banks.clear(self.place(span.start), span.end - span.start)?;
        self.write_through(span, banks)
    }

    /// Copies a range from the bank to the file, if there is one.
    ///
    /// # Errors
    /// [`Fault`]
    pub(super) fn write_through(&mut self, span: Range<u64>, banks: &Banks) -> Result<(), Fault> {
        let Some(file) = &mut self.file else { return Ok(()) };
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
            .map_or(Ok(()), |file| file.sync_data().map_err(|_| Fault))
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

fn load(
    file: &mut File,
    bank: BankId,
    bytes: u64,
    banks: &mut Banks,
    failed: &impl Fn(std::io::Error) -> NvmeError,
) -> Result<(), NvmeError> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut offset = 0;
    while offset < bytes {
        let count = buffer.len().min((bytes - offset) as usize);
        let now = &mut buffer[..count];
        file.read_exact(now).map_err(failed)?;
        // Zeros cost nothing where they are not written.
        if now.iter().any(|&byte| byte != 0) {
            banks.write(Place { bank, offset }, now)?;
        }
        offset += count as u64;
    }
    Ok(())
}
