//! What was refused, forced: it must not arrive.

use super::act::{Scene, vector};
use super::broken::{Kept, broken};
use super::bytes::noise;
use super::story::Piece;
use super::transfer::MARGIN;
use super::world::PAGE;
use peerdma::addr::{Address, Origin};
use peerdma::dma::{Constraints, Direction, MapError};
use peerdma::memory::{Memory, RegionId};
use peerdma::route::spec::Form;
use peerdma::route::{Access, MapType};
use peerdma_sim::device::Outcome;

impl Scene<'_> {
    /// What the judge refused must not arrive, whichever address its requests carry.
    pub(super) fn force_what_was_refused(&mut self) -> Kept {
        for ((actor, region, is_write), (page, refused)) in std::mem::take(&mut self.refused) {
            // The judge knows the bus address of a translated request, and not what else an agent may answer.
            let is_translated = self.world.actors[actor].initiator.class.is_translated();
            let memory = self.world.map.get(region).map(|region| region.memory);
            let is_ram = memory == Some(Memory::Ram);
            if (is_translated && !is_ram) || self.revoked.contains(&region) {
                continue;
            }
            let access = match is_write {
                true => Access::Write,
                false => Access::Read,
            };
            let both = [
                (Form::BusAddress, MapType::BusAddr),
                (Form::HostAddress, MapType::ThruHostBridge),
            ];
            // RAM has one name.
            let forms = if is_ram { &both[1..] } else { &both[..] };
            for &(form, map_type) in forms {
                if self.arrives_forced(actor, region, access, (form, map_type), page * PAGE)? {
                    return Err(broken(
                        "what is refused for want of a route does not arrive when forced",
                        format!(
                            "{} {access:?} region {}, {form:?}; it was refused {refused}",
                            self.world.actors[actor].initiator.bdf,
                            region.index()
                        ),
                    ));
                }
            }
            self.tally.forced += 1;
            self.tally.forced_ram += u64::from(is_ram);
        }
        Ok(())
    }

    /// Does a page of full packets arrive, where it was refused, at the start of the region, at its end, and wherever the way to it may change?
    /// Routes are for whole regions: a BAR must be reached in all these places, RAM in none.
    fn arrives_forced(
        &mut self,
        actor: usize,
        region: RegionId,
        access: Access,
        (form, map_type): (Form, MapType),
        page: u64,
    ) -> Kept<bool> {
        let Some(span) = self.world.map.get(region).map(|region| region.span) else {
            return Ok(false);
        };
        let (first, last) = (span.first().to_u64(), span.last().to_u64());
        let bdf = self.world.actors[actor].initiator.bdf;
        let direction = match access {
            Access::Read => Direction::DeviceReads,
            Access::Write => Direction::DeviceWrites,
        };
        // A vector may have been refused for another region of the same provider, and this one may lack something else than a route.
        let vector = vector(&[Piece {
            addr: page.max(first),
            len_bytes: 1,
            origin: Origin::LookUp,
        }])?;
        let mapper = &mut self.mappers[actor];
        if let Ok(located) = mapper.look_up(&vector) {
            match mapper.map(located, direction, &Constraints::NONE) {
                Err(MapError::Unreachable { .. } | MapError::RamUnreachable { .. }) => {}
                Err(_) => return Ok(false),
                Ok(mapping) => {
                    let unmapped = mapper.unmap(mapping).map(|()| false);
                    return unmapped
                        .map_err(|error| broken("what was mapped is unmapped", format!("{:?}", error.why)));
                }
            }
        }
        self.ioas.force(bdf, region, access, map_type, form);
        let mut pages = vec![page.max(first), first, last & !(PAGE - 1)];
        pages.extend(self.world.seams(region));
        pages.dedup();
        let is_ram = self
            .world
            .map
            .get(region)
            .is_some_and(|region| region.memory == Memory::Ram);
        let mut is_intact = !is_ram;
        for page in pages {
            let page = page.max(first);
            let len = (last - page).min(PAGE - 1) as u32 + 1;
            // Less than a page may fit into packets that are not full.
            let is_tried = !is_ram || u64::from(len) == PAGE;
            if is_tried && is_intact != is_ram {
                is_intact = self.page_arrives(actor, access, page, len)?;
            }
        }
        (self.ioas).force(bdf, region, access, MapType::NotSupported, form);
        Ok(is_intact)
    }

    fn page_arrives(&mut self, actor: usize, access: Access, page: u64, len_bytes: u32) -> Kept<bool> {
        self.world.fill(page, len_bytes.into(), self.random.number());
        let before = self.world.computer.state();
        let direction = match access {
            Access::Read => Direction::DeviceReads,
            Access::Write => Direction::DeviceWrites,
        };
        let piece = Piece {
            addr: page,
            len_bytes,
            origin: Origin::LookUp,
        };
        let place = actor;
        let mapper = &mut self.mappers[place];
        let Ok(located) = mapper.look_up(&vector(&[piece])?) else {
            return Ok(false);
        };
        let Ok(mapping) = mapper.map(located, direction, &Constraints::NONE) else {
            return Ok(false);
        };
        if !mapping.is_forced() {
            return Err(broken("what is forced says so", format!("{mapping:x?}")));
        }
        let segments = mapping.list().segments().to_vec();
        let inside = noise(self.random.number(), len_bytes as usize + 2 * MARGIN as usize);
        let local = self.world.inside(&inside);
        let actor = self.world.actors[actor];
        let margin = MARGIN as usize;
        let outcomes = match self.issue(&actor, &segments, access, local) {
            Ok(transfers) => self.world.wait(&transfers),
            Err(_) => vec![None],
        };
        (self.mappers[place].unmap(mapping))
            .map_err(|error| broken("what was mapped is unmapped", format!("{:?}", error.why)))?;
        self.world.settle();
        let after = self.world.computer.state();
        let is_done = outcomes.iter().all(|outcome| *outcome == Some(Outcome::Done));
        let payload = &inside[margin..margin + len_bytes as usize];
        let is_intact = is_done
            && match access {
                Access::Read => {
                    let found = self.world.look_inside(local, inside.len());
                    let expected = self.world.bytes(page, len_bytes.into());
                    found[margin..margin + len_bytes as usize] == expected
                        && before.differences(&after).is_empty()
                }
                Access::Write => {
                    let expected = match self.world.area(page) {
                        Some((_, area, offset)) => before.with_bytes(area, offset, payload),
                        None => before,
                    };
                    expected.differences(&after).is_empty()
                }
            };
        Ok(is_intact)
    }
}
