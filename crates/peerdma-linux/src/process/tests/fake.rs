//! An address space of the kernel that remembers what it maps, and refuses what it is told to.

use crate::process::piece::{Kind, Pages};
use crate::process::sync::{Mutex, lock};
use crate::sys::Memory;
use crate::vfio::{Api, Backend, Source};
use peerdma::addr::{Address, Iova, PhysAddr, Span};
use peerdma::iommu::Rights;
use peerdma::memory::{BarMemory, CpuView, Widths};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Fake {
    api: Api,
    apertures: Vec<Span<Iova>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    mapped: BTreeMap<u64, At>,
    calls: u64,
    refused: Vec<u64>,
}

/// What is mapped: so many bytes of what lies there in the process, or in a dma-buf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) len_bytes: u64,
    pub(super) address: u64,
    pub(super) fd: Option<i32>,
}

impl Fake {
    pub(super) fn new(api: Api, apertures: &[(u64, u64)]) -> Arc<Self> {
        let span =
            |(first, last): &(u64, u64)| Span::new(Iova::from_u64(*first), Iova::from_u64(*last)).unwrap();
        Arc::new(Self {
            api,
            apertures: apertures.iter().map(span).collect(),
            state: Mutex::new(State::default()),
        })
    }

    /// Lets the `nth` call from now on fail, from 1.
    #[cfg(not(loom))]
    pub(super) fn refuse(&self, nth: u64) {
        self.with(|state| state.refused.push(state.calls + nth));
    }

    pub(super) fn mapped(&self) -> BTreeMap<u64, At> {
        self.with(|state| state.mapped.clone())
    }

    fn with<R>(&self, inside: impl FnOnce(&mut State) -> R) -> R {
        inside(&mut lock(&self.state))
    }
}

impl State {
    fn call(&mut self) -> Result<(), Errno> {
        self.calls += 1;
        match self.refused.contains(&self.calls) {
            true => Err(Errno::NOMEM),
            false => Ok(()),
        }
    }
}

impl Backend for Fake {
    fn api(&self) -> Api {
        self.api
    }

    fn page_bytes(&self) -> u64 {
        PAGE
    }

    fn apertures(&self) -> Vec<Span<Iova>> {
        self.apertures.clone()
    }

    fn map(&self, iova: Iova, from: Source<'_>, len_bytes: u64, _: Rights) -> Result<(), Errno> {
        let at = match from {
            Source::Memory { memory, offset_bytes } => {
                assert!(offset_bytes + len_bytes <= memory.len_bytes());
                let address = memory.address() + offset_bytes;
                At {
                    len_bytes,
                    address,
                    fd: None,
                }
            }
            Source::DmaBuf { fd, offset_bytes } => At {
                len_bytes,
                address: offset_bytes,
                fd: Some(fd.as_raw_fd()),
            },
        };
        self.with(|state| {
            state.call()?;
            let before = state.mapped.range(..iova.to_u64() + len_bytes).next_back();
            if before.is_some_and(|(first, at)| first + at.len_bytes > iova.to_u64()) {
                return Err(Errno::EXIST);
            }
            state.mapped.insert(iova.to_u64(), at);
            Ok(())
        })
    }

    fn unmap(&self, iova: Iova, len_bytes: u64) -> Result<(), Errno> {
        self.with(|state| {
            state.call()?;
            match state.mapped.get(&iova.to_u64()) {
                Some(at) if at.len_bytes == len_bytes => {
                    state.mapped.remove(&iova.to_u64());
                    Ok(())
                }
                _ => Err(Errno::NOENT),
            }
        })
    }
}

pub(super) const PAGE: u64 = 4096;

pub(super) fn span(first: u64, len_bytes: u64) -> Span<PhysAddr> {
    Span::new(
        PhysAddr::from_u64(first),
        PhysAddr::from_u64(first + len_bytes - 1),
    )
    .unwrap()
}

pub(super) fn bar(number: u8) -> BarMemory {
    BarMemory {
        provider: "0000:01:00.0".parse().unwrap(),
        bar: number,
        offset_bytes: 0,
        bus_offset: 0,
        cpu: CpuView::Mmio(Widths::ALL),
    }
}

pub(super) fn pages(memory: &Arc<Memory>) -> Pages {
    Pages {
        memory: Some((memory.clone(), 0)),
        dma_buf: None,
    }
}

pub(super) const BAR: Kind = Kind::Bar;
