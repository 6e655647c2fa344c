//! One random machine, switched on: who may issue requests, what memory there is, and bytes in it that tell where they are.

use super::spots::{Spot, spots};
use crate::agree::meddle;
use peerdma::addr::{Address, Bdf, PhysAddr};
use peerdma::dma::{Initiator, Ioas, OwnBase, SingleThread, SpecRoutes, Translation};
use peerdma::fact::Fact;
use peerdma::iommu::Translations;
use peerdma::memory::{BarMemory, Memory, MemoryMap, Region, RegionId};
use peerdma::pci::Command;
use peerdma::route::TlpClass;
use peerdma::route::spec::Judge;
use peerdma::snapshot::IommuMode;
use peerdma_sim::firmware;
use peerdma_sim::host::{Area, Computer, IoSpace};
use peerdma_sim::machine::{Gear, Options};
use peerdma_sim::random::{Random, random_machine};
use std::sync::Arc;

pub(super) const PAGE: u64 = 4096;
const BUS_MASTER: u16 = 0x4;

/// A machine and who acts on it.
pub(super) struct World {
    pub(super) computer: Computer,
    pub(super) map: MemoryMap,
    pub(super) actors: Vec<Actor>,
    pub(super) spots: Vec<Spot>,
    pub(super) is_translating: bool,
    space: Option<IoSpace>,
}

/// A function that issues requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Actor {
    pub(super) initiator: Initiator,
    pub(super) own: Option<OwnBase>,
}

impl World {
    /// The machine of a seed; nothing where it has nobody who issues requests.
    pub(super) fn new(seed: u64) -> Result<Option<Self>, String> {
        let mut random = Random::new(seed ^ 0x7261_6e73);
        let mut machine = random_machine(seed);
        for bridge in &mut machine.bridges {
            // From below such a bridge no address leads to low RAM: one in four is enough.
            if bridge.inbound_offset > 0 && random.chance(75) {
                bridge.inbound_offset = 0;
            }
        }
        let mut blueprint = firmware::boot(&machine).map_err(|error| error.to_string())?;
        // What a driver does first, as a rule.
        blueprint.snapshot.edit(|function| {
            if function.bridge().is_none()
                && let Fact::Known(Command(command)) = &mut function.config.command
                && random.chance(85)
            {
                *command |= BUS_MASTER;
            }
        });
        // Random machines translate addresses as no x86 host bridge does: who made the processor would mislead.
        blueprint.snapshot.host.cpu = Fact::NOT_IN_SOURCE;
        blueprint.nature.jitter_ps = random.one_of(&[0, 0, 300_000, 5_000_000]);
        let (order, gear) = (random.number(), random.one_of(&[Gear::Batched, Gear::Tlp]));
        let options = || Options {
            seed: Some(order),
            gear,
            ..Options::default()
        };
        let mut odd = blueprint.clone();
        if random.chance(30) {
            meddle(&mut odd.snapshot, &mut random);
        }
        // What is left of a BAR may be too small for its registers: then the machine stays as firmware made it.
        let computer = Computer::new(&odd, options()).or_else(|_| Computer::new(&blueprint, options()));
        let computer = computer.map_err(|error| error.to_string())?;
        let map = computer.memory_map();
        let is_translating = computer.iommu_mode() == IommuMode::Translating;
        let (mut ends, mut relaxing, mut has_ats) = (Vec::new(), Vec::new(), Vec::new());
        computer.with(|machine| {
            for id in machine.fabric().functions() {
                let view = machine.fabric().function(id);
                if !view.is_bridge {
                    ends.push(view.bdf);
                    relaxing.extend(view.may_relax_ordering.then_some(view.bdf));
                    has_ats.extend(view.ats_enabled.then_some(view.bdf));
                }
            }
        });
        let mut world = Self {
            spots: spots(&map, &mut random),
            computer,
            map,
            actors: Vec::new(),
            is_translating,
            space: None,
        };
        for _ in 0..random.one_of(&[1, 2, 2, 3]) {
            if ends.is_empty() {
                break;
            }
            let bdf = ends.remove((random.number() % ends.len() as u64) as usize);
            let Some(mut initiator) = world.computer.initiator(bdf) else {
                continue;
            };
            initiator.address_mask = match random.number() % 10 {
                0 => u32::MAX.into(),
                1 | 2 => (1 << 48) - 1,
                _ => u64::MAX,
            };
            initiator.class = match random.number() % 8 {
                0 | 2 if relaxing.contains(&bdf) => TlpClass::Relaxed,
                1 if is_translating && has_ats.contains(&bdf) => TlpClass::Translated,
                _ => TlpClass::Strict,
            };
            let own = world.own_base(bdf, &mut random);
            world.actors.push(Actor { initiator, own });
        }
        if world.actors.is_empty() || world.spots.is_empty() {
            return Ok(None);
        }
        for spot in world.spots.clone() {
            world.fill(spot.first, spot.len_bytes, random.number());
        }
        let bdfs: Vec<Bdf> = world.actors.iter().map(|actor| actor.initiator.bdf).collect();
        world.space = world
            .computer
            .io_space(&bdfs)
            .map_err(|error| error.to_string())?;
        Ok(Some(world))
    }

    /// The address space of all actors. Called once.
    pub(super) fn ioas(&mut self) -> Result<Arc<Ioas<SingleThread>>, String> {
        let translation = match self.space.take() {
            Some(space) => Translation::Translated(Box::new(space) as Box<dyn Translations>),
            None => Translation::Direct,
        };
        let ioas = Ioas::new(translation, self.map.clone(), &self.computer.reserved());
        let judge = Judge::new(self.computer.topology());
        let routes = SpecRoutes::new(&judge);
        for actor in &self.actors {
            (ioas.add_initiator(actor.initiator, &routes)).map_err(|error| format!("{error:?}"))?;
            // Refused where the name that was rolled is another's.
            let _ = ioas.set_own_base(actor.initiator.bdf, actor.own);
        }
        Ok(ioas)
    }

    /// The region of an address and what holds its byte.
    pub(super) fn area(&self, phys: u64) -> Option<(Region, Area, u64)> {
        let region = *self.map.find(PhysAddr::from_u64(phys))?;
        Some(match region.memory {
            Memory::Ram => (region, Area::Ram, phys),
            Memory::Bar(BarMemory {
                provider,
                bar,
                offset_bytes,
                ..
            }) => {
                let offset = offset_bytes + (phys - region.span.first().to_u64());
                (region, Area::Bar { bdf: provider, bar }, offset)
            }
        })
    }

    /// Addresses in a region of a BAR where the way to it may change.
    pub(super) fn seams(&self, region: RegionId) -> Vec<u64> {
        let Some((span, Memory::Bar(bar))) =
            (self.map.get(region)).map(|region| (region.span, region.memory))
        else {
            return Vec::new();
        };
        let topology = self.computer.topology();
        let Some(provider) = topology.find(bar.provider) else {
            return Vec::new();
        };
        let seams = Judge::new(topology).seams(provider, bar.bar).into_iter();
        let into = seams.filter_map(|seam| seam.checked_sub(bar.offset_bytes));
        let within = into.filter(|into| *into <= span.len_minus_one());
        within.map(|into| span.first().to_u64() + into).collect()
    }

    /// Who and what there is, for a report.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("IOMMU: {:?}", self.computer.iommu_mode());
        for (number, actor) in self.actors.iter().enumerate() {
            text += &format!("\n  initiator {number}: {actor:x?}");
        }
        for region in self.map.regions() {
            text += &format!("\n  {region:x?}");
        }
        if let Fact::Known(bridges) = &self.computer.topology().snapshot().host.bridges {
            for bridge in bridges {
                text += &format!("\n  {bridge:x?}");
            }
        }
        text
    }

    /// What a function calls its own: its BAR's bus address, or anything else, for all of it or a part.
    fn own_base(&self, bdf: Bdf, random: &mut Random) -> Option<OwnBase> {
        let bars = self
            .map
            .regions()
            .iter()
            .filter_map(|region| match region.memory {
                Memory::Bar(bar) if bar.provider == bdf => Some((*region, bar)),
                _ => None,
            });
        let bars: Vec<(Region, BarMemory)> = bars.collect();
        if bars.is_empty() || random.chance(8) {
            return None;
        }
        let (region, bar) = random.one_of(&bars);
        let len_bytes = region.span.len_minus_one().checked_add(1)?;
        let offset_bytes = match random.chance(20) {
            true => (len_bytes / 4) & !0xf,
            false => 0,
        };
        let bus = bar.bus_address(region.span.first()).to_u64();
        let base = match random.chance(60) {
            true => bus + offset_bytes,
            // CMBMSC.CBA, and how an address of the device's own choice may look.
            false => random.one_of(&[0, 1 << 44, 0x7_0000_0000, 0xffff_f000_0000_0000]),
        };
        base.checked_add(len_bytes)?;
        Some(OwnBase {
            bar: bar.bar,
            offset_bytes: bar.offset_bytes + offset_bytes,
            len_bytes: len_bytes - offset_bytes,
            base,
        })
    }
}
