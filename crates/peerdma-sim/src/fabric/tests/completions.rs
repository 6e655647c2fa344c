//! Completions: by bus number, past C and U only.

use super::machine::{Machine, read};
use crate::fabric::{Completer, End, Explain, Fabric, Route};
use crate::tlp::{Ordering, Request};
use peerdma::snapshot::{Forwarding, IommuMode};

const PEER: u64 = 0x9100_0000;

/// How a read ends whose request is delivered, and the way of the answer.
fn answered(fabric: &Fabric, request: &Request) -> (String, String) {
    let path = fabric.routed(request);
    let completer = match path.end {
        End::Function { function, .. } => Completer::Function(function),
        End::Ram { .. } => Completer::RootComplex,
        end => panic!("{request:?} ends at {}", fabric.end_text(&end)),
    };
    let mut route = Route::new(Explain::Notes);
    fabric.route_completion(completer, request, &path, 256, &mut route);
    assert!(!route.notes.is_empty());
    (fabric.end_text(&route.end), fabric.way(&route))
}

fn is(end: &str, way: &str) -> (String, String) {
    (end.into(), way.into())
}

#[test]
fn answers_go_back_the_way_of_their_requests() {
    let fabric = Machine::new().build();
    assert_eq!(answered(&fabric, &read("03:00.0", PEER)), is("requester", "^sv"));
    assert_eq!(
        answered(&fabric, &read("03:00.0", 0xa000_0000)),
        is("requester", "^s^Rvsv")
    );
    assert_eq!(
        answered(&fabric, &read("03:00.0", 0x1000)),
        is("requester", "Rvsv")
    );
    assert_eq!(
        answered(&fabric, &read("0a:01.0", 0xb010_0000)),
        is("requester", "c")
    );
    assert_eq!(
        answered(&fabric, &read("0a:01.0", PEER)),
        is("requester", "^s^Rvc")
    );
    assert_eq!(
        answered(&fabric, &read("03:00.0", 0xb000_0000)),
        is("requester", "c^Rvsv")
    );
    assert_eq!(
        answered(&fabric, &read("0b:00.0", 0xc010_0000)),
        is("requester", "")
    );
}

#[test]
fn completion_redirect_sends_strict_ones_up_to_where_forwarding_decides() {
    let strict = read("03:00.0", PEER);
    let relaxed = Request {
        ordering: Ordering::Relaxed,
        ..strict
    };
    let machine = || Machine::new().acs("02:01.0", "C", &[]);
    let fabric = machine().build();
    assert_eq!(
        answered(&fabric, &strict),
        is("UnexpectedCompletion at 00:01.0", "^s^")
    );
    assert_eq!(answered(&fabric, &relaxed), is("requester", "^sv"));
    let fabric = machine().acs("00:01.0", "U", &[]).build();
    assert_eq!(answered(&fabric, &strict), is("requester", "^s^Rvsv"));
    for policy in [Forwarding::Nothing, Forwarding::StoresOnly] {
        let fabric = machine()
            .acs("00:01.0", "U", &[])
            .with_host(policy, IommuMode::Off)
            .build();
        assert_eq!(
            answered(&fabric, &strict),
            is("NotForwarded at host 00", "^s^R"),
            "{policy}"
        );
    }
}

#[test]
fn other_bits_and_enables_leave_completions_alone() {
    let strict = read("03:00.0", PEER);
    let fabric = Machine::new().acs("02:01.0", "VBRET", &[1, 2]).build();
    assert_eq!(answered(&fabric, &strict), is("requester", "^sv"));
    let fabric = Machine::new().command("02:01.0", 2).build();
    assert_eq!(answered(&fabric, &strict), is("requester", "^sv"));
    let far = read("03:00.0", 0xa000_0000);
    let fabric = Machine::new().command("02:00.0", 4).command("06:00.0", 2).build();
    assert_eq!(answered(&fabric, &far), is("requester", "^s^Rvsv"));
}

#[test]
fn payloads_of_completions_are_checked_on_links() {
    let ended = |at, bytes| answered(&Machine::new().payload(at, bytes).build(), &read("03:00.0", PEER)).0;
    assert_eq!(ended("02:01.0", 128), "MalformedTlp at 02:01.0");
    assert_eq!(ended("03:00.0", 128), "MalformedTlp at 03:00.0");
    assert_eq!(ended("02:00.0", 128), "requester");
    assert_eq!(ended("04:00.0", 128), "requester");
}

#[test]
fn inside_a_device_completion_redirect_of_the_completer_decides() {
    let request = read("0b:00.0", 0xc010_0000);
    let fabric = Machine::new().acs("0b:00.1", "C", &[]).build();
    assert_eq!(
        answered(&fabric, &request),
        is("UnexpectedCompletion at 00:04.0", "^")
    );
    let fabric = Machine::new()
        .acs("0b:00.1", "C", &[])
        .acs("00:04.0", "U", &[])
        .build();
    assert_eq!(answered(&fabric, &request), is("requester", "^Rv"));
    let fabric = Machine::new().acs("0b:00.1", "R", &[]).build();
    assert_eq!(answered(&fabric, &request), is("requester", ""));
}
