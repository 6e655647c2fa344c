//! Does what a story says, and checks what became of it.

use super::expect::{Part, check_list, check_look_up, parts};
use super::story::{Batch, Ending, Piece, Request, Story};
use super::tally::Tally;
use super::world::{Actor, PAGE, World, noise};
use peerdma::addr::{Address, Origin, PhysAddr, PhysVec};
use peerdma::dma::{
    Constraints, Direction, DmaSegment, Ioas, MapError, Mapper, Mapping, MemoryKind, Refused, SingleThread,
    Space,
};
use peerdma::memory::{CpuView, Memory, RegionId};
use peerdma::route::spec::Form;
use peerdma::route::{Access, MapType};
use peerdma_sim::device::{Outcome, TransferId};
use peerdma_sim::host::{Area, State};
use peerdma_sim::memory::Place;
use peerdma_sim::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A promise that was not kept.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    /// Which, in a few words.
    pub(super) promise: &'static str,
    /// What was seen.
    pub(super) seen: String,
}

type Kept<T = ()> = Result<T, Broken>;

fn broken(promise: &'static str, seen: impl Into<String>) -> Broken {
    let seen = seen.into();
    Broken { promise, seen }
}

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

struct Scene<'w> {
    world: &'w World,
    ioas: Arc<Ioas<SingleThread>>,
    mappers: Vec<Mapper<SingleThread>>,
    registered: BTreeSet<RegionId>,
    revoked: BTreeSet<RegionId>,
    /// Actor, region, and is it a write: a page that was refused, and why.
    refused: BTreeMap<(usize, RegionId, bool), (u64, Refused)>,
    /// All memory and mappings between two batches.
    before: State,
    /// What a batch is to have written.
    writes: Vec<(Area, u64, Vec<u8>)>,
    tally: Tally,
    random: Random,
}

/// A request that is mapped.
struct Mapped<'r> {
    request: &'r Request,
    actor: Actor,
    mapping: Option<Mapping>,
    parts: Vec<Part>,
    segments: Vec<DmaSegment>,
    read: Vec<u8>,
    written: Vec<u8>,
    local: Option<Place>,
}

/// Bytes around what a device reads into: it must not touch them.
const MARGIN: u64 = 64;

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

    /// Looks up and maps; nothing where that is refused with good reason.
    fn map<'r>(&mut self, request: &'r Request) -> Kept<Option<Mapped<'r>>> {
        let actor = self.world.actors[request.actor];
        let vector = vector(&request.pieces)?;
        let mapper = &mut self.mappers[request.actor];
        let located = mapper.look_up(&vector);
        let found = located.as_ref().map(|_| ()).map_err(|error| *error);
        check_look_up(self.world, &request.pieces, found)
            .map_err(|seen| broken("what is looked up is memory, and all memory is found", seen))?;
        let located = match located {
            Ok(located) => located,
            Err(error) => {
                let name = format!("{error:?}");
                self.tally
                    .refuse(name.split([' ', '{']).next().unwrap_or_default());
                return Ok(None);
            }
        };
        let parts = parts(self.world, &request.pieces).unwrap_or_default();
        let is_revoked = parts.iter().any(|part| self.revoked.contains(&part.region));
        let mapping = match mapper.map(located, request.direction, &request.constraints) {
            Ok(mapping) => mapping,
            Err(error) => {
                self.refusal(request, &parts, error)?;
                return Ok(None);
            }
        };
        if is_revoked {
            return Err(broken(
                "what was taken away is not mapped",
                format!("{:x?}", mapping.list()),
            ));
        }
        if mapping.is_forced() {
            return Err(broken("a mapping is forced only where somebody forced it", ""));
        }
        check_list(self.world, &actor, request, mapping.list()).map_err(|seen| {
            broken(
                "a list goes along its vector as the device takes it",
                format!("{seen}; {:x?}", mapping.list()),
            )
        })?;
        self.check_resolved(&actor, &parts, mapping.list().segments())?;
        self.check_net(&actor, mapping.list().segments())?;
        let is_deaf = parts.iter().any(|part| part.provider.is_none())
            && Access::ALL
                .iter()
                .any(|access| request.direction.includes(*access) && !actor.reaches_ram[*access as usize]);
        self.tally.deaf += u64::from(is_deaf);
        let segments = match is_deaf {
            true => Vec::new(),
            false => mapping.list().segments().to_vec(),
        };
        Ok(Some(Mapped {
            request,
            actor,
            segments,
            mapping: Some(mapping),
            read: Vec::new(),
            written: Vec::new(),
            local: None,
            parts,
        }))
    }

    /// Every segment leads back to the bytes of the vector.
    fn check_resolved(&self, actor: &Actor, parts: &[Part], segments: &[DmaSegment]) -> Kept {
        let mut parts = parts.iter().copied();
        let mut part = parts.next();
        for segment in segments {
            let mut rest = *segment;
            while rest.len_bytes > 0 {
                let Some(now) = &mut part else { return Ok(()) };
                let found = self.ioas.resolve_part(actor.initiator.bdf, &rest);
                let wrong = || {
                    broken(
                        "an address leads back to the memory that was mapped",
                        format!("{rest:x?} to {found:x?}, not to {now:x?}"),
                    )
                };
                let (phys, len) = found.ok_or_else(wrong)?;
                if phys.to_u64() != now.addr {
                    return Err(wrong());
                }
                let step = u64::from(len).min(now.len_bytes);
                (now.addr, now.len_bytes) = (now.addr + step, now.len_bytes - step);
                rest.addr = rest.addr.wrapping_add(step);
                rest.len_bytes -= step as u32;
                if now.len_bytes == 0 {
                    part = parts.next();
                }
            }
        }
        Ok(())
    }

    /// Were a request by bus address sent up to the IOMMU, since somebody switched a redirect on, it would reach the same bytes.
    fn check_net(&self, actor: &Actor, segments: &[DmaSegment]) -> Kept {
        let bdf = actor.initiator.bdf;
        for segment in segments.iter().filter(|segment| segment.space == Space::Bus) {
            let Some(phys) = self
                .ioas
                .resolve(bdf, segment)
                .filter(|_| self.world.is_translating)
            else {
                continue;
            };
            let Some(region) = self.world.map.find(phys) else {
                continue;
            };
            let Memory::Bar(bar) = region.memory else { continue };
            // A name is nothing to translate to, nor is a part of a page.
            if bar.cpu == CpuView::None || !bar.bus_offset.is_multiple_of(PAGE) {
                continue;
            }
            let found = (self.world.computer)
                .with(|machine| machine.fabric().iommu().look_up(bdf, segment.addr).ok());
            if found.map(|found| found.phys) != Some(phys.to_u64()) {
                return Err(broken(
                    "the IOMMU leads a bus address to the same bytes",
                    format!("{segment:x?}, {phys}: {found:x?}"),
                ));
            }
        }
        Ok(())
    }

    fn refusal(&mut self, request: &Request, parts: &[Part], error: MapError) -> Kept {
        let wrong = || broken("a refusal has its reason", format!("{error:?}"));
        let name = match error {
            MapError::Unreachable {
                provider,
                access,
                refused,
                ..
            } => {
                match refused {
                    Refused::Unknown { .. } => self.tally.unknown += 1,
                    Refused::NotNamed(_) => {}
                    _ => {
                        let of = parts.iter().filter(|part| part.provider == Some(provider));
                        for part in of {
                            let is_write = access == Access::Write;
                            (self.refused).insert(
                                (request.actor, part.region, is_write),
                                (part.addr / PAGE, refused),
                            );
                        }
                    }
                }
                match refused {
                    Refused::Stopped { why, .. } => format!("stopped: {}", why.name()),
                    Refused::Unknown { missing, .. } => format!("unknown: {}", missing.name()),
                    Refused::NotNamed(_) => "not named".into(),
                    _ => "no such function".into(),
                }
            }
            MapError::Revoked(region) => {
                if !self.revoked.contains(&region) {
                    return Err(wrong());
                }
                "revoked".into()
            }
            MapError::Shape { what, .. } => format!("shape: {what}"),
            MapError::Stale | MapError::NoSuchRegion(_) => return Err(wrong()),
            other => {
                let name = format!("{other:?}");
                name.split(['(', '{', ' ']).next().unwrap_or_default().to_owned()
            }
        };
        self.tally.refuse(name);
        Ok(())
    }

    /// All first accesses, under way together; a region may be taken away meanwhile.
    fn move_first(&mut self, mapped: &mut [Mapped], taken_away: Option<Part>) -> Kept {
        let mut started = Vec::new();
        for each in mapped.iter_mut() {
            let access = match each.request.direction {
                Direction::DeviceWrites => Access::Write,
                Direction::DeviceReads | Direction::Both => Access::Read,
            };
            started.push((access, self.start(each, access)?));
        }
        if let Some(part) = taken_away {
            let steps = (self.random.number() % 40) as u32;
            self.world.go_on(steps);
            self.take_away(part)?;
        }
        for (each, (access, transfers)) in mapped.iter().zip(started) {
            self.finish(each, access, &transfers)?;
        }
        Ok(())
    }

    /// What is both read and written is written now.
    fn move_second(&mut self, mapped: &mut [Mapped]) -> Kept {
        for each in mapped
            .iter_mut()
            .filter(|each| each.request.direction == Direction::Both)
        {
            let transfers = self.start(each, Access::Write)?;
            self.finish(each, Access::Write, &transfers)?;
        }
        Ok(())
    }

    fn start(&mut self, mapped: &mut Mapped, access: Access) -> Kept<Vec<TransferId>> {
        if mapped.segments.is_empty() {
            return Ok(Vec::new());
        }
        let len_bytes: u64 = mapped.parts.iter().map(|part| part.len_bytes).sum();
        let inside = noise(self.random.number(), (len_bytes + 2 * MARGIN) as usize);
        let local = self.world.inside(&inside);
        mapped.local = Some(local);
        let mut own = inside.clone();
        let mut at = MARGIN as usize;
        for part in &mapped.parts {
            let range = at..at + part.len_bytes as usize;
            at = range.end;
            match access {
                Access::Read => {
                    own[range].copy_from_slice(&self.world.bytes(part.addr, part.len_bytes));
                }
                Access::Write => {
                    let (area, offset) = (self.world.area(part.addr))
                        .map_or((Area::Ram, part.addr), |(_, area, offset)| (area, offset));
                    self.writes.push((area, offset, own[range].to_vec()));
                }
            }
        }
        match access {
            Access::Read => mapped.read = own,
            Access::Write => mapped.written = own,
        }
        self.issue(&mapped.actor, &mapped.segments, access, local)
            .map_err(|why| {
                broken(
                    "what is mapped can be moved",
                    format!("{why}; {:x?}", mapped.segments),
                )
            })
    }

    fn issue(
        &self,
        actor: &Actor,
        segments: &[DmaSegment],
        access: Access,
        local: Place,
    ) -> Result<Vec<TransferId>, &'static str> {
        let mut started = Vec::new();
        let mut offset = local.offset + MARGIN;
        for segment in segments {
            let (at, len) = (Place { offset, ..local }, u64::from(segment.len_bytes));
            offset += len;
            match segment.space {
                Space::Own => {
                    if !self.world.move_own(actor, access, segment.addr, at, len) {
                        return Err("the device has no such name for memory of its own");
                    }
                }
                Space::Iova | Space::Bus => {
                    started.extend(self.world.request(actor, access, segment.addr, at, len)?);
                }
            }
        }
        Ok(started)
    }

    fn finish(&self, mapped: &Mapped, access: Access, transfers: &[TransferId]) -> Kept {
        let Some(local) = mapped.local.filter(|_| !mapped.segments.is_empty()) else {
            return Ok(());
        };
        let outcomes = self.world.wait(transfers);
        if outcomes.iter().any(|outcome| *outcome != Some(Outcome::Done)) {
            return Err(broken(
                "what is mapped can be moved",
                format!("{access:?}: {outcomes:x?}; {:x?}", mapped.segments),
            ));
        }
        if access == Access::Read {
            let found = self.world.look_inside(local, mapped.read.len());
            if let Some(at) = found.iter().zip(&mapped.read).position(|(one, two)| one != two) {
                return Err(broken(
                    "a device reads the bytes that the vector names",
                    format!(
                        "byte {} of the vector is another; {:x?}",
                        at as i64 - MARGIN as i64,
                        mapped.segments
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Begins to take a region away that is in use.
    fn take_away(&mut self, part: Part) -> Kept {
        self.ioas.begin_revoke(part.region);
        self.revoked.insert(part.region);
        if self.ioas.finish_revoke(part.region).is_ok() {
            return Err(broken("what is in use is not gone", format!("{part:x?}")));
        }
        let piece = Piece {
            addr: part.addr,
            len_bytes: part.len_bytes as u32,
            origin: Origin::LookUp,
        };
        for mapper in &mut self.mappers {
            let located = mapper.look_up(&vector(&[piece])?);
            let Ok(located) = located else { continue };
            let result = mapper.map(located, Direction::DeviceReads, &Constraints::NONE);
            if !matches!(result, Err(MapError::Revoked(_))) {
                return Err(broken(
                    "what was taken away is not mapped",
                    format!("{part:x?}: {result:x?}"),
                ));
            }
        }
        Ok(())
    }

    /// Where an IOMMU translates, RAM that is mapped for one direction is not reached in the other.
    fn move_wrongly(&mut self, mapped: &[Mapped]) -> Kept {
        if !self.world.is_translating || !self.random.chance(30) {
            return Ok(());
        }
        for each in mapped {
            let wrong = match each.request.direction {
                Direction::DeviceReads => Access::Write,
                Direction::DeviceWrites => Access::Read,
                Direction::Both => continue,
            };
            self.move_in_vain(each, wrong, &|segment| segment.kind == MemoryKind::Ram)?;
        }
        Ok(())
    }

    /// What was unmapped is not reached by an address that the IOMMU sees, unless its region is still registered.
    fn move_late(&mut self, mapped: &[Mapped]) -> Kept {
        if !self.world.is_translating {
            return Ok(());
        }
        for each in mapped {
            for access in Access::ALL {
                if each.request.direction.includes(access) {
                    self.move_in_vain(each, access, &|segment| segment.space == Space::Iova)?;
                }
            }
        }
        Ok(())
    }

    /// A device does what it may not do; the state is looked at later.
    fn move_in_vain(
        &mut self,
        mapped: &Mapped,
        access: Access,
        is_one: &dyn Fn(&DmaSegment) -> bool,
    ) -> Kept {
        let mut at = 0;
        let mut ends = Vec::new();
        let mut end = 0;
        for part in &mapped.parts {
            end += part.len_bytes;
            ends.push((end, part.region));
        }
        for segment in &mapped.segments {
            let (first, last) = (at, at + u64::from(segment.len_bytes));
            at = last;
            let mut start = 0;
            let is_registered = ends.iter().any(|(end, region)| {
                let touches = start < last && *end > first;
                start = *end;
                touches && self.registered.contains(region)
            });
            if is_registered || !is_one(segment) {
                continue;
            }
            let len_bytes = u64::from(segment.len_bytes).min(512);
            let bytes = noise(self.random.number(), len_bytes as usize);
            let local = self.world.inside(&bytes);
            let transfers = self
                .world
                .request(&mapped.actor, access, segment.addr, local, len_bytes);
            let outcomes = self.world.wait(&transfers.unwrap_or_default());
            let is_read = access == Access::Read && outcomes.contains(&Some(Outcome::Done));
            if is_read || self.world.look_inside(local, bytes.len()) != bytes {
                return Err(broken(
                    "what is not mapped is not reached",
                    format!("{access:?} of {segment:x?}: {outcomes:x?}"),
                ));
            }
            self.tally.late += 1;
        }
        Ok(())
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

    /// What the judge refused must not arrive, whichever address its requests carry.
    fn force_what_was_refused(&mut self) -> Kept {
        for ((actor, region, is_write), (page, refused)) in std::mem::take(&mut self.refused) {
            // The judge knows the bus address of a translated request, and not what else an agent may answer.
            let is_translated = self.world.actors[actor].initiator.class.is_translated();
            if is_translated || self.revoked.contains(&region) {
                continue;
            }
            let access = match is_write {
                true => Access::Write,
                false => Access::Read,
            };
            for (form, map_type) in [
                (Form::BusAddress, MapType::BusAddr),
                (Form::HostAddress, MapType::ThruHostBridge),
            ] {
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
        }
        Ok(())
    }

    /// Does a page of full packets arrive, where it was refused, at the start of the region, at its end, and wherever the way to it may change?
    /// Routes are for whole regions.
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
        // A vector may have been refused for another region of the same provider.
        let vector = vector(&[Piece {
            addr: page.max(first),
            len_bytes: 1,
            origin: Origin::LookUp,
        }])?;
        let mapper = &mut self.mappers[actor];
        if let Ok(located) = mapper.look_up(&vector)
            && let Ok(mapping) = mapper.map(located, direction, &Constraints::NONE)
        {
            return match mapper.unmap(mapping) {
                Ok(()) => Ok(false),
                Err(error) => Err(broken("what was mapped is unmapped", format!("{:?}", error.why))),
            };
        }
        self.ioas.force(bdf, region, access, map_type, form);
        let mut pages = vec![page.max(first), first, last & !(PAGE - 1)];
        pages.extend(self.world.seams(region));
        pages.dedup();
        let mut is_intact = true;
        for page in pages {
            let page = page.max(first);
            let len = (last - page).min(PAGE - 1) as u32 + 1;
            is_intact = is_intact && self.page_arrives(actor, access, page, len)?;
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

fn vector(pieces: &[Piece]) -> Kept<Vec<PhysVec>> {
    let each = |piece: &Piece| PhysVec::new(PhysAddr::from_u64(piece.addr), piece.len_bytes, piece.origin);
    let vector: Result<Vec<_>, _> = pieces.iter().map(each).collect();
    vector.map_err(|error| broken("a piece is a piece", error.to_string()))
}

fn lists<'m>(mapped: &'m [Mapped]) -> Vec<&'m [DmaSegment]> {
    mapped.iter().map(|mapped| mapped.segments.as_slice()).collect()
}
