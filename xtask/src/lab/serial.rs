//! What a guest says over its two serial lines: the console, a line a message, and the outbox, a file after the other.
//!
//! Called by [`super::boot`]. `lab/README.md` describes both for those who write what runs in the guest.

use super::report::{Line, Outcome};
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::io::Read;

/// A message on the console.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The guest's system is up.
    Up,
    /// A line for the report.
    Line(Line),
    /// A command for QEMU, in JSON.
    Qemu(String),
    /// The script ended with this code; whatever does not follow a successful end is a crash.
    End(i32),
}

/// The message in a line of the console, whatever the kernel wrote before it.
pub(crate) fn message(line: &str) -> Option<Message> {
    let (_, rest) = line.split_once("LAB|")?;
    let mut fields = rest.trim_end().splitn(3, '|');
    let (kind, name) = (fields.next()?, fields.next()?);
    let text = fields.next().unwrap_or("");
    match kind {
        "up" => Some(Message::Up),
        "end" => Some(Message::End(name.parse().ok()?)),
        "qemu" => Some(Message::Qemu(text.to_owned())),
        word => Some(Message::Line(Line::new(Outcome::read(word)?, name, text))),
    }
}

/// How large a file from a guest may be, unpacked.
const LARGEST_BYTES: u64 = 1 << 30;

/// The files of an outbox: `FILE NAME BYTES`, a new line, and as many bytes; a name that ends in `.gz` is unpacked and
/// loses it.
///
/// Fails on anything else, and on a file that is cut off: it is named.
pub(crate) fn files(mut outbox: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut files = BTreeMap::new();
    while !outbox.is_empty() {
        let end = outbox.iter().take(4096).position(|&byte| byte == b'\n');
        let head = end.and_then(|end| outbox.split_at_checked(end));
        let (head, rest) = head.ok_or("the outbox has no line where a file begins")?;
        let head = String::from_utf8_lossy(head);
        let mut words = head.split(' ');
        let (Some("FILE"), Some(name), Some(bytes), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(format!("the outbox has `{head}` where a file begins"));
        };
        let bytes: usize = bytes
            .parse()
            .map_err(|_| format!("the outbox has `{head}` where a file begins"))?;
        let cut = || format!("{name} is cut off in the outbox");
        let (content, rest) = rest
            .get(1..)
            .and_then(|rest| rest.split_at_checked(bytes))
            .ok_or_else(cut)?;
        outbox = rest;
        match name.strip_suffix(".gz") {
            None => files.insert(name.to_owned(), content.to_vec()),
            Some(name) => {
                let mut unpacked = Vec::new();
                GzDecoder::new(content)
                    .take(LARGEST_BYTES)
                    .read_to_end(&mut unpacked)
                    .map_err(|error| format!("{name} of the outbox: {error}"))?;
                files.insert(name.to_owned(), unpacked)
            }
        };
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    #[test]
    fn messages_are_found_behind_what_the_kernel_wrote() {
        assert_eq!(
            message("[  1.5] pci: LAB|ok|pairs|12 | 13\r"),
            Some(Message::Line(Line::held("pairs", "12 | 13")))
        );
        assert_eq!(message("LAB|up|4.1|"), Some(Message::Up));
        assert_eq!(message("LAB|end|0|5.2"), Some(Message::End(0)));
        assert_eq!(
            message("LAB|qemu||{\"execute\":\"stop\"}"),
            Some(Message::Qemu("{\"execute\":\"stop\"}".into()))
        );
        for line in ["", "LAB|", "LAB|ok", "LAB|end|x|", "LAB|passed|a|b", "lab|ok|a|b"] {
            assert_eq!(message(line), None, "{line}");
        }
    }

    #[test]
    fn an_outbox_is_read_whole_or_named_where_it_is_not() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(b"many bytes").unwrap();
        let packed = packed.finish().unwrap();
        let mut outbox = b"FILE a 3\nx\ny".to_vec();
        outbox.extend(format!("FILE b.gz {}\n", packed.len()).bytes());
        outbox.extend(packed);
        let found = files(&outbox).unwrap();
        assert_eq!(found["a"], b"x\ny");
        assert_eq!(found["b"], b"many bytes");
        assert!(files(&[]).unwrap().is_empty());
        for length in 1..outbox.len() {
            if length != 12 {
                assert!(files(&outbox[..length]).is_err(), "{length}");
            }
        }
        assert!(files(b"FILE a b c\n").is_err());
    }
}
