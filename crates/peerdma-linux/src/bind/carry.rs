//! The steps of a plan, one after the other, and the way back where one fails.

use super::plan::Standing;
use super::present::Present;
use super::{BindError, Hands, Obstacle, Plan, Step, System, Taken, Undone, VFIO, in_use};
use std::io;

impl Plan {
    /// Does what was planned. `tell` hears of every function that changed hands.
    ///
    /// # Errors
    /// [`BindError`]: a step failed. What had been done of it and of the functions before it was undone, or the error says what could
    /// not be; records that are still needed stay.
    pub fn carry_out(
        &self,
        system: &System,
        hands: &mut impl Hands,
        mut tell: impl FnMut(&Taken),
    ) -> Result<(), BindError> {
        for (index, taken) in self.taken.iter().enumerate() {
            if let Err(Stopped { done, step, source }) = taken.carry_out(system, hands) {
                let mut undoing = Undoing {
                    system,
                    undone: Undone::Whole,
                };
                // Where nothing was done, somebody else may have it by now.
                if done > 0 {
                    undoing.undo(taken, done, hands);
                }
                for whole in self.taken.get(..index).unwrap_or_default().iter().rev() {
                    undoing.undo(whole, whole.steps.len(), hands);
                }
                return Err(BindError {
                    bdf: taken.bdf,
                    step,
                    source,
                    undone: undoing.undone,
                });
            }
            tell(taken);
        }
        Ok(())
    }
}

/// Where the steps of one function ended early.
struct Stopped {
    /// How many were done.
    done: usize,
    /// Which failed; nothing where the kernel did not do what was written.
    step: Option<Step>,
    source: io::Error,
}

impl Taken {
    fn carry_out(&self, system: &System, hands: &mut impl Hands) -> Result<(), Stopped> {
        let unheard = |done: usize| {
            self.look(system).map_err(|source| Stopped {
                done,
                step: None,
                source,
            })
        };
        let stopped = |done: usize, source: io::Error| Stopped {
            done,
            step: None,
            source,
        };
        self.check_standing(system).map_err(|source| stopped(0, source))?;
        for (done, step) in self.steps.iter().enumerate() {
            // Between plan and deed a person may have thought it over for an hour.
            if self.takes(step) {
                self.check_unused(system, hands)
                    .map_err(|source| stopped(done, source))?;
            }
            // The record goes when the kernel has done what it was asked for, and not before.
            if matches!(step, Step::Forget { .. }) {
                unheard(done)?;
            }
            act(step, hands).map_err(|source| Stopped {
                done,
                step: Some(step.clone()),
                source,
            })?;
        }
        unheard(self.steps.len())
    }

    /// Does this step take the function from its driver?
    fn takes(&self, step: &Step) -> bool {
        matches!(step, Step::Write { path, .. } if path.ends_with("unbind"))
    }

    /// Is it driven as it was when this was planned?
    fn check_standing(&self, system: &System) -> io::Result<()> {
        match Present::read(system, self.bdf) {
            None => Err(io::Error::other("it is gone")),
            Some(function) if Standing::of(&function) == self.before => Ok(()),
            Some(_) => Err(in_the_meantime("somebody else has changed its driver")),
        }
    }

    /// Is it as little used as when this was planned?
    fn check_unused(&self, system: &System, hands: &mut impl Hands) -> io::Result<()> {
        let uses = match self.before.driver.as_deref() == Some(VFIO) {
            true => in_use::lent_to(system, self.bdf, self.group),
            false => in_use::uses(system, hands, self.bdf),
        };
        let uses: Vec<String> = uses.iter().map(Obstacle::to_string).collect();
        match uses.is_empty() {
            true => Ok(()),
            false => Err(in_the_meantime(&uses.join("; "))),
        }
    }

    /// Is it driven as wanted? A driver may refuse a function in silence.
    fn look(&self, system: &System) -> io::Result<()> {
        let driver = match Present::read(system, self.bdf) {
            None => return Err(io::Error::other("it is gone")),
            Some(function) if function.driver == self.wanted.driver => return Ok(()),
            Some(function) => function.driver,
        };
        let name = |driver: &Option<String>| driver.clone().unwrap_or_else(|| "none".into());
        Err(io::Error::other(format!(
            "all was written, and its driver is {}, not {}",
            name(&driver),
            name(&self.wanted.driver)
        )))
    }

    /// From wherever it stands, after `done` of its steps, to where it stood.
    fn undo(&self, done: usize, system: &System, hands: &mut impl Hands) -> Result<(), (Step, io::Error)> {
        let mut back = match Present::read(system, self.bdf) {
            Some(now) => Standing::of(&now).steps_to(&self.before, system, self.bdf),
            None => Vec::new(),
        };
        // The record is last: as long as something is not put back, it is needed.
        for step in self.steps.get(..done).unwrap_or_default() {
            match step.clone() {
                Step::Keep { path, record } => back.push(Step::Forget { path, record }),
                Step::Forget { path, record } => back.push(Step::Keep { path, record }),
                Step::Write { .. } => {}
            }
        }
        for step in back {
            if let Err(source) = act(&step, hands) {
                return Err((step, source));
            }
        }
        Ok(())
    }
}

/// Puts functions back one by one. Others are put back though one cannot be; the first that cannot is told.
struct Undoing<'s> {
    system: &'s System,
    undone: Undone,
}

impl Undoing<'_> {
    fn undo(&mut self, taken: &Taken, done: usize, hands: &mut impl Hands) {
        if let Err((step, source)) = taken.undo(done, self.system, hands)
            && matches!(self.undone, Undone::Whole)
        {
            self.undone = Undone::No {
                bdf: taken.bdf,
                step: Box::new(step),
                source,
            };
        }
    }
}

fn in_the_meantime(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        format!("since this was planned: {what}"),
    )
}

fn act(step: &Step, hands: &mut impl Hands) -> io::Result<()> {
    match step {
        Step::Keep { path, record } => record.bytes().and_then(|bytes| hands.keep(path, &bytes)),
        Step::Write { path, text } => hands.write(path, format!("{text}\n").as_bytes()),
        Step::Forget { path, .. } => hands.forget(path),
    }
}
