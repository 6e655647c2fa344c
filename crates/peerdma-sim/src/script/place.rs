//! Places as scripts name them: `gpu0:bar2+0x1000`, `nvme0:cmb`, `ram+0x10000000`.

use super::Said;
use crate::file::MachineError;
use crate::file::table::Value;
use std::fmt;

/// A place where bytes come from or go to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Spot {
    /// Host RAM at this physical address.
    Ram {
        /// The address.
        phys: u64,
    },
    /// Memory of a device.
    Device {
        /// Its name, or its address.
        name: String,
        /// Which of its memory.
        area: Area,
        /// Bytes from the start of the area.
        offset: u64,
    },
}

/// Which memory of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Area {
    /// A base address register.
    Bar(u8),
    /// The controller memory buffer of an NVMe controller.
    Cmb,
    /// The largest memory BAR.
    Largest,
}

const EXPECTED: &str = "a place such as \"gpu0:bar2+0x1000\", \"nvme0:cmb\", \"0000:03:00.0:bar2\", \"gpu0\" (its largest BAR) \
    or \"ram+0x10000000\" (a physical address)";

impl Spot {
    pub(super) fn of(value: Value<'_, '_>) -> Result<Said<Self>, MachineError> {
        let spot = Self::parse(value.text(EXPECTED)?).ok_or_else(|| value.wrong(EXPECTED))?;
        Ok(Said {
            at: value.at(),
            value: spot,
        })
    }

    /// Reads a place.
    pub fn parse(text: &str) -> Option<Self> {
        let (what, offset) = match text.split_once('+') {
            Some((what, offset)) => (what.trim(), number(offset.trim())?),
            None => (text.trim(), 0),
        };
        if what == "ram" {
            return Some(Self::Ram { phys: offset });
        }
        let (name, area) = match what.rsplit_once(':') {
            Some((name, "cmb")) => (name, Area::Cmb),
            Some((name, area)) if area.starts_with("bar") => {
                let bar = area.strip_prefix("bar")?.parse().ok().filter(|bar| *bar < 6)?;
                (name, Area::Bar(bar))
            }
            // The address of a function holds colons itself.
            _ => (what, Area::Largest),
        };
        let is_name = (1..=64).contains(&name.len())
            && (name.chars()).all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '.'));
        is_name.then(|| Self::Device {
            name: name.into(),
            area,
            offset,
        })
    }
}

/// `4096`, `0x1000`, `64 KiB`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(&digits.replace('_', ""), 16).ok(),
        None => crate::file::value::bytes(text),
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bar(bar) => write!(f, "bar{bar}"),
            Self::Cmb => f.write_str("cmb"),
            Self::Largest => f.write_str("its largest BAR"),
        }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = match self {
            Self::Ram { phys } => return write!(f, "ram+{phys:#x}"),
            Self::Device {
                name,
                area: Area::Largest,
                offset,
            } => {
                f.write_str(name)?;
                *offset
            }
            Self::Device { name, area, offset } => {
                write!(f, "{name}:{area}")?;
                *offset
            }
        };
        match offset {
            0 => Ok(()),
            _ => write!(f, "+{offset:#x}"),
        }
    }
}
