//! Files for the host, over the second serial line: a head, and as many bytes as it says, packed.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{self, OpenOptions};
use std::io::Write;

const LINE: &str = "/dev/ttyS1";

/// Sends the content of `file`.
pub(crate) fn send_file(name: &str, file: &str) -> Result<(), String> {
    let content = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    send(name, &content)
}

/// Sends `content`; the host has it as `name`.
pub(crate) fn send(name: &str, content: &[u8]) -> Result<(), String> {
    let failed = |error| format!("{LINE}: {error}");
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(content).map_err(failed)?;
    let packed = packed.finish().map_err(failed)?;
    let mut line = OpenOptions::new().write(true).open(LINE).map_err(failed)?;
    let head = format!("FILE {name}.gz {}\n", packed.len());
    line.write_all(head.as_bytes()).map_err(failed)?;
    line.write_all(&packed).map_err(failed)
}
