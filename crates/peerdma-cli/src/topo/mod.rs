//! `peerdma topo`: the tree of PCI functions.
//!
//! [`tree`] prints it, [`json`] has it as data; [`cells`] says what is told of one function.

mod cells;
mod json;
mod tree;

pub(crate) use tree::Detail;

use crate::args::{Policy, TopoArgs};
use crate::error::Failure;
use crate::input::Machine;
use crate::report::Out;

/// Runs the command.
///
/// # Errors
/// [`Failure`] where the machine cannot be read.
pub(crate) fn run(args: &TopoArgs) -> Result<(), Failure> {
    let machine = Machine::open(&args.machine, Policy::Linux)?;
    let out = Out::new(args.output);
    out.tell(&machine, &args.machine);
    let detail = if args.verbose {
        tree::Detail::All
    } else {
        tree::Detail::Lines
    };
    print(&machine, &out, detail)
}

/// Prints the tree of a machine.
///
/// # Errors
/// [`Failure`] where it cannot be written.
pub(crate) fn print(machine: &Machine, out: &Out, detail: Detail) -> Result<(), Failure> {
    match out.is_json() {
        true => out.print_json(&json::Answer::new(machine)),
        false => out.print(&tree::draw(machine, out, detail)),
    }
}
