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

#[cfg(test)]
mod tests {
    use crate::machine::{Generated, generate, write_lspci};
    use std::collections::HashSet;

    #[test]
    fn a_machine_has_exactly_the_functions_asked_for_each_at_its_own_address() {
        for functions in [1, 2, 137, 2000, 10_000] {
            let machine = generate(functions, 1);
            let addresses: HashSet<_> = machine
                .iter()
                .map(|one| (one.domain, one.bus, one.device, one.function))
                .collect();
            assert_eq!((machine.len(), addresses.len()), (functions, functions));
            assert!(machine.iter().all(|one| one.device < 32 && one.function < 8));
        }
    }

    #[test]
    fn the_same_seed_grows_the_same_machine() {
        let text = |seed| {
            let mut text = Vec::new();
            write_lspci(&generate(300, seed), &mut text).unwrap();
            text
        };
        assert!(text(7) == text(7));
        assert!(text(7) != text(8));
    }

    #[test]
    fn every_bus_but_the_roots_lies_within_one_bridge_and_switches_nest_three_deep() {
        let machine = generate(5000, 3);
        let bridges = machine.iter().filter(|one| one.config[14] & 0x7f == 1);
        let mut secondary: HashSet<(u32, u8)> = HashSet::new();
        for bridge in bridges {
            let [primary, first, last] = [0x18, 0x19, 0x1a].map(|at| bridge.config[at]);
            assert_eq!(primary, bridge.bus);
            assert!(primary < first && first <= last);
            assert!(secondary.insert((bridge.domain, first)));
        }
        for one in machine.iter().filter(|one| one.bus % 64 != 0) {
            assert!(secondary.contains(&(one.domain, one.bus)));
        }
        let upstream = |one: &&Generated| one.config[0x72] >> 4 == 5;
        let above = |one: &Generated| {
            let (domain, bus) = (one.domain, one.bus);
            machine.iter().filter(upstream).filter(move |switch| {
                (switch.config[0x19]..=switch.config[0x1a]).contains(&bus) && switch.domain == domain
            })
        };
        let deepest = machine.iter().map(|one| above(one).count()).max();
        assert_eq!(deepest, Some(3));
    }
}
