//! A kernel without std: it brings its locks, its IOMMU and its memory; the core gives lists for devices, and takes memory away from them
//! in good order. `cargo run --manifest-path proofs/no-std/Cargo.toml --example kernel`
#![no_std]
#![no_main]

extern crate alloc;

#[path = "../src/runtime.rs"]
mod runtime;
#[path = "kernel/tables.rs"]
mod tables;

use alloc::format;
use peerdma::addr::{Address, Bdf, Origin, PhysAddr, PhysVec, Span};
use peerdma::dma::{Constraints, Direction, Initiator, Ioas, MapError, PeerRoute, Routes, Translation};
use peerdma::memory::{BarMemory, CpuView, MemoryMap, Widths};
use peerdma::route::spec::Form;
use peerdma::route::{Access, MapType, TlpClass};
use tables::{OneProcessor, Tables};

/// What this kernel found out about its bus: peers go through the root complex.
struct ThroughTheTop;

impl Routes for ThroughTheTop {
    fn route(&self, _: Bdf, _: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        let (map_type, form) = (MapType::ThruHostBridge, Form::HostAddress);
        PeerRoute::Reached { map_type, form }
    }
}

extern "C" fn run() -> ! {
    runtime::exit(if kernel().is_some() { 0 } else { 1 })
}

fn kernel() -> Option<()> {
    let span = |first, last| Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).ok();
    let (disk, card): (Bdf, Bdf) = ("01:00.0".parse().ok()?, "02:00.0".parse().ok()?);
    let memory = BarMemory {
        provider: card,
        bar: 2,
        offset_bytes: 0,
        bus_offset: 0,
        cpu: CpuView::Mmio(Widths::DWORD_QWORD),
    };
    let (map, ram) = MemoryMap::new().with_ram(span(0x10_0000, 0xfff_ffff)?).ok()?;
    let (map, bar) = map.with_bar(span(0x8000_0000, 0x80ff_ffff)?, memory).ok()?;
    let ioas = Ioas::<OneProcessor>::new(Translation::Translated(Tables::new()?), map, &[]);
    let initiator = Initiator {
        bdf: disk,
        address_mask: u64::MAX,
        class: TlpClass::Strict,
        inbound_offset: 0,
    };
    ioas.add_initiator(initiator, &ThroughTheTop).ok()?;
    ioas.register(ram).ok()?;

    // A request: RAM that is mapped for good, and the card's memory, mapped for as long as it is used.
    let mut queue = ioas.mapper(disk).ok()?;
    let piece = |at| PhysVec::new(PhysAddr::from_u64(at), 4096, Origin::LookUp).ok();
    let vector = [piece(0x20_0000)?, piece(0x8000_0000)?];
    let located = queue.look_up(&vector).ok()?;
    let mapping = queue.map(located, Direction::Both, &Constraints::NONE).ok()?;
    for part in mapping.list().segments() {
        let told = format!("{} bytes at {:#x}: {}", part.len_bytes, part.addr, part.kind);
        runtime::print(&format!("{disk} is told {told}\n"));
    }

    // The card's driver wants its memory back: nothing new from now on, and the end when the last request is done.
    ioas.begin_revoke(bar);
    let located = queue.look_up(&vector).ok()?;
    let refused = queue.map(located, Direction::Both, &Constraints::NONE).err()?;
    runtime::print(&format!("another request: {refused}\n"));
    let in_use = ioas.finish_revoke(bar).err()?;
    runtime::print(&format!("not yet: in use by {}\n", in_use.uses));
    queue.unmap(mapping).ok()?;
    ioas.finish_revoke(bar).ok()?;
    runtime::print("taken away: nothing leads there\n");
    (refused == MapError::Revoked(bar)).then_some(())
}
