//! What must not be reached: regions that are taken away, what was unmapped, and the other direction.

use super::act::{Scene, vector};
use super::broken::{Kept, broken};
use super::bytes::noise;
use super::expect::Part;
use super::map::Mapped;
use super::story::Piece;
use peerdma::addr::Origin;
use peerdma::dma::{Constraints, Direction, DmaSegment, MapError, MemoryKind, Space};
use peerdma::route::Access;
use peerdma_sim::device::Outcome;

impl Scene<'_> {
    /// Begins to take a region away that is in use.
    pub(super) fn take_away(&mut self, part: Part) -> Kept {
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
    pub(super) fn move_wrongly(&mut self, mapped: &[Mapped]) -> Kept {
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
    pub(super) fn move_late(&mut self, mapped: &[Mapped]) -> Kept {
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
}
