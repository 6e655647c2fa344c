use crate::fake::BAR;
use crate::rig::{Case, MEDIUM_BYTES, Rig, Way};
use peerdma::engine::{Copy, Job, JobError, Outcome, Progress};
use peerdma::plan::{Method, Proof};
use proptest::prelude::*;

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let way = prop::sample::select(vec![Way::Store, Way::Load, Way::ViaRam]);
    let blocks = prop::sample::select(vec![[512, 512], [512, 4096], [4096, 512], [4096, 4096]]);
    (
        any::<u64>(),
        way,
        blocks,
        1..9_u32,
        1..9_u32,
        1..50_u64,
        any::<(u64, u64)>(),
    )
        .prop_map(|(seed, way, blocks, chunk, depth, units, firsts)| {
            let unit = u64::from(blocks[0].max(blocks[1]));
            let len_bytes = units * unit;
            let first = |block: u32, pick: u64| pick % ((MEDIUM_BYTES - len_bytes) / u64::from(block) + 1);
            Case {
                seed,
                way,
                blocks,
                chunk_bytes: chunk * unit as u32,
                depth,
                job: Job {
                    source_lba: first(blocks[0], firsts.0),
                    destination_lba: first(blocks[1], firsts.1),
                    len_bytes,
                    resume_bytes: 0,
                },
            }
        })
}

/// What the destination must hold after all of the job.
pub(crate) fn expected(case: &Case, rig: &Rig, before: &[u8], upto_bytes: u64) -> Vec<u8> {
    let mut bytes = before.to_vec();
    let from = (case.job.source_lba * u64::from(case.blocks[0])) as usize;
    let to = (case.job.destination_lba * u64::from(case.blocks[1])) as usize;
    let len = upto_bytes as usize;
    bytes[to..to + len].copy_from_slice(&rig.source.medium[from..from + len]);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_byte_is_at_its_place_and_no_other_has_changed_whatever_the_schedule(case in cases()) {
        let mut rig = Rig::new(&case, None);
        let method = match case.way {
            Way::Store => Method::Store,
            Way::Load => Method::Load,
            Way::ViaRam => Method::ViaRam,
        };
        prop_assert_eq!(rig.plan.method, method);
        let mut copy = rig.copy(case.job);
        let counts = rig.run(&mut copy);
        prop_assert_eq!(copy.outcome(), Some(Outcome::Whole));
        prop_assert_eq!(counts.written_bytes, case.job.len_bytes);
        prop_assert_eq!(counts.durable_bytes, case.job.len_bytes);
        let expected = expected(&case, &rig, &vec![0; MEDIUM_BYTES as usize], case.job.len_bytes);
        prop_assert!(rig.destination.flushed == expected);
        prop_assert!(rig.world.borrow().vectors.len() <= rig.plan.layout.slots as usize, "vectors are used again");
    }

    #[test]
    fn a_cancelled_copy_resumes_where_it_says_and_ends_whole(case in cases(), polls in 0..40_u32) {
        let mut rig = Rig::new(&case, None);
        let mut copy = rig.copy(case.job);
        for _ in 0..polls {
            copy.poll(&mut rig.source, &mut rig.destination);
        }
        copy.cancel();
        let counts = rig.run(&mut copy);
        let done = expected(&case, &rig, &vec![0; MEDIUM_BYTES as usize], case.job.len_bytes);
        let to = (case.job.destination_lba * u64::from(case.blocks[1])) as usize;
        let durable = to..to + counts.durable_bytes as usize;
        prop_assert!(rig.destination.flushed[durable.clone()] == done[durable]);
        let job = Job { resume_bytes: counts.durable_bytes, ..case.job };
        let mut copy = rig.copy(job);
        let counts = rig.run(&mut copy);
        prop_assert_eq!(copy.outcome(), Some(Outcome::Whole));
        prop_assert_eq!(counts.written_bytes, case.job.len_bytes - job.resume_bytes);
        prop_assert!(rig.destination.flushed == done);
    }
}

#[test]
fn what_completes_in_ram_proves_nothing_about_a_peers_memory_and_is_refused() {
    let case = Case {
        seed: 1,
        way: Way::Store,
        blocks: [512, 512],
        chunk_bytes: 4096,
        depth: 4,
        job: Job {
            source_lba: 0,
            destination_lba: 0,
            len_bytes: 64 << 10,
            resume_bytes: 0,
        },
    };
    let rig = Rig::new(&case, None);
    let other = Rig::new(
        &Case {
            way: Way::ViaRam,
            ..case
        },
        None,
    );
    let refused = Copy::new(&rig.plan, case.job, &other.source, &rig.destination);
    assert!(matches!(
        refused.unwrap_err(),
        JobError::NoProof {
            proof: Proof::SamePathCompletion,
            ..
        }
    ));
    assert!(rig.plan.layout.slots_at >= peerdma::addr::Address::from_u64(BAR + 4096));
}

#[test]
fn a_job_that_the_volumes_cannot_do_is_refused_before_anything_is_moved() {
    let job = Job {
        source_lba: 0,
        destination_lba: 0,
        len_bytes: 8192,
        resume_bytes: 0,
    };
    let case = Case {
        seed: 1,
        way: Way::ViaRam,
        blocks: [512, 4096],
        chunk_bytes: 4096,
        depth: 1,
        job,
    };
    let rig = Rig::new(&case, None);
    let error = |job| Copy::new(&rig.plan, job, &rig.source, &rig.destination).unwrap_err();
    assert_eq!(error(Job { len_bytes: 0, ..job }), JobError::Empty);
    assert!(matches!(
        error(Job {
            len_bytes: 512,
            ..job
        }),
        JobError::NotWholeBlocks { .. }
    ));
    assert!(matches!(
        error(Job {
            source_lba: u64::MAX,
            ..job
        }),
        JobError::OutOfRange { .. }
    ));
    assert!(matches!(
        error(Job {
            len_bytes: 1 << 30,
            ..job
        }),
        JobError::OutOfRange { .. }
    ));
    assert!(matches!(
        error(Job {
            resume_bytes: 1 << 30,
            ..job
        }),
        JobError::ResumeBeyondEnd { .. }
    ));
    let swapped = Copy::new(&rig.plan, job, &rig.destination, &rig.source);
    assert!(matches!(swapped.unwrap_err(), JobError::OtherDevice { .. }));
    let mut rig = rig;
    let mut copy = rig.copy(Job {
        resume_bytes: 8192,
        ..job
    });
    rig.run(&mut copy);
    assert_eq!(copy.outcome(), Some(Outcome::Whole));
    assert!(matches!(
        copy.poll(&mut rig.source, &mut rig.destination),
        Progress::Ended(_)
    ));
}

#[test]
fn without_the_proof_a_store_copies_what_has_not_arrived() {
    // What the engine refuses to believe is so: these volumes do let data arrive late.
    let job = Job {
        source_lba: 0,
        destination_lba: 0,
        len_bytes: 64 << 10,
        resume_bytes: 0,
    };
    let case = |seed| Case {
        seed,
        way: Way::Store,
        blocks: [512, 512],
        chunk_bytes: 4096,
        depth: 4,
        job,
    };
    let goes_wrong = |seed| {
        let mut rig = Rig::new(&case(seed), None);
        rig.source = rig.source.completing_in_ram();
        rig.plan.layout.completion_queue = None;
        rig.plan.crossings[0].proof = Proof::DeviceOrder;
        let mut copy = rig.copy(job);
        rig.run(&mut copy);
        let before = vec![0; MEDIUM_BYTES as usize];
        copy.outcome() == Some(Outcome::Whole)
            && rig.destination.flushed != expected(&case(seed), &rig, &before, job.len_bytes)
    };
    assert!((0..20).any(goes_wrong));
}
