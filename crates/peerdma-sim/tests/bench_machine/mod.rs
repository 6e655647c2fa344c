//! Machines for the tests and benchmarks of `peerdma_sim::machine`: cards of plain memory below switches.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test uses a part of it, as a module of its own"
)]

use peerdma::addr::{Address, Bdf};
use peerdma::fact::Fact;
use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::device::{Card, Outcome};
use peerdma_sim::fabric::Rights;
use peerdma_sim::file;
use peerdma_sim::machine::{Machine, Options, RequestPlan};
use peerdma_sim::memory::Place;
use peerdma_sim::time::Time;
use peerdma_sim::tlp::Access;

/// Two switches below one host bridge: cards 0 and 1 below the first, 2 and 3 (a narrow one) below the second.
pub const TWO_SWITCHES: &str = r#"
iommu = "IOMMU"

[firmware]
mps = "as-capable"

[[bridge]]
bus = 0x00

[[bridge.port]]
link = "gen5 x16"
acs = { can = "VBRCU", on = "ACS" }
mps-supported = PAYLOAD

[bridge.port.switch]
mps-supported = PAYLOAD
[[bridge.port.switch.port]]
link = "gen5 x16"
mps-supported = PAYLOAD
acs = { can = "VBRCUET", on = "ACS" }
device = { kind = "card", bar = [{ size = "256 MiB" }], ats = true, mps-supported = PAYLOAD }
[[bridge.port.switch.port]]
link = "gen5 x16"
mps-supported = PAYLOAD
acs = { can = "VBRCUET", on = "ACS" }
device = { kind = "card", bar = [{ size = "256 MiB" }], mps-supported = PAYLOAD }

[[bridge.port]]
link = "gen5 x16"
mps-supported = PAYLOAD
acs = { can = "VBRCU", on = "ACS" }

[bridge.port.switch]
mps-supported = PAYLOAD
[[bridge.port.switch.port]]
link = "gen5 x16"
mps-supported = PAYLOAD
acs = { can = "VBRCUET", on = "ACS" }
device = { kind = "card", bar = [{ size = "256 MiB" }], mps-supported = PAYLOAD }
[[bridge.port.switch.port]]
link = "gen4 x4"
mps-supported = PAYLOAD
acs = { can = "VBRCUET", on = "ACS" }
device = { kind = "card", bar = [{ size = "256 MiB" }], mps-supported = PAYLOAD }
"#;

/// Where the IOMMU maps card 0's memory, the other cards' behind it; RAM behind those.
pub const IOVA: u64 = 0x7000_0000_0000;
/// Bytes of a card's memory.
pub const CARD_BYTES: u64 = 256 << 20;

/// The machine of [`TWO_SWITCHES`], its IOMMU off or translating, with or without redirection.
pub fn blueprint(iommu: &str, acs: &str, payload_bytes: u32) -> Blueprint {
    let text = TWO_SWITCHES
        .replace("IOMMU", iommu)
        .replace("\"ACS\"", &format!("\"{acs}\""))
        .replace("PAYLOAD", &payload_bytes.to_string());
    file::load(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// A machine, and where everything is.
pub struct Bench {
    pub machine: Machine,
    pub cards: Vec<Bdf>,
    /// Physical addresses of the cards' memory.
    pub phys: Vec<u64>,
    /// The cards' memory itself.
    pub memory: Vec<Place>,
    /// The first address of RAM.
    pub ram_phys: u64,
    is_translating: bool,
}

impl Bench {
    pub fn new(blueprint: &Blueprint, options: Options) -> Self {
        let mut machine = Machine::with_options(blueprint, options).unwrap_or_else(|error| panic!("{error}"));
        let snapshot = machine.snapshot();
        let cards: Vec<Bdf> = (snapshot.functions().iter())
            .filter(|function| function.bridge().is_none() && function.link() != Fact::Known(None))
            .map(|function| function.bdf)
            .collect();
        let mut phys = Vec::new();
        let mut memory = Vec::new();
        for card in &cards {
            let id = machine.fabric().find(*card).unwrap();
            let (bar, (address, _)) = (0..6)
                .find_map(|bar| Some((bar, machine.fabric().bar(id, bar)?)))
                .unwrap();
            phys.push(address);
            let bank = machine.with::<Card, _>(*card, |card, _| card.bank(bar)).flatten();
            memory.push(Place {
                bank: bank.unwrap(),
                offset: 0,
            });
        }
        let ram_phys = match &blueprint.snapshot.host.ram {
            Fact::Known(ram) => ram[0].first().to_u64(),
            Fact::Unknown(_) => 0,
        };
        let is_translating =
            blueprint.snapshot.host.iommu == Fact::Known(peerdma::snapshot::IommuMode::Translating);
        let mut bench = Self {
            machine,
            cards,
            phys,
            memory,
            ram_phys,
            is_translating,
        };
        if is_translating {
            bench.map();
        }
        bench
    }

    fn map(&mut self) {
        let (cards, phys, ram_phys) = (self.cards.clone(), self.phys.clone(), self.ram_phys);
        let iommu = self.machine.fabric_mut().iommu_mut();
        let ioas = iommu.create().unwrap();
        for card in &cards {
            iommu.attach(*card, ioas).unwrap();
        }
        for (index, phys) in phys.iter().enumerate() {
            let iova = IOVA + index as u64 * CARD_BYTES;
            iommu
                .map(ioas, iova, *phys, CARD_BYTES, Rights::ReadWrite)
                .unwrap();
        }
        let iova = IOVA + phys.len() as u64 * CARD_BYTES;
        iommu
            .map(ioas, iova, ram_phys, CARD_BYTES, Rights::ReadWrite)
            .unwrap();
    }

    /// The address by which a card reaches another one's memory.
    pub fn address(&self, target: usize, offset: u64) -> u64 {
        match self.is_translating {
            true => IOVA + target as u64 * CARD_BYTES + offset,
            false => self.phys[target] + offset,
        }
    }

    /// The address by which a card reaches RAM.
    pub fn ram_address(&self, offset: u64) -> u64 {
        match self.is_translating {
            true => IOVA + self.cards.len() as u64 * CARD_BYTES + offset,
            false => self.ram_phys + offset,
        }
    }

    pub fn place(&self, card: usize, offset: u64) -> Place {
        Place {
            offset,
            ..self.memory[card]
        }
    }

    pub fn plan(&self, card: usize, access: Access, address: u64, local: u64, len_bytes: u64) -> RequestPlan {
        RequestPlan::new(
            self.cards[card],
            access,
            address,
            self.place(card, local),
            len_bytes,
        )
    }

    /// Carries out one transfer; when it ended, and how.
    pub fn run(&mut self, plan: &RequestPlan) -> (Time, Outcome) {
        let transfer = self.machine.request(plan).unwrap();
        self.machine.run_until_idle();
        self.machine.take_outcome(transfer).unwrap()
    }

    pub fn fill(&mut self, card: usize, offset: u64, data: &[u8]) {
        let place = self.place(card, offset);
        self.machine.banks().write(place, data).unwrap();
    }

    pub fn read(&mut self, card: usize, offset: u64, len: usize) -> Vec<u8> {
        let place = self.place(card, offset);
        let mut data = vec![0; len];
        self.machine.banks().read(place, &mut data).unwrap();
        data
    }
}

/// Bytes that differ from place to place.
pub fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|index| {
            (index as u8)
                .wrapping_mul(31)
                .wrapping_add((index >> 8) as u8)
                .wrapping_add(seed)
        })
        .collect()
}
