//! `peerdma probe`: tries a route, and compares what is seen with what was promised.
//!
//! ```text
//! asked     what the command line means for this pair: blocks, memory, directions
//! session   promises -> consent -> the experiment -> judgements, on any ground
//! text, json    what is said of it       record, record_file    a line of what was seen, for `route`
//! watch     a line on the terminal, and the wish to stop
//! ```

mod asked;
mod json;
pub(crate) mod record;
pub(crate) mod record_file;
mod session;
mod text;
mod watch;

use crate::args::ProbeArgs;
use crate::copy::consent::{Consent, Given};
use crate::copy::progress::Stop;
use crate::error::Failure;
use crate::ground::{Ground, Lender, Manner, Pair};
use crate::report::Out;
use peerdma::probe::Judgement;
use peerdma_linux::ring::{Mode, Write};
use session::Account;
use std::process::ExitCode;

/// Nothing works, and nothing was said to.
const NOTHING_WORKS: u8 = 3;
/// The route corrupts, the verdict is wrong, or what was there is not back.
const ALARM: u8 = 4;
/// By a signal: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// Runs the command.
///
/// # Errors
/// [`Failure`]
pub(crate) fn run(args: &ProbeArgs) -> Result<ExitCode, Failure> {
    let out = Out::new(args.run.output);
    let (scratch, named) = asked::scratch(args)?;
    let word = match named {
        None => &args.initiator,
        Some(named) => asked::namespace_of(&args.initiator, named)?,
    };
    let lender = Some(Lender {
        word: &args.provider,
        bar: args.bar,
    });
    if let Some(path) = &args.record {
        record_file::check_appendable(path)?;
    }
    match &args.machine {
        Some(machine) => {
            let pair = Pair::simulated(machine, word, lender, args.seed)?;
            tell(args, &out, pair, scratch, Consent::Given)
        }
        None => {
            let given = if args.run.yes { Given::Yes } else { Given::No };
            let consent = Consent::needed(word, given)?;
            let manner = Manner {
                write: Write::Existing,
                mode: Mode::Interrupts,
                vfio: args.run.vfio,
            };
            let pair = Pair::live(word, lender, manner)?;
            tell(args, &out, pair, scratch, consent)
        }
    }
}

fn tell<G: Ground>(
    args: &ProbeArgs,
    out: &Out,
    pair: Pair<G>,
    scratch: asked::ScratchWanted,
    consent: Consent,
) -> Result<ExitCode, Failure> {
    let stop = Stop::listen();
    let asked = asked::asked(args, &pair, scratch)?;
    let ground = pair.rig.ground().clone();
    let account = session::hold(args, &asked, pair, consent, &stop)?;
    let mut notes = Vec::new();
    if let Some(path) = &args.record {
        let line = record::Line::new::<G>(&account, ground.topology());
        match record_file::append(path, &line) {
            Ok(()) => {}
            Err(problem) => notes.push(format!("what was seen is not recorded: {}", problem.why)),
        }
    }
    match out.is_json() {
        true => out.print_json(&json::Answer::new(&account, G::SORT, &notes))?,
        false => out.print(&text::write(&account, ground.names(), G::SORT, &notes, out))?,
    }
    Ok(exit_code(&account))
}

fn exit_code(account: &Account) -> ExitCode {
    let judgements: Vec<Judgement> = (account.tried.iter()).filter_map(|one| one.judgement).collect();
    let works = |judgement: &Judgement| matches!(judgement, Judgement::Agrees | Judgement::Works);
    let is_alarm = account.not_restored.is_some() || judgements.iter().any(|one| one.is_alarm());
    match () {
        () if is_alarm => ExitCode::from(ALARM),
        () if account.interrupted => ExitCode::from(INTERRUPTED),
        () if judgements.iter().any(works) => ExitCode::SUCCESS,
        () => ExitCode::from(NOTHING_WORKS),
    }
}
