//! Ports, switches and bridges to conventional buses in a machine file.

use super::device;
use super::error::{MachineError, Wrong};
use super::table::{Table, Value};
use super::value;
use super::{Common, ConventionalBridge, Link, MOST_LEVELS, PcieSwitch, Port, Switched};
use peerdma::pci::{LinkRate, LinkState};

/// What a link can do where nobody says it.
pub(crate) const DEFAULT_LINK: LinkState = LinkState {
    rate: LinkRate(4),
    width: 16,
};

/// The ports under `port`, below so many bridges.
pub(super) fn ports(table: &mut Table<'_, '_>, level: usize) -> Result<Vec<Port>, MachineError> {
    match table.take("port") {
        Some(value) => value.each().into_iter().map(|value| port(value, level)).collect(),
        None => Ok(Vec::new()),
    }
}

/// The bridges under `conventional`, below so many bridges.
pub(super) fn conventional(
    table: &mut Table<'_, '_>,
    level: usize,
) -> Result<Vec<ConventionalBridge>, MachineError> {
    match table.take("conventional") {
        Some(value) => value
            .each()
            .into_iter()
            .map(|value| conventional_bridge(value, level))
            .collect(),
        None => Ok(Vec::new()),
    }
}

/// What every function has.
pub(super) fn common(table: &mut Table<'_, '_>) -> Result<Common, MachineError> {
    let usual = Common::usual();
    Ok(Common {
        at: table.at,
        name: table.take_some("name", value::name)?,
        id: table.take_some("id", value::id)?,
        max_supported_bytes: table.take_or("mps-supported", usual.max_supported_bytes, value::payload)?,
        max_payload_bytes: table.take_some("mps", value::payload)?,
        max_read_request_bytes: table.take_or("mrrs", usual.max_read_request_bytes, value::payload)?,
        bus_master: table.take_or("bus-master", Switched::On, value::switched)?,
        memory: table.take_or("memory-enable", Switched::On, value::switched)?,
        acs: table.take_some("acs", value::acs)?,
    })
}

impl Common {
    /// What a function has where nobody says anything.
    pub fn usual() -> Self {
        Self {
            max_supported_bytes: 512,
            max_read_request_bytes: 512,
            ..Self::default()
        }
    }
}

fn port(value: Value<'_, '_>, level: usize) -> Result<Port, MachineError> {
    let mut table = value.table("a port")?;
    check_level(level, &table)?;
    let port = Port {
        common: common(&mut table)?,
        link: Link {
            max: table.take_or("link", DEFAULT_LINK, value::link)?,
            trained: table.take_some("trained", value::link)?,
        },
        number: table
            .take_some("number", |value| value.number(0, 255))?
            .map(|number| number as u8),
        windows: table.take_or("windows", Switched::On, windows)?,
        switch: table
            .take_some("switch", |value| switch(value, level + 1))?
            .map(Box::new),
        conventional: table
            .take_some("conventional", |value| conventional_bridge(value, level + 1))?
            .map(Box::new),
        devices: device::devices(&mut table)?,
    };
    if port.conventional.is_some() && (port.switch.is_some() || !port.devices.is_empty()) {
        let conflict = Wrong::Conflict {
            what: "a port leads to one device, and a bridge to a conventional bus is one".into(),
            instead: "put the others on the conventional bus, or below ports of their own".into(),
        };
        return Err(conflict.at(table.at));
    }
    table.finish()?;
    Ok(port)
}

fn switch(value: Value<'_, '_>, level: usize) -> Result<PcieSwitch, MachineError> {
    let mut table = value.table("a switch")?;
    check_level(level, &table)?;
    let switch = PcieSwitch {
        common: common(&mut table)?,
        link: table.take_some("link", value::link)?,
        windows: table.take_or("windows", Switched::On, windows)?,
        ports: ports(&mut table, level + 1)?,
    };
    table.finish()?;
    Ok(switch)
}

fn conventional_bridge(value: Value<'_, '_>, level: usize) -> Result<ConventionalBridge, MachineError> {
    let mut table = value.table("a bridge to a conventional bus")?;
    check_level(level, &table)?;
    let bridge = ConventionalBridge {
        common: common(&mut table)?,
        link: table.take_some("link", value::link)?,
        windows: table.take_or("windows", Switched::On, windows)?,
        devices: device::devices(&mut table)?,
        conventional: conventional(&mut table, level + 1)?,
    };
    table.finish()?;
    Ok(bridge)
}

/// May a bridge be below so many others?
fn check_level(level: usize, table: &Table<'_, '_>) -> Result<(), MachineError> {
    match level < MOST_LEVELS {
        true => Ok(()),
        false => Err(Wrong::TooDeep.at(table.at)),
    }
}

fn windows(value: Value<'_, '_>) -> Result<Switched, MachineError> {
    value.word(&[("open", Switched::On), ("closed", Switched::Off)])
}
