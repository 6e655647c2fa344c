//! Memory of devices that the kernel gives out: `p2pmem/allocate` of a PCI function, mapped into this process.
//!
//! Linux: `p2pmem_alloc_mmap` in drivers/pci/p2pdma.c. The file takes shared mappings from offset 0 alone; a mapping is one piece of the pool,
//! given back when it and all that uses it are gone.

use super::bar_place::{BarPlace, only_bar, place};
use super::guarded::{self, GuardedError};
use crate::process::{Process, ProcessError};
use crate::sys::Memory;
use peerdma::addr::{Bdf, PhysAddr, Span};
use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Memory behind a BAR that the kernel's driver published, ours until it is dropped.
#[derive(Debug)]
pub struct P2pmem {
    provider: Bdf,
    memory: Arc<Memory>,
    place: Option<BarPlace>,
    bar: Option<u8>,
}

/// Why no p2pmem was given.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum P2pmemError {
    /// The machine has no such function.
    #[error("{0}: there is no such function")]
    NoSuchFunction(Bdf),
    /// Its driver publishes no memory.
    #[error("{provider}: it publishes no memory ({}); of NVMe, the kernel's driver does where the controller memory buffer takes reads \
             and writes and is a multiple of 2 MiB", driver_in_words(driver.as_deref()))]
    NoPool {
        /// The function.
        provider: Bdf,
        /// Its driver, if it has one.
        driver: Option<String>,
    },
    /// It may not be opened.
    #[error("{}: it belongs to user {user} and group {group}, mode {mode:o}; ask as one of them, or change its owner", path.display())]
    NotPermitted {
        /// What was to be opened.
        path: PathBuf,
        /// The user's number.
        user: u32,
        /// The group's number.
        group: u32,
        /// Its permissions.
        mode: u32,
    },
    /// The pool does not have as much in one piece.
    #[error(
        "{provider}: no {len_bytes} bytes in one piece are left: {available_bytes} of {size_bytes} are free; take less, or wait until \
         others give theirs back"
    )]
    Exhausted {
        /// Whose pool.
        provider: Bdf,
        /// What was to be had.
        len_bytes: u64,
        /// What is free, in one piece or several.
        available_bytes: u64,
        /// What there is.
        size_bytes: u64,
    },
    /// The function is being unbound or taken out.
    #[error("{0}: it is being unbound or taken out")]
    Leaving(Bdf),
    /// The process may not see page frames, and several BARs could hold the memory.
    #[error(
        "{0}: nobody can say which of its BARs the memory lies in: only a process with CAP_SYS_ADMIN sees where its pages lie \
         (/proc/self/pagemap); ask as root"
    )]
    UnknownBar(Bdf),
    /// It cannot be in the memory map.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The system refused it.
    #[error("{provider}: the kernel gives no p2pmem: {source}")]
    System {
        /// Whose.
        provider: Bdf,
        /// The system's word.
        source: Errno,
    },
}

impl P2pmem {
    /// Takes `len_bytes`, rounded up to whole pages, of what `provider` publishes.
    ///
    /// # Errors
    /// [`P2pmemError`]
    pub fn allocate(provider: Bdf, len_bytes: u64) -> Result<Self, P2pmemError> {
        Self::allocate_in(Path::new("/sys"), provider, len_bytes)
    }

    fn allocate_in(sys: &Path, provider: Bdf, len_bytes: u64) -> Result<Self, P2pmemError> {
        let system = |source| P2pmemError::System { provider, source };
        let folder = sys.join("bus/pci/devices").join(provider.to_string());
        if !folder.is_dir() {
            return Err(P2pmemError::NoSuchFunction(provider));
        }
        let pool = folder.join("p2pmem");
        let path = pool.join("allocate");
        let opened = rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let file = match opened {
            Err(Errno::NOENT | Errno::NOTDIR) => {
                let driver = folder.join("driver").canonicalize().ok();
                let driver = driver.and_then(|driver| Some(driver.file_name()?.to_str()?.to_owned()));
                return Err(P2pmemError::NoPool { provider, driver });
            }
            Err(Errno::ACCESS | Errno::PERM) => return Err(not_permitted(path)),
            other => other.map_err(system)?,
        };
        let page_bytes = rustix::param::page_size() as u64;
        let whole_bytes = len_bytes.checked_next_multiple_of(page_bytes);
        let memory = whole_bytes
            .ok_or(Errno::NOMEM)
            .and_then(|whole_bytes| Memory::of_file(file.as_fd(), 0, whole_bytes));
        let memory = match memory {
            Err(Errno::NOMEM) => {
                let read = |name| number(&pool.join(name)).unwrap_or(0);
                return Err(P2pmemError::Exhausted {
                    provider,
                    len_bytes,
                    available_bytes: read("available"),
                    size_bytes: read("size"),
                });
            }
            Err(Errno::NODEV) => return Err(P2pmemError::Leaving(provider)),
            other => Arc::new(other.map_err(system)?),
        };
        let resource = std::fs::read_to_string(folder.join("resource")).unwrap_or_default();
        let place = place(&resource, &memory, page_bytes);
        let pool_bytes = number(&pool.join("size")).unwrap_or(0).max(memory.len_bytes());
        Ok(Self {
            provider,
            memory,
            place,
            bar: (place.map(|place| place.bar)).or_else(|| only_bar(&resource, pool_bytes)),
        })
    }

    /// Whose it is.
    pub fn provider(&self) -> Bdf {
        self.provider
    }

    /// How many bytes: whole pages.
    pub fn len_bytes(&self) -> u64 {
        self.memory.len_bytes()
    }

    /// Its mapping. Loads and stores of it end the process once its device was unbound: see [`Self::read`].
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Where it lies; nothing where the process may not know (`/proc/self/pagemap` shows frames to CAP_SYS_ADMIN alone).
    pub fn place(&self) -> Option<BarPlace> {
        self.place
    }

    /// Copies from it; after its device was unbound an error and not the end of the process.
    ///
    /// # Errors
    /// [`GuardedError`]
    pub fn read(&self, offset_bytes: u64, into: &mut [u8]) -> Result<(), GuardedError> {
        guarded::read(&self.memory, offset_bytes, into)
    }

    /// Copies to it, in the same way.
    ///
    /// # Errors
    /// [`GuardedError`]
    pub fn write(&self, offset_bytes: u64, from: &[u8]) -> Result<(), GuardedError> {
        guarded::write(&self.memory, offset_bytes, from)
    }
}

impl Process {
    /// Takes `len_bytes`, rounded up to whole pages, of what `provider` publishes (`p2pmem/allocate`), as a region of the memory map: at its
    /// true address where the process may know it, else at one that only names it. [`Process::remove`] gives it back.
    ///
    /// # Errors
    /// [`P2pmemError`]
    pub fn p2pmem(&self, provider: Bdf, len_bytes: u64) -> Result<Span<PhysAddr>, P2pmemError> {
        let given = P2pmem::allocate(provider, len_bytes)?;
        let bar = given.bar.ok_or(P2pmemError::UnknownBar(provider))?;
        let at = given.place.map(|place| place.phys);
        Ok(self.add_p2pmem(provider, bar, at, given.memory)?)
    }
}

fn not_permitted(path: PathBuf) -> P2pmemError {
    let found = std::fs::metadata(&path).ok();
    P2pmemError::NotPermitted {
        user: found.as_ref().map_or(0, MetadataExt::uid),
        group: found.as_ref().map_or(0, MetadataExt::gid),
        mode: found.as_ref().map_or(0, |found| found.mode() & 0o7777),
        path,
    }
}

fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn driver_in_words(driver: Option<&str>) -> String {
    match driver {
        Some(driver) => format!("its driver is {driver}"),
        None => "no driver is bound to it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bdf() -> Bdf {
        "0000:01:00.0".parse().unwrap()
    }

    fn tree() -> (tempfile::TempDir, PathBuf) {
        let sys = tempfile::tempdir().unwrap();
        let folder = sys.path().join("bus/pci/devices/0000:01:00.0");
        std::fs::create_dir_all(&folder).unwrap();
        (sys, folder)
    }

    #[test]
    fn what_is_missing_is_said() {
        let (sys, folder) = tree();
        let other = "0000:02:00.0".parse().unwrap();
        let allocate = |bdf| P2pmem::allocate_in(sys.path(), bdf, 4096).unwrap_err();
        assert_eq!(allocate(other), P2pmemError::NoSuchFunction(other));
        assert!(allocate(bdf()).to_string().contains("no driver is bound"));
        std::os::unix::fs::symlink("/proc/self", folder.join("driver")).unwrap();
        assert!(matches!(
            allocate(bdf()),
            P2pmemError::NoPool { driver: Some(_), .. }
        ));
    }

    #[test]
    fn an_exhausted_pool_is_told_with_its_numbers() {
        let (sys, folder) = tree();
        std::fs::create_dir(folder.join("p2pmem")).unwrap();
        for (name, text) in [("allocate", ""), ("size", "16777216\n"), ("available", "4096\n")] {
            std::fs::write(folder.join("p2pmem").join(name), text).unwrap();
        }
        let error = P2pmem::allocate_in(sys.path(), bdf(), u64::MAX).unwrap_err();
        assert_eq!(
            error,
            P2pmemError::Exhausted {
                provider: bdf(),
                len_bytes: u64::MAX,
                available_bytes: 4096,
                size_bytes: 16_777_216
            }
        );
    }
}
