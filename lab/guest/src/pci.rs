//! PCI functions and their ACS, as sysfs has them.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;

const DEVICES: &str = "/sys/bus/pci/devices";
const EXPRESS: u8 = 0x10;
const ACS: u32 = 0x000d;
const ACS_CONTROL: u64 = 6;

/// A function of this machine.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    /// `DDDD:BB:DD.F`.
    pub(crate) address: String,
    /// PCIe's device/port type; none where it is conventional.
    pub(crate) port_type: Option<u8>,
    /// Where its ACS capability lies.
    acs: Option<u64>,
}

/// All functions, in order of their addresses.
pub(crate) fn functions() -> Result<Vec<Function>, String> {
    let mut addresses: Vec<String> = fs::read_dir(DEVICES)
        .map_err(|error| format!("{DEVICES}: {error}"))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    addresses.sort();
    addresses.into_iter().map(Function::read).collect()
}

impl Function {
    fn read(address: String) -> Result<Self, String> {
        let path = config_path(&address);
        let config = fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
        Ok(Self {
            port_type: port_type(&config),
            acs: acs(&config),
            address,
        })
    }

    pub(crate) fn has_acs(&self) -> bool {
        self.acs.is_some()
    }

    /// A port of a switch, up or down.
    pub(crate) fn is_switch_port(&self) -> bool {
        matches!(self.port_type, Some(5 | 6))
    }

    /// Writes the ACS control register; bits that the hardware lacks stay clear.
    pub(crate) fn set_acs(&self, control: u16) -> Result<(), String> {
        let Some(at) = self.acs else { return Ok(()) };
        let path = config_path(&self.address);
        let file: File = OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(|error| format!("{path}: {error}"))?;
        file.write_all_at(&control.to_le_bytes(), at + ACS_CONTROL)
            .map_err(|error| format!("{path}: {error}"))
    }
}

fn config_path(address: &str) -> String {
    format!("{DEVICES}/{address}/config")
}

/// From the PCI Express capability, if there is one.
fn port_type(config: &[u8]) -> Option<u8> {
    let mut at = usize::from(*config.get(0x34)?);
    for _ in 0..48 {
        if at < 0x40 {
            return None;
        }
        if *config.get(at)? == EXPRESS {
            return Some(*config.get(at + 2)? >> 4);
        }
        at = usize::from(*config.get(at + 1)?);
    }
    None
}

/// Where the ACS capability lies among the extended ones.
fn acs(config: &[u8]) -> Option<u64> {
    let mut at = 0x100;
    for _ in 0..480 {
        let header = u32::from_le_bytes(config.get(at..at + 4)?.try_into().ok()?);
        if header == 0 || header == u32::MAX {
            return None;
        }
        if header & 0xffff == ACS {
            return Some(at as u64);
        }
        at = (header >> 20) as usize & 0xffc;
        if at < 0x100 {
            return None;
        }
    }
    None
}
