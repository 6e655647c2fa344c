//! `peerdma bench`: how fast a volume is.
//!
//! ```text
//! measure    memory -> load -> figures, on any ground     wanted    what the command line means
//! text, json what is said of it                           watch     a bar, and the wish to stop
//! ```

mod json;
mod measure;
mod text;
mod wanted;
mod watch;

use crate::args::{BenchArgs, RwArg};
use crate::copy::consent::{Consent, Given};
use crate::copy::progress::Stop;
use crate::error::Failure;
use crate::ground::{Ground, Lender, Manner, Pair};
use crate::report::Out;
use peerdma_linux::ring::{Mode, Write};
use std::process::ExitCode;
use watch::Watch;

/// An operation failed.
const FAILED: u8 = 4;
/// By a signal: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// Runs the command.
///
/// # Errors
/// [`Failure`]
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode, Failure> {
    let lender = args.via.as_deref().map(|word| Lender {
        word,
        bar: args.via_bar,
    });
    match &args.machine {
        Some(machine) => {
            let pair = Pair::simulated(machine, &args.volume, lender, args.seed)?;
            tell(args, pair, Consent::Given)
        }
        None => {
            let given = match args.run.yes || args.rw == RwArg::Read {
                true => Given::Yes,
                false => Given::No,
            };
            let consent = Consent::needed(&args.volume, given)?;
            let manner = Manner {
                write: match args.rw {
                    RwArg::Read => Write::No,
                    RwArg::Write => Write::Existing,
                },
                mode: match args.polled {
                    true => Mode::Polled,
                    false => Mode::Interrupts,
                },
                vfio: args.run.vfio,
            };
            tell(args, Pair::live(&args.volume, lender, manner)?, consent)
        }
    }
}

fn tell<G: Ground>(args: &BenchArgs, pair: Pair<G>, consent: Consent) -> Result<ExitCode, Failure> {
    let out = Out::new(args.run.output);
    let stop = Stop::listen();
    let wanted = wanted::wanted(args, pair.blocks, pair.block_bytes)?;
    let mut watch = Watch::new(args, &wanted, stop.clone());
    let figures = measure::measure(args, &wanted, pair, consent, &stop, &mut watch)?;
    drop(watch);
    match out.is_json() {
        true => out.print_json(&json::Answer::new(args, &wanted, &figures, G::SORT))?,
        false => out.print(&text::write(args, &wanted, &figures, G::SORT, &out))?,
    }
    Ok(match (&figures.trouble, stop.is_set()) {
        (Some(_), _) => ExitCode::from(FAILED),
        (None, true) => ExitCode::from(INTERRUPTED),
        (None, false) => ExitCode::SUCCESS,
    })
}
