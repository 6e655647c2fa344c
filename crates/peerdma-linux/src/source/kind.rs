//! What a source is, from its first bytes.

use crate::lspci;
use crate::shown::Shown;

/// How many bytes are looked at.
pub(super) const HEAD_BYTES: usize = 4096;

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Compressed by gzip (RFC 1952).
    Gzip,
    /// Compressed by bzip2.
    Bzip2,
    /// A tar archive (POSIX ustar, GNU, or older).
    Tar,
    /// JSON.
    Json,
    /// A listing of `lspci`.
    Lspci,
    /// Compressed by a program whose format is not read.
    OtherCompression(&'static str),
    /// Nothing at all.
    Empty,
    /// None of these.
    Unknown,
}

/// Formats that are known and not read, by their first bytes.
const OTHERS: [(&[u8], &str); 4] = [
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
];

/// What starts with these bytes.
pub(super) fn recognise(head: &[u8]) -> Kind {
    if head.is_empty() {
        return Kind::Empty;
    }
    if head.starts_with(b"\x1f\x8b") {
        return Kind::Gzip;
    }
    if matches!(head, [b'B', b'Z', b'h', b'1'..=b'9', ..]) {
        return Kind::Bzip2;
    }
    if let Some((_, name)) = OTHERS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Kind::OtherCompression(name);
    }
    if is_tar(head) {
        return Kind::Tar;
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    if text.trim_ascii_start().starts_with(b"{") {
        return Kind::Json;
    }
    if lspci::looks_like_lspci(head) {
        return Kind::Lspci;
    }
    Kind::Unknown
}

impl Kind {
    /// What such a source does, for a message: "is empty", "starts with ...".
    pub(super) fn describe(self, head: &[u8]) -> String {
        const SHOWN_BYTES: usize = 24;
        match self {
            Kind::Empty => "is empty".into(),
            Kind::Gzip => "is gzip once more".into(),
            Kind::Bzip2 => "is bzip2 once more".into(),
            Kind::OtherCompression(name) => format!("is {name}, which is not read: unpack it first"),
            _ => {
                let start = head.get(..SHOWN_BYTES).unwrap_or(head);
                format!("starts with \"{}\"", Shown(start))
            }
        }
    }
}

/// Is it a tar archive? Every variant has a header whose bytes add up to the sum that it states.
fn is_tar(head: &[u8]) -> bool {
    const HEADER_BYTES: usize = 512;
    const SUM: std::ops::Range<usize> = 148..156;
    let Some(header) = head.get(..HEADER_BYTES) else {
        return false;
    };
    let stated = header.get(SUM).unwrap_or_default();
    let digits: Vec<u8> = stated
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b' ' | 0))
        .collect();
    if digits.is_empty() || !digits.iter().all(|byte| (b'0'..=b'7').contains(byte)) {
        return false;
    }
    let stated = digits
        .iter()
        .fold(0u32, |sum, digit| sum << 3 | u32::from(digit - b'0'));
    // The sum is made with blanks in its own place.
    let sum = header.iter().enumerate().fold(0u32, |sum, (index, byte)| {
        sum + u32::from(if SUM.contains(&index) { b' ' } else { *byte })
    });
    sum == stated
}
