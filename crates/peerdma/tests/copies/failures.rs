use crate::fake::Fault;
use crate::properties::{cases, expected};
use crate::rig::{Case, MEDIUM_BYTES, Rig, Way};
use peerdma::engine::{Job, Outcome, Trouble};
use proptest::prelude::*;

const JOB: Job = Job {
    source_lba: 3,
    destination_lba: 5,
    len_bytes: 40 * 512,
    resume_bytes: 0,
};

fn case(seed: u64, way: Way) -> Case {
    Case {
        seed,
        way,
        blocks: [512, 512],
        chunk_bytes: 1024,
        depth: 4,
        job: JOB,
    }
}

#[test]
fn each_step_that_fails_gives_a_typed_error_all_comes_back_and_the_copy_resumes() {
    for (seed, way) in [(1, Way::Store), (2, Way::Load), (3, Way::ViaRam)] {
        let mut whole = Rig::new(&case(seed, way), None);
        let mut copy = whole.copy(JOB);
        whole.run(&mut copy);
        let steps = whole.world.borrow().steps();
        assert!(steps > 40);
        for step in 1..=steps {
            for fault in [Fault::Operation, Fault::Gone, Fault::GoneForGood] {
                fails_at(&case(seed, way), step, fault);
            }
        }
    }
}

fn fails_at(case: &Case, step: u64, fault: Fault) {
    let mut rig = Rig::new(case, Some((step, fault)));
    let mut copy = rig.copy(case.job);
    let counts = rig.run(&mut copy);
    let what = format!("{case:?}, {fault:?} at step {step}");
    assert!(rig.world.borrow().has_failed, "{what}");
    let outcome = copy.outcome().unwrap();
    match outcome {
        Outcome::Failed(failure) => {
            assert!(failure.offset_bytes <= case.job.len_bytes, "{what}: {failure}");
            let is_known = !matches!(failure.trouble, Trouble::Stuck);
            assert!(is_known, "{what}: {failure}");
        }
        // A source that fails after its last byte was read has done what it had to do.
        Outcome::Whole => assert_ne!(fault, Fault::Operation, "{what}"),
        Outcome::Cancelled => panic!("{what}: nobody cancelled it"),
    }
    assert!(copy.take_foreign().is_empty(), "{what}");
    if fault != Fault::GoneForGood {
        assert_eq!(counts.lost, 0, "{what}");
    }
    let done = expected(case, &rig, &vec![0; MEDIUM_BYTES as usize], case.job.len_bytes);
    let to = (case.job.destination_lba * u64::from(case.blocks[1])) as usize;
    let durable = to..to + counts.durable_bytes as usize;
    assert!(
        rig.destination.flushed[durable.clone()] == done[durable],
        "{what}"
    );

    let mut again = Rig::new(case, None);
    again.destination.medium.clone_from(&rig.destination.flushed);
    let job = Job {
        resume_bytes: counts.durable_bytes,
        ..case.job
    };
    let mut copy = again.copy(job);
    again.run(&mut copy);
    assert_eq!(copy.outcome(), Some(Outcome::Whole), "{what}");
    assert!(again.destination.flushed == done, "{what}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_failure_of_any_case_is_told_and_nothing_is_lost(
        case in cases(),
        step in 1..80_u64,
        fault in prop::sample::select(vec![Fault::Operation, Fault::Gone]),
    ) {
        let mut rig = Rig::new(&case, Some((step, fault)));
        let mut copy = rig.copy(case.job);
        let counts = rig.run(&mut copy);
        prop_assert_eq!(counts.lost, 0);
        let whole = copy.outcome() == Some(Outcome::Whole);
        prop_assert!(whole || rig.world.borrow().has_failed);
        let done = expected(&case, &rig, &vec![0; MEDIUM_BYTES as usize], case.job.len_bytes);
        prop_assert!(!whole || rig.destination.flushed == done);
    }
}
