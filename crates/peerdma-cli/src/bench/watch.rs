//! A bar on the terminal for measurements that take longer than a glance, and the wish to stop.

use super::wanted::Wanted;
use crate::args::BenchArgs;
use crate::bar::Bar;
use crate::copy::progress::Stop;
use peerdma::load::Wish;

/// Shows a bar on stderr once a second has gone by; stops when it is asked to.
pub(super) struct Watch {
    bar: Bar,
    began_ns: Option<u64>,
    budget_ns: u64,
    most_operations: u64,
    stop: Stop,
}

impl Watch {
    pub(super) fn new(args: &BenchArgs, wanted: &Wanted, stop: Stop) -> Self {
        Self {
            bar: match args.run.quiet {
                true => Bar::silent(),
                false => Bar::new("measuring {wide_bar} {percent} %"),
            },
            began_ns: None,
            budget_ns: wanted.load.budget_ns,
            most_operations: wanted.load.most_operations,
            stop,
        }
    }

    /// Told how many operations have ended, and the time.
    pub(super) fn at(&mut self, done: u64, now_ns: u64) -> Wish {
        let began_ns = *self.began_ns.get_or_insert(now_ns);
        // Of both ends the nearer one.
        let of = |done: u64, most: u64| (u128::from(done) * 1000 / u128::from(most.max(1))).min(1000) as u64;
        let share = of(done, self.most_operations).max(of(now_ns.saturating_sub(began_ns), self.budget_ns));
        self.bar.at(share, 1000, String::new);
        match self.stop.is_set() {
            true => Wish::Stop,
            false => Wish::GoOn,
        }
    }
}
