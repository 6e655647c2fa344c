//! What the specification's judge promises on random machines: knowing more never changes an answer to one that was
//! excluded before, what is unknown has no more answers than it must, and the parts of an answer agree.

#[path = "support/machines.rs"]
mod machines;
#[path = "support/table.rs"]
mod table;

use machines::{PORTS, each_answer, machine, pairs, topology};
use peerdma::addr::{Address, Bdf, BusAddr, PhysAddr, Span};
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{Acs, AcsFlags, Bar, BarKind, EgressVector, PortType, Windows};
use peerdma::route::spec::{Deed, Form, Judge, Outcome, Question, Reason, Way};
use peerdma::route::{Access, MapType, TlpClass};
use peerdma::snapshot::{Forwarding, HostWindow, IommuMode, Snapshot, Warnings};
use peerdma::topology::{NodeId, Topology};
use proptest::prelude::*;

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_answer_with_unknown_facts_allows_what_they_turn_out_to_give(
        machine in machine(),
        holes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6),
    ) {
        let mut blurred = machine.clone();
        blur(&mut blurred, &holes);
        let (known, unknown) = (topology(machine), topology(blurred));
        let (sharp, dim) = (Judge::new(&known), Judge::new(&unknown));
        let is_alike = |told: &Outcome, guessed: &Outcome| match (told, guessed) {
            (_, Outcome::Unknown { .. }) | (Outcome::Refused { .. }, Outcome::Refused { .. }) => true,
            (told, guessed) => told == guessed,
        };
        for client in known.nodes() {
            each_answer(|access, class| {
                let (told, guessed) = (sharp.ram_fate(client, access, class), dim.ram_fate(client, access, class));
                assert!(is_alike(&told.outcome, &guessed.outcome), "RAM: {told:?}, without the facts {guessed:?}");
            });
        }
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
                    prop_assert!(is_alike(&told, &guessed), "{question:?}: {told:?} without the facts {guessed:?}");
                }
            }
        }
    }

    #[test]
    fn no_facts_however_absurd_make_the_judge_fail(
        machine in machine(),
        absurd in prop::collection::vec((any::<usize>(), 0..6u8, any::<u64>(), any::<u64>()), 1..12),
    ) {
        let mut machine = machine;
        for &(which, what, a, b) in &absurd {
            distort(&mut machine, which, what, a, b);
        }
        let topology = Topology::new(machine, &mut Warnings::default());
        let judge = Judge::new(&topology);
        for client in topology.nodes() {
            each_answer(|access, class| {
                let fate = judge.ram_fate(client, access, class);
                let arrives = matches!(fate.outcome, Outcome::Delivered { .. });
                let is_at_top = fate.request.last().is_some_and(|step| step.deed == Deed::EntersRootComplex);
                assert!(!arrives || is_at_top, "{fate:?}");
            });
        }
        for (provider, client) in pairs(&topology) {
            let verdict = judge.verdict(provider, client);
            each_answer(|access, class| assert!(verdict.answer(access, class).possible().next().is_some()));
            let evidence = judge.evidence(provider, client, Access::Read, TlpClass::Strict);
            prop_assert_eq!(evidence.answer, verdict.answer(Access::Read, TlpClass::Strict));
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
                    let passes = evidence.bus_form.request.iter().any(|step| step.deed == Deed::EntersRootComplex);
                    assert_eq!(passes, request == Way::ThroughRootComplex);
                }
            });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn an_unknown_register_gives_exactly_what_its_values_give(
        machine in machine(),
        which in any::<prop::sample::Index>(),
    ) {
        // An unknown ACS capability: every control register, with a vector of all bits or none (a pair has
        // one port to turn to), or no capability at all.
        let at: Bdf = which.get(&PORTS).0.parse().expect("an address");
        let mut values: Vec<Fact<Option<Acs>>> = vec![Fact::Known(None)];
        for bits in 0..0x80u16 {
            for numbers in [0..0, 0..8u8] {
                let clear = EgressVector::new(8).expect("a size");
                values.push(Fact::Known(Some(Acs {
                    capable: AcsFlags::from_register(0x7f),
                    control: AcsFlags::from_register(bits),
                    egress: Fact::Known(Some(numbers.fold(clear, EgressVector::forbidding))),
                })));
            }
        }
        let with = |value: &Fact<Option<Acs>>| {
            let mut machine = machine.clone();
            machine.edit(|function| if function.bdf == at { function.config.acs = value.clone(); });
            machine
        };
        union_equals(with(&Fact::NOT_IN_SOURCE), values.iter().map(with))?;
        let forwarding = |value| {
            let mut machine = machine.clone();
            if let Fact::Known(bridges) = &mut machine.host.bridges {
                bridges[0].forwarding = value;
            }
            machine
        };
        let all = [Forwarding::Nothing, Forwarding::StoresOnly, Forwarding::SameBridge, Forwarding::Everything];
        union_equals(forwarding(Fact::NOT_IN_SOURCE), all.map(|value| forwarding(Fact::Known(value))))?;
        let iommu = |mode| {
            let mut machine = machine.clone();
            machine.host.iommu = mode;
            machine
        };
        let all = [IommuMode::Off, IommuMode::Passthrough, IommuMode::Translating];
        union_equals(iommu(Fact::NOT_IN_SOURCE), all.map(|mode| iommu(Fact::Known(mode))))?;
    }
}

/// Puts a value into a machine that no sound machine has: windows that cross, BARs at the end of the space, ports of no
/// known kind, bus numbers that lead elsewhere, offsets that lead out of the space.
fn distort(machine: &mut Snapshot, which: usize, what: u8, a: u64, b: u64) {
    let span = Span::new(BusAddr::from_u64(a.min(b)), BusAddr::from_u64(a.max(b))).ok();
    if what == 0 {
        if let Fact::Known(bridges) = &mut machine.host.bridges {
            let bridge = &mut bridges[which % 2];
            bridge.inbound_offset = Fact::Known(a as i64);
            bridge.windows = Fact::Known(Vec::from_iter(span.map(|bus| HostWindow {
                bus,
                phys: PhysAddr::from_u64(b),
            })));
        }
        return;
    }
    let at = machine.functions()[which % machine.functions().len()].bdf;
    machine.edit(|function| {
        if function.bdf != at {
            return;
        }
        let config = &mut function.config;
        match (what, &mut config.bridge, &mut config.express) {
            (1, Fact::Known(Some(bridge)), _) => {
                bridge.windows = Fact::Known(Windows {
                    io: None,
                    memory: span,
                    prefetchable: span,
                });
            }
            (2, Fact::Known(Some(bridge)), _) => {
                (bridge.secondary, bridge.subordinate) = (a as u8, b as u8);
            }
            (3, _, Fact::Known(Some(express))) => express.port_type = PortType(a as u8 & 0xf),
            (4, bridge, _) => *bridge = Fact::Known(None),
            _ => {
                let bar = Bar {
                    index: 0,
                    kind: BarKind::Memory64,
                    prefetchable: false,
                    address: BusAddr::from_u64(a),
                };
                config.bars = Fact::Known(vec![bar]);
                if let Fact::Known(resources) = &mut function.os.resources {
                    for resource in resources {
                        resource.size_bytes = Fact::Known(b);
                    }
                }
            }
        }
    });
}

/// Are the answers on the machine with the unknown fact the union of those with each of its values?
fn union_equals(unknown: Snapshot, values: impl IntoIterator<Item = Snapshot>) -> Result<(), TestCaseError> {
    let dim = topology(unknown);
    let some = |topology: &Topology| -> Vec<(NodeId, NodeId)> {
        pairs(topology)
            .enumerate()
            .filter(|(number, _)| number % 7 == 0)
            .map(|(_, pair)| pair)
            .collect()
    };
    let mut unions: Vec<Vec<MapType>> = vec![Vec::new(); some(&dim).len() * 8];
    for machine in values {
        let sharp = topology(machine);
        let judge = Judge::new(&sharp);
        for (pair, (provider, client)) in some(&sharp).into_iter().enumerate() {
            let verdict = judge.verdict(provider, client);
            let mut slot = pair * 8;
            each_answer(|access, class| {
                for map_type in verdict.answer(access, class).possible() {
                    if !unions[slot].contains(&map_type) {
                        unions[slot].push(map_type);
                    }
                }
                slot += 1;
            });
        }
    }
    let judge = Judge::new(&dim);
    for (pair, (provider, client)) in some(&dim).into_iter().enumerate() {
        let verdict = judge.verdict(provider, client);
        let mut slot = pair * 8;
        let mut wrong = None;
        each_answer(|access, class| {
            unions[slot].sort();
            let possible: Vec<MapType> = verdict.answer(access, class).possible().collect();
            if possible != unions[slot] {
                wrong = Some((provider, client, access, class, possible, unions[slot].clone()));
            }
            slot += 1;
        });
        prop_assert!(wrong.is_none(), "{wrong:?}");
    }
    Ok(())
}
