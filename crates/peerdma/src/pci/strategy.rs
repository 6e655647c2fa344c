//! Arbitrary meanings that a configuration space can be written for, and arbitrary bytes that look
//! like one.

use super::{
    Acs, AcsFlags, Ats, Bar, BarKind, Bridge, BridgeKind, ClassCode, Command, Config, ConfigView,
    EgressVector, Express, Id, Link, LinkRate, LinkState, Payload, PortType, Rebar, Sriov, Windows,
};
use crate::addr::{Address, BusAddr, Span};
use crate::fact::Fact;
use alloc::vec::Vec;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// A meaning that `emit` can write.
pub(super) fn config() -> impl Strategy<Value = Config> {
    (bridge(), option::of(express())).prop_flat_map(|(bridge, express)| {
        let bar_registers = match bridge {
            None => 6,
            Some(bridge) if bridge.kind == BridgeKind::Pci => 2,
            Some(_) => 1,
        };
        let class = match express {
            Some(_) => any::<u32>().prop_map(ClassCode::new).boxed(),
            None => any::<u8>()
                .prop_map(|low| ClassCode::new(u32::from(ClassCode::HOST_BRIDGE) << 8 | u32::from(low)))
                .boxed(),
        };
        (start(class), bars(bar_registers), any::<bool>(), extended()).prop_map(
            move |(start, bars, pci_x_mode_2, extended)| Config {
                pci_x_mode_2: Fact::Known(pci_x_mode_2),
                bridge: Fact::Known(bridge),
                bars: Fact::Known(bars),
                express: Fact::Known(express),
                id: start.id,
                class: start.class,
                revision: start.revision,
                subsystem: start.subsystem,
                command: start.command,
                ..extended
            },
        )
    })
}

/// Bytes with a header of a known type and chains that are often right, and often loop or lead into
/// other bytes.
pub(super) fn space() -> impl Strategy<Value = Vec<u8>> {
    let capability = prop::sample::select(alloc::vec![0x01u8, 0x05, 0x07, 0x0d, 0x10, 0x10, 0xff]);
    let extended = prop::sample::select(alloc::vec![1u16, 3, 3, 0xd, 0xd, 0xf, 0x10, 0x15, 0x15]);
    let places = (
        vec((0x10u8..0x40, capability), 1..6),
        vec((0x40u16..0x400, extended), 0..8),
    );
    (vec(any::<u8>(), ConfigView::MAX_BYTES), 0u8..3, places).prop_map(
        |(mut bytes, header_type, (capabilities, extended))| {
            bytes[0x0e] = header_type;
            bytes[0x06] |= 0x10;
            let mut link = if header_type == 2 { 0x14 } else { 0x34 };
            bytes[link] = 0;
            for (place, capability) in capabilities {
                let place = place * 4;
                bytes[link] = place;
                bytes[usize::from(place)] = capability;
                link = usize::from(place) + 1;
            }
            let mut header = 0x100;
            bytes[header..header + 4].fill(0);
            for (place, capability) in extended {
                let place = place * 4;
                bytes[header + 2..header + 4].copy_from_slice(&(place << 4 | 1).to_le_bytes());
                header = usize::from(place);
                let first = u32::from(capability) | 1 << 16;
                bytes[header..header + 4].copy_from_slice(&first.to_le_bytes());
            }
            bytes
        },
    )
}

fn start(class: BoxedStrategy<ClassCode>) -> impl Strategy<Value = Config> {
    let id = any::<u32>()
        .prop_map(Id::from_register)
        .prop_filter("nobody's number", |id| id.is_assigned());
    let subsystem =
        option::of(any::<u32>()).prop_map(|bits| bits.filter(|&bits| bits != 0).map(Id::from_register));
    (id, class, any::<u8>(), subsystem, any::<u16>()).prop_map(|(id, class, revision, subsystem, command)| {
        Config {
            id: Fact::Known(id),
            class: Fact::Known(class),
            revision: Fact::Known(revision),
            subsystem: Fact::Known(subsystem),
            command: Fact::Known(Command(command)),
            ..Config::default()
        }
    })
}

fn bridge() -> impl Strategy<Value = Option<Bridge>> {
    let windows = (
        option::of(window(12, 20)),
        option::of(window(20, 12)),
        prop_oneof![option::of(window(20, 12)), option::of(window(20, 44))],
    );
    let windows = windows.prop_map(|(io, memory, prefetchable)| Windows {
        io,
        memory,
        prefetchable,
    });
    let kind = prop_oneof![
        4 => windows.prop_map(|windows| (BridgeKind::Pci, Fact::Known(windows))),
        1 => Just((BridgeKind::CardBus, Fact::NOT_IN_SOURCE)),
    ];
    let bridge = (any::<[u8; 3]>(), kind).prop_map(|(buses, (kind, windows))| Bridge {
        kind,
        primary: buses[0],
        secondary: buses[1],
        subordinate: buses[2],
        windows,
    });
    option::of(bridge)
}

/// A window of whole granules of 2^`granule_bits` bytes, below 2^(`granule_bits` + `more_bits`).
fn window(granule_bits: u32, more_bits: u32) -> impl Strategy<Value = Span<BusAddr>> {
    let granule = 0..1u64 << more_bits;
    (granule.clone(), granule).prop_map(move |(one, other)| {
        let first = one.min(other) << granule_bits;
        let last = one.max(other) << granule_bits | ((1 << granule_bits) - 1);
        Span::new(BusAddr::from_u64(first), BusAddr::from_u64(last)).unwrap()
    })
}

fn bars(registers: u8) -> impl Strategy<Value = Vec<Bar>> {
    let kind = prop::sample::select(alloc::vec![BarKind::Io, BarKind::Memory32, BarKind::Memory64]);
    vec((0..registers, kind, any::<bool>(), any::<u64>()), 0..7).prop_map(move |entries| {
        let mut bars: Vec<Bar> = Vec::new();
        let mut free = 0;
        for (skip, kind, prefetchable, address) in entries {
            let index = free + skip / 3;
            let width = if kind == BarKind::Memory64 { 2 } else { 1 };
            if index + width > registers {
                continue;
            }
            let address = match kind {
                BarKind::Io => address & 0xffff_fffc,
                BarKind::Memory32 => (address & 0xffff_fff0).max(0x10),
                BarKind::Memory64 => address & !0xf,
            };
            free = index + width;
            bars.push(Bar {
                index,
                kind,
                prefetchable: prefetchable && kind.is_memory(),
                address: BusAddr::from_u64(address),
            });
        }
        bars
    })
}

fn express() -> impl Strategy<Value = Express> {
    let size = || (0u32..6).prop_map(|code| 128u16 << code);
    let payload = (size(), size(), size()).prop_map(|(supported, payload, request)| Payload {
        max_supported_bytes: supported,
        max_payload_bytes: payload,
        max_read_request_bytes: request,
    });
    let state = |widths: core::ops::Range<u8>| {
        (0u8..16, widths).prop_map(|(rate, width)| LinkState {
            rate: LinkRate(rate),
            width,
        })
    };
    let link = option::of((state(1..64), state(0..64)).prop_map(|(max, now)| Link { max, now }));
    (0u8..16, link, any::<u8>(), payload).prop_map(|(port_type, link, number, payload)| {
        let port_type = PortType(port_type);
        let link = link.filter(|_| port_type.has_link_registers());
        Express {
            port_type,
            link: Fact::Known(link),
            port_number: Fact::Known(link.map(|_| number)),
            payload: Fact::Known(payload),
        }
    })
}

/// The extended capabilities; the rest by default.
fn extended() -> impl Strategy<Value = Config> {
    let vector = (1..=EgressVector::MOST_BITS, vec(any::<u8>(), 0..9)).prop_map(|(size_bits, numbers)| {
        let vector = EgressVector::new(size_bits).unwrap();
        numbers.into_iter().fold(vector, EgressVector::forbidding)
    });
    let acs = (any::<[u16; 2]>(), vector).prop_map(|(registers, vector)| {
        let capable = AcsFlags::from_register(registers[0]);
        let has_vector = capable.contains(AcsFlags::EGRESS_CONTROL);
        Acs {
            capable,
            control: AcsFlags::from_register(registers[1]),
            egress: Fact::Known(has_vector.then_some(vector)),
        }
    });
    let ats = any::<bool>().prop_map(|enabled| Ats { enabled });
    let rebar = (0u8..6, 0u64..1 << 44, 0u8..64).prop_map(|(bar, possible, current)| Rebar {
        bar,
        possible,
        current,
    });
    let sriov = (any::<bool>(), any::<[u16; 5]>()).prop_map(|(enabled, numbers)| Sriov {
        enabled,
        total: numbers[0],
        count: numbers[1],
        first_offset: numbers[2],
        stride: numbers[3],
        device: numbers[4],
    });
    let parts = (
        option::of(acs),
        option::of(ats),
        vec(rebar, 0..7),
        option::of(sriov),
        option::of(any::<u64>()),
    );
    parts.prop_map(|(acs, ats, rebar, sriov, serial_number)| Config {
        acs: Fact::Known(acs),
        ats: Fact::Known(ats),
        rebar: Fact::Known(rebar),
        sriov: Fact::Known(sriov),
        serial_number: Fact::Known(serial_number),
        ..Config::default()
    })
}

/// A 32-bit memory BAR in register `index`.
pub(super) fn memory_bar(index: u8) -> Bar {
    Bar {
        index,
        kind: BarKind::Memory32,
        prefetchable: false,
        address: BusAddr::from_u64(0x1000),
    }
}
