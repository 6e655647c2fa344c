//! The question before something is taken from its driver.

use super::Way;
use crate::error::Problem;
use crate::layout::count;
use peerdma_linux::bind::Plan;
use std::io::{self, BufRead, IsTerminal, Write};

/// Asks on the terminal.
///
/// # Errors
/// A [`Problem`] where the answer is not yes, or there is no terminal to ask on.
pub(super) fn ask(plan: &Plan, way: Way) -> Result<(), Problem> {
    let functions = count(plan.taken.len(), "function");
    let question = match way {
        Way::Bind => format!("Take {functions} from the drivers they have now, and bind to vfio-pci?"),
        Way::Unbind => format!("Put {functions} back?"),
    };
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Problem::new(
            "nobody can be asked, and nothing was done",
            "drivers are changed only by whoever says so, and standard input or standard error is not a terminal",
            "look at what --dry-run prints, then give --yes",
        ));
    }
    let mut answer = String::new();
    // Nobody can be told that stderr is gone; without an answer nothing is done.
    let _ = write!(io::stderr().lock(), "{question} [y/N] ");
    let read = io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes" | "Yes" | "YES") => Ok(()),
        _ => Err(Problem::new(
            "nothing was done",
            "the answer was not yes",
            "run the command again and answer y, or give --yes",
        )),
    }
}
