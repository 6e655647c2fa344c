//! One function, both judges, every question about host RAM.

use super::compare::{Tally, agree, both, end, is_trivial, notes, port_type, words};
use peerdma::route::spec::{Judge, Outcome};
use peerdma::route::{Access, TlpClass};
use peerdma::topology::NodeId;
use peerdma_sim::fabric::FunctionId;
use peerdma_sim::inquiry::{Fate, Inquirer, RamQuestion};

/// Asks both what becomes of the function's requests for RAM. Where no RAM has a name that is nothing else's, nobody is asked.
pub(super) fn compare(
    name: &str,
    judge: &Judge<'_>,
    inquirer: &mut Inquirer,
    client: (NodeId, FunctionId),
    tally: &mut Tally,
) {
    let (client, function) = client;
    let topology = judge.topology();
    for access in Access::ALL {
        for class in TlpClass::ALL {
            let (tlp_access, address_type, ordering) = words(access, class);
            let found = inquirer.ask_ram(RamQuestion {
                client: function,
                access: tlp_access,
                address_type,
                ordering,
            });
            if found == Fate::NoAddress {
                continue;
            }
            let fate = judge.ram_fate(client, access, class);
            tally.questions += 1;
            tally.for_ram += 1;
            *(tally.ends)
                .entry(format!("RAM: {}", end(fate.outcome)))
                .or_default() += 1;
            tally.trivial += u64::from(is_trivial(fate.outcome));
            if matches!(fate.outcome, Outcome::Unknown { .. }) {
                tally.unknown += 1;
                continue;
            }
            let mut possible = std::iter::once(&fate.outcome).chain(&fate.other_refusals);
            match possible.any(|&outcome| agree(topology, inquirer, outcome, found)) {
                true if matches!(fate.outcome, Outcome::Delivered { .. }) => tally.delivered += 1,
                true => tally.refused += 1,
                false => {
                    let kind = format!(
                        "{} {access:?} RAM: {}",
                        port_type(topology, client),
                        both(fate.outcome, found)
                    );
                    tally.differ(kind, || {
                        format!(
                            "{name}: {} {access:?} {class:?} RAM:\n  judge:     {:?}\n    {:?}\n    {:?}\n  simulator: {found:?}\n    \
                             {:?}\n    {:?}",
                            topology.function(client).bdf,
                            fate.outcome,
                            fate.request,
                            fate.completion,
                            notes(inquirer, inquirer.request()),
                            notes(inquirer, inquirer.completion()),
                        )
                    });
                }
            }
        }
    }
}
