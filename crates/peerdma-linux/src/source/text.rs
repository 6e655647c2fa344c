//! A text, read in bounded memory: whole, or in pieces of whole lines.

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

/// The largest text that is held as a whole: a hundred thousand functions with all of their configuration
/// space.
const MOST_WHOLE_BYTES: u64 = 1 << 30;
/// The largest text that is read in pieces: four full PCI segments, likewise.
const MOST_BYTES: u64 = 4 << 30;
const CHUNK_BYTES: usize = 1 << 20;

/// Reads all of `input`, some `length_hint` bytes.
pub(super) fn read(mut input: impl Read, length_hint: u64) -> Result<Vec<u8>, TextError> {
    let too_large = || TextError::TooLarge {
        limit_bytes: MOST_WHOLE_BYTES,
    };
    if length_hint > MOST_WHOLE_BYTES {
        return Err(too_large());
    }
    // A sparse file claims any length: memory that is never written costs nothing until it is.
    let mut bytes = Vec::new();
    bytes
        .try_reserve(length_hint as usize + 1)
        .map_err(|_| too_large())?;
    while add_chunk(&mut input, &mut bytes, 0)? > 0 {
        if bytes.len() as u64 > MOST_WHOLE_BYTES {
            return Err(too_large());
        }
    }
    Ok(bytes)
}

/// Hands all of `input` to `take`, in pieces that end where a line ends.
pub(super) fn read_lines<E: From<TextError>>(
    mut input: impl Read,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut bytes = Vec::new();
    let mut taken = 0u64;
    while add_chunk(&mut input, &mut bytes, taken)? > 0 {
        // A line that fills all there is goes to the reader as it is: it is too long for any.
        let end = memchr::memrchr(b'\n', &bytes).map_or(bytes.len(), |last| last + 1);
        take(bytes.get(..end).unwrap_or_default())?;
        bytes.drain(..end);
        taken += end as u64;
        if taken > MOST_BYTES {
            return Err(TextError::TooLarge {
                limit_bytes: MOST_BYTES,
            }
            .into());
        }
    }
    take(&bytes)
}

/// Adds up to a chunk to `bytes`, which start at `offset` of the input; says how much it was.
fn add_chunk(input: &mut impl Read, bytes: &mut Vec<u8>, offset: u64) -> Result<usize, TextError> {
    let start = bytes.len();
    if let Err(source) = input.take(CHUNK_BYTES as u64).read_to_end(bytes) {
        let offset = offset + bytes.len() as u64;
        return Err(TextError::Read { offset, source });
    }
    let new = bytes.get(start..).unwrap_or_default();
    match memchr::memchr(0, new) {
        Some(at) => Err(TextError::Zero {
            offset: offset + (start + at) as u64,
        }),
        None => Ok(new.len()),
    }
}
