//! The bytes of one function's configuration space, as `lspci -x` prints them.

use peerdma::pci::ConfigView;

/// The value of each hexadecimal digit; 0xff for all other bytes.
const DIGIT: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        table[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    table
};

/// Bytes on a full line.
const LINE_BYTES: usize = 16;

/// The bytes read so far for one function.
pub(super) struct Dump {
    bytes: Vec<u8>,
    state: State,
}

/// May more lines follow?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Every line so far continued the one before.
    Sound,
    /// A line did not; it and what followed was left out.
    Broken,
}

/// What is wrong with a line of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not `OFFSET: xx xx ...` with at most 16 bytes.
    Malformed,
    /// It does not continue the line before.
    Offset {
        /// What it says.
        found: u16,
        /// What would have continued.
        expected: u16,
    },
    /// It passes the end of configuration space.
    PastTheEnd,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Malformed => {
                f.write_str("expected `OFFSET: ` and up to 16 bytes of two hexadecimal digits")
            }
            Fault::Offset { found, expected } => {
                write!(
                    f,
                    "bytes at {found:#x} where those at {expected:#x} should follow"
                )
            }
            Fault::PastTheEnd => write!(
                f,
                "more than {} bytes of configuration space",
                ConfigView::MAX_BYTES
            ),
        }
    }
}

impl Dump {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(ConfigView::MAX_BYTES),
            state: State::Sound,
        }
    }

    /// Begins the next function.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.state = State::Sound;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Adds one line; after a fault, this line and all later ones are left out, and only the first
    /// fault is told.
    pub(super) fn add(&mut self, line: &[u8]) -> Result<(), Fault> {
        if self.state == State::Broken {
            return Ok(());
        }
        let added = self.try_add(line);
        if added.is_err() {
            self.state = State::Broken;
        }
        added
    }

    /// Adds as many lines as stand at the start of `text` exactly as `lspci` prints them, each one
    /// continuing the one before. Returns how many bytes of text and how many lines they were.
    ///
    /// All other lines go the way of [`Self::add`]; nearly all lines of a large dump go this way, which
    /// looks for no line ends and makes no copies.
    pub(super) fn add_run(&mut self, text: &[u8]) -> (usize, u64) {
        let (mut rest, mut lines) = (text, 0);
        while self.state == State::Sound && self.bytes.len() + LINE_BYTES <= ConfigView::MAX_BYTES {
            let colon = if self.bytes.len() < 0x100 { 2 } else { 3 };
            let Some((line, behind)) = rest.split_at_checked(colon + 1 + 3 * LINE_BYTES) else {
                break;
            };
            let Some(behind) = behind.strip_prefix(b"\n") else {
                break;
            };
            let (offset, cells) = line.split_at(colon + 1);
            let offset = offset.strip_suffix(b":").and_then(parse_offset).map(usize::from);
            let values = match full_line(cells) {
                Some(values) if offset == Some(self.bytes.len()) => values,
                _ => break,
            };
            self.bytes.extend_from_slice(&values);
            rest = behind;
            lines += 1;
        }
        (text.len() - rest.len(), lines)
    }

    fn try_add(&mut self, line: &[u8]) -> Result<(), Fault> {
        let (found, bytes) = split_offset(line).ok_or(Fault::Malformed)?;
        let (values, count) = match full_line(bytes) {
            Some(values) => (values, LINE_BYTES),
            None => short_line(bytes).ok_or(Fault::Malformed)?,
        };
        let at = self.bytes.len();
        let expected = at as u16;
        if found != expected {
            return Err(Fault::Offset { found, expected });
        }
        if at + count > ConfigView::MAX_BYTES {
            return Err(Fault::PastTheEnd);
        }
        self.bytes.extend_from_slice(&values[..count]);
        Ok(())
    }
}

/// Is this a line of bytes, sound or not, and not the header of a function?
pub(super) fn is_hex_line(line: &[u8]) -> bool {
    split_offset(line).is_some()
}

/// The offset at the start of a line (two digits, three from 0x100 on, a fourth in a dump that does not
/// end) and what follows the colon.
fn split_offset(line: &[u8]) -> Option<(u16, &[u8])> {
    let colon = line.iter().take(5).position(|&byte| byte == b':')?;
    if colon < 2 {
        return None;
    }
    let offset = parse_offset(&line[..colon])?;
    let rest = &line[colon + 1..];
    matches!(rest.first(), None | Some(b' ' | b'\t')).then_some((offset, rest))
}

/// Up to four hexadecimal digits.
fn parse_offset(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0, |offset, &byte| {
        let digit = DIGIT[usize::from(byte)];
        (digit != 0xff).then_some(offset << 4 | u16::from(digit))
    })
}

/// A line as `lspci` prints it: sixteen times a space and two digits, nothing else. Checked as a
/// whole at the end, since a branch for each byte would take most of the time of a large dump.
fn full_line(text: &[u8]) -> Option<[u8; LINE_BYTES]> {
    let text: &[u8; 3 * LINE_BYTES] = text.try_into().ok()?;
    let mut values = [0; LINE_BYTES];
    let mut wrong = 0;
    for (value, cell) in values.iter_mut().zip(text.chunks_exact(3)) {
        let (high, low) = (DIGIT[usize::from(cell[1])], DIGIT[usize::from(cell[2])]);
        wrong |= (high | low) & 0xf0 | (cell[0] ^ b' ');
        *value = high << 4 | low & 0xf;
    }
    (wrong == 0).then_some(values)
}

/// Any other line of one to sixteen bytes, such as one with spaces at its end.
fn short_line(text: &[u8]) -> Option<([u8; LINE_BYTES], usize)> {
    let mut values = [0; LINE_BYTES];
    let mut count = 0;
    for word in text
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
    {
        let &[high, low] = word else { return None };
        let (high, low) = (DIGIT[usize::from(high)], DIGIT[usize::from(low)]);
        if (high | low) & 0xf0 != 0 {
            return None;
        }
        *values.get_mut(count)? = high << 4 | low;
        count += 1;
    }
    (count > 0).then_some((values, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_before_a_fault_are_kept_and_the_fault_is_told_once() {
        let mut dump = Dump::new();
        assert_eq!(dump.add(b"00: 86 80 43 4c"), Ok(()));
        assert_eq!(dump.add(b"04: 06 00 10 00 "), Ok(()));
        let fault = Fault::Offset {
            found: 0x18,
            expected: 8,
        };
        assert_eq!(dump.add(b"18: 00"), Err(fault));
        assert_eq!(dump.add(b"08: 00"), Ok(()));
        assert_eq!(dump.bytes(), [0x86, 0x80, 0x43, 0x4c, 6, 0, 0x10, 0]);
        assert!(dump.state() == State::Broken);
    }

    #[test]
    fn what_is_no_line_of_bytes_is_a_fault() {
        for line in [
            "00:",
            "00: 8",
            "00: 867",
            "00: 86 8g",
            "00: 0 1 2 3",
            "00: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10",
            "00: 00-01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f",
            "00: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0x",
        ] {
            assert_eq!(Dump::new().add(line.as_bytes()), Err(Fault::Malformed), "{line}");
        }
    }

    #[test]
    fn configuration_space_ends_at_4096_bytes() {
        let mut dump = Dump::new();
        for offset in (0..4096).step_by(16) {
            let line = format!("{offset:02x}: {}", "5a ".repeat(16).trim_end());
            assert_eq!(dump.add(line.as_bytes()), Ok(()));
        }
        assert_eq!(dump.add(b"1000: 00"), Err(Fault::PastTheEnd));
        assert_eq!(dump.bytes(), [0x5a; 4096]);
    }

    #[test]
    fn headers_are_no_lines_of_bytes() {
        for line in [
            "00:00.0 Host bridge",
            "0000:00:00.0 0600: 8086:4c43",
            "",
            "x0: 00",
            "0: 00",
        ] {
            assert!(!is_hex_line(line.as_bytes()), "{line}");
        }
        assert!(is_hex_line(b"f00: 00"));
    }
}
