//! A bar on the terminal for matrices that take longer than a glance.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::OnceCell;
use std::io::{IsTerminal, stderr, stdout};
use std::time::{Duration, Instant};

/// Counts providers; shows a bar on stderr once a second has gone by. Not where the lines themselves
/// run over the terminal.
pub(super) struct Progress {
    bar: OnceCell<ProgressBar>,
    shows: bool,
    started: Instant,
    done: std::cell::Cell<u64>,
    all: u64,
}

impl Progress {
    pub(super) fn new(providers: usize, clients: usize) -> Self {
        // Below a million pairs no second goes by.
        let long = providers.saturating_mul(clients) > 1_000_000;
        Self {
            bar: OnceCell::new(),
            shows: long && stderr().is_terminal() && !stdout().is_terminal(),
            started: Instant::now(),
            done: 0.into(),
            all: providers as u64,
        }
    }

    /// One more provider is done.
    pub(super) fn advance(&self) {
        self.done.set(self.done.get() + 1);
        if self.shows && self.started.elapsed() > Duration::from_secs(1) {
            let bar = self.bar.get_or_init(|| {
                let target = ProgressDrawTarget::stderr_with_hz(5);
                let bar = ProgressBar::with_draw_target(Some(self.all), target);
                let template = "{wide_bar} {pos} of {len} providers, {eta} left";
                match ProgressStyle::with_template(template) {
                    Ok(style) => bar.with_style(style),
                    Err(_) => bar,
                }
            });
            bar.set_position(self.done.get());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}
