//! Fitting text into columns, counted in characters.

use std::borrow::Cow;

/// `text` without control characters: a capture that somebody sent must not steer a terminal.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        let shown = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
        Cow::Owned(shown.collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// `text` with spaces up to `columns`; longer text stays.
pub(crate) fn padded(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(text.chars().count());
    let mut padded = String::with_capacity(text.len() + missing);
    padded.push_str(text);
    padded.extend(std::iter::repeat_n(' ', missing));
    padded
}

/// `text` in at most `columns`, its end cut off with an ellipsis where it is longer.
pub(crate) fn fitted(text: &str, columns: usize) -> String {
    // Byte length bounds the count of characters: most text is short and needs no counting.
    if text.len() <= columns || text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut fitted: String = text.chars().take(columns.saturating_sub(1)).collect();
    fitted.truncate(fitted.trim_end().len());
    fitted.push('…');
    fitted
}

/// `text` broken between words; the first line starts with `first`, further ones with `next`.
pub(crate) fn wrapped(text: &str, first: &str, next: &str, columns: usize) -> String {
    let mut lines = String::from(first);
    let mut used = first.chars().count();
    let mut empty = true;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if !empty && used + 1 + length > columns {
            lines.push('\n');
            lines.push_str(next);
            used = next.chars().count();
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
    fn no_control_character_is_left() {
        assert_eq!(plain("nvme0"), "nvme0");
        assert_eq!(plain("a\u{1b}[2J\tb\u{9b}c"), "a\u{fffd}[2J\u{fffd}b\u{fffd}c");
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
