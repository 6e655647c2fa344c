//! A copy on the machine that runs us: controllers bound to vfio-pci, block devices of the kernel, files.

mod fit;
mod opened;

use super::account::Account;
use super::carry::{self, Halt, ReadBack};
use super::consent::{Consent, Given};
use super::progress::{Progress, Stop};
use super::request::{self, Request};
use super::{NOT_PROVEN, Told};
use crate::args::{CopyArgs, MachineArgs, Policy};
use crate::capture::Source;
use crate::error::{Failure, Problem};
use crate::ground::live::{Live, Word};
use crate::ground::{Ground, Lender, Rig};
use crate::input::Machine;
use crate::layout::bytes;
use crate::report::Out;
use opened::Opened;
use peerdma::addr::Bdf;
use peerdma::snapshot::{Host, Snapshot, Warnings};
use peerdma_linux::ring::{Extent, Overlap};
use peerdma_linux::vfio::{Api, Memlock};
use std::path::Path;
use std::process::ExitCode;

/// Runs the command.
///
/// # Errors
/// [`Failure`]
pub(super) fn run(args: &CopyArgs, out: &Out) -> Result<ExitCode, Failure> {
    let machine = machine(args)?;
    let topology = &machine.topology;
    let words = [
        Word::read(topology, &args.source)?,
        Word::read(topology, &args.destination)?,
    ];
    refuse(args, &words)?;
    let via = request::via(args, topology)?;
    let is_given = match (args.live.yes, &words[1]) {
        (false, Word::Controller { .. } | Word::Existing(_)) => Given::No,
        (true, _) | (_, Word::New(_)) => Given::Yes,
    };
    let consent = Consent::needed(&args.destination, is_given)?;
    let mut opened = Opened::new(args, &words)?;
    let wanted = opened.wanted(args, topology, via)?;
    let mut notes = opened.notes();
    let live = Live::open(machine, wanted)?;
    notes.extend(live.api().map(|api| match api {
        Api::Type1 => "controllers are had by VFIO's type1".to_owned(),
        Api::Iommufd => "controllers are had by VFIO's iommufd".to_owned(),
    }));
    let stop = Stop::listen();
    let rig = opened.start(&live, via)?;
    refuse_bar(args, &rig, via)?;
    let ends = opened.ends(args, &words, &rig)?;
    let mut request = request::request(args, live.topology(), ends, &mut notes)?;
    // What the drivers have for themselves is locked by now.
    fit::fit(args, &mut request, live.api().and_then(|_| Memlock::read()));
    let doubt = refuse_overlap(args, &words, &request)?;
    notes.extend(doubt.as_ref().map(|doubt| {
        format!("{doubt}; they were taken for two (where that is in doubt: `nvme list-subsys`, and the labels on the disks)")
    }));
    let made = opened.make(&live, &request)?;
    let told = Told {
        args,
        request: &request,
        out,
        sort: Live::SORT,
        beliefs: live.beliefs(),
    };
    let allow = |_: &_| consent.obtain(&question(args, &words[1], &request, doubt.as_deref()), &stop);
    let carry = |progress: &mut Progress<'_>| carry::carry_on(rig, &request, ReadBack::Yes, progress);
    let kept = |halt: &Halt| matches!(halt, Halt::Problem(problem) if problem.exit_code == NOT_PROVEN);
    let account = told.watched(live.names(), stop.clone(), allow, |progress| {
        carry(progress).inspect_err(|halt| {
            if let Some(path) = made.filter(|_| !kept(halt)) {
                // It was made a moment ago, and nothing was written.
                let _ = std::fs::remove_file(path);
            }
        })
    })?;
    if let Some(bdf) = live.recalled() {
        notes.push(format!(
            "the kernel wants {bdf} back (it is being unbound or removed): what used it was ended"
        ));
    }
    notes.extend(account.disturbed.iter().map(|bdf| {
        format!("{bdf} was reset by somebody else during the copy, or does not answer: look at `dmesg`, and copy again")
    }));
    told.end(live.names(), &account, |_: &Account| None, notes)
}

/// The machine that runs us. Files can be copied where nothing is known of it.
fn machine(args: &CopyArgs) -> Result<Machine, Problem> {
    let machine = Machine::open(&MachineArgs::default(), Policy::Linux);
    let is_address = |name: &String| {
        name.split('/')
            .next()
            .is_some_and(|name| name.parse::<Bdf>().is_ok())
    };
    let names_devices =
        args.way.via.is_some() || [&args.source, &args.destination].into_iter().any(is_address);
    match machine {
        Err(_) if !names_devices => {
            let mut warnings = Warnings::default();
            let nothing = Snapshot::new(Host::default(), Vec::new(), &mut warnings);
            Ok(Machine::of(nothing, Source::Live, warnings, Vec::new(), None))
        }
        read => read,
    }
}

/// What can be no copy is refused before anything is opened.
fn refuse(args: &CopyArgs, words: &[Word; 2]) -> Result<(), Problem> {
    let [source, destination] = words;
    if let Word::New(path) = source {
        return Err(Problem::new(
            format_args!("{} cannot be copied", args.source),
            format_args!("{} does not exist", path.display()),
            "name a file, a block device (nvme0n1), or a controller bound to vfio-pci by its address (3b:00.0)",
        ));
    }
    if let Word::New(path) = destination {
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(Problem::new(
                format_args!("{} cannot be made", args.destination),
                match folder.exists() {
                    true => format!("{} is no folder", folder.display()),
                    false => format!("the folder {} does not exist", folder.display()),
                },
                format_args!(
                    "make it (`mkdir -p {}`), or name a file in another",
                    folder.display()
                ),
            ));
        }
    }
    if source.is(destination) {
        return Err(Problem::new(
            format_args!("{} would be copied onto itself", args.source),
            "source and destination are the same",
            "name two different ones",
        ));
    }
    Ok(())
}

/// A BAR that was named, where other memory of the device would be used.
fn refuse_bar(args: &CopyArgs, rig: &Rig<Live>, via: Option<Bdf>) -> Result<(), Problem> {
    let (Some(via), Some(word)) = (via, &args.way.via) else {
        return Ok(());
    };
    let lender = Lender {
        word,
        bar: args.live.via_bar,
        option: "--via-bar",
    };
    lender.memory(rig, via).map(|_| ())
}

/// Two names may mean the same blocks: a disk and its partition, a file and the loop device over it. Where nothing but equal serials says so, whoever
/// consents to the overwriting decides: gives what is to be told before.
fn refuse_overlap(args: &CopyArgs, words: &[Word; 2], request: &Request) -> Result<Option<String>, Problem> {
    let [Word::Existing(source), Word::Existing(destination)] = words else {
        return Ok(None);
    };
    let (Some(source), Some(destination)) = (Extent::of(source), Extent::of(destination)) else {
        return Ok(None);
    };
    let (from, to) = (request.source_offset, request.destination_offset);
    match source.overlap(from, &destination, to, request.len_bytes) {
        None => Ok(None),
        Some(alike @ Overlap::Alike { .. }) => Ok(Some(alike.to_string())),
        Some(overlap) => Err(Problem::new(
            match overlap {
                Overlap::Certain { .. } => format!("{} would be copied over itself", args.source),
                _ => format!("{} might be copied over itself", args.source),
            },
            format_args!(
                "{} and {}: {overlap}; what is still to be read would be overwritten",
                args.source, args.destination
            ),
            "name another destination, or parts that do not touch (--lba, --to-lba, --bytes)",
        )),
    }
}

fn question(args: &CopyArgs, word: &Word, request: &Request, doubt: Option<&str>) -> String {
    let doubt = doubt.map(|doubt| format!("{doubt}; compare them (`nvme list-subsys`) first. "));
    format!(
        "{}Overwrite {} of {} ({}), from byte {} on?",
        doubt.unwrap_or_default(),
        bytes(request.len_bytes - request.resume_bytes.min(request.len_bytes)),
        args.destination,
        word.identity(),
        request.destination_offset
    )
}
