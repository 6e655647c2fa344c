//! What the kernel has mapped and locked for this process, and an address space that can be asked while it is used.
//!
//! Called by [`super`].

use peerdma::addr::{Address, Bdf, Iova, PhysAddr, Span};
use peerdma::dma::{PeerRoute, Routes};
use peerdma::iommu::{IommuError, Rights, Target, Translations};
use peerdma::route::spec::Form;
use peerdma::route::{Access, MapType, TlpClass};
use peerdma_linux::process::IoSpace;
use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the kernel has of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// Of each address space; nothing where the kernel does not count.
    pub(super) left: Vec<Option<u32>>,
    pub(super) locked_kib: u64,
    pub(super) pinned_kib: u64,
}

impl Held {
    pub(super) fn of(space: &IoSpace) -> Result<Self, String> {
        const STATUS: &str = "/proc/self/status";
        let status = fs::read_to_string(STATUS).map_err(|error| format!("{STATUS}: {error}"))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.ok_or_else(|| format!("{STATUS} has no {name}"))
        };
        Ok(Self {
            left: space.mappings_left(),
            locked_kib: kib("VmLck:")?,
            pinned_kib: kib("VmPin:")?,
        })
    }

    /// Locked and pinned memory of this process.
    pub(super) fn kib(&self) -> u64 {
        self.locked_kib + self.pinned_kib
    }
}

/// Everybody reaches everything.
pub(super) struct All;

impl Routes for All {
    fn route(&self, _: Bdf, _: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        PeerRoute::Reached {
            map_type: MapType::ThruHostBridge,
            form: Form::HostAddress,
        }
    }
}

/// An address space that others see as well, and that remembers which addresses were used.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) inner: Arc<Mutex<IoSpace>>,
    pub(super) apertures: Vec<Span<Iova>>,
    pub(super) used: Arc<Mutex<BTreeSet<u64>>>,
}

impl Seen {
    pub(super) fn lock(&self) -> MutexGuard<'_, IoSpace> {
        lock(&self.inner)
    }

    pub(super) fn held(&self) -> Result<Held, String> {
        Held::of(&self.lock())
    }

    /// An address that is mapped.
    pub(super) fn first(&self) -> Option<Iova> {
        let space = self.lock();
        let (iova, ..) = space.mappings().next()?;
        Some(iova)
    }
}

pub(super) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Translations for Seen {
    fn page_bytes(&self) -> u64 {
        self.lock().page_bytes()
    }

    fn apertures(&self) -> &[Span<Iova>] {
        &self.apertures
    }

    fn map(
        &mut self,
        iova: Iova,
        phys: PhysAddr,
        len_bytes: u64,
        rights: Rights,
        target: Target,
    ) -> Result<(), IommuError> {
        lock(&self.used).insert(iova.to_u64());
        self.lock().map(iova, phys, len_bytes, rights, target)
    }

    fn unmap(&mut self, iova: Iova, len_bytes: u64) -> Result<(), IommuError> {
        self.lock().unmap(iova, len_bytes)
    }

    fn look_up(&self, iova: Iova) -> Option<(PhysAddr, u64)> {
        self.lock().look_up(iova)
    }
}
