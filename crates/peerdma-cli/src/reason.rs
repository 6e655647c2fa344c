//! Why a verdict is what it is, in words.

use crate::acs;
use peerdma::addr::Bdf;
use peerdma::route::linux::{
    Accepted, Effect, Evidence, Gate, GateKeeper, Judge, Listing, Reason, Scope, Side,
};
use peerdma::route::{Access, TlpClass, spec};
use peerdma::topology::NodeId;

/// One clause that fits a line: `ACS at 0000:02:00.0 sends requests (R) up to the root complex; root complex:
/// 8086:2f04 not listed`.
pub(crate) fn in_short(judge: &Judge<'_>, client: NodeId, provider: NodeId, class: TlpClass) -> String {
    let evidence = judge.evidence(provider, client, class);
    let mut words = turn(&evidence);
    if client == provider && evidence.reason != Reason::SameFunction {
        words.push_str(", and Linux counts it within one function too");
    }
    if let Some(gate) = &evidence.gate {
        words.push_str("; root complex: ");
        words.push_str(&root_complex_in_short(gate));
    }
    words
}

/// The same for the specification: where reading and writing differ, both.
pub(crate) fn of_spec(judge: &spec::Judge<'_>, client: NodeId, provider: NodeId, class: TlpClass) -> String {
    let [read, write] = Access::ALL.map(|access| judge.evidence(provider, client, access, class).reason);
    let [reading, writing] = [
        spec_reason(&read, Access::Read),
        spec_reason(&write, Access::Write),
    ];
    match read == write {
        true => reading,
        false => format!("reading: {reading}; writing: {writing}"),
    }
}

/// What decided by the specification, in a clause.
pub(crate) fn spec_reason(reason: &spec::Reason, access: Access) -> String {
    match reason {
        spec::Reason::SameFunction => "one and the same function".into(),
        spec::Reason::Direct if access == Access::Write => {
            "requests turn around below the root complex".into()
        }
        spec::Reason::Direct => "requests and completions turn around below the root complex".into(),
        spec::Reason::ThroughRootComplex { form } => {
            format!("passed on by the root complex, {}", form_name(*form))
        }
        spec::Reason::Refused { at, why } => format!("{at}: {why}"),
        spec::Reason::Unknown { at, missing } => format!("{at}: unknown: {missing}"),
    }
}

/// Which address a request carries.
pub(crate) fn form_name(form: spec::Form) -> &'static str {
    match form {
        spec::Form::BusAddress => "with the bus address",
        spec::Form::HostAddress => "with a host address",
    }
}

fn root_complex_in_short(gate: &Gate) -> String {
    if gate.keeper == GateKeeper::Processor {
        return "AMD family 17h or later".into();
    }
    let mut words = listing_in_short(&gate.provider);
    if !gate.same_host_bridge {
        words.push_str(", ");
        words.push_str(&listing_in_short(&gate.client));
    }
    if (gate.keeper, gate.open) == (GateKeeper::ListAndUnknownProcessor, Accepted::Unknown) {
        words.push_str(", processor unknown");
    }
    words
}

/// `8086:2f00 listed for one bridge`.
fn listing_in_short(listing: &Listing) -> String {
    let name = match listing.id.known() {
        Some(id) => id.to_string(),
        None => listing.first.to_string(),
    };
    let scope = match listing.scope {
        Some(Scope::SameHostBridge) => " for one bridge",
        Some(Scope::AnyHostBridge) | None => "",
    };
    match (listing.listed, listing.is_key) {
        (Accepted::Yes, _) => format!("{name} listed{scope}"),
        (Accepted::No, Accepted::No) => format!("{name} no root port"),
        (Accepted::No, _) => format!("{name} not listed"),
        (Accepted::Unknown, _) if !listing.id.is_known() => format!("{name} unknown"),
        (Accepted::Unknown, Accepted::Unknown) => format!("{name} perhaps no root port"),
        (Accepted::Unknown, _) => format!("{name} listed in some releases"),
    }
}

/// What decides between the turn at a switch and the way through the root complex.
pub(crate) fn turn(evidence: &Evidence) -> String {
    let deciding: Vec<_> = evidence.hops.iter().filter(|hop| hop.decides).collect();
    let first = deciding
        .first()
        .map_or_else(|| "?".into(), |hop| hop.bdf.to_string());
    match evidence.reason {
        Reason::SameFunction => "one and the same function".into(),
        Reason::SharedBridge => format!("both sit below {first} and nothing redirects"),
        Reason::Redirected => {
            let flags = deciding.iter().find_map(|hop| match hop.effect {
                Effect::Redirects(flags) => Some(flags),
                _ => None,
            });
            let effect = flags.map_or_else(|| "redirects".into(), acs::effect);
            format!("ACS at {first} {effect}")
        }
        Reason::Blocked => match deciding.first().map(|hop| (hop.effect, hop.side)) {
            Some((Effect::BlocksTranslated, Side::AboveCommon)) => format!(
                "{first} blocks translated requests (B), and those that ACS redirects pass it on their way up"
            ),
            Some((Effect::BlocksTranslated, _)) => format!("{first} blocks translated requests (B)"),
            _ => format!("the kernel cannot read ACS at {first}"),
        },
        Reason::NoSharedBridge => "no switch above both".into(),
        Reason::AcsUnknown => {
            let all: Vec<String> = deciding.iter().map(|hop| hop.bdf.to_string()).collect();
            format!("ACS unknown at {}", all.join(", "))
        }
        Reason::PlaceUnknown => "the place of one of them in the tree is unknown".into(),
    }
}

/// What the root complex says.
pub(crate) fn root_complex(gate: &Gate) -> String {
    let listings = || {
        let provider = listing(&gate.provider);
        if gate.same_host_bridge {
            provider
        } else {
            format!("{provider}, {}", listing(&gate.client))
        }
    };
    match (gate.keeper, gate.open) {
        (GateKeeper::Processor, _) => "the processor passes requests on (AMD family 17h or later)".into(),
        (_, Accepted::Yes) => format!("the root complex passes them on: {}", listings()),
        (_, Accepted::No) if !gate.same_host_bridge && both_listed(gate) => format!(
            "the root complex is not trusted between two host bridges: {}",
            listings()
        ),
        (_, Accepted::No) => format!("the root complex is not trusted: {}", listings()),
        (GateKeeper::ListAndUnknownProcessor, Accepted::Unknown) => {
            format!("processor unknown, and {}", listings())
        }
        (GateKeeper::List, Accepted::Unknown) => listings(),
    }
}

fn both_listed(gate: &Gate) -> bool {
    gate.provider.listed == Accepted::Yes && gate.client.listed == Accepted::Yes
}

/// One host bridge: `host bridge 8086:09a2 is listed (6.1 or earlier)`.
pub(crate) fn listing(listing: &Listing) -> String {
    let name = match listing.id.known() {
        Some(id) => format!("host bridge {id} at {}", listing.first),
        None => format!("the host bridge at {}", listing.first),
    };
    let since = listing
        .since
        .map_or_else(String::new, |since| format!(", since {since}"));
    let scope = match listing.scope {
        Some(Scope::SameHostBridge) => " for functions below one bridge only",
        Some(Scope::AnyHostBridge) | None => "",
    };
    match (listing.listed, listing.is_key) {
        (Accepted::Yes, _) => format!("{name} is listed{scope}{since}"),
        (Accepted::No, Accepted::No) => {
            format!("{name} cannot be looked up (neither function 00.0 nor a root port)")
        }
        (Accepted::No, _) if listing.since.is_some() => format!("{name} is listed only{since}"),
        (Accepted::No, _) => format!("{name} is not listed"),
        (Accepted::Unknown, _) if !listing.id.is_known() => format!("{name} is unknown"),
        (Accepted::Unknown, Accepted::Unknown) => format!(
            "whether {name} is a root port is unknown, and Linux looks up only function 00.0 or a root port"
        ),
        (Accepted::Unknown, _) if listing.since.is_some() => {
            format!("{name} is listed{since}, and the kernel is unknown")
        }
        (Accepted::Unknown, _) => format!("whether Linux can look up {name} is unknown"),
    }
}

/// The bridge at which the ways of a pair meet.
pub(crate) fn meeting(evidence: &Evidence) -> Option<Bdf> {
    evidence
        .hops
        .iter()
        .find(|hop| hop.side == Side::Common)
        .map(|hop| hop.bdf)
}
