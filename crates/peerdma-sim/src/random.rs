//! Random machines, the same one for the same seed: for property tests, here and in the repository's chores.
//!
//! Most are small (4 to 25 functions) and odd in every way that decides where a request goes: forwarding policies,
//! offsets, nested switches, ACS bits and egress vectors, functions of one device, devices integrated into the root
//! complex, conventional buses, payload sizes that do not match, enables that are off, windows that are closed.

use crate::blueprint::{AcceleratorKind, CmbAbilities, CmbStyle, NamespaceKind, Nature, OnFailure, Siblings};
use crate::file::{
    Acs, At, Bar, BarHabit, BarWidth, Cmb, Common, ConventionalBridge, Device, Egress, Habits, Host,
    HostBridge, Kind, Link, Machine, PayloadHabit, PcieSwitch, Port, Prefetchable, Reach, Slot, Switched,
};
use peerdma::pci::{AcsFlags, Id, LinkRate, LinkState};
use peerdma::snapshot::{Forwarding, IommuMode};

/// A machine that [`crate::firmware::boot`] takes.
pub fn random_machine(seed: u64) -> Machine {
    let mut random = Random::new(seed);
    let host = Host {
        iommu: random.one_of(&[IommuMode::Off, IommuMode::Passthrough, IommuMode::Translating]),
        ..Host::default()
    };
    let nature = Nature {
        seed,
        siblings: random.one_of(&[Siblings::Direct, Siblings::Upstream]),
        read_completion_boundary_bytes: random.one_of(&[64, 128]),
        ..Nature::default()
    };
    let firmware = Habits {
        payload: random.one_of(&[
            PayloadHabit::Safe,
            PayloadHabit::PerRootPort,
            PayloadHabit::AsCapable,
        ]),
        bus_master: random.off_in(3),
        memory: random.off_in(3),
        bars: random.one_of(&[BarHabit::Full, BarHabit::Small]),
    };
    let bridges = random.one_of(&[1, 1, 1, 2, 2, 3]);
    let mut grower = Grower {
        random,
        left: 4 + seed % 22,
        devices: 0,
    };
    let bridges = (0..bridges).map(|index| grower.host_bridge(index)).collect();
    Machine {
        host,
        nature,
        firmware,
        bridges,
    }
}

/// A small generator of pseudo-random numbers whose sequence never changes between releases (SplitMix64: Steele, Lea,
/// Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Another seed, another sequence.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// Where there is none.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[(self.number() % choices.len() as u64) as usize]
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.number() % 100 < percent
    }

    /// Off in `percent` of 100 cases.
    fn off_in(&mut self, percent: u64) -> Switched {
        match self.chance(percent) {
            true => Switched::Off,
            false => Switched::On,
        }
    }
}

struct Grower {
    random: Random,
    /// How many functions may still come.
    left: u64,
    devices: u32,
}

impl Grower {
    fn host_bridge(&mut self, index: u32) -> HostBridge {
        const IDS: [(u16, u16); 4] = [(0x8086, 0x2030), (0x8086, 0x09a2), (0x1022, 0x14a4), (0xd3a0, 1)];
        let (vendor, device) = self.random.one_of(&IDS);
        let offset = self.random.one_of(&[0, 0, 1 << 40, 1 << 41]);
        let ports = self.random.one_of(&[1, 1, 2, 2, 3]);
        let integrated = self.random.one_of(&[0, 0, 0, 1, 2]);
        let ports = (0..ports).map(|_| self.port(0, ports)).collect();
        let devices = self.functions(integrated, Place::Root);
        let conventional = match self.random.chance(8) {
            true => vec![self.conventional(Place::Root, 0)],
            false => Vec::new(),
        };
        HostBridge {
            at: At::default(),
            name: None,
            id: (!self.random.chance(10)).then_some(Id { vendor, device }),
            domain: if self.random.chance(30) { index } else { 0 },
            bus: None,
            numa_node: self.random.chance(50).then_some(index),
            bus_offset: offset << index,
            windows: Vec::new(),
            inbound_offset: self.random.one_of(&[0, 0, -(1 << 42), 1 << 39]),
            forwarding: self.random.one_of(&[
                Forwarding::Everything,
                Forwarding::Everything,
                Forwarding::SameBridge,
                Forwarding::StoresOnly,
                Forwarding::Nothing,
            ]),
            ports,
            conventional,
            devices,
        }
    }

    fn port(&mut self, level: u32, siblings: u8) -> Port {
        self.left = self.left.saturating_sub(1);
        let mut port = Port {
            common: self.common(siblings, 60),
            link: Link {
                max: self.link(),
                trained: None,
            },
            number: None,
            windows: self.random.off_in(2),
            switch: None,
            conventional: None,
            devices: Vec::new(),
        };
        let nests = self.left > 3 && self.random.chance([60, 40, 25, 0][level.min(3) as usize]);
        if nests {
            let siblings = self.random.one_of(&[1, 2, 2, 3, 4]);
            self.left = self.left.saturating_sub(1);
            let functions = self.random.one_of(&[0, 0, 0, 0, 0, 1]);
            port.switch = Some(Box::new(PcieSwitch {
                common: self.common(functions, 20),
                link: None,
                windows: self.random.off_in(2),
                ports: (0..siblings).map(|_| self.port(level + 1, siblings)).collect(),
            }));
            port.devices = self.functions(functions, Place::Port);
        } else if self.random.chance(7) {
            port.conventional = Some(Box::new(self.conventional(Place::Port, 0)));
        } else if !self.random.chance(4) {
            let functions = self.random.one_of(&[1, 1, 1, 1, 2, 3]);
            port.devices = self.functions(functions, Place::Port);
        }
        port
    }

    fn conventional(&mut self, place: Place, level: u32) -> ConventionalBridge {
        self.left = self.left.saturating_sub(1);
        let functions = self.random.one_of(&[1, 2, 2, 3]);
        let common = self.common(0, 0);
        let further = level == 0 && self.random.chance(15);
        ConventionalBridge {
            common: Common {
                acs: common.acs.filter(|_| place == Place::Port),
                ..common
            },
            link: None,
            windows: self.random.off_in(3),
            devices: self.functions(functions, Place::Conventional),
            conventional: match further {
                true => vec![self.conventional(Place::Conventional, level + 1)],
                false => Vec::new(),
            },
        }
    }

    /// Functions of one device below a port; devices of their own, or sometimes functions of one, elsewhere.
    fn functions(&mut self, count: u8, place: Place) -> Vec<Device> {
        let is_one_device = place != Place::Port && count > 1 && self.random.chance(50);
        let siblings = if place == Place::Port || is_one_device {
            count
        } else {
            1
        };
        let device = |number: u8, grower: &mut Self| {
            let slot = is_one_device.then_some(Slot {
                device: 20,
                function: number,
            });
            Device {
                slot,
                ..grower.device(place, siblings)
            }
        };
        (0..count).map(|number| device(number, self)).collect()
    }

    fn device(&mut self, place: Place, siblings: u8) -> Device {
        self.left = self.left.saturating_sub(1);
        let mut common = self.common(siblings, if siblings > 1 { 60 } else { 10 });
        let number = self.devices;
        self.devices += 1;
        let kind = match (place, self.random.number() % 3) {
            (Place::Conventional, _) | (_, 0) => self.card(),
            (_, 1) => self.nvme(),
            _ => self.accelerator(),
        };
        let word = match kind {
            Kind::Card { .. } => "card",
            Kind::Nvme { .. } => "ssd",
            Kind::Accelerator { .. } => "gpu",
        };
        common.name = Some(format!("{word}{number}"));
        let is_express = place != Place::Conventional;
        common.acs = common.acs.filter(|_| is_express);
        let ats = (is_express && self.random.chance(40)).then(|| self.random.off_in(30));
        let mut device = Device {
            common,
            slot: None,
            link: None,
            ats,
            kind,
        };
        if !is_express && let Kind::Card { bars } = &mut device.kind {
            bars.iter_mut().for_each(|bar| bar.smallest_bytes = None);
        }
        device
    }

    fn card(&mut self) -> Kind {
        let mut bars = Vec::new();
        let mut index = 0;
        for _ in 0..self.random.one_of(&[1, 1, 2, 3]) {
            let width = self.random.one_of(&[BarWidth::Narrow, BarWidth::Wide]);
            let size_bytes = 1u64 << self.random.one_of(&[12, 14, 16, 20, 21, 24, 26]);
            let bar = Bar {
                at: At::default(),
                index,
                size_bytes,
                width,
                prefetchable: self.random.one_of(&[Prefetchable::Yes, Prefetchable::No]),
                smallest_bytes: (size_bytes > 1 << 20 && self.random.chance(20)).then_some(1 << 20),
                reach: self.reach(),
            };
            index += bar.registers();
            bars.push(bar);
        }
        Kind::Card { bars }
    }

    fn nvme(&mut self) -> Kind {
        let cmb = self.random.chance(50).then(|| {
            let size_bytes = 1 << self.random.one_of(&[16, 20, 26]);
            let bar = Bar {
                reach: self.reach(),
                ..Bar::memory(self.random.one_of(&[2, 4]), size_bytes, At::default())
            };
            let size_bits = (self.random.number() & 0x1f) as u8;
            let rest = self.random.number();
            let (style, location_bits) = match rest % 4 {
                0 => (CmbStyle::V1_2, 0),
                _ => (CmbStyle::V1_4, (rest & 0x1f8) as u16),
            };
            Cmb {
                bar,
                abilities: CmbAbilities {
                    size_bits,
                    location_bits,
                },
                style,
            }
        });
        Kind::Nvme {
            namespaces: vec![NamespaceKind::default()],
            cmb,
        }
    }

    fn accelerator(&mut self) -> Kind {
        let size_bytes = 1u64 << self.random.one_of(&[24, 28, 30, 34]);
        Kind::Accelerator {
            memory: Bar {
                smallest_bytes: self.random.chance(40).then_some(1 << 22),
                reach: self.reach(),
                ..Bar::memory(2, size_bytes, At::default())
            },
            kind: AcceleratorKind {
                outstanding_bytes: 1 << self.random.one_of(&[12, 16, 20]),
                on_failure: self.random.one_of(&[OnFailure::Report, OnFailure::AllOnes]),
            },
        }
    }

    fn reach(&mut self) -> Reach {
        match self.random.number() % 100 {
            0..=3 => Reach::PeersOnly,
            4..=5 => Reach::Unassigned,
            _ => Reach::Cpu,
        }
    }

    fn common(&mut self, siblings: u8, acs_percent: u64) -> Common {
        let supported = self.random.one_of(&[256, 256, 512]);
        Common {
            max_supported_bytes: supported,
            max_payload_bytes: self.random.chance(4).then_some(128),
            max_read_request_bytes: self.random.one_of(&[128, 512, 4096]),
            bus_master: self.random.off_in(3),
            memory: self.random.off_in(3),
            acs: match self.random.chance(acs_percent) {
                true => Some(self.acs(siblings)),
                false => None,
            },
            ..Common::usual()
        }
    }

    fn acs(&mut self, siblings: u8) -> Acs {
        let random = &mut self.random;
        let some = |random: &mut Random| (random.number() & random.number() & 0x7f) as u16;
        let capable = match random.chance(60) {
            true => 0x7f,
            false => (random.number() & 0x7f) as u16,
        };
        let control = match random.one_of(&[0, 1, 2, 3]) {
            0 => 0,
            // What Linux switches on.
            1 => 0x1d & capable,
            2 => some(random) & capable,
            // Also what it is not capable of.
            _ => some(random),
        };
        let capable = AcsFlags::from_register(capable);
        let mut acs = Acs {
            capable,
            control: AcsFlags::from_register(control),
            ..Acs::default()
        };
        if capable.contains(AcsFlags::EGRESS_CONTROL) {
            // Some vectors are too short for all ports.
            acs.egress_bits = random.chance(25).then_some(2);
            let most = acs.egress_bits.map_or(siblings, |bits| (bits - 1) as u8);
            acs.egress = (0..=most)
                .filter(|_| random.chance(40))
                .map(Egress::Number)
                .collect();
        }
        acs
    }

    fn link(&mut self) -> LinkState {
        LinkState {
            rate: LinkRate(self.random.one_of(&[1, 2, 3, 4, 5, 6])),
            width: self.random.one_of(&[1, 4, 8, 16]),
        }
    }
}

/// Where functions grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Port,
    Conventional,
}
