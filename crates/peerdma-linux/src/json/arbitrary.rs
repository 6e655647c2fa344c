//! Any snapshot at all, for property tests.

use peerdma::addr::{Address, Bdf, BusAddr, PhysAddr, Span};
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{
    Acs, AcsFlags, Ats, Bar, BarKind, Bridge, BridgeKind, ClassCode, Command, Config, EgressVector, Express,
    Id, Link, LinkRate, LinkState, Payload, PortType, Rebar, Sriov, Windows,
};
use peerdma::snapshot::{
    Cpu, Forwarding, Function, Host, HostBridge, HostWindow, IommuGroup, IommuMode, KernelVersion, Nature,
    Os, P2pmem, Resource, Siblings, Snapshot, Warnings,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

/// A snapshot of up to eight functions.
pub(crate) fn snapshot() -> impl Strategy<Value = Snapshot> {
    let functions = vec(function(), 0..8);
    (host(), functions).prop_map(|(host, functions)| Snapshot::new(host, functions, &mut Warnings::default()))
}

fn fact<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Fact<T>> {
    let why = prop_oneof![
        Just(Unread::NotInSource),
        any::<u16>().prop_map(|bytes| Unread::ConfigCut { bytes }),
        Just(Unread::AccessDenied),
        Just(Unread::OutOfReach),
        Just(Unread::Contradictory),
        Just(Unread::Blanked),
    ];
    prop_oneof![3 => value.prop_map(Fact::Known), 1 => why.prop_map(Fact::Unknown)].boxed()
}

fn bdf() -> impl Strategy<Value = Bdf> {
    any::<(u32, u8, u8)>().prop_map(|(domain, bus, devfn)| Bdf::from_devfn(domain, bus, devfn))
}

fn span<A: Address>() -> impl Strategy<Value = Span<A>> {
    any::<(u64, u64)>().prop_filter_map("empty", |(one, other)| {
        Span::new(A::from_u64(one.min(other)), A::from_u64(one.max(other))).ok()
    })
}

fn kind() -> impl Strategy<Value = BarKind> + Clone {
    prop_oneof![
        Just(BarKind::Io),
        Just(BarKind::Memory32),
        Just(BarKind::Memory64)
    ]
}

fn id() -> impl Strategy<Value = Id> {
    any::<(u16, u16)>().prop_map(|(vendor, device)| Id { vendor, device })
}

fn link() -> impl Strategy<Value = Link> {
    let state = |(rate, width)| LinkState {
        rate: LinkRate(rate),
        width,
    };
    any::<((u8, u8), (u8, u8))>().prop_map(move |(max, now)| Link {
        max: state(max),
        now: state(now),
    })
}

fn bridge() -> impl Strategy<Value = Bridge> {
    let windows = (of(span()), of(span()), of(span())).prop_map(|(io, memory, prefetchable)| Windows {
        io,
        memory,
        prefetchable,
    });
    let kind = prop_oneof![Just(BridgeKind::Pci), Just(BridgeKind::CardBus)];
    (any::<[u8; 3]>(), kind, fact(windows)).prop_map(|([primary, secondary, subordinate], kind, windows)| {
        Bridge {
            kind,
            primary,
            secondary,
            subordinate,
            windows,
        }
    })
}

fn express() -> impl Strategy<Value = Express> {
    let payload = any::<[u16; 3]>().prop_map(|[supported, payload, request]| Payload {
        max_supported_bytes: supported,
        max_payload_bytes: payload,
        max_read_request_bytes: request,
    });
    let number = fact(of(any::<u8>()));
    (any::<u8>(), fact(of(link())), number, fact(payload)).prop_map(|(kind, link, port_number, payload)| {
        Express {
            port_type: PortType(kind),
            link,
            port_number,
            payload,
        }
    })
}

fn config() -> impl Strategy<Value = Config> {
    let bar =
        (0..6u8, kind(), any::<bool>(), any::<u64>()).prop_map(|(index, kind, prefetchable, address)| Bar {
            index,
            kind,
            prefetchable,
            address: BusAddr::from_u64(address),
        });
    let flags = || any::<u16>().prop_map(AcsFlags::from_register);
    let vector = (1..=EgressVector::MOST_BITS, any::<u8>())
        .prop_map(|(size_bits, number)| EgressVector::new(size_bits).unwrap().forbidding(number));
    let acs = (flags(), flags(), fact(of(vector))).prop_map(|(capable, control, egress)| Acs {
        capable,
        control,
        egress,
    });
    let rebar = any::<(u8, u64, u8)>().prop_map(|(bar, possible, current)| Rebar {
        bar,
        possible,
        current,
    });
    let sriov =
        any::<(bool, [u16; 5])>().prop_map(|(enabled, [total, count, first, stride, device])| Sriov {
            enabled,
            total,
            count,
            first_offset: first,
            stride,
            device,
        });
    let header = (
        fact(id()),
        fact(any::<u32>().prop_map(ClassCode::new)),
        fact(any::<u8>()),
        fact(of(id())),
        fact(any::<u16>().prop_map(Command)),
        fact(of(bridge())),
        fact(vec(bar, 0..3)),
    );
    let capabilities = (
        fact(of(express())),
        fact(any::<bool>()),
        fact(of(acs)),
        fact(of(any::<bool>().prop_map(|enabled| Ats { enabled }))),
        fact(vec(rebar, 0..3)),
        fact(of(sriov)),
        fact(of(any::<u64>())),
    );
    (header, capabilities).prop_map(|(header, capabilities)| {
        let (id, class, revision, subsystem, command, bridge, bars) = header;
        let (express, pci_x_mode_2, acs, ats, rebar, sriov, serial_number) = capabilities;
        Config {
            id,
            class,
            revision,
            subsystem,
            command,
            bridge,
            bars,
            express,
            pci_x_mode_2,
            acs,
            ats,
            rebar,
            sriov,
            serial_number,
        }
    })
}

fn os() -> impl Strategy<Value = Os> {
    let place = (fact(span::<PhysAddr>()), fact(any::<u64>()));
    let resource =
        (0..6u8, kind(), any::<bool>(), place).prop_map(|(index, kind, prefetchable, (span, size_bytes))| {
            Resource {
                index,
                kind,
                prefetchable,
                span,
                size_bytes,
            }
        });
    let group = (any::<u32>(), fact(any::<String>()))
        .prop_map(|(number, domain_type)| IommuGroup { number, domain_type });
    let p2pmem = any::<(u64, u64, bool)>().prop_map(|(size_bytes, available_bytes, published)| P2pmem {
        size_bytes,
        available_bytes,
        published,
    });
    (
        fact(vec(resource, 0..3)),
        fact(of(link())),
        fact(of(any::<u8>().prop_map(PortType))),
        fact(of(any::<u32>())),
        fact(of(group)),
        fact(of(any::<String>())),
        vec(any::<String>(), 0..3),
        fact(of(p2pmem)),
        fact(of(bdf())),
    )
        .prop_map(
            |(
                resources,
                link,
                port_type,
                numa_node,
                iommu_group,
                driver,
                names,
                p2pmem,
                physical_function,
            )| Os {
                resources,
                link,
                port_type,
                numa_node,
                iommu_group,
                driver,
                names,
                p2pmem,
                physical_function,
            },
        )
}

fn function() -> impl Strategy<Value = Function> {
    let raw = of(vec(any::<u8>(), 0..300));
    (bdf(), fact(of(bdf())), config(), os(), raw).prop_map(|(bdf, upstream, config, os, raw_config)| {
        let mut function = Function::new(bdf);
        function.upstream = upstream;
        function.config = config;
        function.os = os;
        function.raw_config = raw_config;
        function
    })
}

fn host() -> impl Strategy<Value = Host> {
    let cpu = (any::<String>(), any::<u32>()).prop_map(|(vendor, family)| Cpu { vendor, family });
    let kernel = any::<[u16; 3]>().prop_map(|[major, minor, patch]| KernelVersion::new(major, minor, patch));
    let mode = prop_oneof![
        Just(IommuMode::Off),
        Just(IommuMode::Passthrough),
        Just(IommuMode::Translating)
    ];
    let bridges = fact(vec(host_bridge(), 0..3));
    let ram = fact(vec(span(), 0..3));
    let nature = any::<([u64; 5], bool, u16)>().prop_map(|(numbers, direct, boundary)| Nature {
        seed: numbers[0],
        jitter_ps: numbers[1],
        switch_ps: numbers[2],
        root_complex_ps: numbers[3],
        completion_timeout_ps: numbers[4],
        siblings: match direct {
            true => Siblings::Direct,
            false => Siblings::Upstream,
        },
        read_completion_boundary_bytes: boundary,
    });
    let facts = (fact(cpu), fact(kernel), fact(mode), bridges, ram, of(nature));
    facts.prop_map(|(cpu, kernel, iommu, bridges, ram, nature)| Host {
        cpu,
        kernel,
        iommu,
        bridges,
        ram,
        nature,
    })
}

fn host_bridge() -> impl Strategy<Value = HostBridge> {
    let window = (span(), any::<u64>()).prop_map(|(bus, phys)| HostWindow {
        bus,
        phys: PhysAddr::from_u64(phys),
    });
    let forwarding = prop_oneof![
        Just(Forwarding::Nothing),
        Just(Forwarding::StoresOnly),
        Just(Forwarding::SameBridge),
        Just(Forwarding::Everything),
    ];
    let place = any::<(u32, u8)>();
    (
        place,
        fact(vec(window, 0..3)),
        fact(any::<i64>()),
        fact(forwarding),
    )
        .prop_map(
            |((domain, bus), windows, inbound_offset, forwarding)| HostBridge {
                domain,
                bus,
                windows,
                inbound_offset,
                forwarding,
            },
        )
}
