//! A line on the terminal for probes that take longer than a glance, and the wish to stop.

use crate::args::ProbeArgs;
use crate::copy::progress::Stop;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use peerdma::load::Wish;
use peerdma::probe::Stage;
use peerdma::route::Access;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// Shows a bar on stderr once a second has gone by; stops when it is asked to.
pub(super) struct Watch {
    bar: Option<ProgressBar>,
    shows: bool,
    began: Instant,
    stop: Stop,
}

impl Watch {
    pub(super) fn new(args: &ProbeArgs, stop: Stop) -> Self {
        Self {
            bar: None,
            shows: stderr().is_terminal() && !args.quiet,
            began: Instant::now(),
            stop,
        }
    }

    /// Told how far it is.
    pub(super) fn at(&mut self, stage: Stage) -> Wish {
        if self.shows && self.began.elapsed() >= Duration::from_secs(1) {
            let (done, of, what) = match stage {
                Stage::Keeping => (0, 0, "keeping what is there".to_owned()),
                Stage::Case { access, index, of } => (index as u64, of as u64, verb(access).to_owned()),
                Stage::Measuring(access) => (0, 0, format!("measuring {}", verb(access))),
                Stage::Restoring => (0, 0, "putting back what was there".to_owned()),
            };
            let bar = self.bar.get_or_insert_with(|| {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
                match ProgressStyle::with_template("{msg:<28} {wide_bar} {pos} of {len}") {
                    Ok(style) => bar.with_style(style),
                    Err(_) => bar,
                }
            });
            // Without a number of them there is nothing to count.
            bar.set_length(of.max(1));
            bar.set_position(done);
            bar.set_message(what);
        }
        match self.stop.is_set() {
            true => Wish::Stop,
            false => Wish::GoOn,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
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
