//! Numbering: bus, device and function numbers, depth first; names that come twice.

use super::MOST_FUNCTIONS;
use super::plan::{Node, PlacedBar, Plan, Role};
use super::slots::{BusKind, Slots};
use crate::file::{
    At, BarHabit, ConventionalBridge, Device, HostBridge, MachineError, PcieSwitch, Port, Wrong,
};
use peerdma::addr::Bdf;
use std::collections::HashMap;

/// Numbering under way.
pub(super) struct Enumeration<'m> {
    plan: Plan<'m>,
    habit: BarHabit,
    names: HashMap<&'m str, At>,
    /// The first free bus of each domain: 256 where there is none.
    next_bus: HashMap<u32, u16>,
    domain: u32,
    host: usize,
}

impl<'m> Enumeration<'m> {
    pub(super) fn new(habit: BarHabit) -> Self {
        Self {
            plan: Plan {
                nodes: Vec::new(),
                root_buses: Vec::new(),
            },
            habit,
            names: HashMap::new(),
            next_bus: HashMap::new(),
            domain: 0,
            host: 0,
        }
    }

    pub(super) fn finish(self) -> Plan<'m> {
        self.plan
    }

    /// Returns the first and the last bus that it takes.
    pub(super) fn host_bridge(
        &mut self,
        host: usize,
        bridge: &'m HostBridge,
    ) -> Result<(u8, u8), MachineError> {
        self.domain = bridge.domain;
        self.host = host;
        self.name(bridge.name.as_deref(), bridge.at)?;
        let next = self.next_bus.entry(bridge.domain).or_insert(0);
        if let Some(bus) = bridge.bus {
            *next = bus.into();
        }
        let bus = self.take_bus(bridge.at)?;
        self.plan.root_buses.push(bus);
        let mut slots = Slots::new(BusKind::Wide, bridge.domain, bus);
        if let Some(id) = bridge.id {
            let bdf = slots.next(bridge.at)?;
            self.push(None, bdf, Role::HostBridge(id), bridge.at)?;
        }
        self.conventional_bus(None, &mut slots, &bridge.devices, |slots, walk| {
            for (index, port) in bridge.ports.iter().enumerate() {
                let bdf = slots.next(port.common.at)?;
                walk.port(None, bdf, Role::RootPort(port), port, index)?;
            }
            for conventional in &bridge.conventional {
                let bdf = slots.next(conventional.common.at)?;
                walk.conventional(None, bdf, conventional, None)?;
            }
            Ok(())
        })?;
        numbers_differ(&bridge.ports)?;
        let last = self
            .next_bus
            .get(&bridge.domain)
            .map_or(bus, |next| (next - 1) as u8);
        Ok((bus, last))
    }

    fn port(
        &mut self,
        parent: Option<usize>,
        bdf: Bdf,
        role: Role<'m>,
        port: &'m Port,
        index: usize,
    ) -> Result<(), MachineError> {
        let node = self.push(parent, bdf, role, port.common.at)?;
        self.plan.nodes[node].number = port.number.unwrap_or((index + 1) as u8);
        let bus = self.take_bus(port.common.at)?;
        let mut slots = Slots::new(BusKind::Link, self.domain, bus);
        if let Some(switch) = &port.switch {
            let bdf = slots.next(switch.common.at)?;
            self.switch(node, bdf, switch, port)?;
        }
        if let Some(bridge) = &port.conventional {
            let bdf = slots.next(bridge.common.at)?;
            self.conventional(Some(node), bdf, bridge, Some(port))?;
        }
        for device in &port.devices {
            if let Some(slot) = device.slot {
                slots.reserve(slot, device.common.at)?;
            }
        }
        for device in &port.devices {
            let bdf = match device.slot {
                Some(slot) => slots.at(slot),
                None => slots.next(device.common.at)?,
            };
            let endpoint = self.push(Some(node), bdf, Role::Endpoint(device, port), device.common.at)?;
            self.plan.nodes[endpoint].bars = self.bars(device)?;
        }
        slots.check(port.common.at)?;
        self.end_bridge(node, bus);
        Ok(())
    }

    fn switch(
        &mut self,
        parent: usize,
        bdf: Bdf,
        switch: &'m PcieSwitch,
        above: &'m Port,
    ) -> Result<(), MachineError> {
        let node = self.push(Some(parent), bdf, Role::Upstream(switch, above), switch.common.at)?;
        let bus = self.take_bus(switch.common.at)?;
        let mut slots = Slots::new(BusKind::Wide, self.domain, bus);
        for (index, port) in switch.ports.iter().enumerate() {
            let bdf = slots.next(port.common.at)?;
            self.port(Some(node), bdf, Role::Downstream(port), port, index)?;
        }
        numbers_differ(&switch.ports)?;
        self.end_bridge(node, bus);
        Ok(())
    }

    fn conventional(
        &mut self,
        parent: Option<usize>,
        bdf: Bdf,
        bridge: &'m ConventionalBridge,
        above: Option<&'m Port>,
    ) -> Result<(), MachineError> {
        let role = Role::Conventional(bridge, above);
        let node = self.push(parent, bdf, role, bridge.common.at)?;
        let bus = self.take_bus(bridge.common.at)?;
        let mut slots = Slots::new(BusKind::Wide, self.domain, bus);
        self.conventional_bus(Some(node), &mut slots, &bridge.devices, |slots, walk| {
            for further in &bridge.conventional {
                let bdf = slots.next(further.common.at)?;
                walk.conventional(Some(node), bdf, further, None)?;
            }
            Ok(())
        })?;
        self.end_bridge(node, bus);
        Ok(())
    }

    /// A bus of 32 devices: slots that the file names are kept free for `devices`, `others` comes next.
    fn conventional_bus(
        &mut self,
        parent: Option<usize>,
        slots: &mut Slots,
        devices: &'m [Device],
        others: impl FnOnce(&mut Slots, &mut Self) -> Result<(), MachineError>,
    ) -> Result<(), MachineError> {
        for device in devices {
            if let Some(slot) = device.slot {
                slots.reserve(slot, device.common.at)?;
            }
        }
        others(slots, self)?;
        for device in devices {
            let bdf = match device.slot {
                Some(slot) => slots.at(slot),
                None => slots.next(device.common.at)?,
            };
            let role = match parent {
                None => Role::Integrated(device),
                Some(_) => Role::OnConventionalBus(device),
            };
            let node = self.push(parent, bdf, role, device.common.at)?;
            self.plan.nodes[node].bars = self.bars(device)?;
        }
        let at = devices.first().map_or(At::default(), |device| device.common.at);
        slots.check(at)
    }

    fn push(
        &mut self,
        parent: Option<usize>,
        bdf: Bdf,
        role: Role<'m>,
        at: At,
    ) -> Result<usize, MachineError> {
        let index = self.plan.nodes.len();
        if index >= MOST_FUNCTIONS {
            return Err(Wrong::TooManyFunctions.at(at));
        }
        if let Some(common) = role.common() {
            self.name(common.name.as_deref(), common.at)?;
        }
        self.plan.nodes.push(Node {
            bdf,
            parent,
            host: self.host,
            root: parent.map_or(index, |parent| self.plan.nodes[parent].root),
            role,
            number: 0,
            buses: None,
            bars: Vec::new(),
            windows: [None; 2],
            max_payload_bytes: 128,
        });
        Ok(index)
    }

    fn bars(&self, device: &Device) -> Result<Vec<PlacedBar>, MachineError> {
        let bars = device.bars();
        let mut next = 0;
        for bar in &bars {
            let end = bar.index.saturating_add(bar.registers());
            let is_sound = bar.size_bytes.is_power_of_two()
                && (16..=1 << 43).contains(&bar.size_bytes)
                && bar
                    .smallest_bytes
                    .is_none_or(|least| least.is_power_of_two() && least <= bar.size_bytes);
            if bar.index < next || end > 6 || !is_sound {
                let conflict = Wrong::Conflict {
                    what: format!("BAR {} of {:#x} bytes cannot be", bar.index, bar.size_bytes),
                    instead:
                        "sizes are powers of two up to 8 TiB; six registers, of which 64-bit BARs take two"
                            .into(),
                };
                return Err(conflict.at(bar.at));
            }
            next = end;
        }
        let placed = bars.into_iter().map(|bar| PlacedBar {
            size_bytes: match self.habit {
                BarHabit::Full => bar.size_bytes,
                BarHabit::Small => bar.smallest_bytes.unwrap_or(bar.size_bytes),
            },
            bar,
            bus_address: None,
        });
        Ok(placed.collect())
    }

    fn name(&mut self, name: Option<&'m str>, at: At) -> Result<(), MachineError> {
        let Some(name) = name else { return Ok(()) };
        match self.names.insert(name, at) {
            None => Ok(()),
            Some(first) => {
                let wrong = Wrong::SameName {
                    name: name.into(),
                    first_line: first.line,
                };
                Err(wrong.at(at))
            }
        }
    }

    fn take_bus(&mut self, at: At) -> Result<u8, MachineError> {
        let domain = self.domain;
        let next = self.next_bus.entry(domain).or_insert(0);
        let bus = u8::try_from(*next).map_err(|_| Wrong::NoBus { domain }.at(at))?;
        *next += 1;
        Ok(bus)
    }

    fn end_bridge(&mut self, node: usize, secondary: u8) {
        let next = self.next_bus.get(&self.domain).copied().unwrap_or(1);
        self.plan.nodes[node].buses = Some((secondary, (next - 1) as u8));
    }
}

fn numbers_differ(ports: &[Port]) -> Result<(), MachineError> {
    let mut seen = HashMap::new();
    for (index, port) in ports.iter().enumerate() {
        let number = port.number.unwrap_or((index + 1) as u8);
        if seen.insert(number, ()).is_some() {
            let conflict = Wrong::Conflict {
                what: format!("two ports have number {number}"),
                instead: "give each a `number` of its own, or none".into(),
            };
            return Err(conflict.at(port.common.at));
        }
    }
    Ok(())
}
