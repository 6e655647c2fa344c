//! What one cell of the matrix says, and what its codes mean.

use super::Pairs;
use crate::args::Policy;
use crate::rates::{NoRate, Rate, gigabytes};
use crate::report::Out;
use crate::style::Tone;
use peerdma::route::{Access, Answer, MapType, Verdict};
use peerdma::topology::NodeId;

/// Codes, and what they mean in Linux's answers, in the order of the legend.
const CODES: [(&str, Tone, &str); 5] = [
    (
        "B",
        Tone::Good,
        "reached directly: the request turns around at a switch (BUS_ADDR)",
    ),
    (
        "H",
        Tone::Fair,
        "reached through the root complex (THRU_HOST_BRIDGE)",
    ),
    ("-", Tone::Bad, "refused by Linux (NOT_SUPPORTED)"),
    ("?", Tone::Doubt, "unknown: a fact is missing, see below"),
    ("=", Tone::Faint, "the function itself: nothing travels"),
];

/// What they mean where the specification answers.
const SPEC_MEANINGS: [&str; 5] = [
    "arrives directly: requests and completions turn around at a switch (BUS_ADDR)",
    "arrives through the root complex, on the way there or back (THRU_HOST_BRIDGE)",
    "does not arrive, or its completions do not come back (NOT_SUPPORTED)",
    "unknown: a fact is missing, or the specification leaves it open, see below",
    "the function itself: nothing travels",
];

/// The codes with their meanings under a policy.
pub(super) fn legend(policy: Policy) -> impl Iterator<Item = (&'static str, Tone, &'static str)> {
    CODES
        .into_iter()
        .zip(SPEC_MEANINGS)
        .map(move |((code, tone, linux), spec)| match policy {
            Policy::Spec => (code, tone, spec),
            Policy::Linux | Policy::Next | Policy::All => (code, tone, linux),
        })
}

/// What a cell says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell {
    /// Codes for reading and writing.
    Codes([&'static str; 2]),
    /// An estimate, and the code of the way that it is for.
    Rate {
        bytes_per_second: u64,
        code: &'static str,
    },
    /// The pair is reached, or may be, and there is no estimate.
    NoRate(NoRate),
}

impl Cell {
    pub(super) fn new(pairs: &Pairs<'_>, provider: NodeId, client: NodeId, verdict: &Verdict) -> Self {
        let Some(bandwidth) = &pairs.bandwidth else {
            return Self::Codes(Access::ALL.map(|access| code(verdict.answer(access, pairs.class))));
        };
        match pairs.rate(provider, client, bandwidth.access, verdict) {
            Some(Rate::Known(estimate)) => Self::Rate {
                bytes_per_second: estimate.bytes_per_second,
                code: code(verdict.answer(bandwidth.access, pairs.class)),
            },
            Some(Rate::Unknown(why)) => Self::NoRate(why),
            Some(Rate::Refused) | None => Self::Codes(["-", "-"]),
        }
    }

    /// Its columns: all is ASCII.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Codes([read, write]) if read == write => read.len(),
            Self::Codes([read, write]) => read.len() + 1 + write.len(),
            Self::Rate { .. } => self.rate().len(),
            Self::NoRate(_) => 1,
        }
    }

    pub(super) fn write(&self, out: &Out, text: &mut String) {
        let mut paint = |code: &str, tone| text.push_str(&out.palette.paint(tone, code));
        match self {
            Self::Codes([read, write]) if read == write => paint(read, tone(read)),
            Self::Codes([read, write]) => {
                paint(read, tone(read));
                paint("/", Tone::Faint);
                paint(write, tone(write));
            }
            Self::Rate {
                bytes_per_second: 0, ..
            } => paint(&self.rate(), Tone::Bad),
            Self::Rate { code, .. } => paint(&self.rate(), tone(code)),
            Self::NoRate(_) => paint("?", Tone::Doubt),
        }
    }

    /// The number of a rate.
    fn rate(&self) -> String {
        match self {
            Self::Rate {
                bytes_per_second,
                code: "H",
            } => format!("{}h", gigabytes(*bytes_per_second)),
            Self::Rate { bytes_per_second, .. } => gigabytes(*bytes_per_second),
            Self::Codes(_) | Self::NoRate(_) => String::new(),
        }
    }

    /// Does it show this code?
    pub(super) fn shows(&self, code: &str) -> bool {
        match self {
            Self::Codes(codes) => codes.contains(&code),
            Self::Rate { .. } => false,
            Self::NoRate(_) => code == "?",
        }
    }

    pub(super) fn goes_through(&self) -> bool {
        matches!(self, Self::Rate { code: "H", .. })
    }
}

/// Is the answer BUS_ADDR for sure, for reading and for writing?
pub(super) fn is_direct(verdict: &Verdict, pairs: &Pairs<'_>) -> bool {
    Access::ALL
        .iter()
        .all(|&access| verdict.answer(access, pairs.class).map_type() == Some(MapType::BusAddr))
}

/// The code for an answer.
pub(super) fn code(answer: Answer) -> &'static str {
    match answer.map_type() {
        Some(MapType::BusAddr) => "B",
        Some(MapType::ThruHostBridge) => "H",
        Some(MapType::NotSupported) => "-",
        None => "?",
    }
}

/// How a code is painted.
pub(super) fn tone(code: &str) -> Tone {
    let found = CODES.iter().find(|(known, _, _)| *known == code);
    found.map_or(Tone::Strong, |(_, tone, _)| *tone)
}
