//! A volume of a temporary file, with RAM of this process.

use crate::process::{Kind, Resolved};
use crate::ring::{BlockDevice, Mode, OpenOptions, Pages, RingOptions, RingVolume, Write, kernel_space};
use crate::sys::Memory;
use peerdma::addr::{Address, Bdf, Origin, PhysAddr, PhysVec, Span};
use peerdma::block::{Bio, Data, Done, Operation, Volume};
use peerdma::dma::{Ioas, PeerRoute, Refused, Routes, SingleThread};
use peerdma::memory::MemoryMap;
use peerdma::route::{Access, TlpClass};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(super) const RAM: u64 = 0x1_0000_0000;
pub(super) const RAM_BYTES: u64 = 8 << 20;

/// RAM of this process at [`RAM`].
#[derive(Debug, Clone)]
pub(super) struct Ram(pub(super) Arc<Memory>);

impl Ram {
    pub(super) fn new() -> Self {
        Self(Arc::new(Memory::anonymous(RAM_BYTES).unwrap()))
    }

    pub(super) fn write(&self, at: u64, bytes: &[u8]) {
        self.0.copy_in(at - RAM, bytes).unwrap();
    }

    pub(super) fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.copy_out(at - RAM, &mut bytes).unwrap();
        bytes
    }
}

impl Pages for Ram {
    fn resolve(&self, at: PhysAddr, len_bytes: u64) -> Option<Resolved> {
        let offset_bytes = at.to_u64().checked_sub(RAM)?;
        let end = offset_bytes.checked_add(len_bytes)?;
        (end <= RAM_BYTES).then(|| Resolved {
            memory: self.0.clone(),
            offset_bytes,
            kind: Kind::Ram,
        })
    }
}

pub(super) struct NoPeers;

impl Routes for NoPeers {
    fn route(&self, _: Bdf, provider: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        PeerRoute::Refused(Refused::NotSupported(provider))
    }
}

pub(super) fn span(first: u64, len: u64) -> Span<PhysAddr> {
    Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(first + len - 1)).unwrap()
}

pub(super) fn space(initiator: Bdf) -> Arc<Ioas<SingleThread>> {
    let (map, _) = MemoryMap::new().with_ram(span(RAM, RAM_BYTES)).unwrap();
    kernel_space(map, initiator, TlpClass::Strict, &NoPeers).unwrap()
}

pub(super) fn open(path: &Path) -> BlockDevice {
    let write = Write::Existing;
    BlockDevice::open(path, OpenOptions { write }).unwrap()
}

pub(super) fn options(depth: u16) -> RingOptions {
    let mode = Mode::Interrupts;
    RingOptions { depth, mode }
}

pub(super) fn volume(path: &Path, ram: &Ram, depth: u16) -> RingVolume<SingleThread, Ram> {
    volume_of(open(path), ram, depth)
}

pub(super) fn volume_of(device: BlockDevice, ram: &Ram, depth: u16) -> RingVolume<SingleThread, Ram> {
    let ioas = space(device.initiator());
    RingVolume::new(device, ram.clone(), &ioas, options(depth)).unwrap()
}

pub(super) fn bio(operation: Operation, lba: u64, blocks: u32, pieces: &[(u64, u32)]) -> Bio {
    let piece = |(at, len): &(u64, u32)| PhysVec::new(PhysAddr::from_u64(*at), *len, Origin::Ram).unwrap();
    Bio {
        operation,
        lba,
        blocks,
        data: match operation {
            Operation::Flush => Data::None,
            _ => Data::Vector(pieces.iter().map(piece).collect()),
        },
    }
}

/// Polls until nothing is under way.
pub(super) fn settle(volume: &mut dyn Volume) -> Vec<Done> {
    let mut all = Vec::new();
    for _ in 0..200_000 {
        volume.poll(&mut |done| all.push(done)).unwrap();
        if volume.under_way() == 0 {
            return all;
        }
        std::thread::sleep(Duration::from_micros(20));
    }
    panic!("{} never end", volume.under_way());
}

/// Bytes that tell where they were made.
pub(super) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}
