//! The process as a host, and what an `Ioas` makes of it.

use super::fake::{Fake, PAGE};
use crate::process::bars::Face;
use crate::process::devices::Member;
use crate::process::piece::{Kind, Pages};
use crate::process::{IoSpaceError, Process, ProcessError, ProcessOptions};
use crate::sys::Memory;
use crate::vfio::Api;
use peerdma::addr::{Address, Bdf, BusAddr, Iova, Origin, PhysAddr, PhysVec, Span};
use peerdma::device::{DeviceError, Host};
use peerdma::dma::{Constraints, Direction, Ioas, PeerRoute, Routes, Threads, Translation};
use peerdma::fact::Fact;
use peerdma::iommu::{Rights, Target, Translations};
use peerdma::memory::Memory as Kinds;
use peerdma::pci::{Bar, BarKind};
use peerdma::route::spec::Form;
use peerdma::route::{Access, MapType, TlpClass};
use peerdma::snapshot::{Function, Host as Facts, IommuGroup, Resource, Snapshot, Warnings};
use peerdma::topology::Topology;
use proptest::prelude::*;
use std::sync::Arc;

const NVME: Bdf = Bdf::from_devfn(0, 1, 0);
const SAME_GROUP: Bdf = Bdf::from_devfn(0, 1, 1);
const GPU: Bdf = Bdf::from_devfn(0, 2, 0);
const NOT_HERE: Bdf = Bdf::from_devfn(0xffff_fff0, 1, 0);
/// Its register has lost the address that it was given: it was reset.
const FORGETFUL: Bdf = Bdf::from_devfn(0, 3, 0);
const VRAM: u64 = 0x70_0000_0000;
const VRAM_BYTES: u64 = 1 << 20;
const RAM_BYTES: u64 = 4 << 20;

fn function(bdf: Bdf, group: u32) -> Function {
    let mut function = Function::new(bdf);
    function.os.iommu_group = Fact::Known(Some(IommuGroup {
        number: group,
        domain_type: Fact::NOT_IN_SOURCE,
    }));
    function
}

fn phys(first: u64, len_bytes: u64) -> Span<PhysAddr> {
    Span::new(
        PhysAddr::from_u64(first),
        PhysAddr::from_u64(first + len_bytes - 1),
    )
    .unwrap()
}

/// A function with memory behind BAR 2.
fn with_memory(bdf: Bdf, group: u32, first: u64, register: u64) -> Function {
    let mut function = function(bdf, group);
    function.config.bars = Fact::Known(vec![Bar {
        index: 2,
        kind: BarKind::Memory64,
        prefetchable: true,
        address: BusAddr::from_u64(register),
    }]);
    function.os.resources = Fact::Known(vec![Resource {
        index: 2,
        kind: BarKind::Memory64,
        prefetchable: true,
        span: Fact::Known(phys(first, VRAM_BYTES)),
        size_bytes: Fact::Known(VRAM_BYTES),
    }]);
    function
}

fn topology() -> Topology {
    let gpu = with_memory(GPU, 2, VRAM, VRAM);
    let host = Facts {
        ram: Fact::Known(vec![
            phys(0, 0xa_0000),
            phys(0x10_0000, 1 << 30),
            phys(4 << 30, 1 << 30),
        ]),
        ..Facts::default()
    };
    let warnings = &mut Warnings::default();
    let functions = vec![
        function(NVME, 1),
        function(SAME_GROUP, 1),
        gpu,
        with_memory(FORGETFUL, 4, VRAM + (1 << 32), 0),
        function(NOT_HERE, 3),
    ];
    Topology::new(Snapshot::new(host, functions, warnings), warnings)
}

struct Rig {
    process: Process,
    nvme: Arc<Fake>,
    vram: Arc<Memory>,
}

fn rig(apertures: &[(u64, u64)]) -> Rig {
    let options = ProcessOptions {
        ram_bytes: RAM_BYTES - 1,
        api: None,
    };
    let folder = tempfile::tempdir().unwrap();
    let process = Process::with_sys(topology(), options, folder.path()).unwrap();
    let nvme = Fake::new(Api::Type1, apertures);
    let backend = nvme.clone();
    process
        .adopt_all(vec![(NVME, Member::of(None, backend), Vec::new())])
        .unwrap();
    let vram = Arc::new(Memory::anonymous(VRAM_BYTES).unwrap());
    let face = Face {
        bar: 2,
        offset_bytes: 0,
        span: phys(VRAM, VRAM_BYTES),
        bus_offset: 0,
        pages: Pages {
            memory: Some((vram.clone(), 0)),
            dma_buf: None,
        },
    };
    let gpu = Fake::new(Api::Type1, apertures);
    process
        .adopt_all(vec![(GPU, Member::of(None, gpu), vec![face])])
        .unwrap();
    Rig { process, nvme, vram }
}

const ALL: [(u64, u64); 2] = [(0, 0xfedf_ffff), (0xfef0_0000, (1 << 39) - 1)];

/// All is reached, through the root complex.
struct Everything;

impl Routes for Everything {
    fn route(&self, _: Bdf, _: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        PeerRoute::Reached {
            map_type: MapType::ThruHostBridge,
            form: Form::HostAddress,
        }
    }
}

fn ioas(rig: &Rig) -> Arc<Ioas<Threads>> {
    let space = rig.process.io_space(&[NVME]).unwrap().unwrap();
    let translation = Translation::Translated(Box::new(space) as _);
    let ioas = Ioas::new(translation, rig.process.memory_map(), &rig.process.reserved());
    (ioas.add_initiator(rig.process.initiator(NVME).unwrap(), &Everything)).unwrap();
    ioas
}

#[test]
fn registered_ram_has_one_number_for_the_process_and_for_devices() {
    for (apertures, is_same) in [(&ALL[..], true), (&[(0, 0x3f_ffff)][..], false)] {
        let rig = rig(apertures);
        let ioas = ioas(&rig);
        let map = rig.process.memory_map();
        let ram = map
            .regions()
            .iter()
            .find(|region| region.memory == Kinds::Ram)
            .unwrap();
        assert!(ram.span.first().to_u64() >= 4 << 30);
        let registered = ioas.register(ram.id);
        assert_eq!(
            registered.is_ok(),
            is_same,
            "the RAM and its first page do not fit into 4 MiB"
        );
        let at = rig.process.allocate(2 * PAGE, 1).unwrap();
        let mut mapper = ioas.mapper(NVME).unwrap();
        let piece = PhysVec::new(at, 512, Origin::Ram).unwrap();
        let located = mapper.look_up(&[piece]).unwrap();
        let mapping = mapper.map(located, Direction::Both, &Constraints::NONE).unwrap();
        assert_eq!(mapping.list().segments()[0].addr == at.to_u64(), is_same);
        mapper.unmap(mapping).unwrap();
        drop((mapper, ioas));
        assert_eq!(rig.nvme.mapped().len(), 0);
    }
}

#[test]
fn functions_are_taken_with_all_of_their_memory_or_not_at_all() {
    let rig = rig(&ALL);
    let before = rig.process.memory_map().regions().to_vec();
    let member = || Member::of(None, Fake::new(Api::Type1, &ALL));
    let face = |first| Face {
        bar: 2,
        offset_bytes: 0,
        span: phys(first, VRAM_BYTES),
        bus_offset: 0,
        pages: Pages {
            memory: None,
            dma_buf: None,
        },
    };
    let taken = rig.process.adopt_all(vec![
        (FORGETFUL, member(), vec![face(VRAM + (1 << 32))]),
        // The first of these fits, the second lies where the GPU's memory is.
        (SAME_GROUP, member(), vec![face(VRAM + (2 << 32)), face(VRAM)]),
    ]);
    assert!(matches!(taken, Err(ProcessError::Map(_))), "{taken:?}");
    assert_eq!(rig.process.memory_map().regions(), before);
    for bdf in [FORGETFUL, SAME_GROUP] {
        let refused = rig.process.io_space(&[bdf]).map(|_| ()).unwrap_err();
        assert_eq!(refused, IoSpaceError::NotTaken(bdf));
    }
    let again = (FORGETFUL, member(), vec![face(VRAM + (1 << 32))]);
    rig.process.adopt_all(vec![again]).unwrap();
}

#[test]
fn ram_that_found_no_place_has_one_once_what_was_in_the_way_is_gone() {
    let options = ProcessOptions {
        ram_bytes: RAM_BYTES,
        api: None,
    };
    let folder = tempfile::tempdir().unwrap();
    let process = Process::with_sys(topology(), options, folder.path()).unwrap();
    let everywhere = Face {
        bar: 0,
        offset_bytes: 0,
        span: phys(0, 1 << 52),
        bus_offset: 0,
        pages: Pages {
            memory: None,
            dma_buf: None,
        },
    };
    let region = process.expose_all(GPU, vec![everywhere]).unwrap()[0];
    assert!(process.allocate(PAGE, 1).is_err());
    assert_eq!(process.memory_map().regions().len(), 1);
    process.remove(region).unwrap();
    let at = process.allocate(PAGE, 1).unwrap();
    assert!(process.memory_map().regions()[0].span.contains(at));
}

#[test]
fn ram_that_a_device_still_reaches_is_given_to_nobody_else() {
    use peerdma::iommu::{Rights, Target, Translations};
    let rig = rig(&ALL);
    let mut space = rig.process.io_space(&[NVME]).unwrap().unwrap();
    let mut lent = |iova: u64| {
        let at = rig.process.allocate(PAGE, 1).unwrap();
        let mapped = space.map(Iova::from_u64(iova), at, PAGE, Rights::Write, Target::Ram);
        mapped.unwrap();
        rig.nvme.refuse(1);
        space.unmap(Iova::from_u64(iova), PAGE).unwrap_err();
        rig.process.free(at);
        at
    };
    let (first, second) = (lent(0x10_0000), lent(0x20_0000));
    for _ in 0..4 {
        let next = rig.process.allocate(PAGE, 1).unwrap();
        assert!(next != first && next != second);
    }
    // The kernel does it after all: at the next try, or when the space goes.
    space.unmap(Iova::from_u64(0x10_0000), PAGE).unwrap();
    rig.process.free(first);
    assert_eq!(rig.process.allocate(PAGE, 1).unwrap(), first);
    drop(space);
    assert_eq!(rig.nvme.mapped().len(), 0);
    rig.process.free(second);
    assert_eq!(rig.process.allocate(PAGE, 1).unwrap(), second);
}

#[test]
fn a_peers_bar_is_mapped_from_the_pages_that_the_process_has_of_it() {
    let rig = rig(&ALL);
    let ioas = ioas(&rig);
    let mut mapper = ioas.mapper(NVME).unwrap();
    let piece = PhysVec::new(PhysAddr::from_u64(VRAM + PAGE), 4096, Origin::LookUp).unwrap();
    let located = mapper.look_up(&[piece]).unwrap();
    let mapping = mapper
        .map(located, Direction::DeviceWrites, &Constraints::NONE)
        .unwrap();
    let addr = mapping.list().segments()[0].addr;
    // 0x70_0000_0000 lies outside of 39 bits: it has another address there.
    assert!(addr != VRAM + PAGE && addr < 1 << 39);
    let (first, at) = rig.nvme.mapped().pop_first().unwrap();
    assert_eq!(at.address + (addr - first), rig.vram.address() + PAGE);
    mapper.unmap(mapping).unwrap();
    assert_eq!(rig.nvme.mapped().len(), 0);
}

#[test]
fn members_of_a_group_share_one_address_space_that_has_one_owner() {
    let rig = rig(&ALL);
    let process = &rig.process;
    assert_eq!(
        process.io_space(&[SAME_GROUP]).err(),
        Some(IoSpaceError::NotTaken(SAME_GROUP))
    );
    let nobody = Bdf::from_devfn(0, 9, 0);
    assert_eq!(
        process.io_space(&[nobody]).err(),
        Some(IoSpaceError::NoSuchFunction(nobody))
    );
    assert!(process.io_space(&[]).unwrap().is_none());
    process
        .adopt_all(vec![(SAME_GROUP, Member::of(None, rig.nvme.clone()), Vec::new())])
        .unwrap();
    let space = process.io_space(&[NVME]).unwrap().unwrap();
    assert_eq!(space.requesters().collect::<Vec<_>>(), [NVME, SAME_GROUP]);
    assert_eq!(
        process.io_space(&[SAME_GROUP]).err(),
        Some(IoSpaceError::InUse(SAME_GROUP))
    );
    assert_eq!(
        process.io_space(&[GPU, NVME]).err(),
        Some(IoSpaceError::InUse(GPU))
    );
    drop(space);
    let space = process.io_space(&[SAME_GROUP, NVME, GPU]).unwrap().unwrap();
    assert_eq!(space.requesters().count(), 3);
}

#[test]
fn bars_are_touched_by_the_width_that_was_asked_for_and_no_other() {
    let rig = rig(&ALL);
    let (process, vram) = (&rig.process, &rig.vram);
    let at = |offset: u64| PhysAddr::from_u64(VRAM + offset);
    for (width_bytes, value) in [
        (1, 0xa1),
        (2, 0xb2b1),
        (4, 0xc4c3_c2c1),
        (8, 0xd8d7_d6d5_d4d3_d2d1),
    ] {
        vram.store_u64(8, u64::MAX).unwrap();
        process.store_bar(at(8), width_bytes, value).unwrap();
        assert_eq!(process.load_bar(at(8), width_bytes), Ok(value));
        let mask = u64::MAX >> (64 - 8 * u32::from(width_bytes));
        assert_eq!(vram.load_u64(8), Some(value | !mask));
    }
    let no_access = |offset, width_bytes| DeviceError::NoAccess {
        at: at(offset),
        width_bytes,
    };
    assert_eq!(process.load_bar(at(0), 3), Err(no_access(0, 3)));
    assert_eq!(process.load_bar(at(4), 8), Err(no_access(4, 8)));
    let end = at(VRAM_BYTES);
    assert_eq!(
        process.load_bar(end, 4),
        Err(DeviceError::NoSuchMemory { at: end })
    );
    let ram = process.allocate(1, 1).unwrap();
    assert_eq!(
        process.load_bar(ram, 4),
        Err(DeviceError::NoSuchMemory { at: ram })
    );
    assert_eq!(
        process.load_acquire(at(0)),
        Err(DeviceError::NoSuchMemory { at: at(0) })
    );
    assert!(process.load_acquire(ram.checked_add(2).unwrap()).is_err());
    assert_eq!(
        process
            .resolve(at(16), 8)
            .map(|found| (found.kind, found.offset_bytes)),
        Some((Kind::Bar, 16))
    );
}

#[test]
fn a_pointer_into_ram_that_was_given_leads_back_to_its_address() {
    let rig = rig(&ALL);
    let at = rig.process.allocate(PAGE, 1).unwrap();
    let found = rig.process.resolve(at, PAGE).unwrap();
    let pointer = (found.memory.address() + found.offset_bytes) as usize as *const u8;
    let vector = rig.process.map_user(pointer, PAGE).unwrap();
    assert_eq!(vector, [PhysVec::new(at, PAGE as u32, Origin::Ram).unwrap()]);
    let own = [0_u8; 8];
    assert!(rig.process.map_user(own.as_ptr(), 8).is_err());
}

#[test]
fn a_dma_buf_of_a_bar_lies_where_the_bar_does() {
    let rig = rig(&ALL);
    let file = || of_bytes(VRAM_BYTES);
    let taken = rig.process.import_dma_buf(file(), GPU, 2, 0, PAGE);
    assert!(
        matches!(taken, Err(ProcessError::Map(_))),
        "the process has it already"
    );
    let map = rig.process.memory_map();
    let region = map.find(PhysAddr::from_u64(VRAM)).unwrap().id;
    rig.process.remove(region).unwrap();
    let part = rig.process.import_dma_buf(file(), GPU, 2, PAGE, 2 * PAGE);
    assert_eq!(part, Ok(phys(VRAM + PAGE, 2 * PAGE)));
    for (bar, offset_bytes, len_bytes) in [
        (2, VRAM_BYTES, PAGE),
        (2, 0, 0),
        (2, PAGE, u64::MAX),
        (0, 0, PAGE),
    ] {
        let refused = rig
            .process
            .import_dma_buf(file(), GPU, bar, offset_bytes, len_bytes);
        assert!(matches!(refused, Err(ProcessError::NoSuchMemory { .. })));
    }
}

fn of_bytes(len_bytes: u64) -> std::os::fd::OwnedFd {
    let file = tempfile::tempfile().unwrap();
    file.set_len(len_bytes).unwrap();
    file.into()
}

#[test]
fn a_dma_buf_that_is_shorter_than_is_said_is_refused() {
    let rig = rig(&ALL);
    let map = rig.process.memory_map();
    let region = map.find(PhysAddr::from_u64(VRAM)).unwrap().id;
    rig.process.remove(region).unwrap();
    let import = |fd| rig.process.import_dma_buf(fd, GPU, 2, 0, 2 * PAGE);
    assert!(matches!(
        import(of_bytes(PAGE)),
        Err(ProcessError::NoSuchMemory { .. })
    ));
    assert_eq!(import(of_bytes(2 * PAGE)), Ok(phys(VRAM, 2 * PAGE)));
}

#[test]
fn a_register_without_an_address_does_not_tell_where_a_bar_is_on_the_bus() {
    let rig = rig(&ALL);
    let refused = rig.process.import_dma_buf(of_bytes(PAGE), FORGETFUL, 2, 0, PAGE);
    assert!(
        matches!(refused, Err(ProcessError::NoSuchMemory { .. })),
        "{refused:?}"
    );
}

#[test]
fn what_the_kernel_gives_of_a_bar_has_its_address_or_a_name() {
    let rig = rig(&ALL);
    let map = rig.process.memory_map();
    rig.process
        .remove(map.find(PhysAddr::from_u64(VRAM)).unwrap().id)
        .unwrap();
    let pool = || Arc::new(Memory::anonymous(2 * PAGE).unwrap());
    let at = PhysAddr::from_u64(VRAM + 4 * PAGE);
    assert_eq!(
        rig.process.add_p2pmem(GPU, 2, Some(at), pool()),
        Ok(phys(VRAM + 4 * PAGE, 2 * PAGE))
    );
    let outside = PhysAddr::from_u64(VRAM - PAGE);
    assert!(rig.process.add_p2pmem(GPU, 2, Some(outside), pool()).is_err());
    let names: Vec<_> = (0..2)
        .map(|_| rig.process.add_p2pmem(GPU, 4, None, pool()).unwrap())
        .collect();
    assert!(names[0].last() < names[1].first() && names[0].first().to_u64() >= 1 << 52);
    assert_eq!(
        rig.process
            .resolve(names[1].first(), 2 * PAGE)
            .map(|found| found.kind),
        Some(Kind::P2pmem)
    );
}

#[test]
fn more_ram_than_there_are_addresses_is_refused() {
    for ram_bytes in [0, u64::MAX, 1 << 60] {
        let options = ProcessOptions { ram_bytes, api: None };
        assert!(Process::with_sys(topology(), options, std::path::Path::new("")).is_err());
    }
}

#[test]
fn a_function_that_cannot_be_opened_is_refused_and_nothing_is_taken() {
    let rig = rig(&ALL);
    let nobody = Bdf::from_devfn(0, 9, 0);
    let unknown = ProcessError::NoSuchFunction(nobody);
    assert_eq!(rig.process.take(&[nobody]), Err(unknown));
    let regions = rig.process.memory_map().regions().len();
    // No machine has this domain.
    assert!(matches!(
        rig.process.take(&[NOT_HERE]),
        Err(ProcessError::Vfio(_))
    ));
    assert!(rig.process.function(NOT_HERE).is_none());
    assert_eq!(rig.process.memory_map().regions().len(), regions);
}

#[test]
fn what_is_given_back_is_out_of_the_map_and_stays_as_long_as_it_is_mapped() {
    let Rig { process, nvme, vram } = rig(&ALL);
    let weak = Arc::downgrade(&vram);
    drop(vram);
    let mut space = process.io_space(&[NVME]).unwrap().unwrap();
    let (iova, at) = (Iova::from_u64(PAGE), PhysAddr::from_u64(VRAM));
    (space.map(iova, at, PAGE, Rights::Write, Target::Mmio)).unwrap();
    process.release(GPU);
    process.release(GPU);
    assert!(process.memory_map().find(at).is_none());
    assert_eq!(process.io_space(&[GPU]).err(), Some(IoSpaceError::NotTaken(GPU)));
    assert!(weak.upgrade().is_some() && nvme.mapped().len() == 1);
    space.unmap(iova, PAGE).unwrap();
    assert!(weak.upgrade().is_none());
}

#[test]
fn threads_share_it() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Process>();
    is_shared::<crate::process::IoSpace>();
}

fn is_apart(spans: &[Span<PhysAddr>]) -> bool {
    spans.windows(2).all(|pair| pair[0].last() < pair[1].first())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn ram_that_is_given_is_zero_and_nobody_elses(
        steps in prop::collection::vec((1..60_000_u64, 0..16_u32, any::<bool>()), 1..40),
    ) {
        let rig = rig(&ALL);
        let process = &rig.process;
        let reserved = process.reserved();
        let mut held: Vec<(PhysAddr, u64, u8)> = Vec::new();
        for (number, (len_bytes, align_log2, frees)) in (1_u8..).zip(steps) {
            if frees && !held.is_empty() {
                let (at, len_bytes, mark) = held.remove(len_bytes as usize % held.len());
                let mut bytes = vec![0; len_bytes as usize];
                process.read_ram(at, &mut bytes).unwrap();
                prop_assert!(bytes.iter().all(|byte| *byte == mark));
                process.free(at);
                continue;
            }
            let Ok(at) = process.allocate(len_bytes, 1 << align_log2) else { continue };
            prop_assert!(at.to_u64().is_multiple_of(1 << align_log2));
            let number_at = Iova::from_u64(at.to_u64());
            prop_assert!(reserved.iter().all(|span| !span.contains(number_at)));
            let mut bytes = vec![1; len_bytes as usize];
            process.read_ram(at, &mut bytes).unwrap();
            prop_assert!(bytes.iter().all(|byte| *byte == 0));
            bytes.fill(number);
            process.write_ram(at, &bytes).unwrap();
            held.push((at, len_bytes, number));
            prop_assert!(is_apart(&process.allocations()));
            prop_assert_eq!(process.allocations().len(), held.len());
        }
        let past = PhysAddr::from_u64(process.memory_map().regions()[0].span.last().to_u64());
        prop_assert!(process.write_ram(past, &[1, 2]).is_err());
    }
}
