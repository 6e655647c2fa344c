//! `peerdma bind` and `peerdma unbind`: functions are lent to vfio-pci, and put back.
//!
//! ```text
//! mod       plan -> show -> ask -> plan again -> carry out
//! ask       the question on the terminal
//! text, json     what is said of it
//! ```
//!
//! What is planned is looked at once more after the question: somebody may have mounted a disk while it stood there.

mod ask;
mod json;
mod text;

use crate::args::BindArgs;
use crate::error::{Failure, Problem, unless_unread};
use crate::report::Out;
use crate::select;
use peerdma::addr::Bdf;
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use peerdma_linux::bind::{self, BindError, GroupWish, Live, Plan, Refusal, System, Undone};
use peerdma_linux::{KeepConfig, source};
use std::path::Path;
use std::process::ExitCode;

/// Something stands in the way; nothing has changed.
const REFUSED: u8 = 3;
/// A step failed, and what had been done could not be undone.
const NOT_UNDONE: u8 = 4;

/// Which way functions change hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// To vfio-pci.
    Bind,
    /// Back to where they were.
    Unbind,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Unbind => "unbind",
        }
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] where something stands in the way (exit code 3), nobody said yes or a name means nothing (2), or a step failed and
/// could not be undone (4).
pub(crate) fn run(args: &BindArgs, way: Way) -> Result<ExitCode, Failure> {
    let out = Out::new(args.output);
    let root = args.root.as_deref().unwrap_or(Path::new("/"));
    let system = System::new(root);
    let topology = topology(root)?;
    let functions: Vec<Bdf> = args
        .functions
        .iter()
        .map(|name| select::one(&topology, name).map(|node| topology.function(node).bdf))
        .collect::<Result<_, _>>()?;
    let planned = || planned(args, way, &system, &functions);
    let plan = planned()?;
    let report = |plan: &Plan, is_done: bool| {
        unless_unread(match out.is_json() {
            true => out.print_json(&json::Answer::new(plan, way, is_done)),
            false => out.print(&text::answer(plan, way, &topology, &out)),
        })
    };
    if args.dry_run || plan.taken.is_empty() {
        report(&plan, false)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !out.is_json() {
        report(&plan, false)?;
    }
    let plan = match args.yes {
        true => plan,
        false => {
            ask::ask(&plan, way)?;
            let now = planned()?;
            if now != plan {
                return Err(Problem::new(
                    "the machine has changed while you were asked",
                    "what would be done now is not what you were shown",
                    "run the command again",
                )
                .into());
            }
            now
        }
    };
    plan.carry_out(&system, &mut Live, |_| ())
        .map_err(|error| failed(&error, way))?;
    let told = match out.is_json() {
        true => report(&plan, true),
        false => unless_unread(out.print(&text::done(&plan, way, args))),
    };
    told.map_err(|failure| failure.after(text::became(&plan, way, args)))?;
    Ok(ExitCode::SUCCESS)
}

/// The tree of the machine, for names.
fn topology(root: &Path) -> Result<Topology, Problem> {
    let mut warnings = Warnings::default();
    let snapshot = source::live(root, KeepConfig::Drop, &mut warnings).map_err(|error| {
        Problem::new(
            "the functions of this machine cannot be read",
            error,
            "bind and unbind work on a running Linux with a PCI bus",
        )
    })?;
    Ok(Topology::new(snapshot, &mut warnings))
}

fn planned(args: &BindArgs, way: Way, system: &System, functions: &[Bdf]) -> Result<Plan, Problem> {
    let wish = match args.group {
        true => GroupWish::Whole,
        false => GroupWish::Named,
    };
    let planned = match way {
        Way::Bind => bind::plan(system, &mut Live, functions, wish, &args.state),
        Way::Unbind => bind::returns(system, functions, wish, &args.state),
    };
    planned.map_err(|refusals| refused(&refusals, way))
}

fn refused(refusals: &[Refusal], way: Way) -> Problem {
    let lines = |line: fn(&Refusal) -> String| {
        let mut lines: Vec<String> = Vec::new();
        for refusal in refusals {
            let line = line(refusal);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines.join("\n")
    };
    let what = match way {
        Way::Bind => "nothing was bound: what is in use, or cannot be lent, stays with its driver",
        Way::Unbind => "nothing was put back",
    };
    let mut problem = Problem::new(
        what,
        lines(Refusal::to_string),
        lines(|refusal| refusal.obstacle.fix()),
    );
    problem.rejected = Some(json::rejected(refusals));
    let is_bad = refusals.iter().all(|refusal| refusal.obstacle.is_bad_input());
    if !is_bad {
        problem.exit_code = REFUSED;
    }
    problem
}

fn failed(error: &BindError, way: Way) -> Problem {
    let mut problem = Problem::new(format_args!("{} failed", way.name()), error, error.fix());
    match &error.undone {
        Undone::Whole => problem.exit_code = REFUSED,
        Undone::No { bdf, .. } => {
            problem.exit_code = NOT_UNDONE;
            let again = format!("peerdma unbind {bdf}");
            problem.fix = format!("{}; then put it back: {again}", problem.fix);
        }
    }
    problem
}
