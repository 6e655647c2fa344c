//! A bar on the terminal for runs that take longer than a glance.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// A glance.
const QUIET_FOR: Duration = Duration::from_secs(1);

/// On stderr, if that is a terminal, once a second has gone by; gone when it is dropped.
pub(crate) struct Bar {
    template: Option<&'static str>,
    began: Instant,
    shown: Option<ProgressBar>,
}

impl Bar {
    /// One that looks as `template` says, in the words of indicatif.
    pub(crate) fn new(template: &'static str) -> Self {
        let mut bar = Self::silent();
        bar.template = Some(template).filter(|_| stderr().is_terminal());
        bar
    }

    /// One that is never shown.
    pub(crate) fn silent() -> Self {
        Self {
            template: None,
            began: Instant::now(),
            shown: None,
        }
    }

    /// So much `of` all is done.
    pub(crate) fn at(&mut self, done: u64, of: u64, what: impl FnOnce() -> String) {
        let Some(template) = self.template.filter(|_| self.began.elapsed() >= QUIET_FOR) else {
            return;
        };
        let bar = self.shown.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
            match ProgressStyle::with_template(template) {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        // Where nothing is counted there is one of one.
        bar.set_length(of.max(1));
        bar.set_position(done);
        bar.set_message(what());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
