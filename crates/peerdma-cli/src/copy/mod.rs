//! `peerdma copy`: blocks from one volume to another, by the best way that is safe, and read back.
//!
//! ```text
//! simulated  a copy on a simulated machine: its ends, by way of image
//! live       a copy on this machine: its ends, by way of consent
//! request    what the command line means for two ends, by way of amount, resume, same
//! carry, slots, read_back    drivers -> plan -> copy -> proof, on any ground
//! progress   a bar, and the wish to stop       account, text, verdict, json    what became of it, and what is said
//! ```

mod account;
pub(crate) mod amount;
mod carry;
pub(crate) mod consent;
mod image;
mod json;
mod live;
pub(crate) mod progress;
mod read_back;
mod request;
mod resume;
mod same;
mod simulated;
mod slots;
#[cfg(test)]
mod tests;
mod text;
mod unasked;
mod verdict;

use crate::args::CopyArgs;
use crate::error::{Failure, Problem, unless_unread};
use crate::ground::{Names, Sort};
use crate::report::Out;
use account::{Account, Ended};
use carry::Halt;
use peerdma::engine::Check;
use peerdma::plan::{CopyPlan, NoPlan};
use progress::{Progress, Stop};
use request::Request;
use std::process::ExitCode;

/// Only the way through RAM is safe, and it was forbidden.
const ONLY_RAM: u8 = 3;
/// The destination is not proven to equal the source.
const NOT_PROVEN: u8 = 4;
/// By a signal: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// A copy that was made, for those who tell of it.
struct Report<'r> {
    args: &'r CopyArgs,
    request: &'r Request,
    names: Names<'r>,
    sort: Sort,
    account: &'r Account,
    /// The same through RAM, where the way that was taken is another.
    by_ram: Option<&'r Account>,
    beliefs: &'r [String],
    notes: &'r [String],
    /// Why the file of `--resume` does not say what was done.
    not_kept: Option<&'r str>,
}

impl Report<'_> {
    /// Was the destination read back, and equals the source?
    fn is_verified(&self) -> bool {
        self.account.ended == Ended::Whole && self.account.check == Some(Check::Equal)
    }

    /// Did whoever runs it end it early?
    fn is_interrupted(&self) -> bool {
        self.account.ended == Ended::Interrupted || self.account.check == Some(Check::Cancelled)
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]: for bad input (nothing was written), and for what goes wrong after data has moved, which has exit codes of its own: also an
/// answer that cannot be written.
pub(crate) fn run(args: &CopyArgs) -> Result<ExitCode, Failure> {
    let out = Out::new(args.output);
    match &args.machine {
        Some(machine) => simulated::run(args, machine, &out),
        None => live::run(args, &out),
    }
}

/// What is told of a copy, before it and after it.
struct Told<'t> {
    args: &'t CopyArgs,
    request: &'t Request,
    out: &'t Out,
    sort: Sort,
    /// What is taken for true of this machine on somebody's word.
    beliefs: &'t [String],
}

impl Told<'_> {
    /// Carries a copy out while its plan and progress are shown, if `allow` lets it begin.
    fn watched(
        &self,
        names: Names<'_>,
        stop: Stop,
        allow: impl Fn(&CopyPlan) -> Result<(), Problem>,
        carry: impl FnOnce(&mut Progress<'_>) -> Result<Account, Halt>,
    ) -> Result<Account, Failure> {
        let Self {
            args,
            request,
            out,
            beliefs,
            ..
        } = *self;
        let mut planned = |plan: &CopyPlan| {
            if !out.is_json() && !args.quiet {
                // What is known before anything moves is said before.
                let _ = out.print(&text::plan(names, plan, request, beliefs, out));
            }
            allow(plan)
        };
        let mut progress = Progress::new(args, request.len_bytes, stop, &mut planned);
        match carry(&mut progress) {
            Ok(account) => Ok(account),
            Err(Halt::Problem(problem)) => Err(problem.into()),
            Err(Halt::NoPlan(why)) => Err(no_plan(&why, names, request).into()),
        }
    }

    /// Keeps what is to be kept of a copy, says what became of it, and gives the exit code. `by_ram` makes the copy to compare it with.
    fn end(
        &self,
        names: Names<'_>,
        account: &Account,
        by_ram: impl FnOnce(&Account) -> Option<Account>,
        mut notes: Vec<String>,
    ) -> Result<ExitCode, Failure> {
        let Self {
            args, request, out, ..
        } = *self;
        let not_kept = resume::keep_state(args, request, account).err();
        notes.extend(not_kept.clone());
        let by_ram = by_ram(account);
        let report = Report {
            args,
            request,
            names,
            sort: self.sort,
            account,
            by_ram: by_ram.as_ref(),
            beliefs: self.beliefs,
            notes: &notes,
            not_kept: not_kept.as_deref(),
        };
        let told = match out.is_json() {
            true => out.print_json(&json::Answer::new(&report)),
            false => out.print(&text::result(&report, out)),
        };
        unless_unread(told).map_err(|failure| failure.after(verdict::verdict(&report).1))?;
        Ok(match report.is_verified() {
            true => ExitCode::SUCCESS,
            false if report.is_interrupted() => ExitCode::from(INTERRUPTED),
            false => ExitCode::from(NOT_PROVEN),
        })
    }
}

/// There is no plan: nothing was written.
fn no_plan(why: &NoPlan, names: Names<'_>, request: &Request) -> Problem {
    let mut problem = text::no_plan(why, names, request);
    if matches!(why, NoPlan::OnlyRam(_)) {
        problem.exit_code = ONLY_RAM;
    }
    problem.rejected = json::rejected_of(why, names, request);
    problem
}
