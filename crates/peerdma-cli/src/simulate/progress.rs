//! A bar on the terminal for runs that take longer than a glance.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use peerdma_sim::script::Progress as Told;
use std::cell::OnceCell;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// Shows a bar on stderr once a second has gone by.
pub(super) struct Progress {
    bar: OnceCell<ProgressBar>,
    shows: bool,
    started: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            bar: OnceCell::new(),
            shows: stderr().is_terminal(),
            started: Instant::now(),
        }
    }
}

impl Progress {
    pub(super) fn show(&self, told: Told) {
        if !self.shows || self.started.elapsed() < Duration::from_secs(1) {
            return;
        }
        let bar = self.bar.get_or_init(|| {
            let target = ProgressDrawTarget::stderr_with_hz(5);
            let bar = ProgressBar::with_draw_target(Some(told.all as u64), target);
            match ProgressStyle::with_template("{wide_bar} {pos} of {len} transfers, {msg}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        bar.set_position(told.ended as u64);
        bar.set_message(format!(
            "{} simulated",
            crate::figures::duration(told.now.as_ps())
        ));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}
