//! Numbers as sysfs prints them: one a file, hexadecimal with `0x` or decimal.

/// The text without what a copy may have added: blanks, line ends, the zero bytes with which an
/// archiver fills a file that is shorter than it claimed.
pub(super) fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or_default().trim_ascii()
}

/// A number after `0x`.
pub(super) fn hexadecimal(bytes: &[u8]) -> Option<u64> {
    let digits = trimmed(bytes).strip_prefix(b"0x")?;
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        Some(value << 4 | u64::from((*byte as char).to_digit(16)?))
    })
}

/// A decimal number.
pub(super) fn decimal(bytes: &[u8]) -> Option<u64> {
    let digits = trimmed(bytes);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = (*byte as char).to_digit(10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_kernel_prints_them_and_nothing_else_is() {
        assert_eq!(hexadecimal(b"0x10de\n"), Some(0x10de));
        assert_eq!(hexadecimal(b"0xffffffffffffffff"), Some(u64::MAX));
        assert_eq!(decimal(b"16\n\0\0\0"), Some(16));
        for text in ["", "0x", "10de", "0x1ffffffffffffffff", "0x-1"] {
            assert_eq!(hexadecimal(text.as_bytes()), None, "{text}");
        }
        for text in ["", "-1", "0x10", "18446744073709551616"] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
    }
}
