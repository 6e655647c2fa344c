//! Does `peerdma matrix --policy linux` say what the kernel says of machines that nobody has?
//!
//! [`crate::replay`] makes them and compares; in the guest the kernel enumerates and judges them (`lab/modules/replay.sh`).

use super::{Check, Need, Plan, Scope};
use crate::chore::{self, Failure};
use crate::lab::boot::{Boot, Taken};
use crate::lab::machine::{Iommu, Machine, Processor, Topology};
use crate::lab::parts::Parts;
use crate::lab::report::Line;
use crate::replay;
use std::fs;
use std::path::Path;
use std::time::Duration;

pub(crate) const CHECK: Check = Check {
    name: "replayed",
    promise: "the kernel's answer for every ordered pair of random machines is peerdma's",
    needs: &[Need::Module("peerdma_judge"), Need::Module("peerdma_replay")],
    boots,
};

const SCRIPT: &str = "mod peerdma_judge peerdma_replay && sh /payload/replay.sh /payload/machines.tar /tmp/answers && \
                      lab-guest send answers /tmp/answers";

fn boots(plan: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    // Several boots for what one could do: each has a part of the machines, and processors to run on.
    let (seeds, pairs) = match plan.scope {
        Scope::Quick => (1, 25_000),
        Scope::Full => (3, 90_000),
    };
    let processors = [
        (Processor::SkylakeServer, replay::Processor::Listed),
        (Processor::Epyc, replay::Processor::Zen),
    ];
    let mut boots = Vec::new();
    for (model, judged_as) in processors {
        for _ in 0..seeds {
            let seed = boots.len() as u64 + 1;
            let machine = Machine::new(Topology::new("replayed"), model, Iommu::Off);
            let mut boot = Boot::new(machine, SCRIPT);
            boot.name = format!("{}/{seed}", model.name());
            boot.kernel_line = "ibt=off".into();
            boot.limit = Duration::from_secs(1200);
            boot.payload.push((
                chore::repository().join("lab/modules/replay.sh"),
                "replay.sh".into(),
            ));
            let folder = plan.folder.join(format!("replayed-{seed}"));
            replay::write(pairs, seed, &folder)?;
            let machines = folder.join(replay::MACHINES);
            boot.payload.push((machines, replay::MACHINES.into()));
            boot.judge = Box::new(move |taken, parts| judge(taken, parts, &folder, judged_as, pairs));
            boots.push(boot);
        }
    }
    Ok(boots)
}

fn judge(
    taken: &Taken,
    parts: &Parts,
    folder: &Path,
    processor: replay::Processor,
    pairs: usize,
) -> Vec<Line> {
    let name = "pairs";
    let (Ok(programs), Some(answers)) = (&parts.programs, taken.files.get("answers")) else {
        return vec![Line::failed(name, "the guest sent no answers")];
    };
    let file = taken.folder.join("answers");
    let compared = fs::write(&file, answers)
        .map_err(Failure::io(file.display()))
        .and_then(|()| replay::compare(&programs.peerdma(), folder, &file, processor));
    vec![match compared {
        Ok(tally) if tally.pairs < pairs => {
            Line::failed(name, format!("{tally}: not the {pairs} that were asked for"))
        }
        Ok(tally) => Line::held(name, format!("{tally}: no difference")),
        Err(why) => Line::failed(name, why.to_string()),
    }]
}
