//! A bar on the terminal for copies that take longer than a glance, and the wish to stop.

use super::carry::{Verdict, Watcher};
use crate::args::CopyArgs;
use crate::bar::Bar;
use crate::error::Problem;
use peerdma::engine::Counts;
use peerdma::plan::CopyPlan;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Told of a plan before anything moves.
type Planned<'p> = &'p mut dyn FnMut(&CopyPlan) -> Result<(), Problem>;

/// Shows a bar on stderr once a second has gone by; stops when it is asked to.
pub(super) struct Progress<'p> {
    bar: Bar,
    len_bytes: u64,
    stop: Stop,
    planned: Option<Planned<'p>>,
}

/// Set by the first Ctrl-C, SIGTERM or SIGHUP; the second ends the program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens from now on.
    pub(crate) fn listen() -> Self {
        let stop = Self::default();
        let asked = stop.clone();
        // Where nobody can listen a signal ends the program, as it does others.
        let _ = ctrlc::set_handler(move || {
            if asked.0.swap(true, Ordering::Relaxed) {
                std::process::exit(super::INTERRUPTED.into());
            }
        });
        stop
    }

    /// Was it asked for?
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn verdict(&self) -> Verdict {
        match self.is_set() {
            true => Verdict::Stop,
            false => Verdict::GoOn,
        }
    }
}

impl<'p> Progress<'p> {
    pub(super) fn new(args: &CopyArgs, len_bytes: u64, stop: Stop, planned: Planned<'p>) -> Self {
        Self {
            bar: match args.quiet {
                true => Bar::silent(),
                false => Bar::new("{msg:<8} {wide_bar} {binary_bytes} of {binary_total_bytes}"),
            },
            len_bytes,
            stop,
            planned: Some(planned),
        }
    }

    /// Shows nothing, and stops when it is asked to.
    pub(super) fn silent(stop: Stop) -> Self {
        Self {
            bar: Bar::silent(),
            len_bytes: 0,
            stop,
            planned: None,
        }
    }

    fn show(&mut self, bytes: u64, what: &'static str) {
        self.bar.at(bytes, self.len_bytes, || what.to_owned());
    }
}

impl Watcher for Progress<'_> {
    fn planned(&mut self, plan: &CopyPlan) -> Result<(), Problem> {
        match &mut self.planned {
            Some(planned) => planned(plan),
            None => Ok(()),
        }
    }

    fn copied(&mut self, counts: Counts) -> Verdict {
        self.show(counts.proven_bytes, "copying");
        self.stop.verdict()
    }

    fn checked(&mut self, bytes: u64) -> Verdict {
        self.show(bytes, "checking");
        self.stop.verdict()
    }
}
