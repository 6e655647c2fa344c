//! `peerdma snapshot`: the machine in one file.

use crate::advice;
use crate::args::SnapshotArgs;
use crate::capture::Source;
use crate::destination::{Existing, create, not_written};
use crate::error::Failure;
use crate::input;
use crate::report;
use crate::shown::Escaping;
use peerdma::snapshot::Snapshot;
use peerdma_linux::{KeepConfig, json};
use std::io::{self, BufWriter, Write};

/// Runs the command.
///
/// # Errors
/// [`Failure`] where the machine cannot be read, or the file is there already or cannot be written.
pub(crate) fn run(args: &SnapshotArgs) -> Result<(), Failure> {
    let keep = if args.no_config {
        KeepConfig::Drop
    } else {
        KeepConfig::Keep
    };
    let mut notes = Vec::new();
    let (mut snapshot, source, warnings) = input::read(&args.machine, keep, &mut notes)?;
    snapshot.edit(|function| {
        if args.blank_serials {
            function.blank_serial_number();
        }
        if args.no_config {
            function.raw_config = None;
        }
    });
    notes.push(coverage(&snapshot, &source));
    match &args.output {
        None => {
            let mut out = Escaping(BufWriter::with_capacity(1 << 18, io::stdout().lock()));
            json::write(&snapshot, &mut out)?;
            out.flush()?;
        }
        Some(path) => {
            let written = create(path, Existing::as_forced(args.force)).and_then(|file| {
                let mut out = BufWriter::with_capacity(1 << 18, file);
                json::write(&snapshot, &mut out)?;
                out.flush()
            });
            written.map_err(|error| not_written(path, &error))?;
        }
    }
    // Only now: where it fails standard error holds the problem, and nothing beside it.
    report::tell(&warnings, &notes, &args.machine);
    Ok(())
}

/// How much of the machine is in the snapshot, and how to get the rest.
fn coverage(snapshot: &Snapshot, source: &Source) -> String {
    let all = snapshot.functions().len();
    let unknown = |is_unknown: fn(&peerdma::snapshot::Function) -> bool| {
        snapshot
            .functions()
            .iter()
            .filter(|function| is_unknown(function))
            .count()
    };
    let acs = unknown(|function| !function.config.acs.is_known());
    let bars = unknown(|function| !function.bars().is_known());
    let mut text = format!("{all} functions");
    if acs == 0 && bars == 0 {
        text.push_str("; nothing that decides was out of reach");
        return text;
    }
    text.push_str(&format!("; unknown: ACS of {acs}, BARs of {bars}"));
    match source {
        Source::Live if !advice::is_root() => text.push_str(" (all of it: sudo peerdma snapshot)"),
        Source::Live => text.push_str(" (run it outside of any container to read all of it)"),
        Source::Sysfs(_) | Source::File(_) | Source::Machine(_) => {
            text.push_str(" (the source lacks them; on that machine: sudo peerdma snapshot, or sudo lspci -D -nn -vvvxxxx)");
        }
    }
    text
}
