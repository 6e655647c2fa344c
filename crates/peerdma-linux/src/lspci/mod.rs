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
    let mut lines = Lines::new(text);
    let mut listing = Listing::new(keep);
    let mut first_line = None;
    loop {
        let (bytes, run) = listing.add_run(lines.rest());
        lines.skip(bytes, run);
        let Some(line) = lines.step()? else {
            break;
        };
        let number = lines.number();
        if is_empty_or_comment(line) {
            continue;
        }
        if hex::is_hex_line(line) {
            listing.add_bytes(number, line, warnings);
        } else if line.first().is_some_and(u8::is_ascii_whitespace) {
            listing.add_detail(number, line, warnings);
        } else if let Some(header) = header::Header::parse(line) {
            listing.begin(number, header, warnings)?;
        } else {
            warnings.push(
                format_args!("line {number}"),
                "expected the address of a PCI function, an indented detail or a line of bytes; left out",
            );
        }
        first_line.get_or_insert(number);
    }
    if listing.is_empty() {
        return Err(match first_line {
            Some(line) => LspciError::NotAListing { line },
            None => LspciError::NoFunctions {
                lines: lines.number(),
            },
        });
    }
    listing.finish(warnings)
}

fn is_empty_or_comment(line: &[u8]) -> bool {
    line.first() == Some(&b'#') || line.iter().all(u8::is_ascii_whitespace)
}
