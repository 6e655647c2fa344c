//! Small pieces of the text that `lspci` prints: flags, numbers, sizes.

/// The rest behind `name`, with the white space and the tab that may follow it taken off.
pub(super) fn after<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix(name).map(str::trim_start)
}

/// What stands behind `name` anywhere in the line.
pub(super) fn behind<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_once(name).map(|(_, rest)| rest.trim_start())
}

/// `Name+` is set, `Name-` is not; nothing where the line does not show it.
pub(super) fn flag(line: &str, name: &str) -> Option<bool> {
    line.split_whitespace()
        .find_map(|word| match word.trim_end_matches(',').strip_prefix(name)? {
            "+" => Some(true),
            "-" => Some(false),
            _ => None,
        })
}

/// The decimal number at the start.
pub(super) fn decimal(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

/// The hexadecimal number at the start.
pub(super) fn hexadecimal(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(text.len());
    u64::from_str_radix(text.get(..end)?, 16).ok()
}

/// `512`, `4K`, `16G`, `256MB`: a number with the unit that follows it, in bytes.
pub(super) fn size_bytes(text: &str) -> Option<u64> {
    let number = u64::from(decimal(text)?);
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let shift = match unit.chars().next() {
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        Some('T') => 40,
        Some('P') => 50,
        Some('E') => 60,
        None | Some(']' | ' ') => 0,
        Some(_) => return None,
    };
    number.checked_mul(1 << shift)
}

/// Exactly four hexadecimal digits.
pub(super) fn exact_hex(text: &str) -> Option<u16> {
    let digits = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u16::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_every_unit() {
        for (text, bytes) in [
            ("512]", 512),
            ("4K]", 4096),
            ("256M]", 256 << 20),
            ("16GB, supported", 16 << 30),
            ("1T", 1 << 40),
            ("8EB", 8 << 60),
        ] {
            assert_eq!(size_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "K", "16EB", "12X", "99999999999999999999"] {
            assert_eq!(size_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn a_flag_is_no_part_of_a_longer_word() {
        assert_eq!(flag("I/O- Mem+ BusMaster-", "Mem"), Some(true));
        assert_eq!(flag("I/O- MemWINV+", "Mem"), None);
        assert_eq!(flag("Enable+, Smallest", "Enable"), Some(true));
    }
}
