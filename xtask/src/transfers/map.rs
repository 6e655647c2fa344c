//! Looks a vector up, maps it, and checks what comes of that before anything moves.

use super::act::{Scene, vector};
use super::broken::{Kept, broken};
use super::expect::{Part, check_list, check_look_up, parts};
use super::story::Request;
use super::world::{Actor, PAGE};
use peerdma::addr::{Address, Bdf};
use peerdma::dma::{DmaSegment, MapError, Mapping, Refused, Space};
use peerdma::memory::{CpuView, Memory};
use peerdma::route::Access;
use peerdma_sim::memory::Place;

/// A request that is mapped.
pub(super) struct Mapped<'r> {
    pub(super) request: &'r Request,
    pub(super) actor: Actor,
    pub(super) mapping: Option<Mapping>,
    pub(super) parts: Vec<Part>,
    pub(super) segments: Vec<DmaSegment>,
    pub(super) read: Vec<u8>,
    pub(super) written: Vec<u8>,
    pub(super) local: Option<Place>,
}

impl Scene<'_> {
    /// Looks up and maps; nothing where that is refused with good reason.
    pub(super) fn map<'r>(&mut self, request: &'r Request) -> Kept<Option<Mapped<'r>>> {
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
        let segments = mapping.list().segments().to_vec();
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
            } => self.want_of_route(request, parts, Some(provider), access, refused),
            MapError::RamUnreachable { access, refused, .. } => {
                format!(
                    "RAM, {}",
                    self.want_of_route(request, parts, None, access, refused)
                )
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

    /// Remembers what is to be forced; the reason in words.
    fn want_of_route(
        &mut self,
        request: &Request,
        parts: &[Part],
        provider: Option<Bdf>,
        access: Access,
        refused: Refused,
    ) -> String {
        match refused {
            Refused::Unknown { .. } => self.tally.unknown += 1,
            Refused::NotNamed(_) => {}
            _ => {
                for part in parts.iter().filter(|part| part.provider == provider) {
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
}
