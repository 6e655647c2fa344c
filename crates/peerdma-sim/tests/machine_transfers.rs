//! Transfers, one at a time and several: bytes, times, failures.

mod bench_machine;

use bench_machine::{Bench, blueprint, pattern};
use peerdma_sim::device::{Outcome, Purpose};
use peerdma_sim::fabric::{Why, Width};
use peerdma_sim::machine::{Gear, Options};
use peerdma_sim::time::Time;
use peerdma_sim::tlp::{Access, Failure};

const MIB: u64 = 1 << 20;

fn bench(iommu: &str, acs: &str, gear: Gear) -> Bench {
    Bench::new(
        &blueprint(iommu, acs, 256),
        Options {
            gear,
            ..Options::default()
        },
    )
}

/// Bytes a second over a span.
fn gigabytes_per_second(bytes: u64, from: Time, to: Time) -> f64 {
    bytes as f64 * 1000.0 / (to.as_ps() - from.as_ps()) as f64
}

#[test]
fn bytes_arrive_by_writes_and_reads_over_every_way() {
    for gear in [Gear::Tlp, Gear::Batched] {
        for (iommu, acs) in [("off", "-"), ("off", "RCU"), ("translating", "VRCU")] {
            for target in [1, 2, 3] {
                let mut bench = bench(iommu, acs, gear);
                let data = pattern(target as u8, 10_000);
                bench.fill(0, 77, &data);
                let (_, outcome) =
                    bench.run(&bench.plan(0, Access::Write, bench.address(target, 4001), 77, 10_000));
                assert_eq!(outcome, Outcome::Done);
                assert_eq!(
                    bench.read(target, 4001, 10_000),
                    data,
                    "{gear:?} {iommu} {acs} to {target}"
                );
                let (_, outcome) =
                    bench.run(&bench.plan(0, Access::Read, bench.address(target, 4001), 70_000, 10_000));
                assert_eq!(outcome, Outcome::Done);
                assert_eq!(
                    bench.read(0, 70_000, 10_000),
                    data,
                    "{gear:?} {iommu} {acs} from {target}"
                );
                assert_eq!(bench.machine.losses().count(), 0);
            }
        }
    }
}

#[test]
fn ram_is_written_and_read_like_any_other_memory() {
    for gear in [Gear::Tlp, Gear::Batched] {
        let mut bench = bench("translating", "VRCU", gear);
        let data = pattern(3, 5000);
        bench.fill(2, 0, &data);
        bench.run(&bench.plan(2, Access::Write, bench.ram_address(100), 0, 5000));
        let mut found = vec![0; 5000];
        bench.machine.cpu_read(bench.ram_phys + 100, &mut found);
        assert_eq!(found, data);
        bench.run(&bench.plan(0, Access::Read, bench.ram_address(100), 9, 5000));
        assert_eq!(bench.read(0, 9, 5000), data);
        assert_eq!(bench.machine.counters().ram.payload.data_bytes, 10_000);
    }
}

#[test]
fn a_flow_of_writes_or_reads_fills_a_link_of_sixteen_lanes_at_32_gigatransfers() {
    // Of 63.02 GB/s: 256 of 280 bytes of each write (57.6); two completions of 276 bytes, and 16 bytes of DLLPs for their
    // request, for 512 (56.8).
    for (access, least) in [(Access::Write, 56.5), (Access::Read, 56.0)] {
        let mut bench = bench("translating", "VRCU", Gear::Batched);
        let (end, outcome) = bench.run(&bench.plan(0, access, bench.address(2, 0), 0, 64 * MIB));
        assert_eq!(outcome, Outcome::Done);
        let rate = gigabytes_per_second(64 * MIB, Time::ZERO, end);
        assert!(rate > least && rate < 58.6, "{access:?}: {rate} GB/s");
    }
}

#[test]
fn two_flows_share_what_both_need_and_a_narrow_link_holds_its_source_back() {
    let mut bench = bench("off", "-", Gear::Batched);
    let plans = [0, 1].map(|card| {
        bench.plan(
            card,
            Access::Write,
            bench.address(2, card as u64 * 100 * MIB),
            0,
            8 * MIB,
        )
    });
    let transfers = plans.map(|plan| bench.machine.request(&plan).unwrap());
    bench.machine.run_until_idle();
    for transfer in transfers {
        let (end, _) = bench.machine.take_outcome(transfer).unwrap();
        let rate = gigabytes_per_second(8 * MIB, Time::ZERO, end);
        assert!(rate > 27.0 && rate < 30.0, "{rate} GB/s each");
    }
    let start = bench.machine.now();
    let (end, _) = bench.run(&bench.plan(0, Access::Write, bench.address(3, 0), 0, 8 * MIB));
    // Had the switches room for all, the source would be rid of it after 0.15 ms.
    let rate = gigabytes_per_second(8 * MIB, start, end);
    assert!(rate > 6.9 && rate < 7.5, "{rate} GB/s");
}

#[test]
fn a_write_that_gets_nowhere_is_silent_and_a_read_tells_where_it_stopped() {
    for gear in [Gear::Tlp, Gear::Batched] {
        let mut bench = bench("translating", "VRCU", gear);
        // The last 4096 bytes before the end of what is mapped, and as many behind.
        let edge = bench.ram_address(bench_machine::CARD_BYTES - 4096);
        let (_, outcome) = bench.run(&bench.plan(0, Access::Write, edge, 0, 8192));
        assert_eq!(outcome, Outcome::Done);
        assert_eq!(bench.machine.losses().of(Why::IommuFault).count(), 16);
        let (_, outcome) = bench.run(&bench.plan(0, Access::Read, edge, 0, 8192));
        let failure = Failure::UnsupportedRequest;
        assert_eq!(
            outcome,
            Outcome::Failed {
                good_bytes: 4096,
                failure
            }
        );
    }
}

#[test]
fn what_was_not_asked_for_yet_is_not_asked_for_after_a_failure() {
    let mut bench = bench("translating", "VRCU", Gear::Batched);
    let nowhere = bench_machine::IOVA - (1 << 30);
    let (end, outcome) = bench.run(&bench.plan(0, Access::Read, nowhere, 0, 1 << 30));
    assert!(matches!(outcome, Outcome::Failed { good_bytes: 0, .. }));
    assert!(end.as_ps() < 20_000_000, "{end}");
}

#[test]
fn a_function_that_may_not_issue_requests_learns_it_at_once() {
    const COMMAND: u16 = 0x04;
    for access in [Access::Write, Access::Read] {
        let mut bench = bench("off", "-", Gear::Batched);
        bench
            .machine
            .config_write(bench.cards[0], COMMAND, Width::Word, 0x2);
        let failure = Failure::MasterDisabled;
        let (end, outcome) = bench.run(&bench.plan(0, access, bench.address(2, 0), 0, 4096));
        assert_eq!(
            outcome,
            Outcome::Failed {
                good_bytes: 0,
                failure
            }
        );
        assert!(end.as_ps() < 1_100_000);
        let carried = bench.machine.counters();
        assert!(
            carried
                .links
                .iter()
                .all(|link| link.up.tlps() + link.down.tlps() == 0)
        );
    }
}

#[test]
fn a_payload_that_is_too_large_for_the_receiver_is_lost_and_its_reader_waits_in_vain() {
    const DEVICE_CONTROL: u16 = 0x08;
    let mut bench = bench("off", "-", Gear::Batched);
    // The lower payload size of card 1: 128 bytes, while its neighbour sends 256.
    let card = bench.cards[1];
    let express = (0x40..0x100u16)
        .step_by(4)
        .find(|offset| bench.machine.config_read(card, *offset, Width::Byte) == 0x10);
    let control = express.unwrap() + DEVICE_CONTROL;
    let before = bench.machine.config_read(card, control, Width::Word);
    bench
        .machine
        .config_write(card, control, Width::Word, before & !0xe0);
    let (_, outcome) = bench.run(&bench.plan(0, Access::Write, bench.address(1, 0), 0, 1024));
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(bench.machine.losses().of(Why::MalformedTlp).count(), 4);
    let start = bench.machine.now();
    let (end, outcome) = bench.run(&bench.plan(1, Access::Read, bench.address(0, 0), 0, 1024));
    let failure = Failure::CompletionTimeout;
    assert_eq!(
        outcome,
        Outcome::Failed {
            good_bytes: 0,
            failure
        }
    );
    assert!(end.as_ps() - start.as_ps() >= 50_000_000_000);
}

#[test]
fn counters_tell_payload_from_queue_traffic_and_dllps_go_the_other_way() {
    let mut bench = bench("off", "-", Gear::Batched);
    let mut plan = bench.plan(0, Access::Write, bench.address(2, 0), 0, 1024);
    bench.run(&plan);
    (plan.purpose, plan.len_bytes) = (Purpose::Queue, 64);
    bench.run(&plan);
    let counters = bench.machine.counters();
    let id = bench.machine.fabric().find(bench.cards[0]).unwrap();
    let link = bench.machine.fabric().function(id).link_above.unwrap();
    let carried = counters.links[link.index()];
    let header_bytes = if bench.address(2, 0) >> 32 == 0 { 12 } else { 16 };
    assert_eq!(
        (carried.up.payload.tlps, carried.up.payload.data_bytes),
        (4, 1024)
    );
    assert_eq!(carried.up.payload.bytes, 4 * (256 + header_bytes + 8));
    assert_eq!((carried.up.queue.tlps, carried.up.queue.data_bytes), (1, 64));
    assert_eq!((carried.down.dllp_bytes, carried.down.tlps()), (5 * 16, 0));
}

#[test]
fn a_refusal_takes_the_way_of_a_completion_and_is_dropped_where_a_completion_is() {
    for (acs, failure) in [
        ("CU", Failure::UnsupportedRequest),
        ("C", Failure::CompletionTimeout),
    ] {
        for gear in [Gear::Tlp, Gear::Batched] {
            let mut bench = bench("off", acs, gear);
            // Card 1 no longer decodes memory.
            bench.machine.config_write(bench.cards[1], 0x04, Width::Word, 0x4);
            let plan = bench.plan(0, Access::Read, bench.address(1, 0), 0, 256);
            let (_, outcome) = bench.run(&plan);
            let good_bytes = 0;
            assert_eq!(outcome, Outcome::Failed { good_bytes, failure }, "{acs}");
        }
    }
}
