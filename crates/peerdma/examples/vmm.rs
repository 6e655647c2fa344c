//! A VMM: its guest's RAM and the BAR of a second device lie in one map, by guest-physical address. What the guest's driver asks for,
//! both in one request, becomes one list for the device that is passed through: `cargo run -p peerdma --example vmm`.

use peerdma::addr::{Address, Bdf, Origin, PhysAddr, PhysVec, Span, SpanError};
use peerdma::dma::{
    Constraints, Direction, Initiator, Ioas, MemoryKind, PeerRoute, Routes, SingleThread, Translation,
};
use peerdma::memory::{BarMemory, CpuView, MemoryMap};
use peerdma::route::spec::Form;
use peerdma::route::{Access, MapType, TlpClass};

/// The host's verdict on these two devices, asked of `peerdma::route`: below one switch, which turns requests around.
struct BelowOneSwitch;

impl Routes for BelowOneSwitch {
    fn route(&self, _: Bdf, _: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        let (map_type, form) = (MapType::BusAddr, Form::BusAddress);
        PeerRoute::Reached { map_type, form }
    }
}

fn span<A: Address>(first: u64, len_bytes: u64) -> Result<Span<A>, SpanError> {
    Span::new(A::from_u64(first), A::from_u64(first + len_bytes - 1))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (nvme, gpu): (Bdf, Bdf) = ("03:00.0".parse()?, "04:00.0".parse()?);
    // The guest sees the GPU's memory at 0xe000_0000; on the host's bus it lies at 0x20_0000_0000.
    let (guest_at, bus_at) = (0xe000_0000, 0x20_0000_0000);
    let memory = BarMemory {
        provider: gpu,
        bar: 0,
        offset_bytes: 0,
        bus_offset: bus_at - guest_at,
        cpu: CpuView::None,
    };
    let (map, ram) = MemoryMap::new().with_ram(span(0, 0x8000_0000)?)?;
    let (map, bar) = map.with_bar(span(guest_at, 0x1000_0000)?, memory)?;

    // As VMMs do, this one has told VFIO to translate each address of the guest's RAM as it is. The interrupt window is no memory.
    let ioas = Ioas::<SingleThread>::new(Translation::Direct, map, &[span(0xfee0_0000, 0x10_0000)?]);
    let initiator = Initiator {
        bdf: nvme,
        address_mask: u64::MAX,
        class: TlpClass::Strict,
        inbound_offset: 0,
    };
    ioas.add_initiator(initiator, &BelowOneSwitch)?;
    ioas.register(ram)?;
    ioas.register(bar)?;

    // Two pages of the guest's RAM, one after the other, and two of the GPU's memory.
    let mut queue = ioas.mapper(nvme)?;
    let piece = |at, len_bytes| PhysVec::new(PhysAddr::from_u64(at), len_bytes, Origin::LookUp);
    let (one, next) = (piece(0x1000, 0x1000)?, piece(0x2000, 0x1000)?);
    let vector = [one, next, piece(guest_at + 0x4000, 0x2000)?];
    let located = queue.look_up(&vector)?;
    let mapping = queue.map(located, Direction::DeviceWrites, &Constraints::NONE)?;
    let mut told = Vec::new();
    for part in mapping.list().segments() {
        println!(
            "{nvme}: {:#x} bytes at {:#x}: {}",
            part.len_bytes, part.addr, part.kind
        );
        told.push((part.addr, part.len_bytes, part.kind));
    }
    queue.unmap(mapping).map_err(|error| error.to_string())?;

    // RAM became one segment; the GPU's memory has its address on the bus, and is never copied through RAM.
    let expected = [
        (0x1000, 0x2000, MemoryKind::Ram),
        (bus_at + 0x4000, 0x2000, MemoryKind::PeerOnBus),
    ];
    (told == expected)
        .then_some(())
        .ok_or("not as it should be".into())
}
