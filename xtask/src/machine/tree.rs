//! Grows the tree of a machine: host bridges, root ports, switches up to three levels deep,
//! endpoints. Numbers buses depth first, as firmware does.

use super::Generated;
use super::config::{Config, Port};
use super::random::Random;

/// A domain has 256 bus numbers; with about this many functions it does not run out of them.
const FUNCTIONS_PER_DOMAIN: usize = 1000;
/// Each domain has this many root buses, which share its bus numbers evenly.
const ROOTS_PER_DOMAIN: usize = 4;
const BUSES_PER_ROOT: u8 = (256 / ROOTS_PER_DOMAIN) as u8;
const DEEPEST_SWITCH: u8 = 3;
/// The windows of the root buses lie apart by this much, from the first address on.
const FIRST_WINDOW: u64 = 1 << 44;
const WINDOW_BYTES: u64 = 1 << 36;
const BAR_BYTES: u64 = 16 << 20;

/// Host bridges of servers and workstations, Intel and AMD, some of which Linux lists.
const HOST_BRIDGES: [(u16, u16); 5] = [
    (0x8086, 0x3c00),
    (0x8086, 0x2020),
    (0x8086, 0x09a2),
    (0x8086, 0x4c43),
    (0x1022, 0x1480),
];
const ROOT_PORTS: [(u16, u16); 3] = [(0x8086, 0x2030), (0x8086, 0x347a), (0x1022, 0x1483)];
const SWITCHES: [(u16, u16); 3] = [(0x10b5, 0x8764), (0x1000, 0xc030), (0x11f8, 0x4036)];
/// Vendor, device, class (base, sub, interface): NVMe, GPU, Ethernet, InfiniBand.
const ENDPOINTS: [(u16, u16, u32); 5] = [
    (0x144d, 0xa808, 0x01_08_02),
    (0x8086, 0x0a54, 0x01_08_02),
    (0x10de, 0x2330, 0x03_02_00),
    (0x8086, 0x1592, 0x02_00_00),
    (0x15b3, 0x101b, 0x02_07_00),
];

/// A machine of exactly `functions` functions, sorted by address.
pub(super) fn grow(functions: usize, seed: u64) -> Vec<Generated> {
    let mut random = Random::new(seed);
    let mut machine = Vec::with_capacity(functions);
    let mut roots = 0;
    while machine.len() < functions {
        let left = functions - machine.len();
        let mut root = Root {
            domain: (roots / ROOTS_PER_DOMAIN) as u32,
            next_bus: BUSES_PER_ROOT * (roots % ROOTS_PER_DOMAIN) as u8,
            buses_left: BUSES_PER_ROOT,
            quota: left.min(FUNCTIONS_PER_DOMAIN / ROOTS_PER_DOMAIN),
            next_address: FIRST_WINDOW + WINDOW_BYTES * roots as u64,
            random: &mut random,
            machine: &mut machine,
        };
        root.grow();
        roots += 1;
    }
    machine.sort_by_key(|one| (one.domain, one.bus, one.device, one.function));
    machine
}

/// What sits below a port.
#[derive(Clone, Copy)]
enum Below {
    /// A slot: an endpoint, or a switch if it is not yet too deep.
    Slot { switches_above: u8 },
    /// The inner bus of a switch: downstream ports.
    Ports { switches_above: u8 },
}

/// Where on its bus a function sits, and how many functions its device has.
#[derive(Clone, Copy)]
struct Place {
    device: u8,
    function: u8,
    siblings: u8,
}

impl Place {
    fn alone(device: u8) -> Self {
        Self {
            device,
            function: 0,
            siblings: 1,
        }
    }
}

/// One root bus while it grows.
struct Root<'a> {
    domain: u32,
    next_bus: u8,
    buses_left: u8,
    /// How many functions may still be added.
    quota: usize,
    next_address: u64,
    random: &'a mut Random,
    machine: &'a mut Vec<Generated>,
}

impl Root<'_> {
    fn grow(&mut self) {
        let Some(bus) = self.take_bus() else { return };
        let (vendor, device) = self.random.one_of(&HOST_BRIDGES);
        let config = Config::host_bridge(vendor, device);
        self.add(bus, 0, 0, config);
        let ports = self.random.one_of(&ROOT_PORTS);
        // Root ports are functions of few devices on some platforms, devices of their own on others.
        let functions = self.random.one_of(&[1, 1, 2, 4]);
        let below = Below::Slot { switches_above: 0 };
        for device in 1..32 {
            for function in 0..functions {
                let at = Place {
                    device,
                    function,
                    siblings: functions,
                };
                self.port(bus, at, (Port::Root, ports), below);
            }
        }
    }

    fn take_bus(&mut self) -> Option<u8> {
        self.buses_left = self.buses_left.checked_sub(1)?;
        let bus = self.next_bus;
        self.next_bus = bus.wrapping_add(1);
        Some(bus)
    }

    /// Adds a bridge and all below it, unless functions or bus numbers have run out.
    fn port(&mut self, bus: u8, at: Place, of: (Port, (u16, u16)), below: Below) {
        if self.quota == 0 {
            return;
        }
        let Some(secondary) = self.take_bus() else { return };
        let (kind, (vendor, device)) = of;
        let mut config = Config::port(vendor, device, kind);
        config.link(self.random);
        if at.siblings > 1 {
            config.mark_multifunction();
        }
        // Upstream ports of switches have no ACS; of the others, old ones lack it.
        if kind != Port::Upstream && self.random.chance(85) {
            config.acs(self.random);
        }
        let index = self.add(bus, at.device, at.function, config);
        let first_address = self.next_address;
        match below {
            Below::Slot { switches_above } => self.slot(secondary, switches_above),
            Below::Ports { switches_above } => self.switch(secondary, switches_above, of.1),
        }
        let last_bus = self.next_bus.wrapping_sub(1);
        let window = first_address..self.next_address;
        super::config::set_buses(&mut self.machine[index].config, [bus, secondary, last_bus]);
        super::config::set_window(&mut self.machine[index].config, window);
    }

    fn slot(&mut self, bus: u8, switches_above: u8) {
        let switch_percent = [35, 15, 15].get(usize::from(switches_above)).copied();
        if switches_above < DEEPEST_SWITCH && self.random.chance(switch_percent.unwrap_or(0)) {
            let ids = self.random.one_of(&SWITCHES);
            let switches_above = switches_above + 1;
            let below = Below::Ports { switches_above };
            self.port(bus, Place::alone(0), (Port::Upstream, ids), below);
        } else {
            self.endpoint(bus);
        }
    }

    fn switch(&mut self, bus: u8, switches_above: u8, ids: (u16, u16)) {
        let below = Below::Slot { switches_above };
        for device in 0..self.random.between(2, 8) {
            self.port(bus, Place::alone(device), (Port::Downstream, ids), below);
        }
    }

    /// One device of one to eight functions.
    fn endpoint(&mut self, bus: u8) {
        let (vendor, device, class) = self.random.one_of(&ENDPOINTS);
        let functions = self.random.one_of(&[1, 2, 4, 8, 8]);
        let with_acs = self.random.chance(40);
        for function in 0..functions {
            if self.quota == 0 {
                return;
            }
            let mut config = Config::endpoint(vendor, device, class);
            config.link(self.random);
            config.bar(self.next_address);
            self.next_address += BAR_BYTES;
            if with_acs {
                config.acs(self.random);
            }
            if functions > 1 {
                config.mark_multifunction();
            }
            self.add(bus, 0, function, config);
        }
    }

    fn add(&mut self, bus: u8, device: u8, function: u8, config: Config) -> usize {
        self.quota -= 1;
        self.machine.push(Generated {
            domain: self.domain,
            bus,
            device,
            function,
            config: config.finish(),
        });
        self.machine.len() - 1
    }
}
