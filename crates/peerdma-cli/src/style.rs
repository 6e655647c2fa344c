//! Colours, and none where nobody sees them.

use crate::args::ColorWhen;
use anstyle::{AnsiColor, Style};
use std::io::stdout;

/// What a piece of text means; its look follows from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Reached directly.
    Good,
    /// Reached, with a cost.
    Fair,
    /// Refused.
    Bad,
    /// Unknown.
    Doubt,
    /// Of little weight.
    Faint,
    /// What the eye shall find first.
    Strong,
}

/// Paints text, or leaves it as it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Palette {
    paints: bool,
}

impl Palette {
    /// For standard output; `NO_COLOR`, `CLICOLOR_FORCE` and dumb terminals are heeded.
    pub(crate) fn new(when: ColorWhen) -> Self {
        let paints = match when {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => anstream::AutoStream::choice(&stdout()) != anstream::ColorChoice::Never,
        };
        Self { paints }
    }

    /// `text`, painted.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.paints || text.is_empty() {
            return text.to_owned();
        }
        let style = match tone {
            Tone::Good => Style::new().fg_color(Some(AnsiColor::Green.into())),
            Tone::Fair => Style::new().fg_color(Some(AnsiColor::Cyan.into())),
            Tone::Bad => Style::new().fg_color(Some(AnsiColor::Red.into())),
            Tone::Doubt => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
            Tone::Faint => Style::new().dimmed(),
            Tone::Strong => Style::new().bold(),
        };
        format!("{style}{text}{style:#}")
    }
}
