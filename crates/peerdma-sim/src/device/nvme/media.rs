//! The media as tests and tools see them: read and written without a command, and at no cost of time.

use super::Controller;
use super::namespace::{Fault, Namespace};
use crate::memory::{Banks, Place};

/// What a namespace is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespaceView {
    /// Its number.
    pub number: u32,
    /// Bytes of a block.
    pub block_bytes: u32,
    /// How many blocks.
    pub blocks: u64,
    /// Where its first byte is in the simulator's memory. What a file behind it holds is there once it was read.
    pub place: Place,
}

impl NamespaceView {
    /// All its bytes.
    pub const fn len_bytes(&self) -> u64 {
        // Checked when the namespace was made.
        self.blocks * self.block_bytes as u64
    }
}

/// Why media could not be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The controller has no such namespace.
    #[error("the controller has no namespace {number}")]
    NoSuchNamespace {
        /// Its number.
        number: u32,
    },
    /// The range leaves the namespace.
    #[error("{len_bytes:#x} bytes at {offset:#x} leave the namespace of {size_bytes:#x} bytes")]
    OutOfNamespace {
        /// Where the range begins.
        offset: u64,
        /// How many bytes it has.
        len_bytes: u64,
        /// How many bytes the namespace has.
        size_bytes: u64,
    },
    /// The file behind it failed, or the simulated machine may hold no more memory.
    #[error("the medium failed: its file cannot be read or written, or no memory is left for it")]
    Failed,
}

impl From<Fault> for MediaError {
    fn from(_: Fault) -> Self {
        Self::Failed
    }
}

impl Controller {
    /// Its namespaces, from number 1 on.
    pub fn namespaces(&self) -> impl Iterator<Item = NamespaceView> + '_ {
        (1..)
            .zip(&self.namespaces)
            .map(|(number, namespace)| NamespaceView {
                number,
                block_bytes: 1 << namespace.block_log2,
                blocks: namespace.blocks,
                place: namespace.place(0),
            })
    }

    /// Reads bytes of a namespace.
    ///
    /// # Errors
    /// [`MediaError`]
    pub fn read_media(
        &mut self,
        number: u32,
        offset: u64,
        into: &mut [u8],
        banks: &mut Banks,
    ) -> Result<(), MediaError> {
        let len_bytes = into.len() as u64;
        let namespace = self.reached(number, offset, len_bytes)?;
        namespace.fetch(offset..offset + len_bytes, banks)?;
        banks
            .read(namespace.place(offset), into)
            .map_err(|_| Fault.into())
    }

    /// Writes bytes of a namespace, and of its file if it has one.
    ///
    /// # Errors
    /// [`MediaError`]; a part may be written after [`MediaError::Failed`].
    pub fn write_media(
        &mut self,
        number: u32,
        offset: u64,
        from: &[u8],
        banks: &mut Banks,
    ) -> Result<(), MediaError> {
        let len_bytes = from.len() as u64;
        let namespace = self.reached(number, offset, len_bytes)?;
        if len_bytes == 0 {
            return Ok(());
        }
        let span = offset..offset + len_bytes;
        namespace.fetch(span.clone(), banks)?;
        banks
            .write(namespace.place(offset), from)
            .map_err(|_| MediaError::Failed)?;
        Ok(namespace.write_through(span, banks)?)
    }

    fn reached(&mut self, number: u32, offset: u64, len_bytes: u64) -> Result<&mut Namespace, MediaError> {
        let index = (number as usize).checked_sub(1);
        let namespace = index.and_then(|index| self.namespaces.get_mut(index));
        let namespace = namespace.ok_or(MediaError::NoSuchNamespace { number })?;
        let size_bytes = namespace.blocks << namespace.block_log2;
        match offset.checked_add(len_bytes) {
            Some(end) if end <= size_bytes => Ok(namespace),
            _ => Err(MediaError::OutOfNamespace {
                offset,
                len_bytes,
                size_bytes,
            }),
        }
    }
}
