//! Where output goes: answers to standard output, warnings and notes to standard error.

use crate::args::{MachineArgs, OutputArgs};
use crate::error::Failure;
use crate::input::Machine;
use crate::layout::wrapped;
use crate::shown::{escaped, plain, printable};
use crate::style::Palette;
use peerdma::snapshot::Warnings;
use std::io::{self, StdoutLock, Write};

/// Warnings shown in full; further ones are counted.
const MOST_SHOWN: usize = 12;

/// Columns where no terminal tells its own.
const DEFAULT_WIDTH: usize = 100;

/// How this run prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    pub(crate) palette: Palette,
    /// Columns that a line may have.
    pub(crate) width: usize,
    terminal: bool,
    json: bool,
}

impl Out {
    pub(crate) fn new(args: OutputArgs) -> Self {
        Self {
            palette: Palette::new(args.color),
            width: width().unwrap_or(DEFAULT_WIDTH),
            terminal: width().is_some(),
            json: args.json,
        }
    }

    /// Is the answer JSON?
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Columns for a list of lines that each stand alone: without end where no terminal reads them, so
    /// that nothing is cut off before a pipe.
    pub(crate) fn line_width(&self) -> usize {
        if self.terminal { self.width } else { usize::MAX / 2 }
    }

    /// Standard output, for writers that gather their own chunks, and see to it that a terminal shows them as themselves.
    pub(crate) fn raw(&self) -> StdoutLock<'static> {
        io::stdout().lock()
    }

    /// Prints a whole answer at once.
    ///
    /// # Errors
    /// [`Failure`] where it cannot be written.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = self.raw();
        out.write_all(printable(text).as_bytes())?;
        out.flush()?;
        Ok(())
    }

    /// Prints a whole answer as JSON.
    ///
    /// # Errors
    /// [`Failure`] where it cannot be written.
    pub(crate) fn print_json(&self, answer: &impl serde::Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(answer)?;
        text.push('\n');
        self.print(&escaped(&text))
    }

    /// Tells the reader's warnings and our notes, unless they are part of a JSON answer or unwanted.
    pub(crate) fn tell(&self, machine: &Machine, args: &MachineArgs) {
        if !self.json {
            tell(&machine.warnings, &machine.notes, args);
        }
    }
}

/// Tells warnings and notes on stderr.
pub(crate) fn tell(warnings: &Warnings, notes: &[String], args: &MachineArgs) {
    if args.quiet {
        return;
    }
    // Lines stay whole in a log; on a terminal they are broken.
    let most = width().unwrap_or(usize::MAX / 2);
    let line = |label: &str, words: &str| wrapped(words, label, &" ".repeat(label.len()), most);
    let mut text = String::new();
    for warning in warnings.list().iter().take(MOST_SHOWN) {
        text.push_str(&line("warning: ", &plain(&warning.to_string())));
    }
    let more = warnings.list().len().saturating_sub(MOST_SHOWN) as u64 + warnings.left_out();
    if more > 0 {
        let words = format!("{more} more like these; `peerdma topo --json` holds them");
        text.push_str(&line("warning: ", &words));
    }
    for note in notes {
        text.push_str(&line("note: ", &plain(note)));
    }
    // Nobody can be told that stderr is gone.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Columns of the terminal, or what the environment says they are.
fn width() -> Option<usize> {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let asked = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    told.or_else(asked).map(|width: usize| width.clamp(40, 1000))
}
