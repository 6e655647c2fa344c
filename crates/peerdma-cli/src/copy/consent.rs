//! Whoever runs a command on a real machine is asked before anything is overwritten.

use super::INTERRUPTED;
use super::progress::Stop;
use crate::error::Problem;
use std::io::{IsTerminal, Write, stderr, stdin};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Must somebody be asked?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// No: it was given on the command line, or nothing is overwritten.
    Given,
    /// Yes, at the terminal.
    ToBeAsked,
}

impl Consent {
    /// Whether somebody must be asked before `destination` is written, and can be.
    ///
    /// # Errors
    /// A [`Problem`] where nobody can.
    pub(crate) fn needed(destination: &str, is_given: Given) -> Result<Self, Problem> {
        match is_given {
            Given::Yes => Ok(Self::Given),
            Given::No if stdin().is_terminal() => Ok(Self::ToBeAsked),
            Given::No => Err(Problem::new(
                format_args!("{destination} is not overwritten"),
                "nobody was asked: standard input is no terminal, and --yes was not given",
                "give --yes if what it holds may be lost",
            )),
        }
    }

    /// Asks, where that is still to be done.
    ///
    /// # Errors
    /// A [`Problem`] where the answer is no.
    pub(crate) fn obtain(self, question: &str, stop: &Stop) -> Result<(), Problem> {
        if self == Self::Given {
            return Ok(());
        }
        let mut to = stderr().lock();
        let asked = write!(to, "{question} [y/N] ").and_then(|()| to.flush());
        drop(to);
        let answer = match asked {
            Ok(()) => answer(stop)?,
            Err(_) => String::new(),
        };
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Problem::new(
                "nothing was written",
                "the answer was not y",
                "answer y, or give --yes, if it may be written",
            )),
        }
    }
}

/// Was consent given on the command line, or is none needed?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    Yes,
    No,
}

/// A line from the terminal; a signal ends the waiting.
fn answer(stop: &Stop) -> Result<String, Problem> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = stdin().read_line(&mut line);
        let _ = send.send(line);
    });
    loop {
        match receive.recv_timeout(Duration::from_millis(50)) {
            Ok(line) => return Ok(line),
            Err(RecvTimeoutError::Disconnected) => return Ok(String::new()),
            Err(RecvTimeoutError::Timeout) if stop.is_set() => {
                let mut problem = Problem::new(
                    "nothing was written",
                    "it was interrupted before anybody answered",
                    "run it again",
                );
                problem.exit_code = INTERRUPTED;
                return Err(problem);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
