//! What the specification's judge promises on random machines: knowing more never changes an answer to one that was
//! excluded before, the parts of an answer agree, and where the posted Linux rewrite follows the specification the
//! two agree.

#[path = "support/table.rs"]
mod table;

use peerdma::fact::{Fact, Unread};
use peerdma::route::linux::{self, Kernel};
use peerdma::route::spec::{Form, Judge, Outcome, Question, Reason, Way};
use peerdma::route::{Access, MapType, TlpClass, Verdict};
use peerdma::snapshot::{Snapshot, Warnings};
use peerdma::topology::{NodeId, Topology};
use proptest::prelude::*;
use std::fmt::Write as _;

/// Ports that face down, with the numbers that vectors name them by.
const PORTS: [(&str, &str); 11] = [
    ("00:01.0", "is=root-port buses=1-d window=e0000000-e08fffff port=1"),
    ("00:02.0", "is=root-port buses=10-10 window=e0900000-e09fffff port=2"),
    ("40:01.0", "is=root-port buses=41-41 window=e8000000-e80fffff port=1"),
    ("02:00.0", "is=downstream below=01:00.0 buses=3-8 window=e0000000-e03fffff port=1"),
    ("02:01.0", "is=downstream below=01:00.0 buses=9-9 window=e0400000-e04fffff port=2"),
    ("02:02.0", "is=downstream below=01:00.0 buses=a-c window=e0500000-e06fffff port=3"),
    ("02:03.0", "is=downstream below=01:00.0 buses=d-d window=e0700000-e08fffff port=4"),
    ("04:00.0", "is=downstream below=03:00.0 buses=5-5 window=e0000000-e00fffff port=1"),
    ("04:01.0", "is=downstream below=03:00.0 buses=6-6 window=e0100000-e01fffff port=2"),
    ("04:02.0", "is=downstream below=03:00.0 buses=7-7 window=e0200000-e02fffff port=3"),
    ("04:03.0", "is=downstream below=03:00.0 buses=8-8 window=e0300000-e03fffff port=4"),
];

/// Functions that are ports of no such kind.
const OTHERS: [(&str, &str); 5] = [
    ("01:00.0", "is=upstream below=00:01.0 buses=2-d window=e0000000-e08fffff"),
    ("03:00.0", "is=upstream below=02:00.0 buses=4-8 window=e0000000-e03fffff"),
    ("0a:00.0", "is=to-conventional below=02:02.0 buses=b-b window=e0500000-e06fffff"),
    ("0b:00.0", "is=conventional below=0a:00.0 bar=e0500000+100000"),
    ("0b:01.0", "is=conventional below=0a:00.0 bar=e0600000+100000"),
];

/// Devices of one function, each alone below its port.
const SINGLE: [(&str, &str); 7] = [
    ("05:00.0", "is=endpoint below=04:00.0 bar=e0000000+100000"),
    ("06:00.0", "is=endpoint below=04:01.0 bar=e0100000+100000"),
    ("07:00.0", "is=endpoint below=04:02.0 bar=e0200000+100000"),
    ("08:00.0", "is=endpoint below=04:03.0 bar=e0300000+100000"),
    ("09:00.0", "is=endpoint below=02:01.0 bar=e0400000+100000"),
    ("10:00.0", "is=endpoint below=00:02.0 bar=e0900000+100000"),
    ("41:00.0", "is=endpoint below=40:01.0 bar=e8000000+100000"),
];

/// A device of two functions, and one on a root bus.
const FURTHER: [(&str, &str); 3] = [
    ("0d:00.0", "is=endpoint below=02:03.0 bar=e0700000+100000"),
    ("0d:00.1", "is=endpoint below=02:03.0 bar=e0800000+100000"),
    ("00:03.0", "is=integrated bar=e0a00000+100000"),
];

const HOST_BRIDGES: &str = "0000:00 window=e0000000-e7ffffff@e0000000\n0000:40 window=e8000000-efffffff@e8000000\n";

fn read(text: &str) -> Snapshot {
    let text = format!("fabric m\n{text}\nm | | 05:00.0 reads 06:00.0 strict bus | direct | own");
    table::rows(&text).remove(0).machine
}

fn letters(bits: u8) -> String {
    let set = "VBRCUET".chars().enumerate().filter(|(bit, _)| bits >> bit & 1 != 0);
    let text: String = set.map(|(_, letter)| letter).collect();
    if text.is_empty() { "-".into() } else { text }
}

fn parts() -> impl Iterator<Item = (&'static str, &'static str)> {
    PORTS.into_iter().chain(OTHERS).chain(SINGLE).chain(FURTHER)
}

/// Any machine of which everything is known.
fn machine() -> impl Strategy<Value = Snapshot> {
    let acs = prop_oneof![
        2 => Just("none".to_owned()),
        3 => any::<u8>().prop_map(|bits| letters(bits & 0x7f)),
        3 => prop::sample::select(vec!["U", "VRCU", "RU", "CU", "BU", "TRU", "EU", "REU"]).prop_map(Into::into),
    ];
    let part = (
        acs,
        any::<u8>().prop_map(|bits| letters(bits & 0x7f)),
        prop::collection::vec(0..6u8, 0..4),
        prop_oneof![6 => Just(256), 1 => Just(128), 1 => Just(512)],
        prop_oneof![15 => Just("mse=1 bme=1"), 1 => Just("mse=0 bme=1"), 1 => Just("mse=1 bme=0")],
        prop::sample::select(vec!["0", "1", "1", "none"]),
    );
    let bridge = (
        prop::sample::select(vec!["everything", "everything", "stores-only", "same-bridge", "nothing"]),
        prop::sample::select(vec!["0", "0", "0", "400000000"]),
    );
    (
        prop::collection::vec(part, parts().count()),
        prop::collection::vec(bridge, 2),
        prop::sample::select(vec!["off", "passthrough", "translating"]),
    )
        .prop_map(|(chosen, bridges, iommu)| {
            let mut text = format!("host iommu={iommu} ram=0-7fffffff\n{HOST_BRIDGES}");
            for (bus, (forwarding, inbound)) in ["00", "40"].into_iter().zip(bridges) {
                let _ = writeln!(text, "0000:{bus} forwarding={forwarding} inbound={inbound}");
            }
            for ((at, fixed), (acs, capable, vector, mps, command, ats)) in parts().zip(chosen) {
                let vector: Vec<String> = vector.iter().map(ToString::to_string).collect();
                let vector = vector.join(",");
                let _ = write!(text, "{at} {fixed} mps={mps} {command} ats={ats} ");
                let _ = match fixed.contains("conventional") {
                    true => writeln!(text),
                    false => writeln!(text, "acs={acs} capable={capable} vector={vector}"),
                };
            }
            read(&text)
        })
}

/// A machine on which only what the rewrite looks at varies: R, C, T and B, and E with every bit of its vector set.
fn machine_as_the_rewrite_sees_it(egress: Egress) -> impl Strategy<Value = Snapshot> {
    prop::collection::vec(any::<u8>(), PORTS.len()).prop_map(move |chosen| {
        let mut text = format!("host iommu=translating ram=0-7fffffff\n{HOST_BRIDGES}");
        text.push_str("0000:00 forwarding=everything inbound=0\n0000:40 forwarding=everything inbound=0\n");
        for ((at, fixed), bits) in PORTS.into_iter().zip(chosen) {
            let mut bits = bits & 0x7e | 0x10;
            if egress == Egress::OnlyWithRedirect && bits & 0x04 == 0 {
                bits &= !0x20;
            }
            let _ = writeln!(text, "{at} {fixed} acs={} vector=0,1,2,3,4,5,6,7", letters(bits));
        }
        for (at, fixed) in OTHERS.into_iter().chain(SINGLE).chain(FURTHER) {
            let _ = writeln!(text, "{at} {fixed} ats=1");
        }
        let mut machine = read(&text);
        machine.host.cpu = Fact::Known("AuthenticAMD:0x19".parse().expect("a processor"));
        machine
    })
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Egress {
    Any,
    OnlyWithRedirect,
}

fn topology(machine: Snapshot) -> Topology {
    let mut warnings = Warnings::default();
    let topology = Topology::new(machine, &mut warnings);
    assert_eq!(warnings, Warnings::default());
    topology
}

/// Makes facts unknown: each number names a function (or the host) and a fact of it.
fn blur(machine: &mut Snapshot, holes: &[(usize, u8)]) {
    let unread = Unread::NotInSource;
    for &(which, fact) in holes {
        let functions = machine.functions().len();
        let which = which % (functions + 4);
        if let Some(what) = which.checked_sub(functions) {
            let host = &mut machine.host;
            match (what, fact % 4) {
                (0, _) => host.iommu = Fact::Unknown(unread),
                (1, 0) => host.bridges = Fact::Unknown(unread),
                (1, _) => host.ram = Fact::Unknown(unread),
                (_, fact) => {
                    if let Fact::Known(bridges) = &mut host.bridges {
                        let bridge = &mut bridges[what - 2];
                        match fact {
                            0 => bridge.windows = Fact::Unknown(unread),
                            1 => bridge.inbound_offset = Fact::Unknown(unread),
                            _ => bridge.forwarding = Fact::Unknown(unread),
                        }
                    }
                }
            }
            continue;
        }
        let at = machine.functions()[which].bdf;
        machine.edit(|function| {
            if function.bdf != at {
                return;
            }
            let config = &mut function.config;
            match fact % 10 {
                0..=2 => config.acs = Fact::Unknown(unread),
                3 => config.command = Fact::Unknown(unread),
                4 => {
                    if let Fact::Known(Some(express)) = &mut config.express {
                        express.payload = Fact::Unknown(unread);
                    }
                }
                5 => {
                    if let Fact::Known(Some(express)) = &mut config.express {
                        express.port_number = Fact::Unknown(unread);
                    }
                }
                6 => {
                    if let Fact::Known(Some(bridge)) = &mut config.bridge {
                        bridge.windows = Fact::Unknown(unread);
                    }
                }
                7 => config.ats = Fact::Unknown(unread),
                8 => config.express = Fact::Unknown(unread),
                _ => {
                    config.bars = Fact::Unknown(unread);
                    if fact >= 128 {
                        function.os.resources = Fact::Unknown(unread);
                    }
                }
            }
        });
    }
}

fn each_answer(mut with: impl FnMut(Access, TlpClass)) {
    for access in Access::ALL {
        for class in TlpClass::ALL {
            with(access, class);
        }
    }
}

fn pairs(topology: &Topology) -> impl Iterator<Item = (NodeId, NodeId)> + '_ {
    topology
        .nodes()
        .flat_map(|provider| topology.nodes().map(move |client| (provider, client)))
}

fn singles(topology: &Topology) -> Vec<NodeId> {
    let find = |(at, _): (&str, &str)| topology.find(at.parse().expect("an address")).expect("it is there");
    SINGLE.into_iter().map(find).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_answer_with_unknown_facts_allows_what_they_turn_out_to_give(
        machine in machine(),
        holes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6),
    ) {
        let mut blurred = machine.clone();
        blur(&mut blurred, &holes);
        let (known, unknown) = (topology(machine), topology(blurred));
        let (sharp, dim) = (Judge::new(&known), Judge::new(&unknown));
        for (provider, client) in pairs(&known) {
            let (told, guessed) = (sharp.verdict(provider, client), dim.verdict(provider, client));
            let at = |node| known.function(node).bdf.to_string();
            prop_assert_eq!(told.raw_distance(), guessed.raw_distance());
            for (access, class) in Access::ALL.into_iter().flat_map(|access| TlpClass::ALL.map(|class| (access, class))) {
                for map_type in told.answer(access, class).possible() {
                    prop_assert!(
                        guessed.answer(access, class).allows(map_type),
                        "{} {access:?} {}, {class:?}: {map_type} is possible, but not without the facts", at(client), at(provider)
                    );
                }
                for form in [Form::BusAddress, Form::HostAddress] {
                    let question = Question { provider, client, bar: None, access, class, form };
                    let (told, guessed) = (sharp.fate(question).outcome, dim.fate(question).outcome);
                    let is_alike = match (told, guessed) {
                        (_, Outcome::Unknown { .. }) => true,
                        (Outcome::Refused { .. }, Outcome::Refused { .. }) => true,
                        (told, guessed) => told == guessed,
                    };
                    prop_assert!(is_alike, "{question:?}: {told:?} without the facts {guessed:?}");
                }
            }
        }
    }

    #[test]
    fn the_answer_follows_from_the_evidence(
        machine in machine(),
        holes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    ) {
        let mut machine = machine;
        blur(&mut machine, &holes);
        let topology = topology(machine);
        let judge = Judge::new(&topology);
        for (provider, client) in pairs(&topology) {
            let verdict = judge.verdict(provider, client);
            each_answer(|access, class| {
                let evidence = judge.evidence(provider, client, access, class);
                assert_eq!(evidence.answer, verdict.answer(access, class));
                let expected = match evidence.reason {
                    Reason::SameFunction | Reason::Direct => Some(MapType::BusAddr),
                    Reason::ThroughRootComplex { .. } => Some(MapType::ThruHostBridge),
                    Reason::Refused { .. } => Some(MapType::NotSupported),
                    Reason::Unknown { .. } => None,
                };
                assert_eq!(evidence.answer.map_type(), expected, "{evidence:?}");
                if let Outcome::Delivered { request, .. } = evidence.bus_form.outcome {
                    let last = evidence.bus_form.request.last().map(|step| step.at);
                    assert_eq!(last, Some(topology.function(provider).bdf), "{evidence:?}");
                    let passes = evidence.bus_form.request.iter().any(|step| step.deed == peerdma::route::spec::Deed::EntersRootComplex);
                    assert_eq!(passes, request == Way::ThroughRootComplex);
                }
            });
        }
    }

    #[test]
    fn for_reads_the_posted_rewrite_says_the_same_where_egress_control_comes_with_redirect(
        machine in machine_as_the_rewrite_sees_it(Egress::OnlyWithRedirect),
    ) {
        let topology = topology(machine);
        let (judge, next) = (Judge::new(&topology), linux::Judge::new(&topology, Kernel::Next));
        for &provider in &singles(&topology) {
            for &client in &singles(&topology) {
                let (ours, theirs) = (judge.verdict(provider, client), next.verdict(provider, client));
                prop_assert_eq!(ours.raw_distance(), theirs.raw_distance());
                for class in TlpClass::ALL {
                    let (read, theirs_read) = (ours.answer(Access::Read, class), theirs.answer(Access::Read, class));
                    if read != theirs_read {
                        prop_assert!(theirs_read.surely_refused() && only_completions_go_up(&judge, provider, client, class));
                    }
                    check_write(&ours, &theirs, class)?;
                }
            }
        }
    }

    #[test]
    fn where_the_posted_rewrite_says_direct_or_blocked_so_does_the_specification(
        machine in machine_as_the_rewrite_sees_it(Egress::Any),
    ) {
        let topology = topology(machine);
        let (judge, next) = (Judge::new(&topology), linux::Judge::new(&topology, Kernel::Next));
        for &provider in &singles(&topology) {
            for &client in &singles(&topology) {
                let (ours, theirs) = (judge.verdict(provider, client), next.verdict(provider, client));
                for class in TlpClass::ALL {
                    let theirs_read = theirs.answer(Access::Read, class).map_type();
                    if theirs_read != Some(MapType::ThruHostBridge) {
                        if ours.answer(Access::Read, class).map_type() != theirs_read {
                            let refused = theirs_read == Some(MapType::NotSupported);
                            prop_assert!(refused && only_completions_go_up(&judge, provider, client, class));
                        }
                        check_write(&ours, &theirs, class)?;
                    }
                }
            }
        }
    }
}

/// The request turns around, so that no port above sees its translated address, and only completions go up: the rewrite
/// takes blocking above to be about them too.
fn only_completions_go_up(judge: &Judge<'_>, provider: NodeId, client: NodeId, class: TlpClass) -> bool {
    let evidence = judge.evidence(provider, client, Access::Read, class);
    let expected = Outcome::Delivered {
        request: Way::Direct,
        completion: Way::ThroughRootComplex,
    };
    class.is_translated() && evidence.bus_form.outcome == expected
}

/// A write has no completions that could be redirected: it may be direct where the rewrite, which does not tell the
/// two apart, says otherwise, and never the other way round.
fn check_write(ours: &Verdict, theirs: &Verdict, class: TlpClass) -> Result<(), TestCaseError> {
    let (ours, theirs) = (ours.answer(Access::Write, class), theirs.answer(Access::Write, class));
    if theirs.map_type() != Some(MapType::ThruHostBridge) {
        // A refusal because of a redirected completion and a port above that blocks is about reads only.
        let is_direct_after_all = theirs.surely_refused() && ours.map_type() == Some(MapType::BusAddr);
        prop_assert!(is_direct_after_all || ours == theirs, "{ours} {theirs}");
    }
    Ok(())
}
