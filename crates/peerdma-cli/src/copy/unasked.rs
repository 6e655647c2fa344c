//! Memory that the kernel would lend, where a way was not taken for want of memory: for [`super::text`] and [`super::json`].

use super::request::{MemoryWanted, Request};
use crate::ground::{Names, Place};
use peerdma::fact::Fact;
use peerdma::plan::{Reason, Rejected};

/// So many are named.
const SHOWN: usize = 3;

/// Why a way was not taken, and whose memory was there and not asked for.
pub(super) fn reason(names: Names<'_>, request: &Request, rejected: &Rejected) -> String {
    let why = rejected.why.to_string();
    match lenders(names, request, rejected) {
        None => why,
        Some(lenders) => format!("{why}; {lenders}"),
    }
}

/// The kernel lends its p2pmem to its own block devices alone.
fn lenders(names: Names<'_>, request: &Request, rejected: &Rejected) -> Option<String> {
    let Reason::NoMemory { of } = rejected.why else {
        return None;
    };
    let by_kernel = |place: Place| matches!(place, Place::Own(_));
    let may = request.way.via.is_none() && request.way.memory != MemoryWanted::Ram;
    if !may || !by_kernel(request.source.place) || !by_kernel(request.destination.place) {
        return None;
    }
    let topology = names.topology();
    let lenders = topology.nodes().map(|node| topology.function(node));
    let mut lenders: Vec<_> = lenders
        .filter(|function| matches!(function.os.p2pmem, Fact::Known(Some(pool)) if pool.published))
        .map(|function| function.bdf)
        .collect();
    if let Some(place) = lenders.iter().position(|lender| *lender == of) {
        lenders.swap(0, place);
        lenders.truncate(1);
    }
    let first = *lenders.first()?;
    let shown: Vec<String> = lenders.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = if lenders.len() > SHOWN { ", ..." } else { "" };
    Some(match first == of {
        true => format!(
            "it lends memory (p2pmem) that was not had: `--via {of}` asks for it, and says why it cannot be had"
        ),
        false => format!(
            "memory that others lend (p2pmem of {}{more}) was not asked for: `--via {first}` asks for it",
            shown.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::request::WayWanted;
    use crate::ground::End;
    use peerdma::addr::Bdf;
    use peerdma::plan::{Force, Method};
    use peerdma::snapshot::{Function, Host, P2pmem, Snapshot, Warnings};
    use peerdma::topology::Topology;

    const LENDER: &str = "0000:04:00.0";

    fn bdf(text: &str) -> Bdf {
        text.parse().unwrap()
    }

    fn topology(published: bool) -> Topology {
        let mut lender = Function::new(bdf(LENDER));
        lender.os.p2pmem = Fact::Known(Some(P2pmem {
            size_bytes: 1 << 20,
            available_bytes: 1 << 20,
            published,
        }));
        let mut warnings = Warnings::default();
        let functions = vec![Function::new(bdf("0000:03:00.0")), lender];
        let snapshot = Snapshot::new(Host::default(), functions, &mut warnings);
        Topology::new(snapshot, &mut warnings)
    }

    fn request(place: Place, memory: MemoryWanted) -> Request {
        let end = |name: &str, place| End {
            name: name.into(),
            initiator: bdf("0000:03:00.0"),
            place,
        };
        Request {
            source: end("nvme0n1", Place::Own(0)),
            destination: end("nvme1n1", place),
            source_offset: 0,
            destination_offset: 0,
            len_bytes: 4096,
            resume_bytes: 0,
            queue_depth: 1,
            chunk_bytes: 4096,
            fitted: None,
            way: WayWanted {
                via: None,
                memory,
                force: Force::Never,
            },
            pattern: None,
            files: [None, None],
        }
    }

    fn said(topology: &Topology, request: &Request, of: &str) -> String {
        let rejected = Rejected {
            method: Method::Store,
            why: Reason::NoMemory { of: bdf(of) },
        };
        reason(Names::new(topology), request, &rejected)
    }

    #[test]
    fn memory_that_the_kernel_lends_is_named_with_the_option_that_asks_for_it() {
        let any = request(Place::Own(1), MemoryWanted::Any);
        let topology = topology(true);
        let other = said(&topology, &any, "0000:03:00.0");
        assert!(other.contains("p2pmem of 0000:04:00.0"), "{other}");
        assert!(other.contains("`--via 0000:04:00.0`"), "{other}");
        let own = said(&topology, &any, LENDER);
        assert!(own.contains("it lends memory (p2pmem)"), "{own}");
    }

    #[test]
    fn memory_that_cannot_be_used_so_is_not_named() {
        let plain = "0000:03:00.0 has no memory that can be used";
        let ram = request(Place::Own(1), MemoryWanted::Ram);
        assert_eq!(said(&topology(true), &ram, "0000:03:00.0"), plain);
        let ours = request(Place::Namespace(1), MemoryWanted::Any);
        assert_eq!(said(&topology(true), &ours, "0000:03:00.0"), plain);
        let any = request(Place::Own(1), MemoryWanted::Any);
        assert_eq!(said(&topology(false), &any, "0000:03:00.0"), plain);
    }
}
