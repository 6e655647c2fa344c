//! Unknown facts, tried with every value: a walk that asks for one is walked again until all the combinations
//! that matter have been seen.
//!
//! A walk is a function of the facts alone, so with the same answers it asks the same questions in the same
//! order. The answers of one run are kept as a list; the next run has the last answer that can still change
//! changed, and everything after it asked anew. A fact that is asked for twice in one run gets one answer.

use super::Missing;
use super::walk::Stop;
use crate::addr::Bdf;

/// One thing that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doubt {
    /// The function whose fact it is.
    pub(super) at: Bdf,
    pub(super) missing: Missing,
    /// The other function where the fact is about two.
    pub(super) other: Bdf,
}

#[derive(Debug, Clone, Copy)]
struct Pick {
    doubt: Doubt,
    option: u8,
    options: u8,
}

/// The answers of the present run.
#[derive(Debug)]
pub(super) struct Doubts {
    picks: [Option<Pick>; Self::MOST_PICKS],
    /// How many picks the present run starts with.
    given: usize,
    /// How many it has asked for so far.
    asked: usize,
    runs: u32,
}

/// What the next run would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// One in which the answer to this doubt has changed.
    Run(Doubt),
    /// All have been seen.
    Done,
    /// There are more than anyone waits for.
    TooMany,
}

impl Doubts {
    const MOST_PICKS: usize = 48;
    const MOST_RUNS: u32 = 1024;

    pub(super) fn new() -> Self {
        Self {
            picks: [None; Self::MOST_PICKS],
            given: 0,
            asked: 0,
            runs: 1,
        }
    }

    /// Which of `options` values the unknown fact has in this run; 0 comes first.
    pub(super) fn pick(&mut self, doubt: Doubt, options: u8) -> Result<u8, Stop> {
        let made = self.picks.iter().take(self.asked).flatten();
        if let Some(pick) = made.into_iter().find(|pick| pick.doubt == doubt) {
            return Ok(pick.option);
        }
        let Some(slot) = self.picks.get_mut(self.asked) else {
            return Err(Stop::Unknown(doubt.at, Missing::TooMuch));
        };
        let option = match slot {
            Some(pick) if self.asked < self.given => pick.option,
            _ => 0,
        };
        *slot = Some(Pick {
            doubt,
            option,
            options,
        });
        self.asked += 1;
        Ok(option)
    }

    /// Prepares the next run.
    pub(super) fn next(&mut self) -> Next {
        while let Some(last) = self.asked.checked_sub(1) {
            if let Some(Some(pick)) = self.picks.get_mut(last)
                && pick.option + 1 < pick.options
            {
                if self.runs == Self::MOST_RUNS {
                    return Next::TooMany;
                }
                pick.option += 1;
                self.runs += 1;
                self.given = self.asked;
                self.asked = 0;
                return Next::Run(pick.doubt);
            }
            self.asked = last;
        }
        Next::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn doubt(function: u8) -> Doubt {
        let at = Bdf::from_devfn(0, 0, function);
        Doubt {
            at,
            missing: Missing::BusMaster,
            other: at,
        }
    }

    #[test]
    fn every_combination_of_unknown_facts_that_is_asked_for_is_tried_once() {
        let mut doubts = Doubts::new();
        let mut seen = Vec::new();
        loop {
            let first = doubts.pick(doubt(1), 3).unwrap();
            let second = match first {
                0 => None,
                _ => Some(doubts.pick(doubt(2), 2).unwrap()),
            };
            assert_eq!(doubts.pick(doubt(1), 3), Ok(first), "one fact, one answer");
            seen.push((first, second));
            if doubts.next() == Next::Done {
                break;
            }
        }
        let all = [(0, None), (1, Some(0)), (1, Some(1)), (2, Some(0)), (2, Some(1))];
        assert_eq!(seen, all);
    }

    #[test]
    fn more_unknown_facts_than_can_be_tried_end_the_search() {
        let mut doubts = Doubts::new();
        let mut last = Ok(0);
        for function in 0..=Doubts::MOST_PICKS as u8 {
            last = doubts.pick(doubt(function), 2);
        }
        assert!(last.is_err());
        let mut runs = 1;
        loop {
            match doubts.next() {
                Next::Run(_) => runs += 1,
                end => break assert_eq!(end, Next::TooMany),
            }
            for function in 0..20 {
                let _ = doubts.pick(doubt(function), 2);
            }
        }
        assert_eq!(runs, Doubts::MOST_RUNS);
    }
}
