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
pub(super) fn read(input: impl Read, length_hint: u64) -> Result<Vec<u8>, TextError> {
    read_up_to(MOST_WHOLE_BYTES, input, length_hint)
}

fn read_up_to(limit_bytes: u64, mut input: impl Read, length_hint: u64) -> Result<Vec<u8>, TextError> {
    let too_large = || TextError::TooLarge { limit_bytes };
    if length_hint > limit_bytes {
        return Err(too_large());
    }
    // A sparse file claims any length: memory that is never written costs nothing until it is.
    let mut bytes = Vec::new();
    bytes
        .try_reserve(length_hint as usize + 1)
        .map_err(|_| too_large())?;
    while add_chunk(&mut input, &mut bytes, 0)? > 0 {
        if bytes.len() as u64 > limit_bytes {
            return Err(too_large());
        }
    }
    Ok(bytes)
}

/// Hands all of `input` to `take`, in pieces that end where a line ends.
pub(super) fn read_lines<E: From<TextError>>(
    input: impl Read,
    take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    read_lines_up_to(MOST_BYTES, input, take)
}

fn read_lines_up_to<E: From<TextError>>(
    limit_bytes: u64,
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
        if taken > limit_bytes {
            return Err(TextError::TooLarge { limit_bytes }.into());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_end_is_refused_at_the_limit_whatever_length_it_claims() {
        const MOST: u64 = 3 << 20;
        let endless = || io::repeat(b' ').take(8 * MOST);
        let refused = |error| matches!(error, TextError::TooLarge { limit_bytes: MOST });
        for hint in [0, 1, MOST] {
            assert!(refused(read_up_to(MOST, endless(), hint).unwrap_err()), "{hint}");
        }
        for hint in [MOST + 1, u64::MAX] {
            assert!(refused(read_up_to(MOST, &b""[..], hint).unwrap_err()), "{hint}");
        }
        assert_eq!(
            read_up_to(MOST, endless().take(MOST), 0).unwrap().len(),
            MOST as usize
        );
        let lines = |input| read_lines_up_to(MOST, input, |_| Ok::<(), TextError>(()));
        assert!(refused(lines(endless()).unwrap_err()));
        assert!(lines(endless().into_inner().take(MOST)).is_ok());
    }
}
