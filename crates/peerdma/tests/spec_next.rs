//! Where the posted Linux rewrite follows the specification, the two give the same answers; where they differ, it is for
//! the reasons that `docs/verdicts.md` lists.

#[path = "support/machines.rs"]
mod machines;
#[path = "support/table.rs"]
mod table;

use machines::{Egress, machine_as_the_rewrite_sees_it, singles, topology};
use peerdma::route::linux::{self, Kernel};
use peerdma::route::spec::{Judge, Outcome, Way};
use peerdma::route::{Access, MapType, TlpClass, Verdict};
use peerdma::topology::NodeId;
use proptest::prelude::*;

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
