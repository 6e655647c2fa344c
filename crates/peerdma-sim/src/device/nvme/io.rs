//! Commands of the NVM command set (NVM Command Set 1.0, section 3): Flush, Write, Read, Compare, Write Zeroes, Dataset
//! Management.

use super::Controller;
use super::command::Command;
use super::fetch::Answer;
use super::identify::MOST_BYTES;
use super::status::Status;
use super::work::{Effect, Job, Touch, Use, Works};
use crate::blueprint::Protection;
use crate::device::{Direction, Wire};
use crate::memory::Place;
use std::ops::Range;

const FLUSH: u8 = 0x00;
const WRITE: u8 = 0x01;
const READ: u8 = 0x02;
const COMPARE: u8 = 0x05;
const WRITE_ZEROES: u8 = 0x08;
const DATASET_MANAGEMENT: u8 = 0x09;

const EVERY_NAMESPACE: u32 = 0xffff_ffff;
/// Bytes of a range of Dataset Management.
const RANGE_BYTES: u64 = 16;

impl Controller {
    /// Looks at an I/O command.
    pub(super) fn io(&mut self, slot: usize, command: &Command) -> Result<Answer, Status> {
        let stage = Works::stage(self.scratch, slot);
        let write_media_ps = self.traits.write_media_ps;
        match command.opcode() {
            FLUSH => {
                let namespaces = match command.namespace() {
                    EVERY_NAMESPACE => 0..self.namespaces.len(),
                    _ => self.namespace(command).map(|index| index..index + 1)?,
                };
                let effect = Effect::Flush { namespaces };
                let job = Job::staged(Direction::Out, stage, 0, effect);
                Ok(Answer::Job(Job {
                    after_ps: write_media_ps,
                    ..job
                }))
            }
            READ => {
                let (namespace, span) = self.blocks(command)?;
                self.counts.reads += 1;
                self.counts.read_bytes += span.end - span.start;
                let local = self.media(namespace, span.start)?;
                let job = Job::staged(Direction::Out, local, moved(&span)?, Effect::Nothing);
                let touches = Some(Touch::new(namespace, span, Use::Read));
                let before_ps = self.traits.read_media_ps;
                Ok(Answer::Job(Job {
                    before_ps,
                    touches,
                    staged_bytes: 0,
                    ..job
                }))
            }
            WRITE => {
                let (namespace, span) = self.writable(command)?;
                self.counts.writes += 1;
                self.counts.written_bytes += span.end - span.start;
                let local = self.media(namespace, span.start)?;
                let job = Job::staged(Direction::In, local, moved(&span)?, Effect::Wrote);
                let touches = Some(Touch::new(namespace, span, Use::Write));
                Ok(Answer::Job(Job {
                    after_ps: write_media_ps,
                    touches,
                    staged_bytes: 0,
                    ..job
                }))
            }
            COMPARE => {
                let (namespace, span) = self.blocks(command)?;
                let job = Job::staged(Direction::In, stage, moved(&span)?, Effect::Compare);
                let touches = Some(Touch::new(namespace, span, Use::Read));
                Ok(Answer::Job(Job {
                    after_ps: self.traits.read_media_ps,
                    touches,
                    ..job
                }))
            }
            WRITE_ZEROES => {
                let (namespace, span) = self.writable(command)?;
                let job = Job::staged(Direction::Out, stage, 0, Effect::Clear);
                let touches = Some(Touch::new(namespace, span, Use::Write));
                Ok(Answer::Job(Job {
                    after_ps: write_media_ps,
                    touches,
                    ..job
                }))
            }
            DATASET_MANAGEMENT => self.dataset(command, stage),
            _ => Err(Status::INVALID_OPCODE),
        }
    }

    /// The blocks of a command that changes them.
    fn writable(&self, command: &Command) -> Result<(usize, Range<u64>), Status> {
        let (namespace, span) = self.blocks(command)?;
        match self
            .namespaces
            .get(namespace)
            .map(|namespace| namespace.protection)
        {
            Some(Protection::WriteProtected) => Err(Status::WRITE_PROTECTED),
            Some(Protection::None) | None => Ok((namespace, span)),
        }
    }

    /// Makes zeros of the ranges in a stage. A namespace on a file keeps what it has: deallocating is advice.
    pub(super) fn deallocate(
        &mut self,
        namespace: usize,
        stage: Place,
        ranges: u64,
        wire: &mut dyn Wire,
    ) -> Result<(), Status> {
        let Some(namespace) = self.namespaces.get_mut(namespace) else {
            return Ok(());
        };
        let mut bytes = [0; 256 * RANGE_BYTES as usize];
        let bytes = &mut bytes[..(ranges.min(256) * RANGE_BYTES) as usize];
        wire.banks()
            .read(stage, bytes)
            .map_err(|_| Status::INTERNAL_ERROR)?;
        let mut spans = Vec::new();
        for range in bytes.chunks_exact(RANGE_BYTES as usize) {
            let number = |bytes: &[u8]| {
                bytes
                    .iter()
                    .rev()
                    .fold(0, |all, &byte| all << 8 | u64::from(byte))
            };
            let (blocks, first) = (number(&range[4..8]), number(&range[8..16]));
            spans.push(namespace.span(first, blocks).ok_or(Status::LBA_OUT_OF_RANGE)?);
        }
        if namespace.is_on_file() || namespace.protection == Protection::WriteProtected {
            return Ok(());
        }
        for span in spans {
            namespace
                .clear(span, wire.banks())
                .map_err(|_| Status::WRITE_FAULT)?;
        }
        Ok(())
    }

    fn dataset(&mut self, command: &Command, stage: Place) -> Result<Answer, Status> {
        const DEALLOCATE: u32 = 1 << 2;
        let namespace = self.namespace(command)?;
        let ranges = u64::from(command.dword(10) & 0xff) + 1;
        if command.dword(11) & DEALLOCATE == 0 {
            // The other attributes are hints, and may be passed over.
            return Ok(Answer::Done(0));
        }
        let effect = Effect::Deallocate { namespace, ranges };
        let job = Job::staged(Direction::In, stage, ranges * RANGE_BYTES, effect);
        let every_block = self
            .namespaces
            .get(namespace)
            .and_then(|namespace| namespace.span(0, namespace.blocks));
        let touches = every_block.map(|span| Touch::new(namespace, span, Use::Write));
        Ok(Answer::Job(Job {
            after_ps: self.traits.write_media_ps,
            touches,
            ..job
        }))
    }

    /// The index of the command's namespace.
    fn namespace(&self, command: &Command) -> Result<usize, Status> {
        let index = command.namespace().wrapping_sub(1) as usize;
        match self.namespaces.get(index) {
            Some(_) => Ok(index),
            None => Err(Status::INVALID_NAMESPACE_OR_FORMAT),
        }
    }

    /// The namespace and the bytes of the command's blocks: SLBA in dwords 10 and 11, NLB in 12, 0's based.
    fn blocks(&self, command: &Command) -> Result<(usize, Range<u64>), Status> {
        let index = self.namespace(command)?;
        let namespace = self
            .namespaces
            .get(index)
            .ok_or(Status::INVALID_NAMESPACE_OR_FORMAT)?;
        let count = u64::from(command.dword(12) & 0xffff) + 1;
        let span = namespace
            .span(command.qword(10), count)
            .ok_or(Status::LBA_OUT_OF_RANGE)?;
        Ok((index, span))
    }

    fn media(&self, namespace: usize, offset: u64) -> Result<Place, Status> {
        let namespace = self
            .namespaces
            .get(namespace)
            .ok_or(Status::INVALID_NAMESPACE_OR_FORMAT)?;
        Ok(namespace.place(offset))
    }
}

/// How many bytes a command moves.
fn moved(span: &Range<u64>) -> Result<u64, Status> {
    match span.end - span.start {
        bytes if bytes <= MOST_BYTES => Ok(bytes),
        _ => Err(Status::INVALID_FIELD),
    }
}
