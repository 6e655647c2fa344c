//! Bandwidth estimates of pairs, as the verdict allows them: what `matrix` and `route` share.

use peerdma::pci::LinkState;
use peerdma::route::bandwidth::{Estimate, Estimator, Flow, NoEstimate, Training, Way};
use peerdma::route::{Access, Answer};
use peerdma::topology::NodeId;
use serde::Serialize;
use std::borrow::Cow;

/// How fast one pair's access is estimated to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rate {
    /// The verdict is a refusal.
    Refused,
    Known(Estimate),
    Unknown(NoRate),
}

/// Why there is no estimate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum NoRate {
    Links(NoEstimate),
    /// The verdict is unknown, and the ways that it leaves open are not equally fast.
    Way(WayUnknown),
}

/// Nobody knows which way it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WayUnknown {
    Way,
}

impl Rate {
    /// The estimate over the way that the answer names.
    pub(crate) fn new(
        estimator: &Estimator<'_>,
        (client, provider): (NodeId, NodeId),
        access: Access,
        answer: Answer,
        training: Training,
    ) -> Self {
        if answer.surely_refused() {
            return Self::Refused;
        }
        let over = |map_type| {
            let flow = Flow {
                client,
                provider,
                access,
                way: Way::of(map_type)?,
            };
            Some(estimator.estimate(flow, training))
        };
        let mut ways = answer.possible().map(over);
        let Some(Some(first)) = ways.next() else {
            return Self::Unknown(NoRate::Way(WayUnknown::Way));
        };
        // Which way it is does not matter where both are equally fast.
        let speed = |estimate: Result<Estimate, NoEstimate>| estimate.map(|found| found.bytes_per_second);
        if ways.any(|way| way.map(speed) != Some(speed(first))) {
            return Self::Unknown(NoRate::Way(WayUnknown::Way));
        }
        match first {
            Ok(estimate) => Self::Known(estimate),
            Err(why) => Self::Unknown(NoRate::Links(why)),
        }
    }

    /// The number for a line of text: bytes a second, `-` where refused, `?` where unknown.
    pub(crate) fn field(&self) -> Cow<'static, str> {
        match self {
            Self::Refused => "-".into(),
            Self::Known(estimate) => estimate.bytes_per_second.to_string().into(),
            Self::Unknown(_) => "?".into(),
        }
    }

    /// As data: null where refused.
    pub(crate) fn line(&self) -> Option<RateLine> {
        match *self {
            Self::Refused => None,
            Self::Known(estimate) => Some(RateLine::Known(EstimateLine {
                estimate,
                efficiency: (estimate.efficiency() * 1000.0).round() / 1000.0,
            })),
            Self::Unknown(why) => Some(RateLine::Unknown(why)),
        }
    }
}

/// A fact in JSON's words.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RateLine {
    Known(EstimateLine),
    Unknown(NoRate),
}

/// An estimate as data.
#[derive(Serialize)]
pub(crate) struct EstimateLine {
    #[serde(flatten)]
    estimate: Estimate,
    /// Payload as a part of all that the direction carries, to three decimals.
    efficiency: f64,
}

/// Reading and writing.
#[derive(Serialize)]
pub(crate) struct RatesLine {
    pub(crate) read: Option<RateLine>,
    pub(crate) write: Option<RateLine>,
}

impl NoRate {
    /// A clause.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Links(why) => why.to_string(),
            Self::Way(WayUnknown::Way) => "the way is unknown, and the ways are not equally fast".into(),
        }
    }
}

/// Gigabytes (10^9 bytes) a second, without the unit: one decimal, or as many more as small numbers need.
pub(crate) fn gigabytes(bytes_per_second: u64) -> String {
    const DECIMALS: [(u64, usize); 3] = [(995_000_000, 1), (9_950_000, 2), (0, 3)];
    if bytes_per_second == 0 {
        return "0.0".into();
    }
    // Nothing that flows is shown as nothing.
    let shown = bytes_per_second.max(1_000_000) as f64 / 1e9;
    let decimals = DECIMALS.iter().find(|(least, _)| bytes_per_second >= *least);
    format!("{shown:.*}", decimals.map_or(1, |(_, decimals)| *decimals))
}

/// Does a link look as if it lay within a package: the smallest that there is at both ends, where
/// registers state what no measurement confirms?
pub(crate) fn may_be_internal(counted: LinkState, best: Option<LinkState>) -> bool {
    let smallest = |state: LinkState| (state.rate.tenths_of_gigatransfers(), state.width) == (25, 1);
    smallest(counted) && best.is_some_and(smallest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rate_above_nothing_is_shown_as_nothing() {
        for (bytes, text) in [
            (0, "0.0"),
            (1, "0.001"),
            (9_000_000, "0.009"),
            (49_999_999, "0.05"),
            (210_526_315, "0.21"),
            (999_000_000, "1.0"),
            (3_600_879_120, "3.6"),
            (57_660_000_000, "57.7"),
            (u64::MAX, "18446744073.7"),
        ] {
            assert_eq!(gigabytes(bytes), text);
        }
    }
}
