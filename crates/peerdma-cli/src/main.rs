//! `peerdma`: who may reach whose memory over PCIe, on which route, and why not.
//!
//! ```text
//! args      what the command line says
//! input     the machine it is about (capture: where it is read from; machine_file: a simulated one; processor: what
//!           --cpu names)
//! ground    machines whose devices are used: a simulated one, the one that runs us
//! judges    who decides; rates: what links let through
//! select    which functions a word means; names: what functions are called
//! topo, matrix, route, check, copy, probe, bench, simulate, snapshot, bind     the commands
//! bar       how far a run is
//! report, style    where output goes and how it looks; shown: what of foreign text is; error: how a run fails
//! ```

mod acs;
mod advice;
mod answer;
mod args;
mod bar;
mod bench;
mod bind;
mod capture;
mod check;
mod copy;
mod describe;
mod destination;
mod error;
mod figures;
mod ground;
mod input;
mod judges;
mod layout;
mod links;
mod machine_file;
mod manual;
mod matrix;
mod names;
mod probe;
mod processor;
mod rates;
mod reason;
mod report;
mod route;
mod select;
mod shown;
mod simulate;
mod snapshot;
mod style;
mod topo;

use args::{Args, Command};
use clap::Parser;
use error::{BAD_INPUT, Failure, Problem};
use ground::mend::naming;
use shown::printable;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    let json = args.command.wants_json();
    let ended = match &args.command {
        Command::Topo(args) => topo::run(args).map(|()| ExitCode::SUCCESS),
        Command::Matrix(args) => matrix::run(args).map(|()| ExitCode::SUCCESS),
        Command::Route(args) => route::run(args).map(|()| ExitCode::SUCCESS),
        Command::Check(args) => check::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Copy(args) => copy::run(args).map_err(|failure| naming(failure, "--chunk, --queue-depth")),
        Command::Probe(args) => probe::run(args).map_err(|failure| naming(failure, "--bytes")),
        Command::Bench(args) => bench::run(args).map_err(|failure| naming(failure, "--block, --depth")),
        Command::Bind(args) => bind::run(args, bind::Way::Bind),
        Command::Unbind(args) => bind::run(args, bind::Way::Unbind),
        Command::Snapshot(args) => snapshot::run(args).map(|()| ExitCode::SUCCESS),
        Command::Completions(args) => manual::completions(args).map(|()| ExitCode::SUCCESS),
        Command::Man(args) => manual::man(args).map(|()| ExitCode::SUCCESS),
    };
    match ended {
        Ok(code) => code,
        Err(Failure::NobodyReads) => ExitCode::SUCCESS,
        Err(Failure::Bad(problem)) => {
            let text = if json {
                problem.to_json() + "\n"
            } else {
                problem.to_string()
            };
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
            ExitCode::from(problem.exit_code)
        }
    }
}

/// Help, or what is wrong with the command line: JSON too where that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os()
        .skip(1)
        .take_while(|word| word != "--")
        .any(|word| word == "--json");
    if error.use_stderr() && wants_json {
        let problem = Problem::of_usage(&error.to_string());
        // Nobody can be told that stderr is gone.
        let _ = writeln!(std::io::stderr().lock(), "{}", problem.to_json());
    } else {
        let printed = error.render().ansi().to_string();
        let printed = printable(&printed);
        let _ = match error.use_stderr() {
            true => anstream::stderr().write_all(printed.as_bytes()),
            false => anstream::stdout().write_all(printed.as_bytes()),
        };
    }
    match error.use_stderr() {
        true => ExitCode::from(BAD_INPUT),
        false => ExitCode::SUCCESS,
    }
}
