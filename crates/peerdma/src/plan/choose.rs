//! Which way is taken.

use super::candidate::{self, Candidate, Cut, Ready};
use super::layout;
use super::{CopyPlan, Force, Method, NoPlan, RamUse, Reason, Rejected, Situation};
use alloc::vec::Vec;

/// Two ways whose rates differ by no more than this are alike: estimates are no better.
const ALIKE_HUNDREDTHS: u64 = 105;

/// The way through RAM is taken before one without only where it is this much faster: it takes the host's memory from
/// everybody else.
const RAM_HUNDREDTHS: u64 = 200;

/// Chooses how to copy.
///
/// Of the ways that are possible the fastest is taken. Ways that are alike come in this order: internal, store (writes wait for no
/// answer), load, third-party in the order of the devices given, RAM; where a rate is unknown, the order alone decides.
///
/// # Errors
/// [`NoPlan`] with every way and why not.
pub fn choose(situation: &Situation<'_>) -> Result<CopyPlan, NoPlan> {
    let (chunk_bytes, multiple_bytes) = layout::chunk(situation).map_err(NoPlan::Unfit)?;
    let cut = Cut {
        chunk_bytes,
        multiple_bytes,
    };
    let mut all = candidate::all(situation, cut);
    let ram_is_possible = all
        .iter()
        .any(|way| way.method == Method::ViaRam && way.plain.is_ok());
    for way in &mut all {
        if let Some(why) = unwanted(situation, way) {
            way.plain = Err(why);
            way.forced = None;
        }
    }
    match best(situation, &all) {
        Some((index, ready)) => Ok(CopyPlan {
            method: all[index].method,
            crossings: ready.crossings,
            layout: ready.layout,
            cost: ready.cost,
            rejected: rejected(&all, Some((index, &ready))),
        }),
        None => {
            let rejected = rejected(&all, None);
            let demands = situation.demands;
            Err(match demands.via {
                Some(via) => NoPlan::NotVia { via, rejected },
                None if demands.ram == RamUse::Forbidden && ram_is_possible => NoPlan::OnlyRam(rejected),
                None => NoPlan::NoWay(rejected),
            })
        }
    }
}

/// Why whoever asks does not want this way.
fn unwanted(situation: &Situation<'_>, way: &Candidate) -> Option<Reason> {
    let demands = situation.demands;
    match demands.via {
        Some(via) if way.provider != Some(via) => return Some(Reason::NotVia { via }),
        _ => {}
    }
    let forbidden = way.method == Method::ViaRam && demands.ram == RamUse::Forbidden;
    forbidden.then_some(Reason::RamForbidden)
}

fn best(situation: &Situation<'_>, all: &[Candidate]) -> Option<(usize, Ready)> {
    let plain = all.iter().map(|way| way.plain.as_ref().ok());
    let plain = first_of_the_fastest(all, plain);
    let needs_force = plain
        .as_ref()
        .is_none_or(|(index, _)| all[*index].method == Method::ViaRam);
    if needs_force && situation.demands.force == Force::Refused {
        let forced = first_of_the_fastest(all, all.iter().map(|way| way.forced.as_ref()));
        return forced.or(plain);
    }
    plain
}

fn first_of_the_fastest<'c>(
    all: &[Candidate],
    ways: impl Iterator<Item = Option<&'c Ready>>,
) -> Option<(usize, Ready)> {
    let mut best: Option<(usize, &Ready)> = None;
    for (index, ready) in ways.enumerate() {
        let Some(ready) = ready else {
            continue;
        };
        let margin = match all[index].method {
            Method::ViaRam => RAM_HUNDREDTHS,
            _ => ALIKE_HUNDREDTHS,
        };
        if best.is_none_or(|(_, best)| ready.cost.beats(best.cost, margin)) {
            best = Some((index, ready));
        }
    }
    best.map(|(index, ready)| (index, ready.clone()))
}

fn rejected(all: &[Candidate], chosen: Option<(usize, &Ready)>) -> Vec<Rejected> {
    let others = all.iter().enumerate();
    let others = others.filter(|(index, _)| chosen.is_none_or(|(chosen, _)| chosen != *index));
    let reason = |(_, way): (usize, &Candidate)| Rejected {
        method: way.method,
        why: match (&way.plain, chosen) {
            (Err(why), _) => *why,
            (Ok(ready), Some(_)) if way.method == Method::ViaRam => Reason::NeedsRam { cost: ready.cost },
            (Ok(ready), Some((_, chosen))) if chosen.cost.beats(ready.cost, ALIKE_HUNDREDTHS) => {
                Reason::Slower { cost: ready.cost }
            }
            (Ok(ready), _) => Reason::NoFaster { cost: ready.cost },
        },
    };
    others.map(reason).collect()
}
