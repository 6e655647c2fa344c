//! Where the posted Linux rewrite follows the specification, the two give the same answers; where they differ, it is for
//! the reasons that `docs/verdicts.md` lists.

#[path = "support/machines.rs"]
mod machines;
#[path = "support/table.rs"]
mod table;

use machines::{Egress, machine_as_the_rewrite_sees_it, singles, topology};
use peerdma::fact::{Fact, Unread};
use peerdma::route::linux::{self, Kernel};
use peerdma::route::spec::{Judge, Outcome, Way};
use peerdma::route::{Access, MapType, TlpClass, Verdict};
use peerdma::topology::NodeId;
use proptest::prelude::*;

const TABLE: &str = include_str!("../../../tests/tables/acs.txt");

/// What three judges say of one question: today's Linux, the posted rewrite, the specification; `B`, `H`, `-`, `?`.
struct Difference(&'static str, &'static str, [char; 3]);

/// The rows of the table of differences in `docs/verdicts.md`, on a processor that Linux trusts.
const DIFFERENCES: &[Difference] = &[
    // A function and itself.
    Difference(
        "switch | 03:00.0 acs=R",
        "03:00.0 reads 03:00.0 strict",
        ['H', 'B', 'B'],
    ),
    // Below the port where the paths part, or on the other direction's side.
    Difference(
        "nested | 04:00.0 acs=R",
        "05:00.0 writes 07:00.0 strict",
        ['H', 'B', 'B'],
    ),
    Difference(
        "switch | 02:01.0 acs=R",
        "03:00.0 reads 04:00.0 strict",
        ['H', 'B', 'B'],
    ),
    // Completion redirect and a write, relaxed completions.
    Difference(
        "switch | 02:01.0 acs=C",
        "03:00.0 reads 04:00.0 strict",
        ['H', 'H', 'H'],
    ),
    Difference(
        "switch | 02:01.0 acs=C",
        "03:00.0 writes 04:00.0 strict",
        ['H', 'H', 'B'],
    ),
    Difference(
        "switch | 02:01.0 acs=C",
        "03:00.0 reads 04:00.0 relaxed",
        ['H', 'B', 'B'],
    ),
    // Egress control and its vector.
    Difference(
        "switch | 02:00.0 acs=E",
        "03:00.0 writes 04:00.0 strict",
        ['H', 'H', 'B'],
    ),
    Difference(
        "switch | 02:00.0 acs=RE",
        "03:00.0 writes 04:00.0 strict",
        ['H', 'H', 'B'],
    ),
    Difference(
        "switch | 02:00.0 acs=RE vector=2",
        "03:00.0 writes 04:00.0 strict",
        ['H', 'H', 'H'],
    ),
    Difference(
        "switch | 02:00.0 acs=E vector=2",
        "03:00.0 writes 04:00.0 strict",
        ['H', 'H', '-'],
    ),
    Difference(
        "switch | host iommu=translating; 02:00.0 acs=E vector=2",
        "03:00.0 writes 04:00.0 strict",
        ['H', 'H', 'H'],
    ),
    Difference(
        "switch | host iommu=translating; 02:00.0 acs=E vector=2",
        "03:00.0 writes 04:00.0 translated",
        ['H', 'H', '-'],
    ),
    // Direct translated, translation blocking.
    Difference(
        "switch | host iommu=translating; 02:00.0 acs=RT",
        "03:00.0 writes 04:00.0 translated",
        ['H', 'B', 'B'],
    ),
    Difference(
        "switch | host iommu=translating; 02:00.0 acs=BT",
        "03:00.0 writes 04:00.0 translated",
        ['B', '-', '-'],
    ),
    Difference(
        "switch | host iommu=translating; 00:01.0 acs=BU; 02:01.0 acs=C",
        "03:00.0 reads 04:00.0 translated",
        ['H', '-', 'H'],
    ),
    // Upstream forwarding.
    Difference(
        "switch | 00:01.0 acs=-; 02:00.0 acs=R",
        "03:00.0 writes 04:00.0 strict",
        ['H', 'H', '-'],
    ),
    Difference(
        "switch | host iommu=translating; 00:01.0 acs=-; 02:00.0 acs=R",
        "03:00.0 writes 04:00.0 strict",
        ['H', 'H', 'H'],
    ),
    Difference(
        "switch | host iommu=translating; 00:01.0 acs=-; 02:01.0 acs=C",
        "03:00.0 reads 04:00.0 strict",
        ['H', 'H', '-'],
    ),
    // Host bridges, ATS, enables, payload sizes.
    Difference(
        "roots | 0000:00 forwarding=nothing",
        "01:00.0 writes 02:00.0 strict",
        ['H', 'H', '-'],
    ),
    Difference(
        "roots | 0000:00 forwarding=?",
        "01:00.0 writes 02:00.0 strict",
        ['H', 'H', '?'],
    ),
    Difference(
        "roots | host iommu=translating; 01:00.0 ats=0",
        "01:00.0 writes 02:00.0 translated",
        ['H', 'H', '-'],
    ),
    Difference(
        "switch | 02:00.0 bme=0",
        "03:00.0 writes 04:00.0 strict",
        ['B', 'B', '-'],
    ),
    Difference(
        "switch | 04:00.0 mse=0",
        "03:00.0 writes 04:00.0 strict",
        ['B', 'B', '-'],
    ),
    Difference(
        "switch | 03:00.0 mps=512",
        "03:00.0 writes 04:00.0 strict",
        ['B', 'B', '-'],
    ),
    // One device of several functions.
    Difference(
        "device | 01:00.0 acs=none; 01:00.1 acs=none",
        "01:00.0 writes 01:00.1 strict",
        ['B', 'B', '?'],
    ),
];

#[test]
fn each_difference_that_the_book_lists_is_one() {
    let fabrics: Vec<&str> = TABLE.lines().filter(|line| !line.contains('|')).collect();
    let letter = |verdict: Verdict, access, class| match verdict.answer(access, class).map_type() {
        Some(MapType::BusAddr) => 'B',
        Some(MapType::ThruHostBridge) => 'H',
        Some(MapType::NotSupported) => '-',
        None => '?',
    };
    for Difference(machine, question, expected) in DIFFERENCES {
        let text = format!("{}\n{machine} | {question} bus | - | own", fabrics.join("\n"));
        let mut row = table::rows(&text).remove(0);
        row.machine.host.cpu = Fact::Known("AuthenticAMD:0x19".parse().expect("a processor"));
        let topology = topology(row.machine);
        let find = |bdf| topology.find(bdf).expect("it is there");
        let (provider, client) = (find(row.provider), find(row.client));
        let release = Kernel::Release("7.2.12".parse().expect("a release"));
        let found = [
            linux::Judge::new(&topology, release).verdict(provider, client),
            linux::Judge::new(&topology, Kernel::Next).verdict(provider, client),
            Judge::new(&topology).verdict(provider, client),
        ];
        let found = found.map(|verdict| letter(verdict, row.access, row.class));
        assert_eq!(&found, expected, "{machine}: {question}");
    }
}

#[test]
fn a_register_that_is_out_of_reach_is_absent_to_linux_and_unknown_to_the_specification() {
    let fabrics: Vec<&str> = TABLE.lines().filter(|line| !line.contains('|')).collect();
    let question = "switch | | 03:00.0 reads 04:00.0 strict bus | - | own";
    let mut row = table::rows(&format!("{}\n{question}", fabrics.join("\n"))).remove(0);
    let port = "02:00.0".parse().expect("an address");
    row.machine.edit(|function| {
        if function.bdf == port {
            function.config.acs = Fact::Unknown(Unread::OutOfReach);
        }
    });
    let topology = topology(row.machine);
    let find = |bdf| topology.find(bdf).expect("it is there");
    let (provider, client) = (find(row.provider), find(row.client));
    let map_type = |verdict: Verdict| verdict.answer(Access::Read, TlpClass::Strict).map_type();
    let release = Kernel::Release("7.2.12".parse().expect("a release"));
    for kernel in [release, Kernel::Next] {
        let verdict = linux::Judge::new(&topology, kernel).verdict(provider, client);
        assert_eq!(map_type(verdict), Some(MapType::BusAddr), "{kernel}");
    }
    assert_eq!(map_type(Judge::new(&topology).verdict(provider, client)), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

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
    let (ours, theirs) = (
        ours.answer(Access::Write, class),
        theirs.answer(Access::Write, class),
    );
    if theirs.map_type() != Some(MapType::ThruHostBridge) {
        // A refusal because of a redirected completion and a port above that blocks is about reads only.
        let is_direct_after_all = theirs.surely_refused() && ours.map_type() == Some(MapType::BusAddr);
        prop_assert!(is_direct_after_all || ours == theirs, "{ours} {theirs}");
    }
    Ok(())
}
