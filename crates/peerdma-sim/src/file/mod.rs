//! Machine files: a machine in TOML, as a person writes it.
//!
//! ```text
//! text -> read -> Machine (what the file says) -> crate::firmware::boot -> Blueprint
//! ```
//!
//! `machines/README.md` documents every key. A file is refused with the line, what is wrong and what to write instead;
//! what it may ask for is bounded.

mod device;
mod error;
mod host;
mod machine;
mod port;
pub(crate) mod table;
#[cfg(test)]
mod tests;
pub(crate) mod value;

pub use error::{At, MachineError, Wrong};
pub(crate) use host::{MOST_DELAY_PS, MOST_TIMEOUT_PS};
pub use machine::{
    Acs, Bar, BarHabit, BarWidth, Cmb, Common, ConventionalBridge, Device, Egress, Habits, Host, HostBridge,
    Kind, Link, Machine, PayloadHabit, PcieSwitch, Port, Prefetchable, Reach, Slot, Switched,
};

use crate::blueprint::Blueprint;
use table::{Lines, Table};
use toml::de::DeTable;

/// The largest file that is taken in.
pub const MOST_FILE_BYTES: usize = 1 << 20;
/// How many bridges may lie above one another below a host bridge, which is how many buses; a switch is two.
pub const MOST_LEVELS: usize = 32;

/// A link of which nobody says anything, trained to its best.
pub(crate) fn default_link() -> peerdma::pci::Link {
    peerdma::pci::Link {
        max: port::DEFAULT_LINK,
        now: port::DEFAULT_LINK,
    }
}

/// Reads a machine file and lets firmware number it.
///
/// # Errors
/// [`MachineError`] where the file is wrong, or where what it describes does not fit together.
pub fn load(text: &str) -> Result<Blueprint, MachineError> {
    crate::firmware::boot(&read(text)?)
}

/// Reads a machine file.
///
/// # Errors
/// [`MachineError`] where the text is no machine file.
pub fn read(text: &str) -> Result<Machine, MachineError> {
    if text.len() > MOST_FILE_BYTES {
        let size_bytes = text.len() as u64;
        return Err(Wrong::FileTooLarge { size_bytes }.at(At::default()));
    }
    let lines = Lines::new(text);
    let entries = DeTable::parse(text).map_err(|error| table::of_parser(&error, &lines))?;
    host::machine(Table::new("a machine", lines.end(), entries.get_ref(), &lines))
}
