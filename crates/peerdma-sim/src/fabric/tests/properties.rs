//! What holds of every machine, whatever software writes and whatever is asked.

use super::machine::{Machine, bdf, bridge, card, host};
use crate::blueprint::{Blueprint, Nature};
use crate::fabric::{Completer, End, Explain, Fabric, Leg, Rights, Route, Width};
use crate::tlp::{Access, AddressType, Ordering, Request};
use peerdma::pci::PortType;
use peerdma::snapshot::{Forwarding, IommuMode, Snapshot, Warnings};
use proptest::prelude::*;
use std::collections::BTreeMap;

const FUNCTIONS: [&str; 10] = [
    "00:01.0", "01:00.0", "02:00.0", "02:01.0", "03:00.0", "04:00.0", "07:00.0", "0a:01.0", "0b:00.0",
    "0b:00.1",
];

fn machine() -> impl Strategy<Value = Fabric> {
    let acs = prop::collection::vec((0usize..10, 0u8..0x80, prop::collection::vec(0u8..8, 0..3)), 0..6);
    let policy = prop::sample::select(vec![
        Forwarding::Nothing,
        Forwarding::StoresOnly,
        Forwarding::SameBridge,
        Forwarding::Everything,
    ]);
    let mode = prop::sample::select(vec![
        IommuMode::Off,
        IommuMode::Passthrough,
        IommuMode::Translating,
    ]);
    (acs, policy, mode).prop_map(|(acs, policy, mode)| {
        let mut machine = Machine::new().with_host(policy, mode).ats("03:00.0");
        for (at, bits, vector) in acs {
            // A conventional function has no room for ACS.
            if FUNCTIONS[at] != "0a:01.0" {
                let letters: String = "VBRCUET"
                    .chars()
                    .enumerate()
                    .filter(|(bit, _)| bits >> bit & 1 == 1)
                    .map(|(_, letter)| letter)
                    .collect();
                machine = machine.acs(FUNCTIONS[at], &letters, &vector);
            }
        }
        let mut fabric = machine.build();
        let iommu = fabric.iommu_mut();
        let ioas = iommu.create().unwrap();
        iommu.attach(bdf("03:00.0"), ioas).unwrap();
        iommu
            .map(ioas, 0x9200_0000, 0xa000_0000, 0x8000, Rights::ReadWrite)
            .unwrap();
        iommu
            .map(ioas, 0x9200_8000, 0x1000, 0x1000, Rights::Read)
            .unwrap();
        fabric
    })
}

fn writes() -> impl Strategy<Value = Vec<(usize, u16, Width, u32)>> {
    let width = prop::sample::select(vec![Width::Byte, Width::Word, Width::Dword]);
    let offset = prop_oneof![0u16..0x160, 0x100u16..0x240, any::<u16>()];
    prop::collection::vec((0usize..FUNCTIONS.len(), offset, width, any::<u32>()), 0..40)
}

fn request() -> impl Strategy<Value = Request> {
    let address = prop_oneof![
        (0x9000_0000u64..0x9400_0000),
        (0xa000_0000u64..0xa200_0000),
        (0xb000_0000u64..0xb020_0000),
        (0xc000_0000u64..0xc020_0000),
        (0x9200_0000u64..0x9201_0000),
        0xfede_0000u64..0xfef1_0000,
        any::<u64>(),
    ];
    (0usize..FUNCTIONS.len(), address, any::<[bool; 3]>(), 1u32..5000).prop_map(
        |(from, address, [writes, translated, relaxed], len_bytes)| Request {
            requester: bdf(FUNCTIONS[from]),
            access: if writes { Access::Write } else { Access::Read },
            address,
            len_bytes,
            address_type: if translated {
                AddressType::Translated
            } else {
                AddressType::Untranslated
            },
            ordering: if relaxed {
                Ordering::Relaxed
            } else {
                Ordering::Strict
            },
        },
    )
}

fn shifted(end: End, by: u64) -> End {
    match end {
        End::Function {
            function,
            bar,
            offset,
        } => End::Function {
            function,
            bar,
            offset: offset + by,
        },
        End::Ram { phys } => End::Ram { phys: phys + by },
        end => end,
    }
}

proptest! {
    #[test]
    fn no_write_makes_it_panic_and_every_walk_ends(
        mut fabric in machine(),
        writes in writes(),
        requests in prop::collection::vec(request(), 1..10),
    ) {
        for (at, offset, width, value) in writes {
            let function = fabric.at(FUNCTIONS[at]);
            fabric.config_write(function, offset, width, value);
            fabric.config_read(function, offset, width);
        }
        fabric.snapshot();
        let (mut route, mut back) = (Route::new(Explain::Notes), Route::new(Explain::Notes));
        for request in requests {
            fabric.route_request(&request, &mut route);
            let completer = match route.end {
                End::Function { function, .. } => Completer::Function(function),
                End::Lost(loss) => {
                    fabric.record(&loss, &request);
                    continue;
                }
                _ => Completer::RootComplex,
            };
            fabric.route_completion(completer, &request, &route, 4096, &mut back);
            prop_assert!(matches!(back.end, End::Requester | End::Lost(_)));
            for note in route.notes.iter().chain(&back.notes) {
                prop_assert!(!note.to_string().is_empty());
            }
        }
    }

    #[test]
    fn what_a_route_says_holds_for_as_many_bytes_as_it_says(
        mut fabric in machine(),
        writes in writes(),
        request in request(),
        within in prop::collection::vec(any::<u64>(), 4),
    ) {
        for (at, offset, width, value) in writes.into_iter().take(4) {
            let function = fabric.at(FUNCTIONS[at]);
            fabric.config_write(function, offset, width, value);
        }
        let (mut route, mut other) = (Route::default(), Route::default());
        fabric.route_request(&request, &mut route);
        prop_assert!(route.holds_bytes >= 1);
        let last = route.holds_bytes - 1;
        prop_assume!(!matches!(route.end, End::Lost(_)) || request.address.checked_add(last).is_some());
        for by in within.iter().map(|&within| within % route.holds_bytes).chain([last]) {
            let Some(address) = request.address.checked_add(by) else {
                return Err(TestCaseError::fail("it leaves the address space"));
            };
            fabric.route_request(&Request { address, ..request }, &mut other);
            prop_assert_eq!(&other.legs, &route.legs);
            prop_assert_eq!(other.end, shifted(route.end, by));
            prop_assert_eq!(other.requester, route.requester);
        }
    }

    #[test]
    fn what_is_read_is_what_was_written_where_it_can_be_written(
        mut fabric in machine(),
        at in 0usize..FUNCTIONS.len(),
        offset in prop_oneof![0u16..0x60, 0x100u16..0x120],
        values: (u32, u32),
    ) {
        let function = fabric.at(FUNCTIONS[at]);
        let offset = offset & !3;
        let read = |fabric: &Fabric| fabric.config_read(function, offset, Width::Dword);
        // What takes both all ones and all zeros can be written; the rest never changes by what is kept.
        let device_control = 0x48 + 8;
        prop_assume!(offset != device_control && offset != 0x3c);
        fabric.config_write(function, offset, Width::Dword, 0);
        let zeros = read(&fabric);
        fabric.config_write(function, offset, Width::Dword, u32::MAX);
        let mask = read(&fabric) & !zeros;
        for value in [values.0, values.1] {
            fabric.config_write(function, offset, Width::Dword, value);
            prop_assert_eq!(read(&fabric), value & mask | zeros);
        }
        // Byte by byte it is the same.
        for byte in 0..4 {
            fabric.config_write(function, offset + byte, Width::Byte, values.0 >> (8 * byte));
        }
        prop_assert_eq!(read(&fabric), values.0 & mask | zeros);
        prop_assert_eq!(fabric.config_read(function, offset + 2, Width::Word), read(&fabric) >> 16);
    }

    #[test]
    fn hostile_machines_are_refused_or_routed(
        changes in prop::collection::vec((0usize..19, 0usize..19, any::<[u8; 4]>(), any::<bool>()), 0..8),
        requests in prop::collection::vec(request(), 1..4),
    ) {
        let mut machine = Machine::new();
        for (at, above, numbers, tells) in changes {
            let above = machine.functions[above].bdf;
            let function = &mut machine.functions[at];
            function.upstream = if tells {
                peerdma::fact::Fact::Known(Some(above))
            } else {
                peerdma::fact::Fact::NOT_IN_SOURCE
            };
            if let peerdma::fact::Fact::Known(Some(bridge)) = &mut function.config.bridge {
                bridge.secondary = numbers[0] % 16;
                bridge.subordinate = numbers[1] % 16;
            }
            if let peerdma::fact::Fact::Known(Some(express)) = &mut function.config.express {
                express.port_type = PortType(numbers[2] % 9);
            }
        }
        if let Ok(fabric) = Fabric::new(&machine.blueprint()) {
            for request in requests {
                let route = fabric.routed(&request);
                prop_assert!(route.legs.len() < 64);
                let completer = match route.end {
                    End::Function { function, .. } => Completer::Function(function),
                    _ => Completer::RootComplex,
                };
                let mut back = Route::default();
                fabric.route_completion(completer, &request, &route, 256, &mut back);
                prop_assert!(back.legs.len() < 64);
            }
        }
    }
}

/// `count` functions behind switches of 200 ports each, in domains of their own.
fn large(count: usize) -> Blueprint {
    let mut functions = Vec::new();
    let mut bridges = Vec::new();
    let mut domain = 0u32;
    while functions.len() < count {
        let name = |rest: &str| format!("{domain:04x}:{rest}");
        let (root, up) = (name("00:01.0"), name("01:00.0"));
        let window = (0x9000_0000, 1000);
        functions.push(bridge(
            &root,
            None,
            Some(PortType::ROOT_PORT),
            1,
            (1, 250),
            window,
        ));
        functions.push(bridge(
            &up,
            Some(&root),
            Some(PortType::UPSTREAM),
            0,
            (2, 250),
            window,
        ));
        for port in 0..200u8 {
            let at = name(&format!("02:{:02x}.{}", port >> 3, port & 7));
            let memory = 0x9000_0000 + (u64::from(port) << 20);
            let secondary = port + 3;
            functions.push(bridge(
                &at,
                Some(&up),
                Some(PortType::DOWNSTREAM),
                port,
                (secondary, secondary),
                (memory, 1),
            ));
            let end = name(&format!("{secondary:02x}:00.0"));
            functions.push(card(&end, Some(&at), Some(PortType::ENDPOINT), memory));
        }
        let peerdma::fact::Fact::Known(known) = host(Forwarding::Everything, IommuMode::Off).bridges else {
            panic!("no host bridges");
        };
        bridges.extend(known.into_iter().map(|mut bridge| {
            bridge.domain = domain;
            bridge
        }));
        domain += 1;
    }
    let mut host = host(Forwarding::Everything, IommuMode::Off);
    host.bridges = peerdma::fact::Fact::Known(bridges);
    Blueprint {
        snapshot: Snapshot::new(host, functions, &mut Warnings::default()),
        devices: BTreeMap::new(),
        nature: Nature::default(),
    }
}

#[test]
fn ten_thousand_functions_are_built_at_once() {
    let blueprint = large(10_000);
    let start = std::time::Instant::now();
    let fabric = Fabric::new(&blueprint).unwrap();
    let took = start.elapsed();
    println!("{} functions in {took:?}", fabric.functions().len());
    // All machines have the same host windows: the first domain has them, as the first of two claimants does.
    assert_eq!(fabric.snapshot(), blueprint.snapshot);
    assert!(took.as_secs() < 10, "{took:?}");
}

#[test]
fn a_way_of_seven_hops_is_short() {
    let mut fabric = Machine::new()
        .acs("02:00.0", "VRU", &[])
        .acs("00:01.0", "VRU", &[])
        .with_host(Forwarding::Everything, IommuMode::Translating)
        .build();
    let iommu = fabric.iommu_mut();
    let ioas = iommu.create().unwrap();
    iommu.attach(bdf("03:00.0"), ioas).unwrap();
    for page in 0..10_000 {
        iommu
            .map(ioas, page << 16, 0xa000_0000, 0x1000, Rights::ReadWrite)
            .unwrap();
    }
    let mut request = super::machine::write("03:00.0", 0);
    let mut route = Route::default();
    let start = std::time::Instant::now();
    const TURNS: u64 = 1_000_000;
    for turn in 0..TURNS {
        request.address = (turn % 9000) << 16;
        fabric.route_request(&request, &mut route);
        assert!(matches!(route.end, End::Function { .. }));
    }
    println!(
        "{:?} a way of {} hops",
        start.elapsed() / TURNS as u32,
        route.legs.len()
    );
    assert_eq!(route.legs.len(), 7);
    assert!(route.legs.contains(&Leg::RootComplex));
}

#[test]
fn as_many_functions_as_a_domain_has_may_share_a_link() {
    let mut machine = Machine::new();
    let physical = bdf("0b:00.0");
    for number in 0x0c00..=0xffffu32 {
        let mut function = machine.functions[17].clone();
        function.bdf = peerdma::addr::Bdf::from_devfn(0, (number >> 8) as u8, number as u8);
        function.upstream = peerdma::fact::Fact::NOT_IN_SOURCE;
        function.os.physical_function = peerdma::fact::Fact::Known(Some(physical));
        machine.functions.push(function);
    }
    let start = std::time::Instant::now();
    let mut fabric = machine.build();
    let function = fabric.at("0b:00.1");
    for turn in 0..10 {
        // All virtual functions lie where the first function does: the first of all claimants has it.
        assert_eq!(
            fabric.fate(&super::machine::read("03:00.0", 0xc000_0000)),
            "0b:00.0+0x0"
        );
        fabric.config_write(function, 0x04, Width::Word, turn & 7);
    }
    println!("{} functions in {:?}", fabric.functions().len(), start.elapsed());
}
