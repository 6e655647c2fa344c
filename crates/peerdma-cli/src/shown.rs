//! The border to the terminal: what a capture, a machine file or a path holds must neither steer it nor reorder what it
//! shows.
//!
//! ```text
//! plain      a word from outside, before it is laid out
//! printable  a whole output, in which lines and our own colours stay
//! escaped    JSON, where nothing is lost: such characters are written as \uXXXX
//! ```
//!
//! [`crate::report`], [`crate::error`] and [`crate::snapshot`] pass everything through here that they print.

use std::borrow::Cow;
use std::io::{self, Write};

/// Takes the place of what is not shown.
const INSTEAD: char = '\u{fffd}';

/// Does the terminal show it as itself? Not so control characters, those that change the direction of text (Unicode
/// Standard Annex 9, 2), separators of lines, and others that are not seen but change what is.
fn is_shown(c: char) -> bool {
    let is_hidden = matches!(c,
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !is_hidden
}

/// A word from outside, without what a terminal does not show as itself.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    match text.chars().all(is_shown) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(
            text.chars()
                .map(|c| if is_shown(c) { c } else { INSTEAD })
                .collect(),
        ),
    }
}

/// A whole output: lines, tabs and colours stay.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let stays = |c: char| is_shown(c) || matches!(c, '\n' | '\t');
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let kept_bytes = match c {
            '\u{1b}' => colour_bytes(rest),
            _ if stays(c) => c.len_utf8(),
            _ => 0,
        };
        match kept_bytes {
            0 => shown.push(INSTEAD),
            _ => shown.push_str(&rest[..kept_bytes]),
        }
        rest = &rest[kept_bytes.max(c.len_utf8())..];
    }
    Cow::Owned(shown)
}

/// How long the colour is that `text` starts with (SGR: ESC `[` numbers `m`, ECMA-48 8.3.117); 0 where it starts with none.
fn colour_bytes(text: &str) -> usize {
    let Some(numbers) = text.strip_prefix("\u{1b}[") else {
        return 0;
    };
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';');
    match end.filter(|end| *end <= 32 && numbers[*end..].starts_with('m')) {
        Some(end) => 2 + end + 1,
        None => 0,
    }
}

/// JSON that means the same, without what a terminal does not show as itself.
pub(crate) fn escaped(json: &str) -> Cow<'_, str> {
    // Outside of strings there are only spaces and line ends.
    let stays = |c: char| is_shown(c) || matches!(c, '\n' | '\r' | '\t');
    if json.chars().all(stays) {
        return Cow::Borrowed(json);
    }
    let mut written = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if stays(c) {
            written.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            written.push_str(&format!("\\u{unit:04x}"));
        }
    }
    Cow::Owned(written)
}

/// Passes JSON on, [`escaped`]. Its writer writes whole characters.
#[derive(Debug)]
pub(crate) struct Escaping<W>(pub(crate) W);

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(json) => self.0.write_all(escaped(json).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[2J\u{9b}b\u{202e}c\u{2066}d\u{200f}e\u{2028}f\u{e0041}\u{7}g";

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        assert_eq!(plain("nvme0 größe 網卡"), "nvme0 größe 網卡");
        assert_eq!(plain("a\u{1b}[2J\tb\u{9b}c"), "a\u{fffd}[2J\u{fffd}b\u{fffd}c");
        assert!(plain(HOSTILE).chars().all(is_shown));
        assert!(printable(HOSTILE).chars().all(is_shown));
        assert!(escaped(HOSTILE).chars().all(is_shown));
    }

    #[test]
    fn lines_and_colours_stay_and_nothing_that_only_begins_like_one() {
        let painted = "\u{1b}[1;32mgood\u{1b}[0m\n\tnext\u{1b}[m";
        assert_eq!(printable(painted), painted);
        assert_eq!(printable("\u{1b}[31"), "\u{fffd}[31");
        assert_eq!(
            printable("\u{1b}]0;title\u{7}\u{1b}[2J"),
            "\u{fffd}]0;title\u{fffd}\u{fffd}[2J"
        );
    }

    #[test]
    fn json_means_the_same_afterwards() {
        let json = serde_json::to_string(HOSTILE).unwrap();
        let mut written = Escaping(Vec::new());
        written.write_all(json.as_bytes()).unwrap();
        let again: String = serde_json::from_slice(&written.0).unwrap();
        assert_eq!(again, HOSTILE);
    }
}
