//! Reads what `lspci` prints into a [`Snapshot`].
//!
//! One reader takes hex dumps (`-x`, `-xxx`, `-xxxx`), texts (`-v`, `-vv`, `-vvv`) and both at once, with
//! and without `-D`, with numbers (`-n`), names or both (`-nn`), functions in any order. The way data
//! takes: `read` -> lines (`line`) -> per function its first line (`header`), bytes (`hex`) and
//! details (`text`) -> `listing`, which settles what depends on other functions.
//!
//! Bytes win over text, text over nothing. What a listing does not show is unknown; when its silence
//! is proof is written down in `proof`.

mod capability;
mod error;
mod header;
mod hex;
mod line;
mod listing;
mod names;
mod proof;
mod region;
mod scan;
mod shown;
mod text;

pub use error::LspciError;

use crate::keep::KeepConfig;
use line::Lines;
use listing::Listing;
use peerdma::snapshot::{Snapshot, Warnings};

/// Does a file that starts like this look like a listing of `lspci`?
///
/// Its first line that is neither empty nor a comment must begin with the address of a function. A few
/// hundred bytes are enough.
pub fn looks_like_lspci(start: &[u8]) -> bool {
    let mut lines = Lines::new(start);
    while let Ok(Some(line)) = lines.step() {
        if !is_empty_or_comment(line) {
            return header::split_bdf(line).is_some();
        }
    }
    false
}

/// Reads a listing.
///
/// # Errors
/// [`LspciError`], with the number of the line, where the text is no listing, holds no function or too
/// many, or shows bridges without any bus number. Everything else that is odd becomes a warning.
pub fn read(text: &[u8], keep: KeepConfig, warnings: &mut Warnings) -> Result<Snapshot, LspciError> {
    let mut reader = Reader::new(keep);
    reader.push(text, warnings)?;
    reader.finish(warnings)
}

/// As many lines as the most functions have with all of their bytes, and twice that. Bounds the time that
/// a hostile listing can take.
const MOST_LINES: u64 = 1 << 27;

/// Reads a listing piece by piece, so that only its functions are held in memory and never its text.
pub struct Reader {
    listing: Listing,
    /// How many lines were read.
    lines: u64,
    /// The first one that is neither empty nor a comment.
    first_line: Option<u64>,
}

impl Reader {
    /// Nothing is read yet.
    pub fn new(keep: KeepConfig) -> Self {
        Self {
            listing: Listing::new(keep),
            lines: 0,
            first_line: None,
        }
    }

    /// Takes the next lines: whole ones, but for the last of the listing.
    ///
    /// # Errors
    /// As [`read`].
    pub fn push(&mut self, text: &[u8], warnings: &mut Warnings) -> Result<(), LspciError> {
        let mut lines = Lines::after(text, self.lines);
        loop {
            let (bytes, run) = self.listing.add_run(lines.rest());
            lines.skip(bytes, run);
            let Some(line) = lines.step()? else {
                break;
            };
            let number = lines.number();
            if is_empty_or_comment(line) {
                continue;
            }
            if hex::is_hex_line(line) {
                self.listing.add_bytes(number, line, warnings);
            } else if line.first().is_some_and(u8::is_ascii_whitespace) {
                self.listing.add_detail(number, line, warnings);
            } else if let Some(header) = header::Header::parse(line) {
                self.listing.begin(number, header, warnings)?;
            } else {
                warnings.push(
                    format_args!("line {number}"),
                    "expected the address of a PCI function, an indented detail or a line of bytes; left out",
                );
            }
            self.first_line.get_or_insert(number);
        }
        self.lines = lines.number();
        if self.lines > MOST_LINES {
            return Err(LspciError::TooManyLines { most: MOST_LINES });
        }
        Ok(())
    }

    /// The machine, after the last line.
    ///
    /// # Errors
    /// As [`read`].
    pub fn finish(self, warnings: &mut Warnings) -> Result<Snapshot, LspciError> {
        if self.listing.is_empty() {
            return Err(match self.first_line {
                Some(line) => LspciError::NotAListing { line },
                None => LspciError::NoFunctions { lines: self.lines },
            });
        }
        self.listing.finish(warnings)
    }
}

fn is_empty_or_comment(line: &[u8]) -> bool {
    line.first() == Some(&b'#') || line.iter().all(u8::is_ascii_whitespace)
}
