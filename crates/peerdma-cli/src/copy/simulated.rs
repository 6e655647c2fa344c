//! A copy on a simulated machine: its ends, images and patterns, and the same copy through RAM to compare.

use super::account::{Account, Ended};
use super::carry::{self, ReadBack};
use super::progress::{Progress, Stop};
use super::request::{self, Blocked, Ends, MemoryWanted, Request, WayWanted};
use super::{Told, image};
use crate::args::CopyArgs;
use crate::error::{Failure, Problem};
use crate::ground::{End, Ground, Pattern, Place};
use crate::machine_file;
use crate::report::Out;
use peerdma::plan::{Force, Kind};
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::device::nvme::MediaError;
use peerdma_sim::host::Computer;
use peerdma_sim::machine::{Files, Options};
use std::path::Path;
use std::process::ExitCode;

/// How much is copied again through RAM, to compare.
const MOST_COMPARED_BYTES: u64 = 64 << 20;
/// How much later packets may come where a seed is given and the machine does not say: enough to change who comes first.
const SEEDED_JITTER_PS: u64 = 500_000;
/// What a destination without an image holds before the copy.
const POISON: Pattern = Pattern::Poison(0x5a);

/// Runs the command on the machine of a file.
///
/// # Errors
/// [`Failure`]
pub(super) fn run(args: &CopyArgs, machine: &Path, out: &Out) -> Result<ExitCode, Failure> {
    let mut blueprint = machine_file::load(machine)?.blueprint;
    let topology = Topology::new(blueprint.snapshot.clone(), &mut Warnings::default());
    if args.seed.is_some() && blueprint.nature.jitter_ps == 0 {
        blueprint.nature.jitter_ps = SEEDED_JITTER_PS;
    }
    let mut notes = Vec::new();
    let ends = ends(args, &mut blueprint, &topology)?;
    let request = request::request(args, &topology, ends, &mut notes)?;
    let computer = switched_on(args, &blueprint, &request)?;
    let stop = Stop::listen();
    let told = Told {
        args,
        request: &request,
        out,
        sort: Computer::SORT,
        beliefs: &[],
    };
    let carry = |progress: &mut Progress<'_>| carry::carry(&computer, &request, ReadBack::Yes, progress);
    let account = told.watched(computer.names(), stop.clone(), |_| Ok(()), carry)?;
    let by_ram = |account: &Account| by_ram(&blueprint, args, &request, account, stop);
    told.end(computer.names(), &account, by_ram, notes)
}

/// Both namespaces, with the files in the place of their media.
fn ends(args: &CopyArgs, blueprint: &mut Blueprint, topology: &Topology) -> Result<Ends, Problem> {
    let source = End::of_blueprint(blueprint, topology, &args.source)?;
    let destination = End::of_blueprint(blueprint, topology, &args.destination)?;
    request::refuse_same(&source, &destination)?;
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
    let mut shape = |end: &End| {
        let kind = end.kind(blueprint);
        kind.map_or((0, 1), |kind| (kind.blocks, u64::from(kind.block_bytes)))
    };
    let shapes = [shape(&source), shape(&destination)];
    Ok(Ends {
        source,
        destination,
        shapes: shapes.map(|(blocks, block_bytes)| Blocked { blocks, block_bytes }),
        pattern: files[0].is_none().then_some(Pattern::Seeded(seed)),
        files: files.map(|file| file.map(|path| path.to_string_lossy().into_owned())),
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
            format_args!("{} cannot be switched on", args.machine_name()),
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
fn fill(computer: &Computer, request: &Request) -> Result<(), MediaError> {
    let fill = |end: &End, offset: u64, pattern| match end.place {
        Place::Namespace(number) => {
            let range = offset..offset + request.len_bytes;
            computer.fill_namespace(end.initiator, number, range, pattern)
        }
        Place::Own(_) => Ok(()),
    };
    if let Some(pattern) = request.pattern {
        fill(&request.source, request.source_offset, pattern)?;
    }
    if request.files[1].is_none() {
        fill(&request.destination, request.destination_offset, POISON)?;
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
    if account.ended != Ended::Whole || account.plan.kind() == Kind::ViaRam {
        return None;
    }
    let mut blueprint = blueprint.clone();
    blueprint.forget_files();
    let seed = args.seed.unwrap_or(blueprint.nature.seed);
    let request = Request {
        len_bytes: request.len_bytes.min(MOST_COMPARED_BYTES),
        resume_bytes: 0,
        fitted: None,
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
