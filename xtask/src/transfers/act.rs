//! Does what a story says, and checks what became of it.

use super::broken::{Kept, broken};
use super::map::Mapped;
use super::story::{Batch, Ending, Piece, Story};
use super::tally::Tally;
use super::world::World;
use peerdma::addr::{Address, PhysAddr, PhysVec};
use peerdma::dma::{DmaSegment, Ioas, Mapper, Refused, SingleThread};
use peerdma::memory::RegionId;
use peerdma_sim::host::{Area, State};
use peerdma_sim::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Carries out a story on a machine that nothing was done to.
pub(super) fn act(story: &Story, world: &mut World) -> Kept<Tally> {
    let none = |seen: String| broken("there is an address space", seen);
    let ioas = world.ioas().map_err(none)?;
    let mappers = (world.actors.iter()).map(|actor| ioas.mapper(actor.initiator.bdf));
    let mappers = mappers.collect::<Result<Vec<_>, _>>();
    let mut scene = Scene {
        mappers: mappers.map_err(|error| none(error.to_string()))?,
        registered: BTreeSet::new(),
        revoked: BTreeSet::new(),
        refused: BTreeMap::new(),
        before: world.computer.state(),
        writes: Vec::new(),
        tally: Tally {
            machines: 1,
            ..Tally::default()
        },
        random: Random::new(story.seed ^ 0x6163_7473),
        world,
        ioas,
    };
    for region in &story.registered {
        if scene.ioas.register(*region).is_ok() {
            scene.registered.insert(*region);
        }
    }
    scene.before = scene.world.computer.state();
    for batch in &story.batches {
        scene.batch(batch)?;
    }
    for region in scene.registered.clone() {
        (scene.ioas.deregister(region))
            .map_err(|error| broken("what nobody uses is deregistered", error.to_string()))?;
    }
    scene.nothing_is_left()?;
    scene.force_what_was_refused()?;
    scene.nothing_is_left()?;
    Ok(scene.tally)
}

/// What is going on.
pub(super) struct Scene<'w> {
    pub(super) world: &'w World,
    pub(super) ioas: Arc<Ioas<SingleThread>>,
    pub(super) mappers: Vec<Mapper<SingleThread>>,
    pub(super) registered: BTreeSet<RegionId>,
    pub(super) revoked: BTreeSet<RegionId>,
    /// Actor, region, and is it a write: a page that was refused, and why.
    pub(super) refused: BTreeMap<(usize, RegionId, bool), (u64, Refused)>,
    /// All memory and mappings between two batches.
    pub(super) before: State,
    /// What a batch is to have written.
    pub(super) writes: Vec<(Area, u64, Vec<u8>)>,
    pub(super) tally: Tally,
    pub(super) random: Random,
}

impl Scene<'_> {
    fn batch(&mut self, batch: &Batch) -> Kept {
        let mut mapped = Vec::new();
        for request in &batch.requests {
            self.tally.cases += 1;
            mapped.extend(self.map(request)?);
        }
        let taken_away = match batch.ending {
            Ending::Revoke => mapped.first().and_then(|first| first.parts.first()).copied(),
            Ending::Unmap | Ending::Late => None,
        };
        self.move_first(&mut mapped, taken_away)?;
        self.move_second(&mut mapped)?;
        self.move_wrongly(&mapped)?;
        for each in mapped.iter_mut().rev() {
            if let Some(mapping) = each.mapping.take() {
                let mapper = &mut self.mappers[each.request.actor];
                (mapper.unmap(mapping))
                    .map_err(|error| broken("what was mapped is unmapped", format!("{:?}", error.why)))?;
            }
        }
        if let Some(part) = taken_away {
            (self.ioas.finish_revoke(part.region))
                .map_err(|error| broken("a region that nobody uses is taken away", error.to_string()))?;
            self.tally.revoked += 1;
            self.registered.remove(&part.region);
        }
        if batch.ending != Ending::Unmap {
            self.move_late(&mapped)?;
        }
        self.world.settle();
        let mut expected = self.before.clone();
        for (area, offset, bytes) in self.writes.drain(..) {
            expected = expected.with_bytes(area, offset, &bytes);
        }
        let after = self.world.computer.state();
        let differences = expected.differences(&after);
        if !differences.is_empty() {
            let first: Vec<_> = differences.iter().take(4).collect();
            return Err(broken(
                "the bytes that the vectors name are written, and no others",
                format!("{first:x?}; lists {:x?}", lists(&mapped)),
            ));
        }
        let is_kept = |mapped: &&peerdma_sim::fabric::Mapped| {
            taken_away.is_none_or(|part| !self.leads_to(mapped, part.region))
        };
        let kept = self.before.mappings().iter().filter(is_kept);
        if !kept.eq(after.mappings()) {
            return Err(broken(
                "nothing is left mapped",
                format!(
                    "before: {:x?}; after: {:x?}",
                    self.before.mappings(),
                    after.mappings()
                ),
            ));
        }
        for each in &mapped {
            let is_moved = !each.segments.is_empty();
            self.tally.mapped += u64::from(is_moved);
            if is_moved {
                self.count(each);
            }
        }
        self.before = after;
        Ok(())
    }

    fn leads_to(&self, mapped: &peerdma_sim::fabric::Mapped, region: RegionId) -> bool {
        let span = self.world.map.get(region).map(|region| region.span);
        span.is_some_and(|span| {
            mapped.phys <= span.last().to_u64()
                && span.first().to_u64() <= mapped.phys.saturating_add(mapped.len_bytes - 1)
        })
    }

    fn count(&mut self, mapped: &Mapped) {
        let kinds: BTreeSet<&str> = mapped
            .segments
            .iter()
            .map(|segment| segment.kind.name())
            .collect();
        let is_bar = mapped.segments.iter().any(|segment| segment.kind.is_bar());
        self.tally.with_bars += u64::from(is_bar);
        self.tally.mixed += u64::from(kinds.len() > 1);
        for segment in &mapped.segments {
            self.tally.bytes += u64::from(segment.len_bytes);
            *self.tally.kinds.entry(segment.kind.name()).or_default() += 1;
        }
    }

    fn nothing_is_left(&self) -> Kept {
        let state = self.world.computer.state();
        match state.mappings().is_empty() {
            true => Ok(()),
            false => Err(broken(
                "nothing is left mapped",
                format!("{:x?}", state.mappings()),
            )),
        }
    }
}

pub(super) fn vector(pieces: &[Piece]) -> Kept<Vec<PhysVec>> {
    let each = |piece: &Piece| PhysVec::new(PhysAddr::from_u64(piece.addr), piece.len_bytes, piece.origin);
    let vector: Result<Vec<_>, _> = pieces.iter().map(each).collect();
    vector.map_err(|error| broken("a piece is a piece", error.to_string()))
}

fn lists<'m>(mapped: &'m [Mapped]) -> Vec<&'m [DmaSegment]> {
    mapped.iter().map(|mapped| mapped.segments.as_slice()).collect()
}
