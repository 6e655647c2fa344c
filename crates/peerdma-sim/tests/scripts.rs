//! Scripts on the machines that ship with the repository.

use peerdma::addr::{Address, BusAddr, PhysAddr, Span};
use peerdma::fact::Fact;
use peerdma::snapshot::{HostWindow, IommuMode};
use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::file;
use peerdma_sim::machine::{Gear, Options};
use peerdma_sim::script::{self, Expected, Report, RunError, Told};
use std::fs;
use std::path::Path;

fn text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../machines");
    fs::read_to_string(folder.join(name)).unwrap()
}

fn machine(name: &str) -> Blueprint {
    file::load(&text(&format!("{name}.toml"))).unwrap()
}

fn run_in(gear: Gear, name: &str, script: &str) -> Result<Report, RunError> {
    let options = Options {
        gear,
        ..Options::default()
    };
    let script = script::read(script)?;
    script::run(&machine(name), &script, options, &mut |_| {}).map(|(report, _)| report)
}

fn run(name: &str, script: &str) -> Report {
    run_in(Gear::Batched, name, script).unwrap()
}

fn fates(report: &Report) -> Vec<Expected> {
    report.transfers.iter().map(|moved| moved.fates.whole()).collect()
}

#[test]
fn a_redirected_copy_is_fast_reports_success_and_is_wrong() {
    let report = run("redirect", &text("scripts/redirect.toml"));
    assert!(report.is_as_expected(), "{:?}", fates(&report));
    assert!(report.transfers.iter().all(|moved| moved.told == Told::Success));
    let whys: Vec<_> = report.transfers[..2]
        .iter()
        .map(|moved| moved.first_loss.unwrap().loss.why)
        .collect();
    assert_eq!(whys, [peerdma_sim::fabric::Why::NotForwarded; 2]);
    assert!(report.transfers[2].first_loss.is_none());
}

/// What is sent to two at once, or overlaps, was filled twice; the first was called wrong though it had arrived.
#[test]
fn one_source_reaches_several_at_once_intact() {
    let script = "[[transfer]]\nfrom = \"gpu0+3\"\nto = \"gpu1\"\nbytes = 300001\nby = \"gpu0\"\n[[transfer]]\nfrom = \"gpu0+3\"\n\
                  to = \"gpu2\"\nbytes = 70000\nby = \"gpu0\"\ntogether = true\n[[transfer]]\nfrom = \"gpu0+70001\"\nto = \"gpu3\"\n\
                  bytes = 300000\nby = \"gpu3\"\ntogether = true\nfill = 9";
    let report = run("gpu-box", script);
    assert_eq!(fates(&report), [Expected::Intact; 3]);
}

#[test]
fn both_gears_say_the_same_of_a_script() {
    for (name, script) in [
        ("redirect", text("scripts/redirect.toml")),
        (
            "gpu-box",
            "[[transfer]]\nfrom = \"gpu0\"\nto = \"gpu3\"\nbytes = 300001\nby = \"gpu3\"\n[[transfer]]\nfrom = \"gpu1\"\n\
             to = \"gpu2+7\"\nbytes = \"256 KiB\"\nby = \"gpu1\"\ntogether = true\nclass = \"relaxed\""
                .into(),
        ),
    ] {
        let [one, other] =
            [Gear::Batched, Gear::Tlp].map(|gear| run_in(gear, name, &script).unwrap());
        assert_eq!(one.counters, other.counters);
        assert_eq!(one.ended, other.ended);
        for (one, other) in one.transfers.iter().zip(&other.transfers) {
            assert_eq!((&one.fates, one.ended, one.told), (&other.fates, other.ended, other.told));
        }
    }
}

#[test]
fn an_iommu_is_told_what_a_script_needs_and_translated_requests_go_direct() {
    let script =
        "[[transfer]]\nfrom = \"gpu0\"\nto = \"gpu1\"\nbytes = \"64 KiB\"\nby = \"gpu0\"\nclass = \"CLASS\"";
    let direct = text("gpu-box.toml").replace(r#""VBRCUET", on = "VRCU""#, r#""VBRCUET", on = "VRCUT""#);
    let direct = file::load(&direct).unwrap();
    for class in ["strict", "relaxed", "translated", "translated-relaxed"] {
        let script = script::read(&script.replace("CLASS", class)).unwrap();
        let (report, _) = script::run(&direct, &script, Options::default(), &mut |_| {}).unwrap();
        let moved = &report.transfers[0];
        assert_eq!(moved.fates.whole(), Expected::Intact, "{class}");
        assert_eq!(
            moved.request.crosses_root_complex(),
            !class.starts_with("translated"),
            "{class}"
        );
    }
}

#[test]
fn faults_do_what_they_say() {
    let copy = "[[transfer]]\nfrom = \"gpu0\"\nto = \"ram+0x10000000\"\nbytes = \"64 KiB\"\n\
                [[transfer]]\nfrom = \"ram+0x20000000\"\nto = \"gpu0\"\nbytes = \"64 KiB\"\n";
    let with = |fault: &str| {
        run(
            "two-ssds",
            &format!("{}[[fault]]\n{fault}", copy.replace("gpu0", "nvme0:cmb")),
        )
    };
    let name = "nvme0";
    assert_eq!(
        fates(&with("kind = \"allocation\"\nnth = 100000")),
        [Expected::Intact; 2]
    );
    let lost = with("kind = \"completion-lost\"\nnth = 3");
    assert_eq!(lost.transfers[0].fates.whole(), Expected::Intact);
    assert!(
        matches!(
            lost.transfers[1].told,
            Told::Error {
                what: "completion timeout",
                ..
            }
        ),
        "{:?}",
        lost.transfers[1].told
    );
    let gone = with(&format!("kind = \"removed\"\ndevice = \"{name}\""));
    assert!(
        fates(&gone).iter().all(|fate| *fate == Expected::Lost),
        "{:?}",
        fates(&gone)
    );
}

#[test]
fn only_what_the_machine_writes_counts_for_faults_of_memory() {
    // One chunk of destination after the other, each of them filled before.
    let transfer = |index: u64| {
        format!(
            "[[transfer]]\nfrom = \"nvme0:cmb+{:#x}\"\nto = \"ram+{:#x}\"\nbytes = \"64 KiB\"\n",
            index << 16,
            0x1000_0000 + (index << 16)
        )
    };
    let script: String = (0..4).map(transfer).collect();
    for (nth, lost) in [(1, 0), (3, 2)] {
        for gear in [Gear::Batched, Gear::Tlp] {
            let script = format!("{script}[[fault]]\nkind = \"allocation\"\nnth = {nth}");
            let report = run_in(gear, "two-ssds", &script).unwrap();
            assert_eq!(report.refused_writes, 1, "{nth} {gear:?}");
            for (index, fate) in fates(&report).into_iter().enumerate() {
                // The write that is lost is one packet.
                let expected = if index == lost {
                    Expected::Mixed
                } else {
                    Expected::Intact
                };
                assert_eq!(fate, expected, "{nth} {gear:?} {index}");
            }
        }
    }
}

#[test]
fn a_script_that_needs_more_memory_than_the_machine_may_hold_is_refused_before_anything_moves() {
    // 65 transfers of 64 MiB from one place: the last destination is too much beside 64 MiB of sources.
    let transfer = |index: u64| {
        let to = index << 26;
        format!("[[transfer]]\nfrom = \"gpu0\"\nto = \"gpu1+{to:#x}\"\nby = \"gpu0\"\nbytes = \"64 MiB\"\n")
    };
    let script: String = (0..64).map(transfer).collect();
    let mut moved = 0;
    let script = script::read(&script).unwrap();
    let ran = script::run(&machine("redirect"), &script, Options::default(), &mut |_| {
        moved += 1
    });
    let Err(RunError::Script(error)) = ran else {
        panic!("it was carried out")
    };
    assert_eq!((error.at.line, moved), (63 * 5 + 1, 0));
    let wrong = script::Wrong::Budget {
        need_bytes: 65 << 26,
        budget_bytes: 4 << 30,
    };
    assert_eq!(error.wrong, wrong);
    // The same places again and again cost nothing more.
    let few = "[[transfer]]\nfrom = \"gpu0\"\nto = \"gpu1\"\nby = \"gpu0\"\nbytes = \"64 KiB\"\n";
    let script = script::read(&few.repeat(9)).unwrap();
    let options = Options {
        memory_budget_bytes: 128 << 10,
        ..Options::default()
    };
    let (report, _) = script::run(&machine("redirect"), &script, options, &mut |_| {}).unwrap();
    assert_eq!((report.transfers.len(), report.refused_writes), (9, 0));
}

#[test]
fn a_window_of_all_addresses_leaves_no_io_virtual_address_and_that_is_said() {
    let mut blueprint = machine("two-ssds");
    blueprint.snapshot.host.iommu = Fact::Known(IommuMode::Translating);
    let Fact::Known(bridges) = &mut blueprint.snapshot.host.bridges else {
        panic!()
    };
    bridges[0].windows = Fact::Known(vec![HostWindow {
        bus: Span::new(BusAddr::from_u64(0), BusAddr::from_u64(u64::MAX)).unwrap(),
        phys: PhysAddr::from_u64(0),
    }]);
    let script = "[[transfer]]\nfrom = \"nvme0:cmb\"\nto = \"ram+0x10000000\"\nbytes = 64";
    let script = script::read(script).unwrap();
    let error = script::run(&blueprint, &script, Options::default(), &mut |_| {}).unwrap_err();
    let told = error.to_string();
    assert!(
        told.starts_with("line 1, column 1: no address can be given"),
        "{told}"
    );
    assert!(
        told.contains("no I/O virtual address is left") && !told.contains("0xffff"),
        "{told}"
    );
}

#[test]
fn chance_picks_by_the_seed_that_the_run_has() {
    let script = "[[transfer]]\nfrom = \"ram+0x10000000\"\nto = \"nvme0:cmb\"\nbytes = \"64 KiB\"\n\
                  [[fault]]\nkind = \"completion-lost\"\none-in = 64\n";
    let told = |prefix: &str, seed| {
        let script = script::read(&format!("{prefix}{script}")).unwrap();
        let options = Options {
            seed,
            ..Options::default()
        };
        let (report, _) = script::run(&machine("two-ssds"), &script, options, &mut |_| {}).unwrap();
        format!("{:?}", report.transfers[0].told)
    };
    let by_option: Vec<_> = (0..8).map(|seed| told("", Some(seed))).collect();
    assert!(by_option.iter().any(|one| *one != by_option[0]), "{by_option:?}");
    let by_script: Vec<_> = (0..8)
        .map(|seed| told(&format!("seed = {seed}\n"), Some(99)))
        .collect();
    assert_eq!(by_option, by_script);
}

#[test]
fn an_iommu_fault_on_a_machine_whose_iommu_does_not_translate_is_refused_with_its_line() {
    let script = "[[transfer]]\nfrom = \"nvme0:cmb\"\nto = \"ram+0x10000000\"\nbytes = 64\n[[fault]]\nkind = \"iommu\"";
    let told = run_in(Gear::Batched, "two-ssds", script).unwrap_err().to_string();
    assert!(
        told.starts_with("line 5, column 1: the IOMMU of this machine does not translate"),
        "{told}"
    );
}

#[test]
fn a_script_that_does_not_fit_the_machine_is_refused_with_its_line() {
    let refused = |script: &str| match run_in(Gear::Batched, "redirect", script) {
        Err(error) => error.to_string(),
        Ok(report) => panic!("{report:?}"),
    };
    for (script, expected) in [
        (
            "from = \"gpu7\"\nto = \"gpu0\"\nbytes = 1",
            "line 2, column 8: the machine has no `gpu7`; it has gpu0, gpu1",
        ),
        (
            "from = \"gpu1:cmb\"\nto = \"gpu0\"\nbytes = 1",
            "line 2, column 8: gpu1 has no memory at cmb; it has bar0",
        ),
        (
            "from = \"gpu1:bar0\"\nto = \"gpu0\"\nbytes = 1",
            "line 2, column 8: gpu1 has no memory at bar0+0x0 (there are",
        ),
        (
            "from = \"gpu1\"\nto = \"gpu0\"\nbytes = 1",
            "line 1, column 1: either side could move the bytes; write by =",
        ),
        (
            "from = \"ram\"\nto = \"ram+64\"\nbytes = 1",
            "line 1, column 1: both sides are RAM",
        ),
        (
            "from = \"gpu1\"\nto = \"ram\"\nbytes = 64\n[[transfer]]\nfrom = \"gpu0\"\nto = \"ram+63\"\nbytes = 1\ntogether = true",
            "line 5, column 1: it shares bytes with the transfer in line 1,",
        ),
        (
            "from = \"gpu1+0x3fffffc00\"\nto = \"ram\"\nbytes = \"1 MiB\"",
            "line 2, column 8: gpu1 has no memory at 0x100000 bytes from",
        ),
    ] {
        let told = refused(&format!("[[transfer]]\n{script}"));
        assert!(told.starts_with(expected), "{told}");
    }
}
