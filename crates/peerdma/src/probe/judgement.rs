//! What was promised, what was seen, and whether they agree.

use super::Outcome;
use crate::dma::{PeerRoute, Refused};
use crate::route::Answer;
use core::fmt;

/// What a verdict promises of a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Promise {
    /// That it works.
    Reached,
    /// That it does not.
    Refused,
    /// Nothing: a fact is not known.
    Unknown,
}

impl From<PeerRoute> for Promise {
    fn from(route: PeerRoute) -> Self {
        match route {
            PeerRoute::Reached { .. } => Self::Reached,
            PeerRoute::Refused(Refused::Unknown { .. } | Refused::Undecided(_)) => Self::Unknown,
            PeerRoute::Refused(_) => Self::Refused,
        }
    }
}

impl From<Answer> for Promise {
    fn from(answer: Answer) -> Self {
        if answer.surely_reached() {
            Self::Reached
        } else if answer.surely_refused() {
            Self::Refused
        } else {
            Self::Unknown
        }
    }
}

/// Do verdict and outcome agree?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Judgement {
    /// It was promised, and every byte arrived.
    Agrees,
    /// Nothing was promised, and every byte arrived: evidence that the verdict lacks.
    Works,
    /// It was refused or fails openly, as was promised.
    RefusedAsPromised,
    /// Nothing was promised, and it fails openly: evidence too.
    Fails,
    /// It was promised, and fails openly.
    Broken,
    /// It was said not to work, and every byte arrived.
    WorksAgainstVerdict,
    /// The device says that it succeeded, and bytes are wrong: whatever was promised, nobody may use this route.
    Corrupts,
}

impl Judgement {
    /// Compares.
    pub const fn of(promise: Promise, outcome: &Outcome) -> Self {
        match (promise, outcome) {
            (_, Outcome::Corrupt(_)) => Self::Corrupts,
            (Promise::Reached, Outcome::Delivered) => Self::Agrees,
            (Promise::Unknown, Outcome::Delivered) => Self::Works,
            (Promise::Refused, Outcome::Delivered) => Self::WorksAgainstVerdict,
            (Promise::Reached, _) => Self::Broken,
            (Promise::Unknown, _) => Self::Fails,
            (Promise::Refused, _) => Self::RefusedAsPromised,
        }
    }

    /// Its name in data.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Works => "works-although-unknown",
            Self::RefusedAsPromised => "refused-as-promised",
            Self::Fails => "fails-although-unknown",
            Self::Broken => "fails-against-verdict",
            Self::WorksAgainstVerdict => "works-against-verdict",
            Self::Corrupts => "corrupts",
        }
    }

    /// May nobody rely on the verdict, or on the route?
    pub const fn is_alarm(self) -> bool {
        matches!(self, Self::Broken | Self::WorksAgainstVerdict | Self::Corrupts)
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Agrees => "agrees with the verdict",
            Self::Works => "works although the verdict is unknown: evidence",
            Self::RefusedAsPromised => "refused as promised",
            Self::Fails => "fails; the verdict was unknown",
            Self::Broken => "fails although the verdict promises it",
            Self::WorksAgainstVerdict => "works although the verdict refuses it",
            Self::Corrupts => "this route corrupts",
        })
    }
}
