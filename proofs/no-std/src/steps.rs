//! The questions, one function each: `Some` if the core answers as it must.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;
use peerdma::addr::{Address, Bdf, Origin, PhysAddr, PhysVec, Span};
use peerdma::dma::{
    Constraints, Direction, Initiator, Ioas, Mapper, Mapping, PeerRoute, Routes, SingleThread, Translation,
};
use peerdma::fact::Fact;
use peerdma::memory::{BarMemory, CpuView, MemoryMap, RegionId};
use peerdma::pci::{AcsFlags, Config, ConfigView, Extent, Id};
use peerdma::route::linux::{Judge, Kernel};
use peerdma::route::spec::Form;
use peerdma::route::{Access, MapType, TlpClass};
use peerdma::snapshot::{Function, Host, KernelVersion, Snapshot, Warnings};
use peerdma::topology::{NodeId, Topology};

/// A promise, and the question that shows whether the core keeps it.
pub type Step = (&'static str, fn() -> Option<()>);

/// What is tried, in this order; a new part of the core adds a line.
pub const STEPS: &[Step] = &[
    ("an address is read and printed", address),
    ("a snapshot is sorted and searched", snapshot),
    ("a configuration space is read", config),
    ("a switch joins its ports in the tree", topology),
    ("Linux lets neighbours below a switch reach each other", verdict),
    ("Linux refuses them where a port redirects", refusal),
    ("RAM and a peer's memory are mapped in one list", mapping),
    ("memory is taken away when its last user is done", revocation),
    (
        "an NVMe controller that is never ready is given up",
        crate::driver::gives_up,
    ),
];

fn address() -> Option<()> {
    let bdf: Bdf = black_box("10000:e1:00.7").parse().ok()?;
    (bdf.to_string() == "10000:e1:00.7").then_some(())
}

fn snapshot() -> Option<()> {
    let (first, second): (Bdf, Bdf) = ("00:01.0".parse().ok()?, "00:02.0".parse().ok()?);
    let functions = vec![Function::new(second), Function::new(first), Function::new(second)];
    let mut warnings = Warnings::default();
    let snapshot = Snapshot::new(Host::default(), black_box(functions), &mut warnings);
    let holds =
        snapshot.functions().len() == 2 && snapshot.position(second) == Some(1) && warnings.list().len() == 1;
    holds.then_some(())
}

fn config() -> Option<()> {
    let config = port(Port::Downstream, [1, 2, 3], REDIRECT)?;
    let acs = config.acs.known()??;
    let id = Id {
        vendor: 0x10b5,
        device: 0x8764,
    };
    let holds = config.id.known()? == id
        && config.bridge.known()??.secondary == 2
        && acs.control.contains(AcsFlags::REQUEST_REDIRECT);
    holds.then_some(())
}

fn topology() -> Option<()> {
    let topology = two_endpoints_below_a_switch(0)?;
    let (first, second) = endpoints(&topology)?;
    let ancestor = topology.common_ancestor(first, second)?;
    (topology.function(ancestor).bdf == "01:00.0".parse().ok()?).then_some(())
}

fn verdict() -> Option<()> {
    (answer(0)? == (Some(MapType::BusAddr), Some(4))).then_some(())
}

fn refusal() -> Option<()> {
    (answer(REDIRECT)? == (Some(MapType::NotSupported), Some(-1))).then_some(())
}

fn mapping() -> Option<()> {
    let (ioas, bar, mut mapper) = space()?;
    let mapping = map_both(&mut mapper)?;
    let segments = mapping.list().segments().iter();
    let told: Vec<u64> = segments.map(|segment| segment.addr).collect();
    mapper.unmap(mapping).ok()?;
    ioas.finish_revoke(bar).ok()?;
    (told == [0x1000, 0x1010_0000]).then_some(())
}

fn revocation() -> Option<()> {
    let (ioas, bar, mut mapper) = space()?;
    let mapping = map_both(&mut mapper)?;
    ioas.begin_revoke(bar);
    let is_refused = map_both(&mut mapper).is_none();
    let in_use = ioas.finish_revoke(bar).err()?;
    mapper.unmap(mapping).ok()?;
    ioas.finish_revoke(bar).ok()?;
    (is_refused && in_use.uses == 1).then_some(())
}

/// A space with RAM and the BAR of a peer, and a queue of its one initiator.
fn space() -> Option<(Arc<Ioas<SingleThread>>, RegionId, Mapper<SingleThread>)> {
    let (initiator, provider): (Bdf, Bdf) = ("01:00.0".parse().ok()?, "02:00.0".parse().ok()?);
    let span = |first, last| Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).ok();
    let (map, _) = MemoryMap::new().with_ram(span(0, 0xffff)?).ok()?;
    let peer = BarMemory {
        provider,
        bar: 0,
        offset_bytes: 0,
        bus_offset: 0x1000_0000,
        cpu: CpuView::None,
    };
    let (map, bar) = map.with_bar(span(0x10_0000, 0x1f_ffff)?, peer).ok()?;
    let ioas = Ioas::<SingleThread>::new(Translation::Direct, map, &[]);
    let of_initiator = Initiator {
        bdf: initiator,
        address_mask: u64::MAX,
        class: TlpClass::Strict,
        inbound_offset: 0,
    };
    ioas.add_initiator(of_initiator, &OnBus).ok()?;
    let mapper = ioas.mapper(initiator).ok()?;
    Some((ioas, bar, mapper))
}

/// A request for RAM and the peer's memory.
fn map_both(mapper: &mut Mapper<SingleThread>) -> Option<Mapping> {
    let piece = |at| PhysVec::new(PhysAddr::from_u64(black_box(at)), 64, Origin::LookUp).ok();
    let located = mapper.look_up(&[piece(0x1000)?, piece(0x10_0000)?]).ok()?;
    mapper.map(located, Direction::Both, &Constraints::NONE).ok()
}

/// Everybody reaches everybody on the bus.
struct OnBus;

impl Routes for OnBus {
    fn route(&self, _: Bdf, _: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        PeerRoute::Reached {
            map_type: MapType::BusAddr,
            form: Form::BusAddress,
        }
    }
}

/// ACS control: source validation, request and completion redirect, upstream forwarding.
const REDIRECT: u16 = 0x1d;

/// What Linux 6.12 says of two endpoints below a switch whose ports have this ACS control.
fn answer(acs_control: u16) -> Option<(Option<MapType>, Option<i64>)> {
    let topology = two_endpoints_below_a_switch(black_box(acs_control))?;
    let (provider, client) = endpoints(&topology)?;
    let judge = Judge::new(&topology, Kernel::Release(KernelVersion::new(6, 12, 0)));
    let verdict = judge.verdict(provider, client);
    let answer = verdict.answer(Access::Write, TlpClass::Strict);
    Some((answer.map_type(), verdict.distance(answer)))
}

fn endpoints(topology: &Topology) -> Option<(NodeId, NodeId)> {
    let find = |bdf: &str| topology.find(bdf.parse().ok()?);
    Some((find("03:00.0")?, find("04:00.0")?))
}

/// A host bridge that no Linux lists, a root port, a switch with two ports, an endpoint below each.
fn two_endpoints_below_a_switch(acs_control: u16) -> Option<Topology> {
    let functions = vec![
        function("00:00.0", read(&header(0x4c43_8086, 0x0600_0000)?)?)?,
        function("00:01.0", port(Port::Root, [0, 1, 4], 0)?)?,
        function("01:00.0", port(Port::Upstream, [1, 2, 4], 0)?)?,
        function("02:00.0", port(Port::Downstream, [2, 3, 3], acs_control)?)?,
        function("02:01.0", port(Port::Downstream, [2, 4, 4], acs_control)?)?,
        function("03:00.0", read(&header(0xa808_144d, 0x0108_0200)?)?)?,
        function("04:00.0", read(&header(0xa808_144d, 0x0108_0200)?)?)?,
    ];
    let host = Host {
        cpu: Fact::Known("GenuineIntel:6".parse().ok()?),
        ..Host::default()
    };
    let mut warnings = Warnings::default();
    let snapshot = Snapshot::new(host, functions, &mut warnings);
    let topology = Topology::new(snapshot, &mut warnings);
    warnings.list().is_empty().then_some(topology)
}

fn function(bdf: &str, config: Config) -> Option<Function> {
    let mut function = Function::new(bdf.parse().ok()?);
    function.config = config;
    Some(function)
}

/// A bridge by its Device/Port Type.
#[derive(Clone, Copy)]
enum Port {
    Root = 4,
    Upstream = 5,
    Downstream = 6,
}

/// A bridge with these bus numbers (primary, secondary, subordinate) and this ACS control.
fn port(kind: Port, buses: [u8; 3], acs_control: u16) -> Option<Config> {
    let mut bytes = header(0x8764_10b5, 0x0604_0000)?;
    let [primary, secondary, subordinate] = buses;
    write(&mut bytes, 0x0c, 0x0001_0000)?;
    write(
        &mut bytes,
        0x18,
        u32::from_le_bytes([primary, secondary, subordinate, 0]),
    )?;
    write(&mut bytes, 0x40, 0x0002_0010 | (kind as u32) << 20)?;
    write(&mut bytes, 0x100, 0x0001_000d)?;
    write(&mut bytes, 0x104, u32::from(acs_control) << 16 | 0x1f)?;
    read(&bytes)
}

/// An endpoint's configuration space: identity, class, a PCI Express capability and no other.
fn header(id: u32, class_and_revision: u32) -> Option<[u8; 4096]> {
    let mut bytes = [0; 4096];
    write(&mut bytes, 0x00, id)?;
    write(&mut bytes, 0x04, 0x0010_0006)?;
    write(&mut bytes, 0x08, class_and_revision)?;
    write(&mut bytes, 0x34, 0x40)?;
    write(&mut bytes, 0x40, 0x0002_0010)?;
    Some(bytes)
}

fn write(bytes: &mut [u8], at: usize, register: u32) -> Option<()> {
    let place = bytes.get_mut(at..at + 4)?;
    place.copy_from_slice(&register.to_le_bytes());
    Some(())
}

fn read(bytes: &[u8; 4096]) -> Option<Config> {
    let mut defects = Vec::new();
    let view = ConfigView::new(black_box(bytes), Extent::Whole);
    let config = Config::parse(view, &mut defects);
    defects.is_empty().then_some(config)
}
