//! The lines of a listing, numbered.

use super::LspciError;
use memchr::memchr;

/// The longest line that is read. The longest that `lspci` prints has some hundred bytes.
const MOST_LINE_BYTES: usize = 1 << 16;

/// Walks over the lines of a text.
pub(super) struct Lines<'a> {
    rest: &'a [u8],
    number: u64,
}

impl<'a> Lines<'a> {
    /// The lines of a whole text.
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self::after(text, 0)
    }

    /// The lines of a text that goes on after `number` lines.
    pub(super) fn after(text: &'a [u8], number: u64) -> Self {
        let rest = match number {
            // What some editors put at the start of a text.
            0 => text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text),
            _ => text,
        };
        Self { rest, number }
    }

    /// The next line without its end, which may be that of Windows.
    ///
    /// # Errors
    /// [`LspciError::LineTooLong`]: a file of zeros is one line, and is not searched to its end.
    pub(super) fn step(&mut self) -> Result<Option<&'a [u8]>, LspciError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let reach = self.rest.len().min(MOST_LINE_BYTES);
        let window = &self.rest[..reach];
        let line = match memchr(b'\n', window) {
            Some(end) => {
                self.rest = &self.rest[end + 1..];
                &window[..end]
            }
            None if reach == self.rest.len() => {
                self.rest = &[];
                window
            }
            None => {
                return Err(LspciError::LineTooLong {
                    line: self.number,
                    most_bytes: MOST_LINE_BYTES,
                });
            }
        };
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Passes over `bytes` of [`Self::rest`], which are `lines` whole lines.
    pub(super) fn skip(&mut self, bytes: usize, lines: u64) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
        self.number += lines;
    }

    /// The number of the line that came last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}
