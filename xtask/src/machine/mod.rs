//! `cargo xtask generate-machine`: big machines for benchmarks and stress.
//!
//! The benchmarks of `peerdma-linux` include this module too. It knows configuration space by
//! itself: a generator that asked the reader how to write would prove nothing about reading.

mod config;
mod random;
mod tree;

use std::io::{self, Write};

/// One generated function.
pub(crate) struct Generated {
    /// Domain of its address.
    pub(crate) domain: u32,
    /// Bus of its address.
    pub(crate) bus: u8,
    /// Device of its address.
    pub(crate) device: u8,
    /// Function of its address.
    pub(crate) function: u8,
    /// All of its configuration space.
    pub(crate) config: Box<[u8; 4096]>,
}

/// A machine of exactly `functions` functions in the order of their addresses, the same for the
/// same `seed`.
pub(crate) fn generate(functions: usize, seed: u64) -> Vec<Generated> {
    tree::grow(functions, seed)
}

/// Writes a machine as `lspci -D -n -xxxx` prints it.
pub(crate) fn write_lspci(machine: &[Generated], out: &mut impl Write) -> io::Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Vec::with_capacity(16 << 10);
    for one in machine {
        let word = |at: usize| u16::from_le_bytes([one.config[at], one.config[at + 1]]);
        text.clear();
        write!(
            text,
            "{:04x}:{:02x}:{:02x}.{} {:04x}: {:04x}:{:04x}",
            one.domain,
            one.bus,
            one.device,
            one.function,
            word(10),
            word(0),
            word(2)
        )?;
        if one.config[8] != 0 {
            write!(text, " (rev {:02x})", one.config[8])?;
        }
        text.push(b'\n');
        for (row, bytes) in one.config.chunks(16).enumerate() {
            write!(text, "{:02x}:", row * 16)?;
            for byte in bytes {
                let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
                text.extend([b' ', DIGITS[high], DIGITS[low]]);
            }
            text.push(b'\n');
        }
        text.push(b'\n');
        out.write_all(&text)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
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
