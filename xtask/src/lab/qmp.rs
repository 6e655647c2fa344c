//! QEMU's own control socket (QMP): commands that a guest asks for, such as to pull a device out.
//!
//! Called by [`super::boot`].

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

/// Has QEMU do `command`, which is JSON; fails with what QEMU says against it.
pub(crate) fn execute(socket: &Path, command: &str) -> io::Result<()> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let mut greeting = String::new();
    answers.read_line(&mut greeting)?;
    for line in ["{\"execute\":\"qmp_capabilities\"}", command] {
        stream.write_all(format!("{line}\n").as_bytes())?;
        answer(&mut answers)?;
    }
    Ok(())
}

/// The next line that is an answer; events lie between.
fn answer(lines: &mut impl BufRead) -> io::Result<()> {
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.starts_with("{\"error\"") {
            return Err(io::Error::other(line.trim_end().to_owned()));
        }
        if line.starts_with("{\"return\"") {
            return Ok(());
        }
    }
}
