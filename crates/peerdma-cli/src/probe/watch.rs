//! A line on the terminal for probes that take longer than a glance, and the wish to stop.

use crate::args::ProbeArgs;
use crate::bar::Bar;
use crate::copy::progress::Stop;
use peerdma::load::Wish;
use peerdma::probe::Stage;
use peerdma::route::Access;

/// Shows a bar on stderr once a second has gone by; stops when it is asked to.
pub(super) struct Watch {
    bar: Bar,
    stop: Stop,
}

impl Watch {
    pub(super) fn new(args: &ProbeArgs, stop: Stop) -> Self {
        Self {
            bar: match args.run.quiet {
                true => Bar::silent(),
                false => Bar::new("{msg:<28} {wide_bar} {pos} of {len}"),
            },
            stop,
        }
    }

    /// Told how far it is.
    pub(super) fn at(&mut self, stage: Stage) -> Wish {
        let (done, of) = match stage {
            Stage::Case { index, of, .. } => (index as u64, of as u64),
            Stage::Keeping | Stage::Measuring(_) | Stage::Restoring => (0, 0),
        };
        self.bar.at(done, of, || match stage {
            Stage::Keeping => "keeping what is there".to_owned(),
            Stage::Case { access, .. } => verb(access).to_owned(),
            Stage::Measuring(access) => format!("measuring {}", verb(access)),
            Stage::Restoring => "putting back what was there".to_owned(),
        });
        match self.stop.is_set() {
            true => Wish::Stop,
            false => Wish::GoOn,
        }
    }
}

/// What the initiator does, in a word.
pub(super) const fn verb(access: Access) -> &'static str {
    match access {
        Access::Write => "writes",
        Access::Read => "reads",
    }
}
