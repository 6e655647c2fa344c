//! Random machines that are odd in the ways that Linux's decision depends on: several domains and roots, roots without
//! a function 00.0, nested switches, conventional bridges, functions of one device, functions of the root complex.
//! Also functions with an extended space behind bridges that do not lead there: PCI Express ones on conventional buses,
//! and whole switches behind bridges from PCI or PCI-X to PCI Express, each with PCI-X of either generation or without.

use super::space::{self, Nature, PciX, Space};
use crate::machine::Generated;
use crate::machine::config::set_buses;
use crate::machine::random::Random;

/// QEMU's own machine is domain 0.
const FIRST_DOMAIN: u32 = 0x1000;
const DEEPEST: u8 = 6;
const HOST_BRIDGE: u32 = 0x06_00_00;
const ENDPOINT_CLASSES: [u32; 5] = [0x01_08_02, 0x03_02_00, 0x02_00_00, 0x12_00_00, 0x08_80_00];

/// What stands first on a root bus: listed by Linux for one bridge, for several, all of a vendor, and not listed.
const FIRST: [(u16, u16); 12] = [
    (0x8086, 0x3c00),
    (0x8086, 0x2f01),
    (0x8086, 0x2020),
    (0x8086, 0x2033),
    (0x8086, 0x09a2),
    (0x8086, 0x0b25),
    (0x1ae0, 0x0001),
    (0x1ae0, 0xbeef),
    (0x8086, 0x4c43),
    (0x1022, 0x1480),
    (0x1d17, 0x1003),
    (0x10de, 0x2f95),
];
const PORTS: [(u16, u16); 5] = [
    (0x8086, 0x2030),
    (0x1022, 0x1483),
    (0x10b5, 0x8764),
    (0x1000, 0xc030),
    (0x104c, 0x8232),
];
/// What a device on a root bus is that is no PCI Express function.
const CONVENTIONAL: [Nature; 4] = [
    Nature::CONVENTIONAL,
    Nature::CONVENTIONAL.with(PciX::First),
    Nature::CONVENTIONAL.with(PciX::Second),
    Nature::CONVENTIONAL.with(PciX::Fastest),
];
/// What a device on another conventional bus is. No machine has PCI Express functions there, but a listing may; on a
/// root bus peerdma would say that the listing lacks the bridge above.
const ON_CONVENTIONAL_BUS: [Nature; 8] = [
    Nature::CONVENTIONAL,
    Nature::CONVENTIONAL.with(PciX::First),
    Nature::CONVENTIONAL.with(PciX::Second),
    Nature::CONVENTIONAL.with(PciX::Fastest),
    Nature::ENDPOINT,
    Nature::ENDPOINT,
    Nature::ENDPOINT.with(PciX::First),
    Nature::ENDPOINT.with(PciX::Second),
];
/// What a bridge on a conventional bus is.
const CONVENTIONAL_BRIDGES: [Nature; 8] = [
    Nature::CONVENTIONAL,
    Nature::CONVENTIONAL.with(PciX::First),
    Nature::CONVENTIONAL.with(PciX::Second),
    Nature::CONVENTIONAL.with(PciX::Fastest),
    Nature::FROM_CONVENTIONAL,
    Nature::FROM_CONVENTIONAL.with(PciX::First),
    Nature::FROM_CONVENTIONAL.with(PciX::Second),
    Nature::FROM_CONVENTIONAL.with(PciX::Fastest),
];
/// What a bridge is that leads from a slot to a conventional bus.
const FORWARD_BRIDGES: [Nature; 5] = [
    Nature::TO_CONVENTIONAL,
    Nature::TO_CONVENTIONAL.with(PciX::First),
    Nature::TO_CONVENTIONAL.with(PciX::Second),
    Nature::TO_CONVENTIONAL.with(PciX::Fastest),
    Nature::CONVENTIONAL,
];
const DEVICES: [(u16, u16); 4] = [
    (0x144d, 0xa808),
    (0x10de, 0x2330),
    (0x15b3, 0x101b),
    (0x1b36, 0x0010),
];

/// A machine of about as many functions as asked for, sorted by address; the same for the same seed.
pub(super) fn grow(functions: usize, seed: u64) -> Vec<Generated> {
    let mut random = Random::new(seed);
    let domains = random.one_of(&[1, 1, 1, 2, 3]);
    let mut machine = Vec::new();
    let mut domain = FIRST_DOMAIN;
    for index in 0..domains {
        let left = (functions - machine.len().min(functions)) / (domains - index);
        let mut tree = Tree {
            domain,
            next_bus: 0,
            left: left.max(1),
            random: &mut random,
            machine: &mut machine,
        };
        tree.grow();
        domain += random.one_of(&[1, 2, 0x10, 0x1000, 0xf000]);
    }
    machine.sort_by_key(|one| (one.domain, one.bus, one.device, one.function));
    machine
}

/// One domain while it grows.
struct Tree<'a> {
    domain: u32,
    /// The next bus number that is free; 256 where none is.
    next_bus: u16,
    /// How many functions may still be added.
    left: usize,
    random: &'a mut Random,
    machine: &'a mut Vec<Generated>,
}

/// Where on its bus a function sits.
#[derive(Clone, Copy)]
struct Place {
    bus: u8,
    device: u8,
    function: u8,
    is_alone: bool,
}

/// What may sit on a bus.
#[derive(Clone, Copy)]
enum Kind {
    /// Behind a port that leads down: device 0 alone, or a switch.
    Slot,
    /// Inside of a switch: ports that lead down.
    Switch,
    /// Many devices.
    Conventional,
}

impl Tree<'_> {
    const ROOT_LEVEL: u8 = 1;

    fn grow(&mut self) {
        let roots = self.random.one_of(&[1, 1, 2, 3, 4]);
        let share = self.left.div_ceil(roots);
        let all = self.left;
        for index in 0..roots {
            self.left = share.min(all.saturating_sub(index * share));
            self.next_bus += self.random.one_of(&[0, 0, 1, 7]);
            let Some(bus) = self.take_bus().filter(|_| self.left > 0) else {
                return;
            };
            self.root(bus);
        }
    }

    fn root(&mut self, bus: u8) {
        let first = self.random.one_of(&FIRST);
        let at = |device: u8| Place {
            bus,
            device,
            function: 0,
            is_alone: true,
        };
        let mut device = 1;
        match self.random.between(0, 9) {
            // A host bridge in the usual place, conventional or not.
            0..=4 => {
                let nature = self.random.one_of(&[Nature::INTEGRATED, Nature::CONVENTIONAL]);
                let space = space::function(first, HOST_BRIDGE, nature, self.random);
                self.add(at(0), space);
            }
            // Something else there.
            5 => self.port(at(0), first, Nature::ROOT_PORT, Kind::Slot, 0),
            6 => self.endpoints(at(0), &[first], Nature::INTEGRATED),
            // Nothing there: a root port comes first, or what is none.
            7 | 8 => {
                device = self.random.between(1, 9);
                self.port(at(device), first, Nature::ROOT_PORT, Kind::Slot, 0);
                device += 1;
            }
            _ => {
                device = self.random.between(1, 9);
                self.endpoints(at(device), &[first], Nature::INTEGRATED);
                device += 1;
            }
        }
        while device < 32 && self.left > 0 {
            match self.random.between(0, 9) {
                0 => self.endpoints(at(device), &DEVICES, Nature::INTEGRATED),
                1 | 2 => self.conventional_function(at(device), Self::ROOT_LEVEL),
                _ => self.ports(at(device), Nature::ROOT_PORT, 1),
            }
            device += self.random.one_of(&[1, 1, 1, 3]);
        }
    }

    /// A device of one or several ports that lead down.
    fn ports(&mut self, first: Place, nature: Nature, level: u8) {
        let functions = self.random.one_of(&[1, 1, 1, 2, 4]);
        for function in 0..functions {
            let at = Place {
                function,
                is_alone: functions == 1,
                ..first
            };
            let id = self.random.one_of(&PORTS);
            self.port(at, id, nature, Kind::Slot, level);
        }
    }

    /// A bridge and all below it; nothing where functions or bus numbers have run out.
    fn port(&mut self, at: Place, id: (u16, u16), nature: Nature, below: Kind, level: u8) {
        if self.left == 0 {
            return;
        }
        let Some(secondary) = self.take_bus() else { return };
        let space = space::bridge(id, nature, self.random);
        let index = self.machine.len();
        self.add(at, space);
        match below {
            Kind::Slot => self.slot(secondary, level),
            Kind::Switch => {
                for device in 0..self.random.between(1, 6) {
                    let place = Place {
                        bus: secondary,
                        device,
                        function: 0,
                        is_alone: true,
                    };
                    self.ports(place, Nature::DOWNSTREAM, level + 1);
                }
            }
            Kind::Conventional => {
                let mut device = self.random.between(0, 2);
                for _ in 0..self.random.between(1, 5) {
                    let place = Place {
                        bus: secondary,
                        device,
                        function: 0,
                        is_alone: true,
                    };
                    self.conventional_function(place, level + 1);
                    device += self.random.between(1, 4);
                }
            }
        }
        let last = self.next_bus.saturating_sub(1) as u8;
        set_buses(&mut self.machine[index].config, [at.bus, secondary, last]);
    }

    /// What is plugged into a slot.
    fn slot(&mut self, bus: u8, level: u8) {
        let at = Place {
            bus,
            device: 0,
            function: 0,
            is_alone: true,
        };
        let id = self.random.one_of(&PORTS);
        match self.random.between(0, 19) {
            0..=6 if level < DEEPEST => self.port(at, id, Nature::UPSTREAM, Kind::Switch, level + 1),
            7..=10 if level < DEEPEST => {
                let nature = self.random.one_of(&FORWARD_BRIDGES);
                self.port(at, id, nature, Kind::Conventional, level + 1);
            }
            11 => {}
            _ => self.endpoints(at, &DEVICES, Nature::ENDPOINT),
        }
    }

    /// A device, or a bridge to more of its kind or to a slot.
    fn conventional_function(&mut self, at: Place, level: u8) {
        if level < DEEPEST && self.random.chance(30) {
            let (id, nature) = (
                self.random.one_of(&PORTS),
                self.random.one_of(&CONVENTIONAL_BRIDGES),
            );
            let below = match nature.leads_to_a_link() {
                true => Kind::Slot,
                false => Kind::Conventional,
            };
            self.port(at, id, nature, below, level + 1);
        } else {
            let nature = match level {
                Self::ROOT_LEVEL => self.random.one_of(&CONVENTIONAL),
                _ => self.random.one_of(&ON_CONVENTIONAL_BUS),
            };
            self.endpoints(at, &DEVICES, nature);
        }
    }

    /// One device of one to eight functions.
    fn endpoints(&mut self, first: Place, ids: &[(u16, u16)], nature: Nature) {
        let (id, class) = (self.random.one_of(ids), self.random.one_of(&ENDPOINT_CLASSES));
        let functions = self.random.one_of(&[1, 1, 1, 2, 4, 8]);
        for function in 0..functions {
            // Functions need not follow each other without a gap.
            if self.left == 0 || (function > 0 && self.random.chance(10)) {
                continue;
            }
            let space = space::function(id, class, nature, self.random);
            let at = Place {
                function,
                is_alone: functions == 1,
                ..first
            };
            self.add(at, space);
        }
    }

    fn take_bus(&mut self) -> Option<u8> {
        let bus = u8::try_from(self.next_bus).ok()?;
        self.next_bus += 1;
        Some(bus)
    }

    fn add(&mut self, at: Place, mut space: Space) {
        if !at.is_alone {
            space[0x0e] |= 0x80;
        }
        self.left = self.left.saturating_sub(1);
        self.machine.push(Generated {
            domain: self.domain,
            bus: at.bus,
            device: at.device,
            function: at.function,
            config: space,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_function_has_an_address_of_its_own_outside_of_domain_0() {
        for seed in 0..50 {
            let machine = grow(5 + 7 * seed as usize, seed);
            let addresses: HashSet<_> = machine
                .iter()
                .map(|one| (one.domain, one.bus, one.device, one.function))
                .collect();
            assert_eq!(addresses.len(), machine.len(), "seed {seed}");
            assert!(
                machine
                    .iter()
                    .all(|one| one.domain >= FIRST_DOMAIN && one.device < 32)
            );
        }
    }
}
