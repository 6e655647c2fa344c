//! What holds for any links and packet sizes, and that no registers make an estimate fail.

use super::super::wire::Stream;
use super::*;
use proptest::prelude::*;

fn any_link() -> impl Strategy<Value = LinkState> {
    (1u8..=6, prop::sample::select(&[1u8, 2, 4, 8, 12, 16, 32][..]))
        .prop_map(|(rate, width)| state(rate, width))
}

fn any_sizes() -> impl Strategy<Value = (u16, u16)> {
    (0..=5u16, 0..=5u16).prop_map(|(payload, request)| (128 << payload, 128 << request))
}

proptest! {
    #[test]
    fn more_lanes_rate_or_payload_never_slow_a_flow_down(
        links in prop::array::uniform4(any_link()),
        sizes in prop::array::uniform2(any_sizes()),
        which in 0..4usize,
        way in prop::sample::select(&[Way::Direct, Way::RootComplex][..]),
        access in prop::sample::select(&Access::ALL[..]),
    ) {
        let of = |links: [LinkState; 4], sizes: [(u16, u16); 2]| {
            let [uplink, a, b, c] = links;
            let [a_sizes, b_sizes] = sizes;
            let plan = Plan { uplink, a, b, c, a_sizes, b_sizes, b_address: HIGH };
            plan.estimate(A, if which == 3 { C } else { B }, access, if which == 3 { Way::RootComplex } else { way })
                .unwrap()
        };
        let now = of(links, sizes);
        prop_assert!(now.bytes_per_second < now.raw_bytes_per_second);
        prop_assert!(now.efficiency() > 0.0 && now.efficiency() < 1.0);
        let mut wider = links;
        wider[which].width = wider[which].width.saturating_mul(2).min(63);
        prop_assert!(of(wider, sizes).bytes_per_second >= now.bytes_per_second);
        let mut faster = links;
        faster[which].rate = LinkRate((faster[which].rate.0 + 1).min(6));
        prop_assert!(of(faster, sizes).bytes_per_second >= now.bytes_per_second);
        let mut larger = sizes;
        for (payload, _) in &mut larger {
            *payload = (*payload * 2).min(4096);
        }
        prop_assert!(of(links, larger).bytes_per_second >= now.bytes_per_second);
    }

    #[test]
    fn a_flow_is_as_fast_one_way_as_the_other_between_devices_set_up_alike(
        links in prop::array::uniform3(any_link()),
        sizes in any_sizes(),
        way in prop::sample::select(&[Way::Direct, Way::RootComplex][..]),
        access in prop::sample::select(&Access::ALL[..]),
    ) {
        let [uplink, a, b] = links;
        let plan = Plan { uplink, a, b, ..Plan::alike(a, sizes) };
        let there = plan.estimate(A, B, access, way).unwrap();
        let back = plan.estimate(B, A, access, way).unwrap();
        prop_assert_eq!(there.bytes_per_second, back.bytes_per_second);
    }

    #[test]
    fn no_registers_make_an_estimate_overflow(
        rate in any::<u8>(),
        width in any::<u8>(),
        sizes in any::<(u16, u16)>(),
        header in any::<u8>(),
    ) {
        let link = state(rate, width);
        for access in Access::ALL {
            let stream = Stream {
                access,
                max_payload_bytes: sizes.0,
                max_read_request_bytes: sizes.1,
                request_header_bytes: header,
            };
            let unit = stream.unit();
            let load = unit.load(link.rate);
            prop_assert!(load.forward_bytes.max(load.backward_bytes) > unit.payload_bytes);
        }
        for way in [Way::Direct, Way::RootComplex] {
            for access in Access::ALL {
                if let Ok(found) = Plan::alike(link, sizes).estimate(A, B, access, way) {
                    prop_assert!(found.bytes_per_second <= link.bytes_per_second());
                }
            }
        }
    }

    #[test]
    fn no_facts_however_absurd_make_an_estimate_fail_or_exceed_its_link(
        changes in prop::collection::vec((0..9usize, 0..8u8, any::<[u8; 4]>()), 1..16),
    ) {
        let mut functions = Plan::alike(state(4, 8), (256, 512)).functions();
        for (which, what, bytes) in changes {
            distort(&mut functions[which], what, bytes);
        }
        let topology = topology(functions);
        let estimator = Estimator::new(&topology);
        for client in topology.nodes() {
            for provider in topology.nodes() {
                for (access, way) in [(Access::Read, Way::Direct), (Access::Write, Way::RootComplex)] {
                    let flow = Flow { client, provider, access, way };
                    for training in [Training::Now, Training::Best] {
                        if let Ok(found) = estimator.estimate(flow, training) {
                            prop_assert!(found.bytes_per_second <= found.raw_bytes_per_second);
                            prop_assert_eq!(found.counted.bytes_per_second(), found.raw_bytes_per_second);
                        }
                    }
                }
            }
        }
    }
}

/// Puts nonsense into a function.
fn distort(function: &mut Function, what: u8, [a, b, c, d]: [u8; 4]) {
    let word = u16::from_le_bytes([a, b]);
    match (what, &mut function.config.express) {
        (0, express) => *express = Fact::Known(None),
        (1, express) => *express = Fact::Unknown(Unread::AccessDenied),
        (2, _) => function.os.physical_function = Fact::Known(Some(Bdf::from_devfn(0, a % 8, b % 32))),
        (3, _) => function.upstream = Fact::Known(Some(Bdf::from_devfn(0, a % 8, b % 32))),
        (4, _) => function.config.bars = Fact::Unknown(Unread::NotInSource),
        (5, Fact::Known(Some(express))) => express.port_type = PortType(a & 0xf),
        (6, Fact::Known(Some(express))) => {
            let (max, now) = (state(a, b), state(c, d));
            express.link = Fact::Known(Some(Link { max, now }));
        }
        (_, Fact::Known(Some(express))) => {
            express.payload = Fact::Known(Payload {
                max_supported_bytes: word,
                max_payload_bytes: word,
                max_read_request_bytes: u16::from_le_bytes([c, d]),
            });
        }
        (_, _) => {}
    }
}
