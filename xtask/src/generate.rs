//! `cargo xtask generate-machine`: prints what [`crate::machine`] generates.

use crate::chore::{self, Failure};
use crate::machine;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many functions, exactly
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    functions: u32,
    /// Another number, another machine
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What to print
    #[arg(long, value_enum, default_value = "lspci")]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// As `lspci -D -n -xxxx` prints it
    Lspci,
    /// As `peerdma snapshot` writes it
    Json,
}

/// Prints the machine to standard output.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let machine = machine::generate(arguments.functions as usize, arguments.seed);
    let failed = || Failure::io("writing the machine");
    match arguments.format {
        Format::Lspci => {
            let mut out = BufWriter::new(io::stdout().lock());
            machine::write_lspci(&machine, &mut out).map_err(failed())
        }
        Format::Json => {
            let mut dump = tempfile::NamedTempFile::new().map_err(failed())?;
            machine::write_lspci(&machine, &mut BufWriter::new(&mut dump)).map_err(failed())?;
            dump.flush().map_err(failed())?;
            print_snapshot(dump.path())
        }
    }
}

/// Lets peerdma turn a dump into its own format, which is known there and only there.
fn print_snapshot(dump: &Path) -> Result<(), Failure> {
    let status = Command::new(chore::build_peerdma()?)
        .arg("snapshot")
        .arg("--from")
        .arg(dump)
        .stdin(Stdio::null())
        .status()
        .map_err(Failure::io("peerdma snapshot"))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Bad(format!("peerdma snapshot: {status}")))
    }
}
