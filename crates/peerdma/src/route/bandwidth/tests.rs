//! Estimates against published measurements and figures worked out by hand; `laws` holds for any link.

mod laws;

use super::*;
use crate::addr::BusAddr;
use crate::pci::{Bar, BarKind, Bridge, BridgeKind, Express, Link, LinkRate, PortType};
use crate::snapshot::{Host, Snapshot, Warnings};
use alloc::vec;

const fn state(rate: u8, width: u8) -> LinkState {
    LinkState {
        rate: LinkRate(rate),
        width,
    }
}

/// A port or device at the end of one link or two of this state.
fn port(at: &str, port_type: PortType, link: Option<LinkState>) -> Function {
    let mut function = Function::new(at.parse().unwrap());
    function.config.bridge = Fact::Known(None);
    function.config.express = Fact::Known(Some(Express {
        port_type,
        link: Fact::Known(link.map(|link| Link { max: link, now: link })),
        port_number: Fact::NOT_IN_SOURCE,
        payload: Fact::NOT_IN_SOURCE,
    }));
    function
}

fn bridge(at: &str, port_type: PortType, link: LinkState, buses: (u8, u8)) -> Function {
    let mut function = port(at, port_type, Some(link));
    function.config.bridge = Fact::Known(Some(Bridge {
        kind: BridgeKind::Pci,
        primary: function.bdf.bus(),
        secondary: buses.0,
        subordinate: buses.1,
        windows: Fact::NOT_IN_SOURCE,
    }));
    function
}

fn device(at: &str, link: LinkState, sizes: (u16, u16), address: u64) -> Function {
    let mut function = port(at, PortType::ENDPOINT, Some(link));
    if let Fact::Known(Some(express)) = &mut function.config.express {
        express.payload = Fact::Known(Payload {
            max_supported_bytes: 512,
            max_payload_bytes: sizes.0,
            max_read_request_bytes: sizes.1,
        });
    }
    function.config.bars = Fact::Known(vec![Bar {
        index: 0,
        kind: BarKind::Memory64,
        prefetchable: true,
        address: BusAddr::from_u64(address),
    }]);
    function
}

const HIGH: u64 = 0x38_0000_0000;
const A: &str = "03:00.0";
const B: &str = "04:00.0";
const C: &str = "06:00.0";
const INTEGRATED: &str = "00:03.0";

/// A switch with two devices, a third below a root port of its own, a fourth in the root complex.
struct Plan {
    uplink: LinkState,
    a: LinkState,
    b: LinkState,
    c: LinkState,
    /// MPS and MRRS.
    a_sizes: (u16, u16),
    b_sizes: (u16, u16),
    b_address: u64,
}

impl Plan {
    fn alike(link: LinkState, sizes: (u16, u16)) -> Self {
        Self {
            uplink: link,
            a: link,
            b: link,
            c: link,
            a_sizes: sizes,
            b_sizes: sizes,
            b_address: HIGH,
        }
    }

    fn functions(&self) -> Vec<Function> {
        let mut integrated = device(INTEGRATED, self.c, self.b_sizes, HIGH);
        if let Fact::Known(Some(express)) = &mut integrated.config.express {
            express.port_type = PortType::INTEGRATED_ENDPOINT;
            express.link = Fact::Known(None);
        }
        vec![
            bridge("00:01.0", PortType::ROOT_PORT, self.uplink, (1, 4)),
            bridge("00:02.0", PortType::ROOT_PORT, self.c, (6, 6)),
            integrated,
            bridge("01:00.0", PortType::UPSTREAM, self.uplink, (2, 4)),
            bridge("02:00.0", PortType::DOWNSTREAM, self.a, (3, 3)),
            bridge("02:01.0", PortType::DOWNSTREAM, self.b, (4, 4)),
            device(A, self.a, self.a_sizes, HIGH),
            device(B, self.b, self.b_sizes, self.b_address),
            device(C, self.c, self.b_sizes, HIGH),
        ]
    }

    fn estimate(
        &self,
        client: &str,
        provider: &str,
        access: Access,
        way: Way,
    ) -> Result<Estimate, NoEstimate> {
        estimate(self.functions(), client, provider, access, way)
    }

    fn direct(&self, access: Access) -> u64 {
        self.estimate(A, B, access, Way::Direct).unwrap().bytes_per_second
    }
}

fn topology(functions: Vec<Function>) -> Topology {
    let mut warnings = Warnings::default();
    let snapshot = Snapshot::new(Host::default(), functions, &mut warnings);
    Topology::new(snapshot, &mut warnings)
}

fn estimate(
    functions: Vec<Function>,
    client: &str,
    provider: &str,
    access: Access,
    way: Way,
) -> Result<Estimate, NoEstimate> {
    let topology = topology(functions);
    let flow = Flow {
        client: topology.find(client.parse().unwrap()).unwrap(),
        provider: topology.find(provider.parse().unwrap()).unwrap(),
        access,
        way,
    };
    Estimator::new(&topology).estimate(flow, Training::Now)
}

#[test]
fn estimates_are_those_worked_out_by_hand() {
    let gen3 = Plan::alike(state(3, 4), (256, 512));
    let raw = 8_000_000_000 * 4 * 128 / 130 / 8;
    // A packet: 16 of header, 8 around it.
    assert_eq!(gen3.direct(Access::Write), raw * 256 / (256 + 24));
    // Two completions of 12 + 8, and the DLLPs for one request.
    assert_eq!(gen3.direct(Access::Read), raw * 512 / (512 + 40 + 16));
    let low = Plan {
        b_address: 0x9000_0000,
        ..Plan::alike(state(3, 4), (256, 512))
    };
    assert_eq!(low.direct(Access::Write), raw * 256 / (256 + 20));
    // FLITs hold what lower rates put around a packet.
    let flit = Plan::alike(state(6, 16), (256, 512));
    assert_eq!(flit.direct(Access::Write), 118_000_000_000 * 256 / 272);
    // A completion is not larger than its request.
    let small = Plan::alike(state(1, 1), (512, 128));
    assert_eq!(small.direct(Access::Read), 250_000_000 * 128 / (128 + 20 + 16));
}

#[test]
fn a_read_is_answered_in_packets_of_the_providers_size() {
    let plan = Plan {
        b_sizes: (128, 4096),
        ..Plan::alike(state(4, 4), (512, 512))
    };
    let raw = state(4, 4).bytes_per_second();
    assert_eq!(plan.direct(Access::Read), raw * 512 / (512 + 4 * 20 + 16));
    assert_eq!(plan.direct(Access::Write), raw * 512 / (512 + 24));
    let read = plan.estimate(A, B, Access::Read, Way::Direct).unwrap();
    assert_eq!((read.payload_bytes, read.request_header_bytes), (128, 16));
}

#[test]
fn the_slowest_link_and_its_fuller_direction_are_named() {
    let link = state(4, 8);
    for (slow, ends, read, write) in [
        ("a", A, LinkDirection::Down, LinkDirection::Up),
        ("b", B, LinkDirection::Up, LinkDirection::Down),
    ] {
        let mut plan = Plan::alike(link, (256, 512));
        *(if slow == "a" { &mut plan.a } else { &mut plan.b }) = state(4, 4);
        for (access, direction) in [(Access::Read, read), (Access::Write, write)] {
            let found = plan.estimate(A, B, access, Way::Direct).unwrap();
            assert_eq!(found.limiting.below, ends.parse().unwrap());
            assert_eq!((found.direction, found.counted), (direction, state(4, 4)));
            assert!(found.efficiency() > 0.85 && found.efficiency() < 1.0);
        }
    }
}

#[test]
fn only_the_way_through_the_root_complex_crosses_the_links_above_both() {
    let plan = Plan {
        uplink: state(1, 1),
        ..Plan::alike(state(5, 16), (256, 512))
    };
    let raw = state(1, 1).bytes_per_second();
    assert!(plan.direct(Access::Write) > 50_000_000_000);
    // Up: the packet, and the DLLPs for the one on its way down.
    let redirected = plan.estimate(A, B, Access::Write, Way::RootComplex).unwrap();
    assert_eq!(redirected.bytes_per_second, raw * 256 / (256 + 24 + 16));
    // Both directions carry the request, both completions and the DLLPs for three packets.
    let read = plan.estimate(A, B, Access::Read, Way::RootComplex).unwrap();
    assert_eq!(read.bytes_per_second, raw * 512 / (512 + 2 * 20 + 24 + 3 * 16));
    let across = plan.estimate(A, C, Access::Write, Way::RootComplex).unwrap();
    assert_eq!(across.bytes_per_second, raw * 256 / (256 + 24));
    assert_eq!(across.limiting.below, "01:00.0".parse().unwrap());
}

#[test]
fn a_part_of_the_root_complex_has_no_link_that_limits() {
    let plan = Plan::alike(state(3, 4), (256, 512));
    let found = plan
        .estimate(INTEGRATED, C, Access::Write, Way::RootComplex)
        .unwrap();
    assert_eq!(found.limiting.below, C.parse().unwrap());
    let within = plan.estimate(INTEGRATED, INTEGRATED, Access::Write, Way::RootComplex);
    assert_eq!(within, Err(NoEstimate::NoLink));
    assert_eq!(
        plan.estimate(A, A, Access::Write, Way::Direct),
        Err(NoEstimate::NoLink)
    );
}

#[test]
fn nothing_passes_a_link_that_is_down_whatever_else_is_unknown() {
    let plan = Plan {
        b: state(1, 0),
        ..Plan::alike(state(3, 4), (256, 512))
    };
    let mut functions = plan.functions();
    for function in &mut functions {
        if ["02:00.0", A]
            .map(|at| at.parse().unwrap())
            .contains(&function.bdf)
            && let Fact::Known(Some(express)) = &mut function.config.express
        {
            express.link = Fact::NOT_IN_SOURCE;
        }
    }
    for access in Access::ALL {
        let found = estimate(functions.clone(), A, B, access, Way::Direct).unwrap();
        assert_eq!((found.bytes_per_second, found.efficiency()), (0, 0.0));
        assert_eq!(found.limiting.below, B.parse().unwrap());
    }
}

#[test]
fn what_is_missing_is_named() {
    let missing = |at: &str, fact, why| {
        Err(NoEstimate::Missing {
            at: at.parse().unwrap(),
            fact,
            why,
        })
    };
    let changed = |at: &str, change: fn(&mut Function)| {
        let mut functions = Plan::alike(state(3, 4), (256, 512)).functions();
        let at = at.parse().unwrap();
        functions
            .iter_mut()
            .filter(|function| function.bdf == at)
            .for_each(change);
        move |access| estimate(functions.clone(), A, B, access, Way::Direct)
    };
    let unknown_sizes: fn(&mut Function) = |function| {
        if let Fact::Known(Some(express)) = &mut function.config.express {
            express.payload = Fact::Unknown(Unread::AccessDenied);
        }
    };
    let sizes = |at| missing(at, MissingFact::PacketSizes, Unread::AccessDenied);
    assert_eq!(changed(A, unknown_sizes)(Access::Write), sizes(A));
    assert_eq!(changed(A, unknown_sizes)(Access::Read), sizes(A));
    assert_eq!(changed(B, unknown_sizes)(Access::Read), sizes(B));
    // A write needs nothing of its target.
    assert!(changed(B, unknown_sizes)(Access::Write).is_ok());
    let of_zero = changed(A, |function| {
        if let Fact::Known(Some(express)) = &mut function.config.express {
            express.payload = Fact::Known(Payload {
                max_supported_bytes: 0,
                max_payload_bytes: 0,
                max_read_request_bytes: 0,
            });
        }
    });
    assert_eq!(
        of_zero(Access::Write),
        missing(A, MissingFact::PacketSizes, Unread::Contradictory)
    );
    let mut functions = Plan::alike(state(3, 4), (256, 512)).functions();
    for function in &mut functions {
        if let Fact::Known(Some(express)) = &mut function.config.express
            && [B, "02:01.0"]
                .map(|at| at.parse().unwrap())
                .contains(&function.bdf)
        {
            express.link = Fact::Unknown(Unread::AccessDenied);
        }
    }
    assert_eq!(
        estimate(functions, A, B, Access::Read, Way::Direct),
        missing(B, MissingFact::Link, Unread::AccessDenied)
    );
    let without_memory = changed(B, |function| function.config.bars = Fact::Known(Vec::new()));
    assert_eq!(without_memory(Access::Write), Err(NoEstimate::NoMemory));
    let conventional = changed(A, |function| function.config.express = Fact::Known(None));
    assert_eq!(
        conventional(Access::Write),
        Err(NoEstimate::Conventional {
            at: A.parse().unwrap()
        })
    );
}

#[test]
fn a_virtual_function_sends_packets_of_its_physical_functions_size() {
    let mut functions = Plan::alike(state(3, 4), (256, 512)).functions();
    let mut virtual_one = device("03:00.1", state(0, 0), (128, 128), HIGH);
    virtual_one.os.physical_function = Fact::Known(Some(A.parse().unwrap()));
    functions.push(virtual_one);
    for access in Access::ALL {
        let of_virtual = estimate(functions.clone(), "03:00.1", B, access, Way::Direct).unwrap();
        let of_physical = estimate(functions.clone(), A, B, access, Way::Direct).unwrap();
        assert_eq!(of_virtual.bytes_per_second, of_physical.bytes_per_second);
    }
}

#[test]
fn a_link_that_could_be_better_is_counted_so_when_asked() {
    let mut functions = Plan::alike(state(5, 16), (256, 512)).functions();
    for function in &mut functions {
        if let Fact::Known(Some(Express {
            link: Fact::Known(Some(link)),
            ..
        })) = &mut function.config.express
            && ["02:00.0", A]
                .map(|at| at.parse().unwrap())
                .contains(&function.bdf)
        {
            link.now = state(1, 16);
        }
    }
    let topology = topology(functions);
    let node = |at: &str| topology.find(at.parse().unwrap()).unwrap();
    let flow = Flow {
        client: node(A),
        provider: node(B),
        access: Access::Write,
        way: Way::Direct,
    };
    let estimator = Estimator::new(&topology);
    let of = |training| estimator.estimate(flow, training).unwrap();
    assert_eq!(of(Training::Now).raw_bytes_per_second, 4_000_000_000);
    assert_eq!(of(Training::Best).raw_bytes_per_second, 63_015_384_615);
}

/// What the links between two peers let through, for the packet sizes that such machines are set to: the
/// reports name rate and width, and not the sizes.
#[test]
fn published_figures_that_links_limit_are_met_within_15_per_cent() {
    const GIB: f64 = (1u64 << 30) as f64;
    let within = |measured: f64, link: LinkState, payload_bytes: u16| {
        for access in Access::ALL {
            let estimated = Plan::alike(link, (payload_bytes, 512)).direct(access) as f64;
            let ratio = estimated / measured;
            assert!(
                (0.85..=1.15).contains(&ratio),
                "{link}, MPS {payload_bytes}, {access:?}: {estimated} to {measured}"
            );
        }
    };
    for payload_bytes in [128, 256, 512] {
        // p2pmark, GPUs at PCIe 5.0 x16.
        within(54.3e9, state(5, 16), payload_bytes);
        // NFS over RDMA into a GPU, one adapter at PCIe 4.0 x16.
        within(26.4 * GIB, state(4, 16), payload_bytes);
        // Two Arc Pro B70 below a switch of PCIe 4.0: a dump of such a machine has 16 GT/s x16 between the
        // cards, and an MPS of 128 in both.
        within(28.0e9, state(4, 16), payload_bytes);
        within(28.0e9, state(5, 8), payload_bytes);
    }
}
