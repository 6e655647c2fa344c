//! `peerdma copy`: blocks from one namespace to another, by the best way that is safe, and read back.
//!
//! ```text
//! request    what the command line means, by way of end, image, amount, resume
//! rig        the machine with its drivers      carry, read_back    plan -> copy -> proof
//! progress   a bar, and the wish to stop       account, text, json    what became of it, and what is said of it
//! ```

mod account;
mod amount;
mod carry;
mod end;
mod image;
mod json;
mod progress;
mod read_back;
mod request;
mod resume;
mod rig;
#[cfg(test)]
mod tests;
mod text;

use crate::args::CopyArgs;
use crate::error::{Failure, Problem};
use crate::machine_file;
use crate::report::Out;
use account::{Account, Ended};
use carry::{Halt, ReadBack};
use peerdma::engine::Check;
use peerdma::plan::{CopyPlan, Force, NoPlan};
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::host::{Computer, Pattern};
use peerdma_sim::machine::{Files, Options};
use progress::{Progress, Stop};
use request::{MemoryWanted, Request, WayWanted};
use std::process::ExitCode;

/// Only the way through RAM is safe, and it was forbidden.
const ONLY_RAM: u8 = 3;
/// The destination is not proven to equal the source.
const NOT_PROVEN: u8 = 4;
/// By a signal: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// How much is copied again through RAM, to compare.
const MOST_COMPARED_BYTES: u64 = 64 << 20;
/// How much later packets may come where a seed is given and the machine does not say: enough to change who comes first.
const SEEDED_JITTER_PS: u64 = 500_000;
/// What a destination without an image holds before the copy.
const POISON: Pattern = Pattern::Poison(0x5a);

/// A copy that was made, for those who tell of it.
struct Report<'r> {
    args: &'r CopyArgs,
    request: &'r Request,
    computer: &'r Computer,
    account: &'r Account,
    /// The same through RAM, where the way that was taken is another.
    by_ram: Option<&'r Account>,
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
/// [`Failure`]: for bad input (nothing was written), and for what goes wrong after data has moved, which has an exit code of its own.
pub(crate) fn run(args: &CopyArgs) -> Result<ExitCode, Failure> {
    let out = Out::new(args.output);
    let mut blueprint = machine_file::load(&args.machine)?.blueprint;
    let mut warnings = Warnings::default();
    let topology = Topology::new(blueprint.snapshot.clone(), &mut warnings);
    if args.seed.is_some() && blueprint.nature.jitter_ps == 0 {
        blueprint.nature.jitter_ps = SEEDED_JITTER_PS;
    }
    let mut notes = Vec::new();
    let request = request::request(args, &mut blueprint, &topology, &mut notes)?;
    let computer = switched_on(args, &blueprint, &request)?;
    let stop = Stop::listen();
    let account = {
        let mut planned = |computer: &Computer, plan: &CopyPlan| {
            if !out.is_json() && !args.quiet {
                // What is known before anything moves is said before.
                let _ = out.print(&text::plan(computer, plan, &request, &out));
            }
        };
        let mut progress = Progress::new(args, request.len_bytes, stop.clone(), &mut planned);
        carry::carry(&computer, &request, ReadBack::Yes, &mut progress)
    };
    let account = match account {
        Ok(account) => account,
        Err(Halt::Problem(problem)) => return Err(problem.into()),
        Err(Halt::NoPlan(why)) => return Err(no_plan(&why, &computer, &request).into()),
    };
    let not_kept = resume::keep_state(args, &request, &account).err();
    notes.extend(not_kept.clone());
    let by_ram = by_ram(&blueprint, args, &request, &account, stop);
    let report = Report {
        args,
        request: &request,
        computer: &computer,
        account: &account,
        by_ram: by_ram.as_ref(),
        notes: &notes,
        not_kept: not_kept.as_deref(),
    };
    match out.is_json() {
        true => out.print_json(&json::Answer::new(&report))?,
        false => out.print(&text::result(&report, &out))?,
    }
    Ok(match report.is_verified() {
        true => ExitCode::SUCCESS,
        false if report.is_interrupted() => ExitCode::from(INTERRUPTED),
        false => ExitCode::from(NOT_PROVEN),
    })
}

/// The machine, with what the source is to hold and the destination must not.
fn switched_on(args: &CopyArgs, blueprint: &Blueprint, request: &Request) -> Result<Computer, Problem> {
    let options = Options {
        seed: args.seed,
        // Those that nobody asked for were refused before.
        files: Files::Open,
        ..Options::default()
    };
    let computer = Computer::new(blueprint, options).map_err(|error| {
        Problem::new(
            format_args!("{} cannot be switched on", args.machine.display()),
            error,
            "mend that in the machine file, or look at the files of --image",
        )
    })?;
    fill(&computer, request).map_err(|error| {
        Problem::new(
            "the simulated machine cannot hold what is to be copied",
            error,
            "copy less: --bytes",
        )
    })?;
    Ok(computer)
}

/// Files are left as they are: nothing may be written before there is a plan, and what an earlier run has done must stay.
fn fill(computer: &Computer, request: &Request) -> Result<(), peerdma_sim::device::nvme::MediaError> {
    let Request {
        source, destination, ..
    } = request;
    if let Some(pattern) = request.pattern {
        let range = request.source_offset..request.source_offset + request.len_bytes;
        computer.fill_namespace(source.controller, source.namespace, range, pattern)?;
    }
    if request.files[1].is_none() {
        let begin = request.destination_offset;
        let range = begin..begin + request.len_bytes;
        computer.fill_namespace(destination.controller, destination.namespace, range, POISON)?;
    }
    Ok(())
}

/// The same copy through RAM, on a machine of its own: to compare the two.
fn by_ram(
    blueprint: &Blueprint,
    args: &CopyArgs,
    request: &Request,
    account: &Account,
    stop: Stop,
) -> Option<Account> {
    use peerdma::plan::Kind;
    if account.ended != Ended::Whole || account.plan.kind() == Kind::ViaRam {
        return None;
    }
    let mut blueprint = blueprint.clone();
    blueprint.forget_files();
    let seed = args.seed.unwrap_or(blueprint.nature.seed);
    let request = Request {
        len_bytes: request.len_bytes.min(MOST_COMPARED_BYTES),
        resume_bytes: 0,
        way: WayWanted {
            via: None,
            memory: MemoryWanted::Ram,
            force: Force::Never,
        },
        pattern: Some(Pattern::Seeded(seed)),
        files: [None, None],
        ..request.clone()
    };
    // Whatever is wrong with it: the copy itself is made, and there is nothing to compare it with.
    let computer = switched_on(args, &blueprint, &request).ok()?;
    let mut progress = Progress::silent(stop);
    let account = carry::carry(&computer, &request, ReadBack::No, &mut progress).ok()?;
    (account.ended == Ended::Whole).then_some(account)
}

/// There is no plan: nothing was written.
fn no_plan(why: &NoPlan, computer: &Computer, request: &Request) -> Problem {
    let mut problem = text::no_plan(why, computer, request);
    if matches!(why, NoPlan::OnlyRam(_)) {
        problem.exit_code = ONLY_RAM;
    }
    problem.rejected = json::rejected_of(why);
    problem
}
