//! What the links let a plan through: both crossings together, since each byte makes both.

use super::{Crossing, Reach, Situation};
use crate::addr::Bdf;
use crate::route::bandwidth::{Flow, LinkDirection, NoEstimate, Occupancy, Training, Way};
use alloc::vec::Vec;
use core::fmt;

/// What the links let through, and which of them limits it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cost {
    /// No link is crossed.
    NoLink,
    /// So much.
    Rate {
        /// Payload of the copy, in bytes a second; 0 where a link is down.
        bytes_per_second: u64,
        /// The function below the link that is full first.
        below: Bdf,
        /// The direction of that link that is full first.
        direction: LinkDirection,
    },
    /// Nobody can say.
    Unknown(NoEstimate),
}

impl Cost {
    /// The cost of two crossings. Where both need a link in the same direction they share it.
    pub(super) fn of(situation: &Situation<'_>, crossings: &[Crossing]) -> Self {
        let mut all: Vec<Occupancy> = Vec::new();
        for crossing in crossings {
            match occupancy(situation, crossing) {
                Err(why) => return Self::Unknown(why),
                Ok(more) => more.into_iter().for_each(|more| add(&mut all, more)),
            }
        }
        let fullest = all.iter().reduce(|fullest, other| {
            match other.femtoseconds_per_byte > fullest.femtoseconds_per_byte {
                true => other,
                false => fullest,
            }
        });
        match fullest {
            None => Self::NoLink,
            Some(fullest) => Self::Rate {
                bytes_per_second: rate(fullest.femtoseconds_per_byte),
                below: fullest.link.below,
                direction: fullest.direction,
            },
        }
    }

    /// Payload in bytes a second, where it is known; `u64::MAX` where no link is crossed.
    pub const fn bytes_per_second(self) -> Option<u64> {
        match self {
            Self::NoLink => Some(u64::MAX),
            Self::Rate { bytes_per_second, .. } => Some(bytes_per_second),
            Self::Unknown(_) => None,
        }
    }

    /// Is its rate more than `hundredths` of another's? Never where either is unknown.
    pub(super) fn beats(self, other: Self, hundredths: u64) -> bool {
        match (self.bytes_per_second(), other.bytes_per_second()) {
            (Some(own), Some(other)) => u128::from(own) * 100 > u128::from(other) * u128::from(hundredths),
            _ => false,
        }
    }
}

fn rate(femtoseconds_per_byte: u64) -> u64 {
    match femtoseconds_per_byte {
        u64::MAX => 0,
        each => 1_000_000_000_000_000 / each.max(1),
    }
}

fn occupancy(situation: &Situation<'_>, crossing: &Crossing) -> Result<Vec<Occupancy>, NoEstimate> {
    let links = situation.links;
    let find = |bdf| links.topology().find(bdf);
    let Some(client) = find(crossing.initiator) else {
        return Err(NoEstimate::NoMemory);
    };
    match (crossing.reach, crossing.provider) {
        (Reach::Own, _) => Ok(Vec::new()),
        (Reach::Peer { map_type, .. }, Some(provider)) => {
            let (Some(provider), Some(way)) = (find(provider), Way::of(map_type)) else {
                return Err(NoEstimate::NoMemory);
            };
            let flow = Flow {
                client,
                provider,
                access: crossing.operation,
                way,
            };
            links.occupancy(flow, Training::Now)
        }
        _ => links.ram_occupancy(client, crossing.operation, Training::Now),
    }
}

/// Adds to what a direction of a link has to do already.
fn add(all: &mut Vec<Occupancy>, more: Occupancy) {
    // Functions of one device share the link of the port above them.
    let name = |occupancy: &Occupancy| {
        let link = occupancy.link;
        (link.above.unwrap_or(link.below), occupancy.direction)
    };
    match all.iter_mut().find(|other| name(other) == name(&more)) {
        Some(other) => {
            other.femtoseconds_per_byte = other
                .femtoseconds_per_byte
                .saturating_add(more.femtoseconds_per_byte);
        }
        None => all.push(more),
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLink => f.write_str("no link is crossed"),
            Self::Rate {
                bytes_per_second,
                below,
                direction,
            } => {
                let direction = match direction {
                    LinkDirection::Up => "up",
                    LinkDirection::Down => "down",
                };
                let megabytes = bytes_per_second / 1_000_000;
                write!(
                    f,
                    "{megabytes} MB/s at most, by the link above {below} on its way {direction}"
                )
            }
            Self::Unknown(why) => write!(f, "the rate is unknown: {why}"),
        }
    }
}
