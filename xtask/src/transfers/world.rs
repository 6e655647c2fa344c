//! One random machine, switched on: who may issue requests, what memory there is, and bytes in it that tell where they are.

use crate::agree::meddle;
use peerdma::addr::{Address, Bdf, Iova, PhysAddr};
use peerdma::dma::{Initiator, Ioas, OwnBase, SingleThread, SpecRoutes, Translation};
use peerdma::fact::Fact;
use peerdma::iommu::{Rights, Target, Translations};
use peerdma::memory::{BarMemory, Memory, MemoryMap, Region, RegionId};
use peerdma::pci::Command;
use peerdma::route::spec::Judge;
use peerdma::route::{Access, TlpClass};
use peerdma::snapshot::IommuMode;
use peerdma_sim::device::{Outcome, Region as Decoded, TransferId};
use peerdma_sim::firmware;
use peerdma_sim::host::{Area, Computer, IoSpace};
use peerdma_sim::machine::{Gear, Options, RequestPlan};
use peerdma_sim::memory::Place;
use peerdma_sim::random::{Random, random_machine};
use peerdma_sim::tlp;
use std::sync::Arc;

pub(super) const PAGE: u64 = 4096;
const BUS_MASTER: u16 = 0x4;
/// What a transfer may take before it is given up: far more than any takes.
const MOST_STEPS: u32 = 1_000_000;

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
    /// Does a read, does a write of its own reach RAM? Where bus mastering is off on the way, or packets are too large, none does.
    pub(super) reaches_ram: [bool; 2],
}

/// A stretch of a region that pieces are taken from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    pub(super) region: RegionId,
    pub(super) provider: Option<Bdf>,
    pub(super) first: u64,
    pub(super) len_bytes: u64,
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
            world.actors.push(Actor {
                initiator,
                own,
                reaches_ram: [false; 2],
            });
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
        world.find_out_who_reaches_ram();
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

    fn place(&self, phys: u64) -> Option<Place> {
        match self.area(phys)?.1 {
            Area::Bar { bdf, bar } => self.bar_place(bdf, bar, self.area(phys)?.2),
            _ => self.computer.with(|machine| machine.ram_place(phys)),
        }
    }

    fn bar_place(&self, bdf: Bdf, bar: u8, offset: u64) -> Option<Place> {
        let decoded = self
            .computer
            .with(|machine| machine.with_device(bdf, |device, _| device.decode(bar, offset)));
        match decoded? {
            Decoded::Memory { place, .. } => Some(place),
            Decoded::Registers | Decoded::Nothing => None,
        }
    }

    /// Bytes at an address, all in one region.
    pub(super) fn bytes(&self, phys: u64, len_bytes: u64) -> Vec<u8> {
        let mut bytes = vec![0; len_bytes as usize];
        if let Some(place) = self.place(phys) {
            let _ = self
                .computer
                .with(|machine| machine.banks().read(place, &mut bytes));
        }
        bytes
    }

    /// Bytes that tell where they are.
    pub(super) fn fill(&self, phys: u64, len_bytes: u64, salt: u64) {
        if let Some(place) = self.place(phys) {
            let bytes = noise(salt ^ phys, len_bytes as usize);
            let _ = self.computer.with(|machine| machine.banks().write(place, &bytes));
        }
    }

    /// Memory inside a device, which no address leads to.
    pub(super) fn inside(&self, bytes: &[u8]) -> Place {
        self.computer.with(|machine| {
            let bank = machine.banks().add(bytes.len() as u64);
            let place = Place { bank, offset: 0 };
            let _ = machine.banks().write(place, bytes);
            place
        })
    }

    pub(super) fn look_inside(&self, place: Place, len_bytes: usize) -> Vec<u8> {
        let mut bytes = vec![0; len_bytes];
        let _ = self
            .computer
            .with(|machine| machine.banks().read(place, &mut bytes));
        bytes
    }

    /// Lets a function issue requests; one for each stretch that it has a translation for.
    pub(super) fn request(
        &self,
        actor: &Actor,
        access: Access,
        address: u64,
        local: Place,
        len_bytes: u64,
    ) -> Result<Vec<TransferId>, &'static str> {
        let Initiator { bdf, class, .. } = actor.initiator;
        let mut plan = RequestPlan::new(
            bdf,
            match access {
                Access::Read => tlp::Access::Read,
                Access::Write => tlp::Access::Write,
            },
            address,
            local,
            len_bytes,
        );
        if class.is_relaxed() {
            plan.ordering = tlp::Ordering::Relaxed;
        }
        self.computer.with(|machine| {
            let mut started = Vec::new();
            if !class.is_translated() {
                started.extend(machine.request(&plan));
                return Ok(started);
            }
            plan.address_type = tlp::AddressType::Translated;
            let mut done = 0;
            while done < len_bytes {
                let fabric = machine.fabric();
                let found = fabric
                    .find(bdf)
                    .and_then(|id| fabric.translate_for_device(id, address + done));
                let found = found.filter(|found| match access {
                    Access::Read => found.may_read,
                    Access::Write => found.may_write,
                });
                let found = found.ok_or("the translation agent has no translation")?;
                plan.address = found.address;
                plan.len_bytes = found.len_bytes.min(len_bytes - done);
                plan.local.offset = local.offset + done;
                done += plan.len_bytes;
                started.extend(machine.request(&plan));
            }
            Ok(started)
        })
    }

    /// A device moves bytes between its own memory, by its own name for it, and a place inside.
    pub(super) fn move_own(
        &self,
        actor: &Actor,
        access: Access,
        addr: u64,
        local: Place,
        len_bytes: u64,
    ) -> bool {
        let place = actor.own.and_then(|own| {
            let into = addr.checked_sub(own.base)?;
            (into + len_bytes <= own.len_bytes).then_some(())?;
            self.bar_place(actor.initiator.bdf, own.bar, own.offset_bytes + into)
        });
        let Some(place) = place else { return false };
        let (from, to) = match access {
            Access::Read => (place, local),
            Access::Write => (local, place),
        };
        self.computer
            .with(|machine| machine.banks().copy(from, to, len_bytes).is_ok())
    }

    /// Waits for the ends of transfers, in their order; nothing for what does not end.
    pub(super) fn wait(&self, transfers: &[TransferId]) -> Vec<Option<Outcome>> {
        let mut outcomes = vec![None; transfers.len()];
        self.computer.with(|machine| {
            for _ in 0..MOST_STEPS {
                for (outcome, transfer) in outcomes.iter_mut().zip(transfers) {
                    if outcome.is_none() {
                        *outcome = machine.take_outcome(*transfer).map(|(_, outcome)| outcome);
                    }
                }
                if outcomes.iter().all(Option::is_some) || !machine.step_or_land() {
                    return;
                }
            }
        });
        outcomes
    }

    /// Lets some things happen.
    pub(super) fn go_on(&self, steps: u32) {
        self.computer.with(|machine| {
            for _ in 0..steps {
                machine.step_or_land();
            }
        });
    }

    /// Lets everything happen that will.
    pub(super) fn settle(&self) {
        self.computer.with(|machine| {
            for _ in 0..MOST_STEPS {
                if !machine.step_or_land() {
                    return;
                }
            }
        });
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
            true => len_bytes / 4 & !0xf,
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

    /// Tries it, past everything that is under test.
    fn find_out_who_reaches_ram(&mut self) {
        let reserved = self.computer.reserved();
        let is_free = |at: u64| {
            let at = Iova::from_u64(at);
            reserved.iter().all(|span| !span.contains(at))
        };
        let ram = self.spots.iter().filter(|spot| spot.provider.is_none());
        let pages: Vec<u64> = (ram)
            .map(|spot| spot.first.next_multiple_of(PAGE))
            .filter(|page| self.map.find(PhysAddr::from_u64(page + PAGE - 1)).is_some())
            .collect();
        for place in 0..self.actors.len() {
            let actor = self.actors[place];
            let offset = actor.initiator.inbound_offset;
            let found = match &mut self.space {
                Some(space) => pages.first().and_then(|page| {
                    let iova = (1..1 << 20).map(|at| at << 20).find(|at| is_free(*at))?;
                    let (at, phys) = (Iova::from_u64(iova), PhysAddr::from_u64(*page));
                    space.map(at, phys, PAGE, Rights::ReadWrite, Target::Ram).ok()?;
                    Some((iova, *page))
                }),
                None => (pages.iter().copied())
                    .map(|page| (page.wrapping_sub(offset), page))
                    .find(|(at, page)| {
                        (*at <= *page) == ((offset as i64) >= 0) && is_free(*at) && is_free(*at | (PAGE - 1))
                    }),
            };
            let Some((address, page)) = found else { continue };
            for access in Access::ALL {
                let (there, own) = (
                    self.bytes(page, PAGE),
                    noise(address ^ place as u64 ^ 0x5a5a, PAGE as usize),
                );
                let local = self.inside(&own);
                let outcomes = match self.request(&actor, access, address, local, PAGE) {
                    Ok(transfers) => self.wait(&transfers),
                    Err(_) => continue,
                };
                self.settle();
                let is_moved = self.bytes(page, PAGE) == self.look_inside(local, PAGE as usize);
                let is_changed = self.bytes(page, PAGE) != there;
                self.actors[place].reaches_ram[access as usize] = is_moved
                    && is_changed == (access == Access::Write)
                    && outcomes.iter().all(|outcome| *outcome == Some(Outcome::Done));
            }
            if let Some(space) = &mut self.space {
                let _ = space.unmap(Iova::from_u64(address), PAGE);
            }
        }
    }
}

/// Up to three stretches of each region: its start, its end, and somewhere between.
fn spots(map: &MemoryMap, random: &mut Random) -> Vec<Spot> {
    let mut spots = Vec::new();
    for region in map.regions() {
        let (first, last) = (region.span.first().to_u64(), region.span.last().to_u64());
        let provider = match region.memory {
            Memory::Ram => None,
            Memory::Bar(bar) => Some(bar.provider),
        };
        let len = |random: &mut Random| random.one_of(&[PAGE, 4 * PAGE, 4 * PAGE, 12 * PAGE]);
        let mut ranges = Vec::new();
        let size = last - first;
        ranges.push((first, last.min(first + (len(random) - 1))));
        if size > 64 * PAGE {
            ranges.push((last - (len(random) - 1), last));
            let middle = first + random.number() % (size - 48 * PAGE) / PAGE * PAGE;
            let middle = middle.max(first + 16 * PAGE);
            ranges.push((middle, middle + (len(random) - 1)));
        }
        for (first, last) in ranges {
            spots.push(Spot {
                region: region.id,
                provider,
                first,
                len_bytes: last - first + 1,
            });
        }
    }
    spots
}

/// Bytes that nobody would guess.
pub(super) fn noise(salt: u64, len_bytes: usize) -> Vec<u8> {
    let mut random = Random::new(salt);
    let mut bytes = Vec::with_capacity(len_bytes + 8);
    while bytes.len() < len_bytes {
        bytes.extend_from_slice(&random.number().to_le_bytes());
    }
    bytes.truncate(len_bytes);
    bytes
}
