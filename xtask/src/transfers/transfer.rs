//! Devices move what is mapped, all together.

use super::act::Scene;
use super::broken::{Kept, broken};
use super::bytes::noise;
use super::expect::Part;
use super::map::Mapped;
use super::world::Actor;
use peerdma::dma::{Direction, DmaSegment, Space};
use peerdma::route::Access;
use peerdma_sim::device::{Outcome, TransferId};
use peerdma_sim::host::Area;
use peerdma_sim::memory::Place;

/// Bytes around what a device reads into: it must not touch them.
pub(super) const MARGIN: u64 = 64;

impl Scene<'_> {
    /// All first accesses, under way together; a region may be taken away meanwhile.
    pub(super) fn move_first(&mut self, mapped: &mut [Mapped], taken_away: Option<Part>) -> Kept {
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
    pub(super) fn move_second(&mut self, mapped: &mut [Mapped]) -> Kept {
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

    pub(super) fn issue(
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
}
