//! Writes archives in the format "newc" (magic 070701), which the kernel unpacks as its first file system.
//!
//! Called by [`super`]. Format: Documentation/driver-api/early-userspace/buffer-format.rst of Linux.

use std::io::{self, Write};

/// An archive under way.
pub(crate) struct Newc<W: Write> {
    out: W,
    next_inode: u32,
    written_bytes: u64,
}

const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

impl<W: Write> Newc<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            next_inode: 1,
            written_bytes: 0,
        }
    }

    pub(crate) fn folder(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, FOLDER | 0o755, (0, 0), &[])
    }

    /// A file that all may run.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.entry(path, FILE | 0o755, (0, 0), content)
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.entry(path, LINK | 0o777, (0, 0), target.as_bytes())
    }

    pub(crate) fn device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(path, CHARACTER_DEVICE | 0o600, (major, minor), &[])
    }

    /// Ends the archive; another may follow it in the same file.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.next_inode = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::other(format!("{path} is too long for the archive"));
        let content_bytes = u32::try_from(content.len()).map_err(too_long)?;
        let path_bytes = u32::try_from(path.len() + 1).map_err(too_long)?;
        let links = 1;
        let fields = [
            self.next_inode,
            mode,
            0,
            0,
            links,
            0,
            content_bytes,
            0,
            0,
            device.0,
            device.1,
            path_bytes,
            0,
        ];
        self.next_inode += 1;
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }
        self.write(header.as_bytes())?;
        self.write(path.as_bytes())?;
        self.write(&[0])?;
        self.pad()?;
        self.write(content)?;
        self.pad()
    }

    fn pad(&mut self) -> io::Result<()> {
        let over = (self.written_bytes % 4) as usize;
        let padding: &[u8] = match over {
            1 => &[0; 3],
            2 => &[0; 2],
            3 => &[0; 1],
            _ => &[],
        };
        self.write(padding)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written_bytes += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Newc;

    #[test]
    fn headers_names_and_contents_lie_where_the_format_says() {
        let mut archive = Newc::new(Vec::new());
        archive.folder("d").unwrap();
        archive.file("d/abc", b"12345").unwrap();
        archive.device("d/null", 1, 3).unwrap();
        archive.link("l", "d/abc").unwrap();
        let bytes = archive.finish().unwrap();
        let mut at = 0;
        let mut seen = Vec::new();
        let even = |at: usize| at.next_multiple_of(4);
        loop {
            let header = std::str::from_utf8(&bytes[at..at + 110]).unwrap();
            assert!(header.starts_with("070701"));
            let field = |index: usize| {
                let from = 6 + 8 * index;
                u32::from_str_radix(&header[from..from + 8], 16).unwrap() as usize
            };
            let name = at + 110;
            let content = even(name + field(11));
            let text = |from: usize, length: usize| {
                String::from_utf8_lossy(&bytes[from..from + length]).into_owned()
            };
            assert_eq!(bytes[name + field(11) - 1], 0);
            let name = text(name, field(11) - 1);
            if name == "TRAILER!!!" {
                break;
            }
            seen.push((name, field(1), text(content, field(6)), (field(9), field(10))));
            at = even(content + field(6));
        }
        let entry =
            |name: &str, mode, content: &str, device| (name.to_owned(), mode, content.to_owned(), device);
        assert_eq!(
            seen,
            [
                entry("d", 0o040_755, "", (0, 0)),
                entry("d/abc", 0o100_755, "12345", (0, 0)),
                entry("d/null", 0o020_600, "", (1, 3)),
                entry("l", 0o120_777, "d/abc", (0, 0)),
            ]
        );
    }
}
