//! The tables and walks that came with the posted rewrite, and where mainline differs (KERNEL-FACTS, A7).

use super::fabric::express;
use super::next::{Turn, completion, request};
use super::{Judge, Kernel};
use crate::addr::Bdf;
use crate::fact::{Fact, Unread};
use crate::pci::{Acs, AcsFlags, Id, PortType};
use crate::route::{Access, Answer, MapType, TlpClass};
use crate::snapshot::{Function, Host, Snapshot, Warnings};
use crate::topology::Topology;

const RR: u16 = 0x04;
const CR: u16 = 0x08;
const EC: u16 = 0x20;
const TB: u16 = 0x02;
const DT: u16 = 0x40;

#[test]
fn requests_turn_as_the_posted_table_says() {
    use Turn::{Blocked, Direct, Redirect};
    let (plain, at) = (TlpClass::Strict, TlpClass::Translated);
    for (bits, class, expected) in [
        (0, plain, Direct),
        (RR, plain, Redirect),
        (CR, plain, Direct),
        (RR | CR, plain, Redirect),
        (EC, plain, Redirect),
        (EC | CR, plain, Redirect),
        (DT, plain, Direct),
        (DT | RR, plain, Redirect),
        (0, at, Direct),
        (RR, at, Redirect),
        (DT | RR, at, Direct),
        (DT | EC, at, Direct),
        (TB, plain, Direct),
        (TB | RR, plain, Redirect),
        (TB, at, Blocked),
        (TB | DT, at, Blocked),
    ] {
        assert_eq!(
            request(AcsFlags::from_register(bits), class),
            expected,
            "{bits:#x} {class:?}"
        );
    }
}

#[test]
fn completions_turn_as_the_posted_table_says() {
    use Turn::{Direct, Redirect};
    let (plain, relaxed) = (TlpClass::Strict, TlpClass::Relaxed);
    for (bits, class, expected) in [
        (0, plain, Direct),
        (RR, plain, Direct),
        (CR, plain, Redirect),
        (RR | CR, plain, Redirect),
        (EC, plain, Direct),
        (EC | CR, plain, Redirect),
        (0, relaxed, Direct),
        (CR, relaxed, Direct),
        (RR | CR, relaxed, Direct),
    ] {
        assert_eq!(
            completion(AcsFlags::from_register(bits), class),
            expected,
            "{bits:#x} {class:?}"
        );
    }
}

/// The fabric of the posted tests: root port, switch, and below each of two of its downstream ports a
/// nested switch with one device; the root port is the listed key. Control registers by name.
#[derive(Default, Clone, Copy)]
struct Walk {
    root_port: u16,
    provider_port: u16,
    client_port: u16,
    provider_leaf: u16,
    client_leaf: u16,
    unreadable_client_port: bool,
}

impl Walk {
    fn answer(self, kernel: Kernel, class: TlpClass) -> Answer {
        let bdf = |text: &str| text.parse::<Bdf>().unwrap();
        let functions = [
            ("00:00.0", None, self.root_port),
            ("01:00.0", Some("00:00.0"), 0),
            ("02:00.0", Some("01:00.0"), self.provider_port),
            ("02:01.0", Some("01:00.0"), self.client_port),
            ("03:00.0", Some("02:00.0"), 0),
            ("05:00.0", Some("03:00.0"), self.provider_leaf),
            ("07:00.0", Some("05:00.0"), 0),
            ("04:00.0", Some("02:01.0"), 0),
            ("06:00.0", Some("04:00.0"), self.client_leaf),
            ("08:00.0", Some("06:00.0"), 0),
        ]
        .map(|(at, above, bits)| {
            let mut function = Function::new(bdf(at));
            function.upstream = Fact::Known(above.map(bdf));
            function.config.id = Fact::Known(Id {
                vendor: 0x1ae0,
                device: 0x1234,
            });
            function.config.express = Fact::Known(Some(express(PortType::DOWNSTREAM)));
            let control = AcsFlags::from_register(bits);
            let capable = AcsFlags::from_register(0x7f);
            function.config.acs = Fact::Known(Some(Acs::without_vector(capable, control)));
            if at == "02:01.0" && self.unreadable_client_port {
                function.config.acs = Fact::Unknown(Unread::Unreadable);
            }
            function
        });
        let mut warnings = Warnings::default();
        let host = Host {
            cpu: Fact::Known("GenuineIntel:6".parse().unwrap()),
            ..Host::default()
        };
        let snapshot = Snapshot::new(host, functions.into(), &mut warnings);
        let topology = Topology::new(snapshot, &mut warnings);
        let node = |text| topology.find(bdf(text)).unwrap();
        Judge::new(&topology, kernel)
            .verdict(node("07:00.0"), node("08:00.0"))
            .answer(Access::Read, class)
    }
}

#[test]
fn walks_end_as_the_posted_tests_say_and_mainline_differs_where_it_should() {
    use MapType::{BusAddr, NotSupported, ThruHostBridge};
    use TlpClass::{Relaxed, Strict, Translated};
    let clear = Walk::default();
    let mainline = Kernel::Release("7.2".parse().unwrap());
    // Control registers, class, the rewrite's answer, mainline's answer.
    for (name, walk, class, next, today) in [
        ("nothing set", clear, Strict, BusAddr, BusAddr),
        (
            "request redirect, client side",
            Walk {
                client_port: RR,
                ..clear
            },
            Strict,
            ThruHostBridge,
            ThruHostBridge,
        ),
        (
            "completion redirect, provider side",
            Walk {
                provider_port: CR,
                ..clear
            },
            Strict,
            ThruHostBridge,
            ThruHostBridge,
        ),
        (
            "egress control, client side",
            Walk {
                client_port: EC,
                ..clear
            },
            Strict,
            ThruHostBridge,
            ThruHostBridge,
        ),
        (
            "controls of the other direction",
            Walk {
                provider_port: RR | EC,
                client_port: CR,
                ..clear
            },
            Strict,
            BusAddr,
            ThruHostBridge,
        ),
        (
            "completion redirect at the leaf",
            Walk {
                provider_leaf: CR,
                ..clear
            },
            Strict,
            BusAddr,
            ThruHostBridge,
        ),
        (
            "request redirect at the leaf",
            Walk {
                client_leaf: RR,
                ..clear
            },
            Strict,
            BusAddr,
            ThruHostBridge,
        ),
        (
            "translation blocking, untranslated",
            Walk {
                client_leaf: TB,
                ..clear
            },
            Strict,
            BusAddr,
            BusAddr,
        ),
        (
            "translation blocking, translated",
            Walk {
                client_leaf: TB,
                ..clear
            },
            Translated,
            NotSupported,
            BusAddr,
        ),
        (
            "relaxed completions",
            Walk {
                provider_port: CR,
                ..clear
            },
            Relaxed,
            BusAddr,
            ThruHostBridge,
        ),
        (
            "direct translated, untranslated",
            Walk {
                client_port: RR | DT,
                ..clear
            },
            Strict,
            ThruHostBridge,
            ThruHostBridge,
        ),
        (
            "direct translated, translated",
            Walk {
                client_port: RR | DT,
                ..clear
            },
            Translated,
            BusAddr,
            ThruHostBridge,
        ),
        (
            "blocking above, direct route",
            Walk {
                root_port: TB,
                ..clear
            },
            Translated,
            BusAddr,
            BusAddr,
        ),
        (
            "blocking above, redirected",
            Walk {
                root_port: TB,
                client_port: RR,
                ..clear
            },
            Translated,
            NotSupported,
            ThruHostBridge,
        ),
    ] {
        assert_eq!(
            walk.answer(Kernel::Next, class),
            Answer::known(next),
            "next: {name}"
        );
        assert_eq!(walk.answer(mainline, class), Answer::known(today), "7.2: {name}");
    }
    let unreadable = Walk {
        unreadable_client_port: true,
        ..clear
    };
    assert_eq!(
        unreadable.answer(Kernel::Next, Strict),
        Answer::known(NotSupported)
    );
    assert_eq!(unreadable.answer(mainline, Strict).map_type(), None);
}
