//! `cargo xtask generate-machine`: big machines for benchmarks and stress.
//!
//! The benchmarks of `peerdma-linux` include this module too. It knows configuration space by
//! itself: a generator that asked the reader how to write would prove nothing about reading.

pub(crate) mod config;
pub(crate) mod random;
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
