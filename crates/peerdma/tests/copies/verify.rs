use crate::fake::{BANK_BYTES, Fake, Fault, RAM, Shared};
use crate::properties::cases;
use crate::rig::{Case, Rig, Way, span};
use peerdma::addr::{Address, PhysAddr};
use peerdma::block::Volume;
use peerdma::device::{DeviceError, Host};
use peerdma::engine::{Check, CopyEnd, Job, Outcome, Truth, Verify, VerifyError};
use proptest::prelude::*;

/// RAM of the fakes, as a host sees it.
struct Ram(Shared);

impl Host for Ram {
    fn allocate(&self, len_bytes: u64, _: u64) -> Result<PhysAddr, DeviceError> {
        Err(DeviceError::NoMemory { len_bytes })
    }
    fn free(&self, _: PhysAddr) {}
    fn read_ram(&self, at: PhysAddr, into: &mut [u8]) -> Result<(), DeviceError> {
        let bytes = self.0.borrow_mut().read(at.to_u64(), into.len());
        into.copy_from_slice(&bytes);
        Ok(())
    }
    fn write_ram(&self, at: PhysAddr, from: &[u8]) -> Result<(), DeviceError> {
        self.0.borrow_mut().write(at.to_u64(), from);
        Ok(())
    }
    fn load_acquire(&self, at: PhysAddr) -> Result<u32, DeviceError> {
        Err(DeviceError::NoSuchMemory { at })
    }
    fn load_bar(&self, at: PhysAddr, _: u8) -> Result<u64, DeviceError> {
        Err(DeviceError::NoSuchMemory { at })
    }
    fn store_bar(&self, at: PhysAddr, _: u8, _: u64) -> Result<(), DeviceError> {
        Err(DeviceError::NoSuchMemory { at })
    }
    fn now_ns(&self) -> u64 {
        0
    }
    fn relax(&self) {}
}

fn check(verify: &mut Verify, destination: &mut Fake, truth: &mut Truth<'_>, ram: &Ram) -> Check {
    for _ in 0..1_000_000 {
        match verify.poll(destination, truth, ram) {
            Check::UnderWay { .. } => {}
            ended => return ended,
        }
    }
    panic!("it does not end");
}

fn by_source(rig: &mut Rig, case: &Case) -> Check {
    let ram = span(RAM, BANK_BYTES as u64);
    let chunk = rig.plan.layout.chunk_bytes;
    let source: &dyn Volume = &rig.source;
    let mut verify = Verify::new(case.job, &rig.destination, Some(source), ram, chunk).unwrap();
    let host = Ram(rig.world.clone());
    let mut truth = Truth::Source(&mut rig.source);
    check(&mut verify, &mut rig.destination, &mut truth, &host)
}

fn by_truth(rig: &mut Rig, case: &Case) -> Check {
    let ram = span(RAM, BANK_BYTES as u64);
    let mut verify = Verify::new(case.job, &rig.destination, None, ram, rig.plan.layout.chunk_bytes).unwrap();
    let from = (case.job.source_lba * u64::from(case.blocks[0])) as usize;
    let medium = rig.source.medium.clone();
    let mut give = |offset: u64, into: &mut [u8]| {
        let at = from + offset as usize;
        into.copy_from_slice(&medium[at..at + into.len()]);
    };
    let host = Ram(rig.world.clone());
    check(
        &mut verify,
        &mut rig.destination,
        &mut Truth::Given(&mut give),
        &host,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_first_wrong_byte_is_found_and_nothing_else_is(case in cases(), wrong in prop::collection::vec(any::<u64>(), 0..3)) {
        let case = Case { way: Way::ViaRam, ..case };
        let mut rig = Rig::new(&case, None);
        let mut copy = rig.copy(case.job);
        rig.run(&mut copy);
        prop_assert_eq!(copy.outcome(), Some(Outcome::Whole));
        let to = (case.job.destination_lba * u64::from(case.blocks[1])) as usize;
        let mut offsets: Vec<u64> = wrong.iter().map(|pick| pick % case.job.len_bytes).collect();
        offsets.sort_unstable();
        offsets.dedup();
        for offset in &offsets {
            rig.destination.medium[to + *offset as usize] ^= 1;
        }
        for found in [by_source(&mut rig, &case), by_truth(&mut rig, &case)] {
            match (found, offsets.first()) {
                (Check::Equal, None) => {}
                (Check::Differs(mismatch), Some(first)) => {
                    prop_assert_eq!(mismatch.offset_bytes, *first);
                    prop_assert_eq!(mismatch.expected[0] ^ 1, mismatch.found[0]);
                    let lba = case.job.destination_lba + first / u64::from(case.blocks[1]);
                    prop_assert_eq!(mismatch.lba, lba);
                }
                (found, first) => prop_assert!(false, "{:?} for {:?}", found, first),
            }
        }
    }

    #[test]
    fn a_read_that_only_says_that_it_was_done_is_never_taken_for_equality(seed in any::<u64>(), step in 1..40_u64) {
        let job = Job { source_lba: 0, destination_lba: 0, len_bytes: 64 << 10, resume_bytes: 0 };
        let case = Case { seed, way: Way::ViaRam, blocks: [512, 512], chunk_bytes: 4096, depth: 4, job };
        let mut rig = Rig::new(&case, Some((step, Fault::Lie)));
        rig.destination.medium.clone_from(&rig.source.medium);
        let found = by_source(&mut rig, &case);
        prop_assert!(found != Check::Equal || !rig.world.borrow().has_failed);
    }

    #[test]
    fn a_comparison_that_cannot_read_says_so(
        case in cases(),
        step in 1..60_u64,
        fault in prop::sample::select(vec![Fault::Operation, Fault::Gone, Fault::GoneForGood]),
    ) {
        let case = Case { way: Way::ViaRam, ..case };
        let mut rig = Rig::new(&case, Some((step, fault)));
        let from = (case.job.source_lba * u64::from(case.blocks[0])) as usize;
        let to = (case.job.destination_lba * u64::from(case.blocks[1])) as usize;
        let len = case.job.len_bytes as usize;
        let bytes = rig.source.medium[from..from + len].to_vec();
        rig.destination.medium[to..to + len].copy_from_slice(&bytes);
        match by_source(&mut rig, &case) {
            Check::Equal => prop_assert!(fault != Fault::Operation || !rig.world.borrow().has_failed),
            Check::Failed(failure) => prop_assert!(failure.offset_bytes <= case.job.len_bytes),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

#[test]
fn completions_in_a_peers_memory_are_no_proof_for_what_is_read_into_ram() {
    let job = Job {
        source_lba: 0,
        destination_lba: 0,
        len_bytes: 4096,
        resume_bytes: 0,
    };
    let case = Case {
        seed: 1,
        way: Way::Store,
        blocks: [512, 512],
        chunk_bytes: 4096,
        depth: 1,
        job,
    };
    let rig = Rig::new(&case, None);
    let source: &dyn Volume = &rig.source;
    let ram = span(RAM, BANK_BYTES as u64);
    let refused = Verify::new(job, &rig.destination, Some(source), ram, 4096).unwrap_err();
    let end = CopyEnd::Source;
    assert_eq!(refused, VerifyError::CompletionsOutsideRam { end });
    let small = Verify::new(job, &rig.destination, None, span(RAM, 4096), 4096).unwrap_err();
    assert_eq!(small, VerifyError::TooLittleRam { needed_bytes: 8192 });
}

#[test]
fn a_cancelled_comparison_ends_when_nothing_is_under_way() {
    let job = Job {
        source_lba: 0,
        destination_lba: 0,
        len_bytes: 128 << 10,
        resume_bytes: 0,
    };
    let case = Case {
        seed: 9,
        way: Way::ViaRam,
        blocks: [512, 512],
        chunk_bytes: 4096,
        depth: 4,
        job,
    };
    let mut rig = Rig::new(&case, None);
    let ram = span(RAM, BANK_BYTES as u64);
    let host = Ram(rig.world.clone());
    let mut give = |_: u64, into: &mut [u8]| into.fill(0);
    let mut verify = Verify::new(job, &rig.destination, None, ram, 4096).unwrap();
    for _ in 0..3 {
        let mut truth = Truth::Given(&mut give);
        verify.poll(&mut rig.destination, &mut truth, &host);
    }
    verify.cancel();
    let ended = check(
        &mut verify,
        &mut rig.destination,
        &mut Truth::Given(&mut give),
        &host,
    );
    assert_eq!(ended, Check::Cancelled);
    assert_eq!(rig.destination.under_way(), 0);
}
