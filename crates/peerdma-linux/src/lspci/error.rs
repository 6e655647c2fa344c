//! Why a text could not be read as an `lspci` listing at all.

use thiserror::Error;

/// The listing is of no use; whatever is merely odd in a listing is a warning instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LspciError {
    /// No line starts with the address of a PCI function.
    #[error(
        "line {line}: not an lspci listing: expected a line such as `0000:3b:00.0 Non-Volatile memory \
         controller: ...` or `3b:00.0 0108: 144d:a824`; take one with `lspci -D -nn -vvv` or `lspci -D -n \
         -xxxx` as root"
    )]
    NotAListing {
        /// The first line that holds anything.
        line: u64,
    },
    /// There is nothing in it.
    #[error(
        "{lines} lines without a PCI function: the listing is empty; was lspci allowed to see the machine?"
    )]
    NoFunctions {
        /// How many lines there are.
        lines: u64,
    },
    /// A line is longer than any that `lspci` prints.
    #[error("line {line}: longer than {most_bytes} bytes; this is no lspci listing, or it is damaged")]
    LineTooLong {
        /// The line.
        line: u64,
        /// The longest line that is read.
        most_bytes: usize,
    },
    /// More functions than a machine has.
    #[error("line {line}: more than {most} PCI functions; no machine has so many, split the listing")]
    TooManyFunctions {
        /// The line of the first one too many.
        line: u64,
        /// How many are read.
        most: usize,
    },
    /// More lines than so many functions can have.
    #[error("more than {most} lines; this is no lspci listing, or it is damaged")]
    TooManyLines {
        /// How many are read.
        most: u64,
    },
    /// Bridges without bus numbers: nobody can tell what sits below what.
    #[error(
        "line {line}: the listing shows bridges (the first one here) and no bus numbers, so that nothing tells \
         what sits below what; take it again with `lspci -D -nn -vvv` or `lspci -D -n -xxxx`, as root"
    )]
    NoBusNumbers {
        /// The line of the first bridge.
        line: u64,
    },
}
