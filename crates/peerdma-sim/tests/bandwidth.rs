//! The estimate of `peerdma::route::bandwidth` against what the simulator takes for the same flow.

mod bench_machine;

use bench_machine::Bench;
use peerdma::fact::Fact;
use peerdma::route;
use peerdma::route::bandwidth::{Estimator, Flow, Training, Way};
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use peerdma_sim::device::Outcome;
use peerdma_sim::file;
use peerdma_sim::machine::Options;
use peerdma_sim::random::Random;
use peerdma_sim::tlp::Access;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

/// A machine of four cards below two switches, with these links: the two uplinks, then a link for each card.
fn machine(links: [(u8, u8); 6], payload_bytes: u16, request_bytes: u16, iommu: &str) -> String {
    let link = |position: usize| format!("gen{} x{}", links[position].0, links[position].1);
    let sizes = format!("mps-supported = {payload_bytes}");
    let card = format!(
        "{{ kind = \"card\", bar = [{{ size = \"256 MiB\" }}], mps-supported = {payload_bytes}, mrrs = {request_bytes} }}"
    );
    // Completions go through the root complex where requests do.
    let acs = "acs = { can = \"VBRCU\", on = \"RCU\" }\n";
    let acs = if iommu == "translating" { acs } else { "" };
    let mut text = format!("iommu = \"{iommu}\"\n[firmware]\nmps = \"as-capable\"\n[[bridge]]\n");
    for switch in 0..2 {
        text += &format!(
            "[[bridge.port]]\nlink = \"{}\"\n{acs}{sizes}\n[bridge.port.switch]\n{sizes}\n",
            link(switch)
        );
        for port in 0..2 {
            text += &format!(
                "[[bridge.port.switch.port]]\nlink = \"{}\"\n{acs}{sizes}\ndevice = {card}\n",
                link(2 + 2 * switch + port)
            );
        }
    }
    text
}

/// Estimated and simulated bytes in a second, for a large transfer between two cards.
fn both(text: &str, client: usize, provider: usize, access: Access) -> (f64, f64) {
    let blueprint = file::load(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut bench = Bench::new(&blueprint, Options::default());
    let topology = Topology::new(blueprint.snapshot.clone(), &mut Warnings::default());
    let node = |card: usize| topology.find(bench.cards[card]).expect("a card");
    let flow = Flow {
        client: node(client),
        provider: node(provider),
        access: match access {
            Access::Read => route::Access::Read,
            Access::Write => route::Access::Write,
        },
        way: match client / 2 == provider / 2 && blueprint.snapshot.host.iommu != translating() {
            true => Way::Direct,
            false => Way::RootComplex,
        },
    };
    let estimate = Estimator::new(&topology)
        .estimate(flow, Training::Now)
        .unwrap_or_else(|error| panic!("{error:?}"));

    // A write has ended for its sender before it has arrived: a second transfer shows the pace.
    let plan = bench.plan(client, access, bench.address(provider, 0), 0, 32 * MIB);
    let (first, outcome) = bench.run(&plan);
    assert_eq!(outcome, Outcome::Done);
    let (second, outcome) = bench.run(&plan);
    assert_eq!(outcome, Outcome::Done);
    let took_ps = second.as_ps() - first.as_ps();
    let simulated = (32 * MIB) as f64 / (took_ps as f64 * 1e-12);
    (estimate.bytes_per_second as f64, simulated)
}

fn translating() -> Fact<peerdma::snapshot::IommuMode> {
    Fact::Known(peerdma::snapshot::IommuMode::Translating)
}

#[test]
fn estimate_and_simulation_agree_within_a_twentieth_on_random_links() {
    let mut random = Random::new(7);
    let mut worst: f64 = 0.0;
    for round in 0..150 {
        let links = [(); 6].map(|()| {
            (
                random.one_of(&[1, 2, 3, 4, 5, 6]),
                random.one_of(&[1, 2, 4, 8, 16]),
            )
        });
        let payload_bytes = random.one_of(&[128, 256, 512]);
        let request_bytes = random.one_of(&[128, 256, 512, 1024, 4096]);
        let iommu = random.one_of(&["off", "translating"]);
        let text = machine(links, payload_bytes, request_bytes, iommu);
        let provider = random.one_of(&[1, 2, 3]);
        let access = random.one_of(&[Access::Read, Access::Write]);
        let (estimated, simulated) = both(&text, 0, provider, access);
        let error = (estimated / simulated - 1.0).abs();
        assert!(
            error < 0.05,
            "round {round}: {access:?} of card {provider} by card 0, links {links:?}, MPS {payload_bytes}, MRRS \
             {request_bytes}, {iommu}: estimated {:.2} GB/s, simulated {:.2}",
            estimated / 1e9,
            simulated / 1e9
        );
        worst = worst.max(error);
    }
    println!("worst difference: {:.1}%", worst * 100.0);
}

/// Links, payload size, largest read, provider and access of a flow that crosses one uplink in both directions.
type TwiceOverOneUplink = ([(u8, u8); 6], u16, u16, Access);

fn twice_over_one_uplink() -> impl Strategy<Value = TwiceOverOneUplink> {
    let link = || {
        (
            1..=6u8,
            prop_oneof![Just(1u8), Just(2), Just(4), Just(8), Just(16)],
        )
    };
    let sizes = |most: u32| (0..=most).prop_map(|code| 128u16 << code);
    (
        proptest::array::uniform6(link()),
        sizes(2),
        sizes(5),
        prop_oneof![4 => Just(Access::Read), 1 => Just(Access::Write)],
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 24 } else { 200 }))]

    #[test]
    fn estimate_and_simulation_agree_where_one_uplink_is_crossed_twice(
        (links, payload_bytes, request_bytes, access) in twice_over_one_uplink()
    ) {
        let text = machine(links, payload_bytes, request_bytes, "translating");
        let (estimated, simulated) = both(&text, 0, 1, access);
        prop_assert!((estimated / simulated - 1.0).abs() < 0.05, "estimated {estimated}, simulated {simulated}");
    }
}

#[test]
fn a_slow_reader_does_not_hold_up_a_fast_one_on_the_uplink_that_they_share() {
    // Card 2 reads from card 0, behind one lane of 2.5 GT/s, while card 3 reads from card 1.
    let wide = (5, 16);
    let links = [wide, wide, (1, 1), wide, wide, wide];
    for (payload_bytes, request_bytes) in [(128, 4096), (256, 512), (512, 4096)] {
        let text = machine(links, payload_bytes, request_bytes, "off");
        let blueprint = file::load(&text).unwrap_or_else(|error| panic!("{error}"));
        let took_ps = |is_shared: bool| {
            let mut bench = Bench::new(&blueprint, Options::default());
            if is_shared {
                let slow = bench.plan(2, Access::Read, bench.address(0, 0), 0, MIB);
                bench.machine.request(&slow).unwrap();
            }
            let fast = bench.plan(3, Access::Read, bench.address(1, 0), 0, 16 * MIB);
            let fast = bench.machine.request(&fast).unwrap();
            bench.machine.run_until_idle();
            bench.machine.take_outcome(fast).unwrap().0.as_ps() as f64
        };
        let ratio = took_ps(true) / took_ps(false);
        assert!(ratio < 1.05, "MPS {payload_bytes}, MRRS {request_bytes}: {ratio}");
    }
}

#[test]
fn published_figures_that_links_limit_are_met_within_15_percent() {
    // KERNEL-FACTS F4: graphics cards at x16 of 32 GT/s; storage at x16 of 16 GT/s, published in GiB/s.
    let gib = (1u64 << 30) as f64;
    for (links, published) in [([(5, 16); 6], 54.3e9), ([(4, 16); 6], 26.4 * gib)] {
        for access in [Access::Read, Access::Write] {
            let (_, simulated) = both(&machine(links, 256, 512, "off"), 0, 1, access);
            let ratio = simulated / published;
            assert!((0.85..=1.15).contains(&ratio), "{links:?} {access:?}: {ratio:.3}");
        }
    }
}
