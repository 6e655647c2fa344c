//! Who sits where: bus, device and function numbers, depth first; names; payload sizes.

use super::{MOST_FUNCTIONS, MOST_HOST_BRIDGES, MOST_RANGES};
use crate::blueprint::{CmbKind, DeviceKind, NvmeKind};
use crate::file::{
    At, Bar, BarHabit, Common, ConventionalBridge, Device, HostBridge, Kind, Machine, MachineError,
    PayloadHabit, PcieSwitch, Port, Slot, Wrong,
};
use peerdma::addr::Bdf;
use peerdma::pci::Id;
use std::collections::{BTreeMap, HashMap};

/// All functions of a machine, each behind the bridge above it.
#[derive(Debug)]
pub(super) struct Plan<'m> {
    pub(super) nodes: Vec<Node<'m>>,
    root_buses: Vec<u8>,
}

/// A function.
#[derive(Debug)]
pub(super) struct Node<'m> {
    pub(super) bdf: Bdf,
    /// Index of the bridge above; nothing on a root bus.
    pub(super) parent: Option<usize>,
    /// Index of its host bridge.
    pub(super) host: usize,
    /// Index of the function on the root bus above it, or of itself.
    root: usize,
    pub(super) role: Role<'m>,
    /// Port number.
    pub(super) number: u8,
    /// Secondary and subordinate bus of a bridge.
    pub(super) buses: Option<(u8, u8)>,
    pub(super) bars: Vec<PlacedBar>,
    /// Base and length of the windows of a bridge: memory, prefetchable.
    pub(super) windows: [Option<(u64, u64)>; 2],
    pub(super) max_payload_bytes: u16,
}

/// What a function is in the hierarchy.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role<'m> {
    HostBridge(Id),
    RootPort(&'m Port),
    Upstream(&'m PcieSwitch, &'m Port),
    Downstream(&'m Port),
    /// With the port that its link leads to, if it has one.
    Conventional(&'m ConventionalBridge, Option<&'m Port>),
    /// Below a port.
    Endpoint(&'m Device, &'m Port),
    Integrated(&'m Device),
    OnConventionalBus(&'m Device),
}

/// A BAR with its size as firmware set it, and its address.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlacedBar {
    pub(super) bar: Bar,
    pub(super) size_bytes: u64,
    pub(super) bus_address: Option<u64>,
}

impl<'m> Plan<'m> {
    pub(super) fn new(machine: &'m Machine) -> Result<Self, MachineError> {
        let start = At::default();
        limit("host bridges", machine.bridges.len(), MOST_HOST_BRIDGES, start)?;
        limit("ranges of RAM", machine.host.ram.len(), MOST_RANGES, start)?;
        let mut walk = Enumeration {
            plan: Self {
                nodes: Vec::new(),
                root_buses: Vec::new(),
            },
            habit: machine.firmware.bars,
            names: HashMap::new(),
            next_bus: HashMap::new(),
            domain: 0,
            host: 0,
        };
        let mut ranges: Vec<(u32, u8, u8)> = Vec::new();
        for (host, bridge) in machine.bridges.iter().enumerate() {
            limit("windows", bridge.windows.len(), MOST_RANGES, bridge.at)?;
            let (first, last) = walk.host_bridge(host, bridge)?;
            let meets =
                |other: &&(u32, u8, u8)| other.0 == bridge.domain && other.1 <= last && first <= other.2;
            if let Some((domain, taken, end)) = ranges.iter().find(meets) {
                let conflict = Wrong::Conflict {
                    what: format!(
                        "it takes buses {first:#04x} to {last:#04x} of domain {domain:#x}, of which another host \
                         bridge has {taken:#04x} to {end:#04x}"
                    ),
                    instead: "leave out `bus`, choose one that leaves room, or give it another `domain`"
                        .into(),
                };
                return Err(conflict.at(bridge.at));
            }
            ranges.push((bridge.domain, first, last));
        }
        let mut plan = walk.plan;
        plan.choose_payloads(machine.firmware.payload)?;
        Ok(plan)
    }

    /// The root bus of each host bridge.
    pub(super) fn buses(&self) -> impl Iterator<Item = u8> + '_ {
        self.root_buses.iter().copied()
    }

    /// What the functions are that are no bridges.
    pub(super) fn devices(&self) -> BTreeMap<Bdf, DeviceKind> {
        let devices = self.nodes.iter().filter_map(|node| {
            let device = node.role.device()?;
            Some((node.bdf, device_kind(device)))
        });
        devices.collect()
    }

    fn choose_payloads(&mut self, habit: PayloadHabit) -> Result<(), MachineError> {
        let mut least: HashMap<usize, u16> = HashMap::new();
        let group = |node: &Node<'_>, index: usize| match habit {
            PayloadHabit::Safe => 0,
            PayloadHabit::PerRootPort => node.root,
            PayloadHabit::AsCapable => index,
        };
        for (index, node) in self.nodes.iter().enumerate() {
            if let Some(common) = node.role.common().filter(|_| node.role.is_express()) {
                let supported = common.max_supported_bytes;
                least
                    .entry(group(node, index))
                    .and_modify(|least| *least = supported.min(*least))
                    .or_insert(supported);
            }
        }
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let Some(common) = node.role.common() else {
                continue;
            };
            let chosen = least.get(&group(node, index)).copied().unwrap_or(128);
            let chosen = chosen.min(common.max_supported_bytes);
            node.max_payload_bytes = common.max_payload_bytes.unwrap_or(chosen);
            if node.max_payload_bytes > common.max_supported_bytes {
                let conflict = Wrong::Conflict {
                    what: format!(
                        "`mps = {}` is more than the {} bytes that it can take",
                        node.max_payload_bytes, common.max_supported_bytes
                    ),
                    instead: "raise `mps-supported`, or lower `mps`".into(),
                };
                return Err(conflict.at(common.at));
            }
        }
        Ok(())
    }
}

fn limit(what: &str, count: usize, most: usize, at: At) -> Result<(), MachineError> {
    if count <= most {
        return Ok(());
    }
    let conflict = Wrong::Conflict {
        what: format!("there are {count} {what}"),
        instead: format!("there can be {most}"),
    };
    Err(conflict.at(at))
}

/// What a device of a machine file is to the simulator.
fn device_kind(device: &Device) -> DeviceKind {
    match &device.kind {
        Kind::Card { .. } => DeviceKind::Card,
        Kind::Accelerator { kind, .. } => DeviceKind::Accelerator(kind.clone()),
        Kind::Nvme { namespaces, cmb } => DeviceKind::Nvme(NvmeKind {
            namespaces: namespaces.clone(),
            cmb: cmb.as_ref().map(|cmb| CmbKind {
                bar: cmb.bar.index,
                abilities: cmb.abilities,
            }),
        }),
    }
}

impl<'m> Role<'m> {
    pub(super) fn common(self) -> Option<&'m Common> {
        match self {
            Self::HostBridge(_) => None,
            Self::RootPort(port) | Self::Downstream(port) => Some(&port.common),
            Self::Upstream(switch, _) => Some(&switch.common),
            Self::Conventional(bridge, _) => Some(&bridge.common),
            Self::Endpoint(device, _) | Self::Integrated(device) | Self::OnConventionalBus(device) => {
                Some(&device.common)
            }
        }
    }

    pub(super) fn device(self) -> Option<&'m Device> {
        match self {
            Self::Endpoint(device, _) | Self::Integrated(device) | Self::OnConventionalBus(device) => {
                Some(device)
            }
            _ => None,
        }
    }

    /// What the subsystem of a device shows.
    pub(super) fn kind(self) -> Option<DeviceKind> {
        self.device().map(device_kind)
    }

    /// Does it have a PCI Express capability?
    pub(super) fn is_express(self) -> bool {
        !matches!(
            self,
            Self::HostBridge(_) | Self::OnConventionalBus(_) | Self::Conventional(_, None)
        )
    }
}

/// Numbering under way.
struct Enumeration<'m> {
    plan: Plan<'m>,
    habit: BarHabit,
    names: HashMap<&'m str, At>,
    /// The first free bus of each domain: 256 where there is none.
    next_bus: HashMap<u32, u16>,
    domain: u32,
    host: usize,
}

/// Where functions can go on a bus.
struct Slots {
    used: [u8; 32],
    kind: BusKind,
    domain: u32,
    bus: u8,
}

/// What a bus offers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BusKind {
    /// Device 0 only: a link.
    Link,
    /// 32 devices.
    Wide,
}

impl<'m> Enumeration<'m> {
    /// Returns the first and the last bus that it takes.
    fn host_bridge(&mut self, host: usize, bridge: &'m HostBridge) -> Result<(u8, u8), MachineError> {
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

impl Slots {
    fn new(kind: BusKind, domain: u32, bus: u8) -> Self {
        Self {
            used: [0; 32],
            kind,
            domain,
            bus,
        }
    }

    fn at(&self, slot: Slot) -> Bdf {
        Bdf::from_devfn(self.domain, self.bus, (slot.device & 31) << 3 | slot.function & 7)
    }

    /// The next device, on a link the next function.
    fn next(&mut self, at: At) -> Result<Bdf, MachineError> {
        let free = match self.kind {
            BusKind::Link => (0..8)
                .find(|function| self.used[0] >> function & 1 == 0)
                .map(|function| Slot { device: 0, function }),
            BusKind::Wide => (0..32)
                .find(|&device| self.used[usize::from(device)] == 0)
                .map(|device| Slot { device, function: 0 }),
        };
        let slot = free.ok_or_else(|| {
            let (what, instead) = match self.kind {
                BusKind::Link => (
                    "a device has at most 8 functions",
                    "put the others below another port, or behind a switch",
                ),
                BusKind::Wide => (
                    "a bus has at most 32 devices",
                    "put the others behind a switch or on another host bridge, or make them functions of one device \
                     (`slot`)",
                ),
            };
            let what = what.into();
            Wrong::NoSlot { what, instead }.at(at)
        })?;
        self.reserve(slot, at)?;
        Ok(self.at(slot))
    }

    fn reserve(&mut self, slot: Slot, at: At) -> Result<(), MachineError> {
        let Slot { device, function } = slot;
        let wrong = |what: String, instead| Wrong::NoSlot { what, instead }.at(at);
        let is_link = self.kind == BusKind::Link;
        let Some(used) = self.used.get_mut(usize::from(device)).filter(|_| function < 8) else {
            return Err(wrong(
                format!("there is no slot {device}.{function}"),
                "device up to 31, function up to 7",
            ));
        };
        if is_link && device != 0 {
            let what =
                format!("slot {device}.{function} does not exist below a port: a link leads to device 0");
            return Err(wrong(what, "write `slot = \"0.N\"`, or leave it out"));
        }
        if *used >> function & 1 != 0 {
            return Err(wrong(
                format!("slot {device}.{function} is taken"),
                "leave out `slot`, or choose another",
            ));
        }
        *used |= 1 << function;
        Ok(())
    }

    /// Software looks for further functions only where it finds function 0.
    fn check(&self, at: At) -> Result<(), MachineError> {
        let Some(device) = self.used.iter().position(|used| *used != 0 && used & 1 == 0) else {
            return Ok(());
        };
        let what = format!("device {device} has functions but no function 0, so nobody would find it");
        let instead = "give one of its functions `slot = \"DEVICE.0\"`";
        Err(Wrong::NoSlot { what, instead }.at(at))
    }
}
