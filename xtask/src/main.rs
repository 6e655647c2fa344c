//! `cargo xtask`: the repository's chores that need more than a shell line.
//!
//! Exit codes: 0 done, 1 it ran and the outcome is bad, 2 bad arguments, 3 something it needs is
//! not there, 4 nothing ran, for what it needs cannot be fetched.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod agree;
mod bench;
mod chore;
mod generate;
mod kernel_truth;
mod lab;
mod machine;
mod replay;
mod transfers;

#[derive(Parser)]
#[command(about = "Chores of the peerdma repository", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Compares the shipped command line with what a running Linux answered, pair by pair
    KernelTruth(kernel_truth::Arguments),
    /// Compares the specification's judge with the simulator, on every pair of shipped and random machines
    Agree(agree::Arguments),
    /// Maps and moves random vectors on random machines, and compares every byte
    Transfers(transfers::Arguments),
    /// Boots a real Linux in QEMU and asks it what peerdma says of the same machine
    Lab(lab::Arguments),
    /// Lets a running Linux judge random machines, and compares its answers pair by pair
    Replay(replay::Arguments),
    /// Prints a random, plausible machine, the same one for the same seed
    GenerateMachine(generate::Arguments),
    /// Times peerdma against lspci and lstopo and prints a table in Markdown
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::KernelTruth(arguments) => kernel_truth::run(&arguments),
        Chore::Agree(arguments) => agree::run(&arguments),
        Chore::Transfers(arguments) => transfers::run(&arguments),
        Chore::Lab(arguments) => lab::run(&arguments),
        Chore::Replay(arguments) => replay::run(&arguments),
        Chore::GenerateMachine(arguments) => generate::run(&arguments),
        Chore::Bench(arguments) => bench::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            failure.exit_code()
        }
    }
}
