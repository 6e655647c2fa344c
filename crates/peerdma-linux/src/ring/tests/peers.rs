//! Memory of devices, as far as it goes without any: who is asked, who is named, and what is never pinned.

use super::faulty::{Fate, Faulty, Script};
use super::rig::{RAM, RAM_BYTES, Ram, bio, open, options, pattern, settle, span};
use crate::process::{Kind, Resolved};
use crate::ring::uring::{Ends, Uring};
use crate::ring::{BlockDevice, Pages, RingVolume, kernel_space};
use crate::sys::Memory;
use peerdma::addr::{Address, Bdf, Origin, PhysAddr, PhysVec};
use peerdma::block::{Bio, CommandError, Data, Operation, PeerRefused, PeerSupport, SubmitError, Volume};
use peerdma::device::{DeviceError, Host};
use peerdma::dma::{Constraints, Direction, Mapper, MemoryKind, PeerRoute, Refused, Routes, SingleThread};
use peerdma::memory::{BarMemory, CpuView, MemoryMap};
use peerdma::route::spec::Form;
use peerdma::route::{Access, MapType, TlpClass};
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::path::Path;
use std::sync::{Arc, Mutex};

const BAR: u64 = 0x2_0000_0000;
const BAR_BYTES: u64 = 1 << 20;

/// RAM, and memory that is said to be a device's.
#[derive(Debug, Clone)]
struct Both {
    ram: Ram,
    bar: Arc<Memory>,
    kind: Kind,
}

impl Pages for Both {
    fn resolve(&self, at: PhysAddr, len_bytes: u64) -> Option<Resolved> {
        let Some(offset_bytes) = at.to_u64().checked_sub(BAR) else {
            return self.ram.resolve(at, len_bytes);
        };
        (offset_bytes + len_bytes <= BAR_BYTES).then(|| Resolved {
            memory: self.bar.clone(),
            offset_bytes,
            kind: self.kind,
        })
    }
}

struct Judged(PeerRoute);

impl Routes for Judged {
    fn route(&self, _: Bdf, _: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        self.0
    }
}

fn provider() -> Bdf {
    "0000:02:00.0".parse().unwrap()
}

fn reached() -> PeerRoute {
    PeerRoute::Reached {
        map_type: MapType::ThruHostBridge,
        form: Form::BusAddress,
    }
}

struct Rig {
    volume: RingVolume<SingleThread, Both>,
    pages: Both,
    script: Arc<Mutex<Script>>,
}

fn rig(device: BlockDevice, kind: Kind, route: PeerRoute) -> Rig {
    let pages = Both {
        ram: Ram::new(),
        bar: Arc::new(Memory::anonymous(BAR_BYTES).unwrap()),
        kind,
    };
    let (map, _) = MemoryMap::new().with_ram(span(RAM, RAM_BYTES)).unwrap();
    let bar = BarMemory {
        provider: provider(),
        bar: 2,
        offset_bytes: 0,
        bus_offset: 0,
        cpu: CpuView::Memory,
    };
    let (map, _) = map.with_bar(span(BAR, BAR_BYTES), bar).unwrap();
    let ioas = kernel_space(map, device.initiator(), TlpClass::Strict, &Judged(route)).unwrap();
    let script = Arc::<Mutex<Script>>::default();
    let kernel = Box::new(Faulty {
        inner: Uring::new(device.fd().as_fd(), 8, Ends::ByInterrupt).unwrap(),
        script: script.clone(),
        kept: Vec::new(),
        ended: Vec::new(),
    });
    let volume = RingVolume::with_kernel(device, pages.clone(), &ioas, options(4), kernel).unwrap();
    Rig {
        volume,
        pages,
        script,
    }
}

fn taking(path: &Path) -> BlockDevice {
    let mut device = open(path);
    device.takes_peer_memory = true;
    device
}

fn file(folder: &Path) -> (std::path::PathBuf, Vec<u8>) {
    let path = folder.join("volume");
    let bytes = pattern(11, 256 << 10);
    std::fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

fn vector(pieces: &[(u64, u32)]) -> Data {
    let piece = |(at, len): &(u64, u32)| PhysVec::new(PhysAddr::from_u64(*at), *len, Origin::LookUp).unwrap();
    Data::Vector(pieces.iter().map(piece).collect())
}

#[test]
fn one_bio_with_memory_of_several_kinds_is_several_operations_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = file(folder.path());
    let mut rig = rig(taking(&path), Kind::P2pmem, reached());
    assert_eq!(rig.volume.limits().peer, PeerSupport::Mixed);
    let block = rig.volume.limits().block_bytes;
    let blocks = 3 * 4096 / block;
    let data = vector(&[(RAM, 4096), (BAR, 4096), (RAM + 8192, 4096)]);
    let read = Bio {
        data,
        ..bio(Operation::Read, 0, blocks, &[])
    };
    rig.volume.submit(read).unwrap();
    let ended = settle(&mut rig.volume);
    assert_eq!(ended[0].result, Ok(()));
    assert_eq!(rig.script.lock().unwrap().pushed, 3);
    assert_eq!(rig.pages.ram.read(RAM, 4096), bytes[..4096]);
    let mut of_bar = vec![0; 4096];
    rig.pages.bar.copy_out(0, &mut of_bar).unwrap();
    assert_eq!(of_bar, bytes[4096..8192]);
    assert_eq!(rig.pages.ram.read(RAM + 8192, 4096), bytes[8192..12288]);
}

#[test]
fn a_pair_that_the_kernel_refuses_is_named_with_its_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = file(folder.path());
    let mut rig = rig(taking(&path), Kind::P2pmem, reached());
    let blocks = 4096 / rig.volume.limits().block_bytes;
    let initiator = rig.volume.limits().initiator;
    let read = || Bio {
        data: vector(&[(BAR, 4096)]),
        ..bio(Operation::Read, 0, blocks, &[])
    };
    for error in [Errno::INVAL, Errno::REMOTEIO] {
        rig.script.lock().unwrap().fates = [Fate::Fails(error)].into();
        rig.volume.submit(read()).unwrap();
        let refused = PeerRefused {
            initiator,
            provider: provider(),
            access: Access::Write,
            judged: MemoryKind::PeerThroughHostBridge,
            is_forced: false,
            number: error.raw_os_error(),
        };
        assert_eq!(
            settle(&mut rig.volume)[0].result,
            Err(CommandError::PeerRefused(refused))
        );
    }
    rig.script.lock().unwrap().fates = [Fate::Fails(Errno::FAULT)].into();
    rig.volume.submit(read()).unwrap();
    let gone = CommandError::PeerGone { provider: provider() };
    assert_eq!(settle(&mut rig.volume)[0].result, Err(gone));
}

#[test]
fn a_bar_of_vfio_a_queue_without_the_feature_and_a_refused_route_never_come_to_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = file(folder.path());
    let refused = PeerRoute::Refused(Refused::NotSupported(provider()));
    let cases: [(BlockDevice, Kind, PeerRoute, &str); 3] = [
        (taking(&path), Kind::Bar, reached(), "VFIO"),
        (open(&path), Kind::P2pmem, reached(), "takes RAM only"),
        (taking(&path), Kind::P2pmem, refused, "0000:02:00.0"),
    ];
    for (device, kind, route, words) in cases {
        let mut rig = rig(device, kind, route);
        let blocks = 4096 / rig.volume.limits().block_bytes;
        let read = Bio {
            data: vector(&[(BAR, 4096)]),
            ..bio(Operation::Read, 0, blocks, &[])
        };
        let rejected = rig.volume.submit(read).unwrap_err();
        assert!(rejected.why.to_string().contains(words), "{}", rejected.why);
        assert_eq!(rig.script.lock().unwrap().pushed, 0);
        assert_eq!(rig.volume.under_way(), 0);
    }
}

#[test]
fn all_memory_of_its_own_is_known_to_a_device_and_what_lies_between_stays_others() {
    let part = |provider, number: u64| {
        let bar = BarMemory {
            provider,
            bar: 2,
            offset_bytes: number << 20,
            bus_offset: 0x1000_0000,
            cpu: CpuView::Memory,
        };
        (span(BAR + (number << 20), 4096), bar)
    };
    let other: Bdf = "0000:03:00.0".parse().unwrap();
    let reaches = |parts: &[(u64, Bdf)], asked: &[u64]| -> Vec<bool> {
        let mut map = MemoryMap::new();
        for (number, of) in parts {
            let (span, bar) = part(*of, *number);
            map = map.with_bar(span, bar).unwrap().0;
        }
        let ioas = kernel_space(map, provider(), TlpClass::Strict, &Judged(reached())).unwrap();
        let mut mapper: Mapper<SingleThread> = ioas.mapper(provider()).unwrap();
        let maps = |number: &u64| {
            let Data::Vector(vector) = vector(&[(BAR + (number << 20), 4096)]) else {
                return false;
            };
            let Ok(located) = mapper.look_up(&vector) else {
                return false;
            };
            match mapper.map(located, Direction::DeviceReads, &Constraints::NONE) {
                Ok(mapping) => {
                    let of = ioas.resolve_part(provider(), &mapping.list().segments()[0]);
                    mapper.unmap(mapping).unwrap();
                    of.is_some_and(|(at, _)| at.to_u64() == BAR + (number << 20))
                }
                Err(_) => false,
            }
        };
        asked.iter().map(maps).collect()
    };
    assert_eq!(
        reaches(&[(1, provider()), (5, provider())], &[1, 5]),
        [true, true]
    );
    // As long as what is its own can only be said as one range, others' memory in it counts for more.
    let mixed = [(1, provider()), (3, other), (5, provider())];
    assert_eq!(reaches(&mixed, &[1, 3]), [true, true]);
}

#[test]
fn kinds_that_meet_within_a_block_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = file(folder.path());
    let mut rig = rig(taking(&path), Kind::P2pmem, reached());
    let block = rig.volume.limits().block_bytes;
    let align = rig.volume.limits().constraints.align_bytes;
    if align < block {
        let data = vector(&[(RAM, align), (BAR, 2 * block - align)]);
        let read = Bio {
            data,
            ..bio(Operation::Read, 0, 2, &[])
        };
        assert_eq!(rig.volume.submit(read).unwrap_err().why, SubmitError::Mixed);
    }
}

#[test]
fn a_bio_that_is_refused_keeps_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = file(folder.path());
    let mut rig = rig(taking(&path), Kind::Bar, reached());
    let block = rig.volume.limits().block_bytes;
    let owners = Arc::strong_count(&rig.pages.ram.0);
    let blocks = 8192 / block;
    let read = Bio {
        data: vector(&[(RAM, 4096), (BAR, 4096)]),
        ..bio(Operation::Read, 0, blocks, &[])
    };
    rig.volume.submit(read).unwrap_err();
    assert_eq!(Arc::strong_count(&rig.pages.ram.0), owners);
}

/// RAM alone as a host, for who compares.
pub(super) struct HostOf(pub(super) Ram);

impl Host for HostOf {
    fn allocate(&self, len_bytes: u64, _: u64) -> Result<PhysAddr, DeviceError> {
        Err(DeviceError::NoMemory { len_bytes })
    }

    fn free(&self, _: PhysAddr) {}

    fn read_ram(&self, at: PhysAddr, into: &mut [u8]) -> Result<(), DeviceError> {
        let none = DeviceError::NoSuchMemory { at };
        let offset = at.to_u64().checked_sub(RAM).ok_or(none)?;
        self.0.0.copy_out(offset, into).ok_or(none)
    }

    fn write_ram(&self, at: PhysAddr, from: &[u8]) -> Result<(), DeviceError> {
        let none = DeviceError::NoSuchMemory { at };
        let offset = at.to_u64().checked_sub(RAM).ok_or(none)?;
        self.0.0.copy_in(offset, from).ok_or(none)
    }

    fn load_acquire(&self, at: PhysAddr) -> Result<u32, DeviceError> {
        Err(DeviceError::NoSuchMemory { at })
    }

    fn load_bar(&self, at: PhysAddr, _: u8) -> Result<u64, DeviceError> {
        Err(DeviceError::NoSuchMemory { at })
    }

    fn store_bar(&self, at: PhysAddr, _: u8, _: u64) -> Result<(), DeviceError> {
        Err(DeviceError::NoSuchMemory { at })
    }

    fn now_ns(&self) -> u64 {
        0
    }

    fn relax(&self) {}
}
