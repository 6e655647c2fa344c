//! A device's configuration space, as VFIO lets it be read and written.
//!
//! The kernel virtualises a part of it: BARs are what was last written, identity is a copy. The command register is real enough: writes reach the device.

use super::error::VfioError;
use peerdma::addr::Bdf;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::ops::Range;

/// Command register (PCIe Base 7.5.1.1.3).
pub(super) const COMMAND: u16 = 0x04;
pub(super) const MEMORY: u16 = 1 << 1;
pub(super) const BUS_MASTER: u16 = 1 << 2;
/// Revision and class: never all ones, and never a copy.
pub(super) const CLASS: u16 = 0x08;

const STATUS: u16 = 0x06;
const HAS_CAPABILITIES: u16 = 1 << 4;
const CAPABILITIES: u16 = 0x34;
const MSIX: u8 = 0x11;

/// As many capabilities as fit into conventional configuration space.
const MOST_CAPABILITIES: usize = 48;

/// Configuration space of a device that is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConfigSpace<'a> {
    pub(super) bdf: Bdf,
    pub(super) fd: BorrowedFd<'a>,
    /// Where in the file it begins.
    pub(super) offset_bytes: u64,
    pub(super) len_bytes: u64,
}

/// Where a device's MSI-X table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MsixTable {
    /// In which BAR.
    pub(super) bar: u8,
    /// Where in it.
    pub(super) bytes: Range<u64>,
}

impl ConfigSpace<'_> {
    pub(super) fn read(&self, offset: u16, into: &mut [u8]) -> Result<(), VfioError> {
        let at = self.at(offset, into.len())?;
        let wanted = into.len();
        match rustix::io::pread(self.fd, into, at) {
            Ok(count) if count == wanted => Ok(()),
            outcome => Err(self.refused("read configuration space", outcome)),
        }
    }

    pub(super) fn write(&self, offset: u16, from: &[u8]) -> Result<(), VfioError> {
        let at = self.at(offset, from.len())?;
        match rustix::io::pwrite(self.fd, from, at) {
            Ok(count) if count == from.len() => Ok(()),
            outcome => Err(self.refused("write configuration space", outcome)),
        }
    }

    pub(super) fn u16(&self, offset: u16) -> Result<u16, VfioError> {
        let mut bytes = [0; 2];
        self.read(offset, &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    pub(super) fn u32(&self, offset: u16) -> Result<u32, VfioError> {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Changes bits of the command register.
    pub(super) fn set_command(&self, clear: u16, set: u16) -> Result<(), VfioError> {
        let before = self.u16(COMMAND)?;
        let after = before & !clear | set;
        match after == before {
            true => Ok(()),
            false => self.write(COMMAND, &after.to_le_bytes()),
        }
    }

    /// The device's MSI-X table (PCIe Base 7.7.2); nothing where it has none.
    pub(super) fn msix_table(&self) -> Result<Option<MsixTable>, VfioError> {
        if self.u16(STATUS)? & HAS_CAPABILITIES == 0 {
            return Ok(None);
        }
        let mut at = self.u16(CAPABILITIES)? & 0xfc;
        for _ in 0..MOST_CAPABILITIES {
            if at < 0x40 {
                break;
            }
            let header = self.u32(at)?;
            let [id, next, ..] = header.to_le_bytes();
            if id == MSIX {
                let entries = u64::from(header >> 16 & 0x7ff) + 1;
                let place = self.u32(at.saturating_add(4))?;
                let start = u64::from(place & !7);
                return Ok(Some(MsixTable {
                    bar: (place & 7) as u8,
                    bytes: start..start + entries * 16,
                }));
            }
            at = u16::from(next) & 0xfc;
        }
        Ok(None)
    }

    fn at(&self, offset: u16, len: usize) -> Result<u64, VfioError> {
        let last = u64::from(offset)
            .checked_add(len as u64)
            .filter(|end| *end <= self.len_bytes);
        let at = last.and_then(|_| self.offset_bytes.checked_add(offset.into()));
        at.ok_or_else(|| VfioError::System {
            doing: self.doing("reach that far into configuration space"),
            errno: Errno::INVAL,
        })
    }

    fn refused(&self, doing: &str, outcome: Result<usize, Errno>) -> VfioError {
        match outcome {
            // What a device that is gone does not answer.
            Err(Errno::NODEV | Errno::NXIO) => VfioError::Gone { bdf: self.bdf },
            Ok(_) => VfioError::System {
                doing: self.doing(doing),
                errno: Errno::IO,
            },
            Err(errno) => VfioError::System {
                doing: self.doing(doing),
                errno,
            },
        }
    }

    fn doing(&self, doing: &str) -> String {
        format!("{doing} of {}", self.bdf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::fd::AsFd;
    use std::io::Write;

    fn msix(bytes: &[u8]) -> Result<Option<MsixTable>, VfioError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let bdf = Bdf::from_devfn(0, 0, 0);
        ConfigSpace {
            bdf,
            fd: file.as_fd(),
            offset_bytes: 0,
            len_bytes: bytes.len() as u64,
        }
        .msix_table()
    }

    #[test]
    fn the_msix_table_is_found_behind_other_capabilities() {
        let mut bytes = [0; 256];
        bytes[6] = 0x10;
        bytes[0x34] = 0x40;
        bytes[0x40..0x42].copy_from_slice(&[0x05, 0x60]);
        // 65 vectors, in BAR 2 at 0x3000.
        bytes[0x60..0x68].copy_from_slice(&[0x11, 0, 64, 0x80, 0x02, 0x30, 0, 0]);
        let table = MsixTable {
            bar: 2,
            bytes: 0x3000..0x3000 + 65 * 16,
        };
        assert_eq!(msix(&bytes), Ok(Some(table)));
    }

    #[test]
    fn a_list_of_capabilities_that_leads_in_a_circle_ends() {
        let mut bytes = [0; 256];
        bytes[6] = 0x10;
        bytes[0x34] = 0x40;
        bytes[0x41] = 0x40;
        assert_eq!(msix(&bytes), Ok(None));
    }

    proptest! {
        #[test]
        fn no_configuration_space_is_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = msix(&bytes);
        }
    }
}
