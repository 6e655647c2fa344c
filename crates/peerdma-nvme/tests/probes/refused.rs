//! Operations that a volume refuses once: nothing of a probe is left behind, whichever it is.

use crate::rig::{Disk, Rig, shipped};
use peerdma::block::{Bio, Done, Limits, Rejected, SubmitError, Ticket, Volume, VolumeError};
use peerdma::memory::RegionId;
use peerdma::probe::Options;
use peerdma_sim::machine::FaultPlan;

/// A volume that refuses one operation.
struct Moody {
    disk: Disk,
    asked: u64,
    refuses: Option<u64>,
}

impl Volume for Moody {
    fn limits(&self) -> &Limits {
        self.disk.limits()
    }

    fn submit(&mut self, bio: Bio) -> Result<Ticket, Rejected> {
        self.asked += 1;
        match self.refuses == Some(self.asked) {
            true => Err(Rejected {
                bio,
                why: SubmitError::NoPeerMemory,
            }),
            false => self.disk.submit(bio),
        }
    }

    fn poll(&mut self, done: &mut dyn FnMut(Done)) -> Result<(), VolumeError> {
        self.disk.poll(done)
    }

    fn under_way(&self) -> usize {
        self.disk.under_way()
    }

    fn abort_uses(&mut self, region: RegionId) {
        self.disk.abort_uses(region);
    }
}

#[test]
fn whichever_operation_is_refused_once_all_is_put_back() {
    let rig = Rig::named(&shipped("two-ssds"), "nvme0", FaultPlan::default());
    let (region, memory) = rig.memory_of("nvme1");
    rig.fill(&region, memory);
    let before = rig.computer.state();
    let options = Options {
        most_bytes: 8 << 10,
        settle_ns: 1_000_000,
        ..Options::default()
    };
    let run = |refuses| {
        let mut volume = Moody {
            disk: rig.disk(),
            asked: 0,
            refuses,
        };
        let ended = rig.probe(&mut volume, memory, &options);
        let not_restored = ended.ok().and_then(|report| report.not_restored);
        assert_eq!(not_restored, None, "operation {refuses:?}");
        assert_eq!(rig.changed(&before), [], "operation {refuses:?}");
        volume.asked
    };
    let asked = run(None);
    // The last ones put back what was there.
    for number in (1..=asked).step_by(29).chain(asked - 4..=asked) {
        run(Some(number));
    }
}
