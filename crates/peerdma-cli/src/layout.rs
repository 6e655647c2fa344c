//! Fitting text into columns of a terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How many columns `text` takes: two for a wide character (CJK), none for one that combines.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// `text` with spaces up to so many columns; longer text stays.
pub(crate) fn padded(text: &str, wanted: usize) -> String {
    let missing = wanted.saturating_sub(columns(text));
    let mut padded = String::with_capacity(text.len() + missing);
    padded.push_str(text);
    padded.extend(std::iter::repeat_n(' ', missing));
    padded
}

/// `text` in at most so many columns, its end cut off with an ellipsis where it is longer.
pub(crate) fn fitted(text: &str, most: usize) -> String {
    // No character takes more columns than bytes: most text is short and needs no counting.
    if text.len() <= most || columns(text) <= most {
        return text.to_owned();
    }
    if most == 0 {
        return String::new();
    }
    let mut used = 1;
    let kept = text.chars().take_while(|c| {
        used += c.width().unwrap_or(0);
        used <= most
    });
    let mut fitted: String = kept.collect();
    fitted.truncate(fitted.trim_end().len());
    fitted.push('…');
    fitted
}

/// `text` broken between words; the first line starts with `first`, further ones with `next`.
pub(crate) fn wrapped(text: &str, first: &str, next: &str, most: usize) -> String {
    let mut lines = String::from(first);
    let mut used = columns(first);
    let mut empty = true;
    for word in text.split_whitespace() {
        let length = columns(word);
        if !empty && used + 1 + length > most {
            lines.push('\n');
            lines.push_str(next);
            used = columns(next);
            empty = true;
        }
        if !empty {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += length;
        empty = false;
    }
    lines.push('\n');
    lines
}

/// A number of things: `1 function`, `2 functions`. `one` takes an s for more.
pub(crate) fn count(number: usize, one: &str) -> String {
    let plural = match (number, one.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {one}{plural}")
}

/// A number of bytes in the largest unit that divides it: `64G`, `16M`, `4K`, `128`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [(u32, &str); 6] = [(60, "E"), (50, "P"), (40, "T"), (30, "G"), (20, "M"), (10, "K")];
    for (shift, unit) in UNITS {
        if bytes >> shift != 0 && bytes & ((1u64 << shift) - 1) == 0 {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_it_may_be() {
        assert_eq!(fitted("0123456789", 5), "0123…");
        assert_eq!(fitted("größe", 5), "größe");
        let text = wrapped("one two three four", "- ", "  ", 10);
        assert_eq!(text, "- one two\n  three\n  four\n");
    }

    #[test]
    fn a_wide_character_takes_two_columns() {
        assert_eq!(columns("網卡"), 4);
        assert_eq!(fitted("網卡網卡", 5), "網卡…");
        assert_eq!(fitted("網卡網卡", 4), "網…");
        assert_eq!(fitted("網卡網卡", 0), "");
        assert_eq!(padded("網", 4), "網  ");
        assert_eq!(wrapped("網卡 網卡", "", "", 8), "網卡\n網卡\n");
    }

    #[test]
    fn one_thing_is_not_many() {
        assert_eq!(count(1, "root bus"), "1 root bus");
        assert_eq!(count(2, "root bus"), "2 root buses");
        assert_eq!(count(0, "function"), "0 functions");
    }

    #[test]
    fn sizes_are_told_in_the_largest_unit_that_is_exact() {
        for (number, text) in [(0, "0"), (4096, "4K"), (1 << 36, "64G"), (1 << 20 | 1, "1048577")] {
            assert_eq!(bytes(number), text);
        }
    }
}
