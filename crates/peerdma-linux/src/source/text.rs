//! A text, read whole and in bounded memory.

use std::io::{self, Read};

/// Why a text cannot be read.
#[derive(Debug)]
pub(super) enum TextError {
    /// No text holds a zero byte.
    Zero { offset: u64 },
    /// It is larger than is taken in.
    TooLarge { limit_bytes: u64 },
    /// Reading fails.
    Read { offset: u64, source: io::Error },
}

/// A hundred thousand functions with all of their configuration space in hexadecimal, and more.
const LIMIT_BYTES: usize = 2 << 30;
const CHUNK_BYTES: usize = 1 << 20;

/// Reads all of `input`, some `length_hint` bytes.
pub(super) fn read(mut input: impl Read, length_hint: u64) -> Result<Vec<u8>, TextError> {
    let hint = usize::try_from(length_hint).unwrap_or(LIMIT_BYTES);
    if hint > LIMIT_BYTES {
        return Err(TextError::TooLarge {
            limit_bytes: LIMIT_BYTES as u64,
        });
    }
    // A sparse file claims any length: memory that is never written costs nothing until it is.
    let mut bytes = Vec::new();
    bytes.try_reserve(hint + 1).map_err(|_| TextError::TooLarge {
        limit_bytes: LIMIT_BYTES as u64,
    })?;
    loop {
        let start = bytes.len();
        match input.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut bytes) {
            Ok(0) => return Ok(bytes),
            Ok(_) => {}
            Err(source) => {
                let offset = bytes.len() as u64;
                return Err(TextError::Read { offset, source });
            }
        }
        let new = bytes.get(start..).unwrap_or_default();
        if let Some(at) = memchr::memchr(0, new) {
            let offset = (start + at) as u64;
            return Err(TextError::Zero { offset });
        }
        if bytes.len() > LIMIT_BYTES {
            return Err(TextError::TooLarge {
                limit_bytes: LIMIT_BYTES as u64,
            });
        }
    }
}
