//! `peerdma simulate`: a machine that is switched on, and transfers that are carried out on it.
//!
//! [`text`] prints what became of them, [`json`] has it as data; [`way`] says how a request travelled, [`trace`] writes
//! packets into a file, [`progress`] shows how far a long run is.

mod json;
mod progress;
mod text;
mod trace;
mod way;

use crate::args::{GearArg, MachineArgs, SimulateArgs};
use crate::capture::{self, Source};
use crate::destination::Existing;
use crate::error::{Failure, Problem, unless_unread};
use crate::input::{self, Machine};
use crate::machine_file::{self, Described, Places};
use crate::report::Out;
use crate::topo;
use peerdma::snapshot::Warnings;
use peerdma_linux::KeepConfig;
use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::device::nvme::NvmeError;
use peerdma_sim::fabric::BuildError;
use peerdma_sim::machine::{self, Files, Gear, Options};
use peerdma_sim::script::{self, Report, RunError, Script};
use std::path::Path;
use std::process::ExitCode;

/// A transfer did not end as its script expects.
const UNEXPECTED: u8 = 1;

/// A script that was carried out.
struct Run<'r> {
    /// The machine that it ran on, as it was before.
    shown: &'r Machine,
    /// The machine afterwards.
    machine: &'r machine::Machine,
    report: &'r Report,
    script_name: &'r str,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] where the machine or the script cannot be read, or do not fit together.
pub(crate) fn run(args: &SimulateArgs) -> Result<ExitCode, Failure> {
    let machine_args = machine_args(args);
    let (mut described, source, warnings) = described(args, &machine_args)?;

    let out = Out::new(args.output);
    let Some(path) = &args.script else {
        // It is only shown.
        described.blueprint.forget_files();
        let machine = machine::Machine::new(&described.blueprint)
            .map_err(|error| not_built(&source, &described.places, &error))?;
        let shown = Machine::of(machine.snapshot(), source, warnings, Vec::new(), None);
        out.tell(&shown, &machine_args);
        topo::print(&shown, &out, topo::Detail::Lines)?;
        return Ok(ExitCode::SUCCESS);
    };
    let script = machine_file::load_script(path)?;
    let shown = Machine::of(
        described.blueprint.snapshot.clone(),
        source,
        warnings,
        Vec::new(),
        None,
    );
    out.tell(&shown, &machine_args);
    let name = path.display().to_string();
    let (report, machine) = carry_out(args, &described, &script, &shown.source, &name)?;
    let run = Run {
        shown: &shown,
        machine: &machine,
        report: &report,
        script_name: &name,
    };
    match args.output.json {
        true => unless_unread(out.print_json(&json::Answer::new(&run)))?,
        false => unless_unread(out.print(&text::draw(&run, &out)))?,
    }
    Ok(match report.is_as_expected() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(UNEXPECTED),
    })
}

/// The machine that the options name, as firmware leaves it.
fn described(
    args: &SimulateArgs,
    machine_args: &MachineArgs,
) -> Result<(Described, Source, Warnings), Problem> {
    let mut warnings = Warnings::default();
    if let Some(path) = &args.machine {
        let source = Source::Machine(path.display().to_string());
        return Ok((machine_file::load(path)?, source, warnings));
    }
    let (mut snapshot, source) = capture::read(machine_args, KeepConfig::Drop, &mut warnings)?;
    input::make_plain(&mut snapshot);
    let (blueprint, filled) = Blueprint::from_snapshot(&snapshot).map_err(|error| {
        Problem::new(
            format_args!("{} cannot be simulated", source.name()),
            error,
            "simulate a smaller machine",
        )
    })?;
    for warning in filled.list() {
        warnings.push(&warning.at, &warning.what);
    }
    let places = Places::default();
    Ok((Described { blueprint, places }, source, warnings))
}

fn carry_out(
    args: &SimulateArgs,
    described: &Described,
    script: &Script,
    source: &Source,
    name: &str,
) -> Result<(Report, machine::Machine), Failure> {
    let trace = (args.trace.as_deref())
        .map(|path| trace::File::create(path, Existing::as_forced(args.force)))
        .transpose()?;
    let options = Options {
        gear: match args.gear {
            GearArg::Tlp => Gear::Tlp,
            GearArg::Batched => Gear::Batched,
        },
        seed: args.seed,
        files: match args.allow_files {
            true => Files::Open,
            false => Files::Refuse,
        },
        trace: trace.as_ref().map(trace::File::sink),
        ..Options::default()
    };
    let bar = progress::Progress::default();
    let ran = script::run(&described.blueprint, script, options, &mut |progress| {
        bar.show(progress)
    });
    drop(bar);
    let (report, machine) = ran.map_err(|error| match error {
        RunError::Build(error) => not_built(source, &described.places, &error),
        RunError::Script(error) => machine_file::script_problem(name, &error),
        other => Problem::new("the script was not carried out", other, "look at the script"),
    })?;
    if let Some(trace) = trace {
        trace.finish(args.trace.as_deref().unwrap_or(Path::new("trace")))?;
    }
    Ok((report, machine))
}

fn not_built(source: &Source, places: &Places, error: &BuildError) -> Problem {
    let fix = match error {
        BuildError::Nvme {
            source: NvmeError::FileNotAllowed { .. },
            ..
        } => "if you trust the machine file, add --allow-files: its files are then read and overwritten",
        BuildError::Nvme {
            source:
                NvmeError::File { .. }
                | NvmeError::NotAFile { .. }
                | NvmeError::SharedFile { .. }
                | NvmeError::FileSize { .. },
            ..
        } => {
            "mend `file` or `size` of that namespace; relative paths begin at the folder of the machine file"
        }
        BuildError::UnknownFact { .. } | BuildError::UnknownHostFact { .. } => {
            "describe in the machine file, or capture, what is missing"
        }
        _ => "mend that in the machine file, or capture the machine again",
    };
    let place = places.of(error).unwrap_or_else(|| source.name().to_owned());
    Problem::new(format_args!("{place} cannot be switched on"), error, fix)
}

/// The options of other commands that read captures.
fn machine_args(args: &SimulateArgs) -> MachineArgs {
    MachineArgs {
        from: args.from.clone(),
        machine: args.machine.clone(),
        sysfs: None,
        cpu: None,
        kernel: None,
        iommu: None,
        quiet: args.quiet,
    }
}
