//! A block device or a plain file, opened so that the kernel moves data straight between it and our memory.
//!
//! Opened by who copies; driven by [`super::RingVolume`]. Whose DMA it is, and whether its queue takes p2pmem, is told by sysfs ([`super::place`]).

use super::direct::{Transfers, direct_alignment, made_direct};
use super::holder::{Holder, holders};
use super::open_error::OpenError;
use super::place::{Driver, Place};
use super::space::NOBODY;
use peerdma::addr::Bdf;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A block device or a plain file that is open.
#[derive(Debug)]
pub struct BlockDevice {
    fd: OwnedFd,
    path: PathBuf,
    function: Option<Bdf>,
    block_bytes: u32,
    align_bytes: u32,
    len_bytes: u64,
    transfers: Transfers,
    is_block_device: bool,
    pub(super) takes_peer_memory: bool,
    is_polled: bool,
    holders: Vec<Holder>,
}

/// What is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenOptions {
    /// May it be written?
    pub write: Write,
}

/// May a device or file be written?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Write {
    /// No.
    #[default]
    No,
    /// What is there may be. A block device is then ours alone: nobody has it mounted, nor can mount it.
    Existing,
    /// A file is created, of this many bytes, rounded up to whole blocks.
    Create {
        /// How many bytes.
        len_bytes: u64,
    },
}

/// The block of a file that is not read or written directly.
const BUFFERED_BLOCK_BYTES: u32 = 512;
/// Enough for every device that Linux knows, where nobody says how a file's data must be aligned.
const SAFE_ALIGN_BYTES: u32 = 4096;

/// How often, and how long between, a device that nobody is seen to hold is asked for.
const TRIES: u32 = 50;
const NAP: Duration = Duration::from_millis(5);

impl BlockDevice {
    /// Opens a block device or a plain file. To write, it is opened for us alone if it is a block device.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(path: &Path, options: OpenOptions) -> Result<Self, OpenError> {
        let system = |source| OpenError::System {
            path: path.to_owned(),
            source,
        };
        if let Write::Create { len_bytes } = options.write {
            return Self::create(path, len_bytes);
        }
        let found = rustix::fs::stat(path).map_err(system)?;
        let access = match options.write {
            Write::No => OFlags::RDONLY,
            Write::Existing | Write::Create { .. } => OFlags::RDWR,
        };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::BlockDevice => Self::open_block(path, access, found.st_rdev),
            FileType::RegularFile => Self::open_file(path, access),
            other => Err(OpenError::WrongType {
                path: path.to_owned(),
                what: match other {
                    FileType::Directory => "a folder",
                    FileType::CharacterDevice => "a character device",
                    _ => "something else",
                },
            }),
        }
    }

    pub(super) fn open_block(path: &Path, access: OFlags, number: u64) -> Result<Self, OpenError> {
        let (sys, proc) = (Path::new("/sys"), Path::new("/proc"));
        let no_sysfs = || OpenError::NoSysfs {
            path: path.to_owned(),
        };
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let place = Place::of(sys, major, minor).ok_or_else(no_sysfs)?;
        let block_bytes = place.block_bytes().ok_or_else(no_sysfs)?;
        if access == OFlags::RDWR && place.is_read_only() {
            return Err(OpenError::System {
                path: path.to_owned(),
                source: Errno::ROFS,
            });
        }
        let alone = match access {
            OFlags::RDWR => OFlags::EXCL,
            _ => OFlags::empty(),
        };
        let flags = access | alone | OFlags::DIRECT | OFlags::CLOEXEC;
        let mut holders = holders(proc, &place);
        let fd = match open_alone(path, flags, &holders) {
            Err(Errno::BUSY) => {
                if holders.is_empty() {
                    holders.push(Holder::Program);
                }
                let path = path.to_owned();
                return Err(OpenError::Held { path, holders });
            }
            opened => opened.map_err(|source| OpenError::System {
                path: path.to_owned(),
                source,
            })?,
        };
        check_same(path, &fd, FileType::BlockDevice, Some(number))?;
        let align_bytes = direct_alignment(&fd).map_or(block_bytes, |(memory, _)| memory);
        let device = Self {
            fd,
            path: path.to_owned(),
            function: place.function(),
            block_bytes,
            align_bytes,
            len_bytes: 0,
            transfers: Transfers::Direct,
            is_block_device: true,
            takes_peer_memory: place.driver() == Driver::NvmePci,
            is_polled: place.is_polled(),
            holders,
        };
        device.measured()
    }

    pub(super) fn open_file(path: &Path, access: OFlags) -> Result<Self, OpenError> {
        let open = |more| rustix::fs::open(path, access | more | OFlags::CLOEXEC, Mode::empty());
        let direct = open(OFlags::DIRECT).map(|fd| (fd, Transfers::Direct));
        let opened = match direct {
            // Some file systems have no direct transfers at all, others none for this file.
            Err(Errno::INVAL) => open(OFlags::empty()).map(|fd| (fd, Transfers::Buffered)),
            Ok((fd, _)) if direct_alignment(&fd) == Some((0, 0)) => {
                open(OFlags::empty()).map(|fd| (fd, Transfers::Buffered))
            }
            other => other,
        };
        let (fd, transfers) = opened.map_err(|source| OpenError::System {
            path: path.to_owned(),
            source,
        })?;
        check_same(path, &fd, FileType::RegularFile, None)?;
        Self::of_file(path, fd, transfers)
    }

    /// A file that is open for transfers of this kind.
    pub(super) fn of_file(path: &Path, fd: OwnedFd, transfers: Transfers) -> Result<Self, OpenError> {
        let (align_bytes, block_bytes) = match transfers {
            Transfers::Direct => direct_alignment(&fd).unwrap_or((SAFE_ALIGN_BYTES, SAFE_ALIGN_BYTES)),
            Transfers::Buffered => (1, BUFFERED_BLOCK_BYTES),
        };
        let device = Self {
            fd,
            path: path.to_owned(),
            function: None,
            block_bytes: block_bytes.max(BUFFERED_BLOCK_BYTES),
            align_bytes,
            len_bytes: 0,
            transfers,
            is_block_device: false,
            takes_peer_memory: false,
            is_polled: false,
            holders: Vec::new(),
        };
        device.measured()
    }

    fn create(path: &Path, len_bytes: u64) -> Result<Self, OpenError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::from_raw_mode(0o666));
        let fd = fd.map_err(|source| OpenError::System {
            path: path.to_owned(),
            source,
        })?;
        let made = rustix::fs::fstat(&fd);
        let sized = Self::of_created(path, fd, len_bytes);
        if let (Err(_), Ok(made)) = (&sized, made) {
            unmake(path, made);
        }
        sized
    }

    /// A file that was made a moment ago, with a length. Its name is not asked for it again: it may be another's by now.
    pub(super) fn of_created(path: &Path, fd: OwnedFd, len_bytes: u64) -> Result<Self, OpenError> {
        let system = |source| OpenError::System {
            path: path.to_owned(),
            source,
        };
        // Large enough to be measured; then as large as its blocks make it.
        rustix::fs::ftruncate(&fd, len_bytes.max(SAFE_ALIGN_BYTES.into())).map_err(system)?;
        let transfers = made_direct(&fd).map_err(system)?;
        let mut device = Self::of_file(path, fd, transfers)?;
        let blocks = len_bytes.max(1);
        let whole = blocks.checked_next_multiple_of(device.block_bytes.into());
        let whole = whole.ok_or(Errno::FBIG).map_err(system)?;
        rustix::fs::ftruncate(&device.fd, whole).map_err(system)?;
        device.len_bytes = whole;
        Ok(device)
    }

    /// With the number of its bytes.
    fn measured(mut self) -> Result<Self, OpenError> {
        let end = rustix::fs::seek(&self.fd, SeekFrom::End(0));
        self.len_bytes = end.map_err(|source| OpenError::System {
            path: self.path.clone(),
            source,
        })?;
        let block_bytes = self.block_bytes;
        if self.blocks() == 0 || !block_bytes.is_power_of_two() {
            let (path, len_bytes) = (self.path, self.len_bytes);
            return Err(OpenError::TooSmall {
                path,
                len_bytes,
                block_bytes,
            });
        }
        Ok(self)
    }

    /// What it was opened as.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The function whose DMA moves its data; none for a plain file, and for what lies on several devices or on none (loop, dm, md,
    /// NVMe with multipath).
    pub fn function(&self) -> Option<Bdf> {
        self.function
    }

    /// The function, or [`NOBODY`].
    pub fn initiator(&self) -> Bdf {
        self.function.unwrap_or(NOBODY)
    }

    /// Bytes of a logical block; of a file, what its direct transfers are made of.
    pub fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// What the address and length of each piece of memory must be a multiple of.
    pub fn align_bytes(&self) -> u32 {
        self.align_bytes
    }

    /// Its length; of a file not always whole blocks.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// How many whole blocks it has.
    pub fn blocks(&self) -> u64 {
        self.len_bytes.checked_div(self.block_bytes.into()).unwrap_or(0)
    }

    /// How its data is moved.
    pub fn transfers(&self) -> Transfers {
        self.transfers
    }

    /// Is it a block device, and no plain file?
    pub fn is_block_device(&self) -> bool {
        self.is_block_device
    }

    /// Does its queue take p2pmem (Linux: `BLK_FEAT_PCI_P2PDMA`, which the kernel shows nowhere)? nvme-pci's do, without a layer between.
    pub fn takes_peer_memory(&self) -> bool {
        self.takes_peer_memory
    }

    /// Does its driver have queues for polling (of NVMe: the module's parameter `poll_queues`)?
    pub fn is_polled(&self) -> bool {
        self.is_polled
    }

    /// Who used it, or blocks that it shares, when it was opened for reading.
    pub fn holders(&self) -> &[Holder] {
        &self.holders
    }

    /// Was the block device unbound or removed since it was opened?
    pub(super) fn is_gone(&self) -> bool {
        self.is_block_device && rustix::fs::seek(&self.fd, SeekFrom::End(0)) == Ok(0)
    }

    /// The same file, taken for a block device.
    #[cfg(test)]
    pub(super) fn taken_for_block_device(self) -> Self {
        Self {
            is_block_device: true,
            ..self
        }
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}

/// Is what was opened what was looked at before? A name may lead elsewhere by now, and each kind is opened with precautions of its own.
fn check_same(path: &Path, fd: &OwnedFd, kind: FileType, number: Option<u64>) -> Result<(), OpenError> {
    let found = rustix::fs::fstat(fd).map_err(|source| OpenError::System {
        path: path.to_owned(),
        source,
    })?;
    let is_kind = FileType::from_raw_mode(found.st_mode) == kind;
    match is_kind && number.is_none_or(|number| number == found.st_rdev) {
        true => Ok(()),
        false => Err(OpenError::WrongType {
            path: path.to_owned(),
            what: "something else than a moment ago",
        }),
    }
}

/// Opens a block device. A volume that was dropped a moment ago may still have it: threads of the kernel give files back after the last operation has
/// ended. So where nobody else is seen to hold it, it is asked for again.
fn open_alone(path: &Path, flags: OFlags, holders: &[Holder]) -> Result<OwnedFd, Errno> {
    let open = || rustix::fs::open(path, flags, Mode::empty());
    for _ in 0..TRIES {
        match open() {
            Err(Errno::BUSY) if holders.is_empty() => std::thread::sleep(NAP),
            opened => return opened,
        }
    }
    open()
}

/// Removes a file that was made a moment ago and is empty, unless its name is another's by now.
pub(super) fn unmake(path: &Path, made: Stat) {
    let number = |stat: Stat| (stat.st_dev, stat.st_ino);
    if rustix::fs::lstat(path).is_ok_and(|named| number(named) == number(made)) {
        let _ = rustix::fs::unlink(path);
    }
}
