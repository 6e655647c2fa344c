//! `peerdma copy`: blocks from one namespace to another, by the best way that is safe, and read back.
//!
//! ```text
//! end, image, amount, resume    what the command line means
//! rig       the machine with its drivers      carry    plan -> copy -> read back
//! progress  a bar, and the wish to stop       text, json    what is said of it
//! ```

mod amount;
mod carry;
mod end;
mod image;
mod json;
mod progress;
mod resume;
mod rig;
#[cfg(test)]
mod tests;
mod text;

use crate::args::CopyArgs;
use crate::error::{Failure, Problem};
use crate::machine_file;
use crate::report::Out;
use crate::select;
use amount::Blocks;
use carry::{Account, Ended, Halt, MemoryWanted, ReadBack, Request, WayWanted};
use end::End;
use peerdma::engine::Check;
use peerdma::plan::{CopyPlan, Force, NoPlan};
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::host::{Computer, Pattern};
use peerdma_sim::machine::{Files, Options};
use progress::{Progress, Stop};
use resume::{Same, State};
use std::process::ExitCode;

/// Only the way through RAM is safe, and it was forbidden.
const ONLY_RAM: u8 = 3;
/// The destination is not proven to equal the source.
const NOT_PROVEN: u8 = 4;
/// By a signal: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// How much of a pattern is copied where nobody says.
const PATTERN_BYTES: u64 = 64 << 20;
/// How much is copied again through RAM, to compare.
const MOST_COMPARED_BYTES: u64 = 64 << 20;
/// Bytes of a piece where nobody says: few enough for several in a small buffer.
const CHUNK_BYTES: u64 = 256 << 10;
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
}

impl Report<'_> {
    /// Did whoever runs it end it early?
    fn is_interrupted(&self) -> bool {
        self.account.ended == Ended::Interrupted || self.account.check == Some(Check::Cancelled)
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] for bad input: nothing was written.
pub(crate) fn run(args: &CopyArgs) -> Result<ExitCode, Failure> {
    let out = Out::new(args.output);
    let mut blueprint = machine_file::load(&args.machine)?.blueprint;
    let mut warnings = Warnings::default();
    let topology = Topology::new(blueprint.snapshot.clone(), &mut warnings);
    if args.seed.is_some() && blueprint.nature.jitter_ps == 0 {
        blueprint.nature.jitter_ps = SEEDED_JITTER_PS;
    }
    let mut notes = Vec::new();
    let request = request(args, &mut blueprint, &topology, &mut notes)?;
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
    let not_kept = keep_state(args, &request, &account).err();
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

/// What the command line asks for.
fn request(
    args: &CopyArgs,
    blueprint: &mut Blueprint,
    topology: &Topology,
    notes: &mut Vec<String>,
) -> Result<Request, Problem> {
    let source = End::find(blueprint, topology, &args.source)?;
    let destination = End::find(blueprint, topology, &args.destination)?;
    if source.is(&destination) {
        return Err(Problem::new(
            format_args!("{} would be copied onto itself", source.name),
            "source and destination are the same namespace",
            "name two namespaces",
        ));
    }
    let mut images = Vec::new();
    for words in &args.what.image {
        let end = image::attach(blueprint, topology, words, &destination)?;
        if images.iter().any(|known: &End| known.is(&end)) {
            return Err(Problem::new(
                format_args!("{} has two images", end.name),
                "--image names it twice",
                "give one",
            ));
        }
        images.push(end);
    }
    if !args.allow_files {
        image::refuse_others(blueprint, &images)?;
    }
    // Also one that the machine file itself names: what is in it is data, and no place for a pattern.
    let mut file = |end: &End| end.kind(blueprint).and_then(|kind| kind.file.clone());
    let files = [file(&source), file(&destination)];
    let seed = args.seed.unwrap_or(blueprint.nature.seed);
    let pattern = files[0].is_none().then_some(Pattern::Seeded(seed));
    let part = part(args, blueprint, &source, &destination, pattern.is_some())?;
    let via = match &args.way.via {
        None => None,
        Some(word) => Some(topology.function(select::one(topology, word)?).bdf),
    };
    let chunk_bytes = match &args.way.chunk {
        None => CHUNK_BYTES,
        Some(text) => amount::bytes("--chunk", text)?,
    };
    let chunk_bytes = u32::try_from(chunk_bytes)
        .ok()
        .filter(|bytes| (1..=1 << 30).contains(bytes));
    let mut request = Request {
        source,
        destination,
        source_offset: part.source_offset,
        destination_offset: part.destination_offset,
        len_bytes: part.len_bytes,
        resume_bytes: 0,
        queue_depth: args.way.queue_depth,
        chunk_bytes: chunk_bytes.ok_or_else(|| {
            Problem::new(
                format_args!(
                    "--chunk {} is no size of a piece",
                    args.way.chunk.as_deref().unwrap_or("")
                ),
                "a piece has at least a block, and at most 1 GiB",
                "give --chunk 256KiB, or another multiple of the block",
            )
        })?,
        way: WayWanted {
            via,
            memory: match (args.way.via_ram, args.way.require_p2p) {
                (true, _) => MemoryWanted::Ram,
                (_, true) => MemoryWanted::Devices,
                _ => MemoryWanted::Any,
            },
            force: match args.way.force_route {
                true => Force::Refused,
                false => Force::Never,
            },
        },
        pattern,
        files: files.map(|file| file.map(|path| path.to_string_lossy().into_owned())),
    };
    if let Some(path) = &args.resume {
        request.resume_bytes = State::done(path, same(args, &request))?;
        if request.resume_bytes > 0 && request.files[1].is_none() {
            notes.push(format!(
                "{} was in memory and is gone with the interrupted run: the copy begins anew",
                request.destination.name
            ));
            request.resume_bytes = 0;
        }
    }
    Ok(request)
}

/// Which bytes go where.
struct Part {
    source_offset: u64,
    destination_offset: u64,
    len_bytes: u64,
}

fn part(
    args: &CopyArgs,
    blueprint: &mut Blueprint,
    source: &End,
    destination: &End,
    is_pattern: bool,
) -> Result<Part, Problem> {
    let shape = |blueprint: &mut Blueprint, end: &End| {
        let kind = end.kind(blueprint);
        kind.map_or((0, 1), |kind| (kind.blocks, u64::from(kind.block_bytes)))
    };
    let (blocks, block_bytes) = shape(blueprint, source);
    let (there, block_there) = shape(blueprint, destination);
    let range = match &args.what.lba {
        None => Blocks::ALL,
        Some(text) => Blocks::read(text)?,
    };
    let Some(range) = range.of(blocks) else {
        return Err(Problem::new(
            format_args!(
                "{} has no blocks {}",
                source.name,
                args.what.lba.as_deref().unwrap_or("..")
            ),
            format_args!("it has {blocks} blocks of {block_bytes} bytes, numbered from 0"),
            "give a range within them",
        ));
    };
    let source_offset = range.start * block_bytes;
    let most = (range.end - range.start) * block_bytes;
    let len_bytes = match &args.what.bytes {
        Some(text) => {
            let len_bytes = amount::bytes("--bytes", text)?;
            if len_bytes == 0 || !len_bytes.is_multiple_of(block_bytes) || len_bytes > most {
                return Err(Problem::new(
                    format_args!("{text} cannot be copied from {}", source.name),
                    match len_bytes {
                        0 => "it is nothing at all".to_owned(),
                        _ if len_bytes > most => format!("only {most} bytes are there"),
                        _ => format!("it is no whole number of blocks of {block_bytes} bytes"),
                    },
                    "give a multiple of the block that is there",
                ));
            }
            len_bytes
        }
        None if is_pattern && args.what.lba.is_none() => {
            // A pattern has no end of its own: no more than fits.
            let fits = there.saturating_mul(block_there);
            let common = block_bytes.max(block_there);
            most.min(PATTERN_BYTES).min(fits) / common * common
        }
        None => most,
    };
    let destination_offset = match args.what.to_lba {
        None => source_offset,
        Some(lba) => lba.saturating_mul(block_there),
    };
    let unfit = |why: String, fix: &str| {
        Problem::new(
            format_args!("{} does not fit {}", source.name, destination.name),
            why,
            fix,
        )
    };
    if len_bytes == 0
        || !len_bytes.is_multiple_of(block_there)
        || !destination_offset.is_multiple_of(block_there)
    {
        return Err(unfit(
            format!(
                "{len_bytes} bytes to byte {destination_offset} are no whole number of blocks of {block_there} bytes there"
            ),
            "choose --lba, --to-lba and --bytes as multiples of the larger block",
        ));
    }
    let there_bytes = there.saturating_mul(block_there);
    if destination_offset
        .checked_add(len_bytes)
        .is_none_or(|end| end > there_bytes)
    {
        return Err(unfit(
            format!(
                "{len_bytes} bytes are to go to byte {destination_offset} on, and it has {there_bytes} in all"
            ),
            "copy less (--bytes, --lba), to an earlier place (--to-lba), or take a larger destination",
        ));
    }
    Ok(Part {
        source_offset,
        destination_offset,
        len_bytes,
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

fn same<'a>(args: &'a CopyArgs, request: &'a Request) -> Same<'a> {
    Same {
        machine: args.machine.to_string_lossy(),
        source_file: request.files[0].as_deref(),
        destination_file: request.files[1].as_deref(),
        source: &request.source.name,
        destination: &request.destination.name,
        source_offset: request.source_offset,
        destination_offset: request.destination_offset,
        bytes: request.len_bytes,
        seed: match request.pattern {
            Some(Pattern::Seeded(seed)) => Some(seed),
            _ => None,
        },
    }
}

/// Keeps what an interrupted copy has done, and removes the file of one that is whole.
///
/// # Errors
/// A sentence: the copy itself is as it is, and what became of it is still to be told.
fn keep_state(args: &CopyArgs, request: &Request, account: &Account) -> Result<(), String> {
    let Some(path) = &args.resume else {
        return Ok(());
    };
    // All of it may be written and not yet read back: the next run does that.
    let is_done = account.ended == Ended::Whole && account.check != Some(Check::Cancelled);
    let written = match is_done {
        true => match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        false => {
            // What was read back and found wrong is copied again.
            let good_bytes = match &account.check {
                Some(Check::Differs(mismatch)) => mismatch.offset_bytes,
                _ => u64::MAX,
            };
            let done_bytes = account.counts.durable_bytes.min(good_bytes);
            State::new(same(args, request), done_bytes).write(path)
        }
    };
    written.map_err(|error| match is_done {
        true => format!("{} could not be removed: {error}", path.display()),
        false => format!("{} could not be written: {error}", path.display()),
    })
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
