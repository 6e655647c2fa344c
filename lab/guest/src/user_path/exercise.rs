//! One controller's transfers: every shape in RAM, in its own memory, in that of every other, and in several at once.
//!
//! Called by [`super::run()`]. Each is tried both ways and looked at twice: what the device puts there is read by the CPU, with what lies around it;
//! what the CPU puts there is written to blocks, read back by way of RAM, and compared.

use super::shapes::{self, Expect, Room, Shape};
use crate::ours::{Disk, Failed, Ours, Pieces, after, compare, length, pattern, transfer, vector};
use peerdma::addr::{Address, Bdf, PhysAddr};
use peerdma::block::{Operation, PeerSupport, SubmitError, Volume};
use peerdma::device::Host;
use peerdma::dma::{Direction, MemoryKind};
use peerdma::iomem;
use peerdma_linux::process::Process;
use peerdma_nvme::{Forms, QueueOptions, QueuePlace, SglSupport};

/// Where the transfers' blocks lie: first those that are read, then those that are written.
const READ_BYTE: u64 = 8 << 20;
const WRITTEN_BYTE: u64 = 16 << 20;
/// The longest transfer, where the controller takes it: its page list takes three pages.
const MOST_BYTES: u64 = 4 << 20;
/// What may not be touched, on either side of a piece.
const GUARD_BYTES: u64 = 64;
const GUARD: u8 = 0xc3;

/// What was tried.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sum {
    pub(super) moved: usize,
    pub(super) refused: usize,
    /// Pairs of an initiator and memory of its own, reached by bus address, and through the host bridge.
    pub(super) own: usize,
    pub(super) by_bus: usize,
    pub(super) by_host_bridge: usize,
    pub(super) longest_bytes: u64,
}

/// Tries everything with one controller; `providers` are the functions whose memory is used.
pub(super) fn controller(ours: &Ours, bdf: Bdf, providers: &[Bdf], sum: &mut Sum) -> Result<(), String> {
    let controller = ours.controllers.get(&bdf).ok_or("it is no controller")?;
    let forms = match controller.info().sgl {
        SglSupport::None => &[Forms::Prp][..],
        _ => &[Forms::Prp, Forms::Sgl],
    };
    let ram_bytes = MOST_BYTES + (64 << 10);
    let ram = Ram::new(&ours.process, ram_bytes)?;
    let scratch = Ram::new(&ours.process, ram_bytes)?;
    for form in forms.iter().copied() {
        let lists = match (form, controller.buffer()) {
            // QEMU takes no data of its own memory by an SGL segment that lies in RAM, though it says that lists may lie anywhere (CMBLOC.CDPCILS).
            (Forms::Sgl, Some(buffer)) if buffer.abilities.lists() => QueuePlace::Memory(buffer.span.first()),
            _ => QueuePlace::Ram,
        };
        for place in [QueuePlace::Ram, lists] {
            let is_here = |provider: &Bdf| lists == QueuePlace::Ram || (*provider == bdf) == (place == lists);
            let options = QueueOptions {
                forms: form,
                max_transfer_bytes: MOST_BYTES as u32,
                lists: place,
                ..QueueOptions::default()
            };
            let mut disk = ours.disk(bdf, &options)?;
            let mut turn = Turn {
                ours,
                disk: &mut disk,
                form,
                scratch: scratch.at,
                seed: u64::from(bdf.bus()) << 32 | u64::from(form == Forms::Sgl),
                sum,
            };
            if place == QueuePlace::Ram {
                let most_bytes = u64::from(turn.disk.limits().max_transfer_bytes);
                turn.all("RAM", shapes::plain(ram.room(), most_bytes))?;
            }
            for provider in providers.iter().copied().filter(is_here) {
                turn.provider(provider, providers, ram.room())?;
                if form == Forms::Prp {
                    turn.count(provider)?;
                }
            }
            disk.close(&mut |_| ()).map_err(|error| error.to_string())?;
            if lists == QueuePlace::Ram {
                break;
            }
        }
    }
    Ok(())
}

/// What a function lends, but for its first half, where lists may lie, and a page at the end.
fn room(ours: &Ours, bdf: Bdf) -> Option<Room> {
    let (at, len_bytes) = ours.memory(bdf)?;
    let skipped_bytes = (len_bytes / 2).next_multiple_of(0x1000);
    Some(Room {
        at: after(at, skipped_bytes),
        len_bytes: len_bytes.checked_sub(skipped_bytes + 0x1000)?,
    })
}

/// RAM for devices, given back when it is dropped.
struct Ram<'p> {
    process: &'p Process,
    at: PhysAddr,
    len_bytes: u64,
}

impl<'p> Ram<'p> {
    fn new(process: &'p Process, len_bytes: u64) -> Result<Self, String> {
        let at = process
            .allocate(len_bytes, 4096)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            process,
            at,
            len_bytes,
        })
    }

    fn room(&self) -> Room {
        Room {
            at: after(self.at, 0x1000),
            len_bytes: self.len_bytes - 0x2000,
        }
    }
}

impl Drop for Ram<'_> {
    fn drop(&mut self) {
        self.process.free(self.at);
    }
}

/// One controller, by one form of lists.
struct Turn<'a> {
    ours: &'a Ours,
    disk: &'a mut Disk,
    form: Forms,
    scratch: PhysAddr,
    seed: u64,
    sum: &'a mut Sum,
}

impl Turn<'_> {
    /// Every shape in the memory of one function, and in several at once.
    fn provider(&mut self, provider: Bdf, providers: &[Bdf], ram: Room) -> Result<(), String> {
        let initiator = self.disk.limits().initiator;
        let own = provider == initiator;
        let name = match own {
            true => "its own memory".to_owned(),
            false => format!("memory of {provider}"),
        };
        let room = |bdf| room(self.ours, bdf).ok_or_else(|| format!("{bdf} lends no memory"));
        let device = room(provider)?;
        let mut others = providers.iter().copied();
        let other = others.find(|other| *other != provider && *other != initiator);
        let other = other.map(room).transpose()?;
        self.all(&name, shapes::plain(device, 0))?;
        let expect = match self.disk.limits().peer {
            PeerSupport::Mixed => Expect::Moves,
            PeerSupport::Unmixed if !own => Expect::Moves,
            PeerSupport::Unmixed | PeerSupport::None => Expect::Mixed,
        };
        self.all(&name, shapes::mixed(ram, device, other, expect))
    }

    /// Counts a pair by how it is reached.
    fn count(&mut self, provider: Bdf) -> Result<(), String> {
        let initiator = self.disk.limits().initiator;
        let device = room(self.ours, provider).ok_or("it lends no memory")?;
        let mut mapper = self.ours.mapper(initiator)?;
        let located = mapper
            .look_up(&vector(&vec![(device.at, 4096)])?)
            .map_err(|error| error.to_string())?;
        let mapped = mapper.map(located, Direction::DeviceWrites, &self.disk.limits().constraints);
        let mapping = mapped.map_err(|error| error.to_string())?;
        let kind = mapping.list().segments().first().map(|segment| segment.kind);
        mapper.unmap(mapping).map_err(|_| "it stays mapped")?;
        let counter = match kind {
            Some(MemoryKind::OwnBar) => &mut self.sum.own,
            Some(MemoryKind::PeerOnBus) => &mut self.sum.by_bus,
            Some(MemoryKind::PeerThroughHostBridge) => &mut self.sum.by_host_bridge,
            other => return Err(format!("memory of {provider} is {other:?}")),
        };
        *counter += 1;
        Ok(())
    }

    fn all(&mut self, whose: &str, shapes: Vec<Shape>) -> Result<(), String> {
        for shape in shapes {
            let done = self.one(&shape);
            done.map_err(|why| format!("{whose}, {:?}, {}: {why}", self.form, shape.name))?;
        }
        Ok(())
    }

    fn one(&mut self, shape: &Shape) -> Result<(), String> {
        let pieces = &shape.pieces;
        let len_bytes = length(pieces);
        let refused = match (shape.expect, self.form) {
            (Expect::Mixed, _) => true,
            (Expect::MovesBySgl, form) => form == Forms::Prp,
            (Expect::Moves, _) => false,
        };
        if refused {
            return self.refused(shape);
        }
        let scratch: Pieces = vec![(self.scratch, len_bytes as u32)];
        // Blocks to the memory ...
        self.seed += 2;
        let bytes = pattern(self.seed, len_bytes);
        self.store(&scratch, &bytes)?;
        self.transfer(Operation::Write, READ_BYTE, &scratch)?;
        self.surround(pieces)?;
        self.transfer(Operation::Read, READ_BYTE, pieces)?;
        compare("blocks that were read", &bytes, &self.load(pieces)?)?;
        self.check_surroundings(pieces)?;
        // ... and other bytes from it to other blocks.
        let bytes = pattern(self.seed + 1, len_bytes);
        self.store(pieces, &bytes)?;
        self.transfer(Operation::Write, WRITTEN_BYTE, pieces)?;
        self.store(&scratch, &vec![GUARD; bytes.len()])?;
        self.transfer(Operation::Read, WRITTEN_BYTE, &scratch)?;
        compare("blocks that were written", &bytes, &self.load(&scratch)?)?;
        compare("memory that was written from", &bytes, &self.load(pieces)?)?;
        self.sum.moved += 1;
        self.sum.longest_bytes = self.sum.longest_bytes.max(len_bytes);
        Ok(())
    }

    fn refused(&mut self, shape: &Shape) -> Result<(), String> {
        for operation in [Operation::Read, Operation::Write] {
            let outcome = transfer(&self.ours.process, self.disk, operation, READ_BYTE, &shape.pieces);
            match (outcome, shape.expect) {
                (Err(Failed::Refused(SubmitError::Mixed)), Expect::Mixed) => {}
                (Err(Failed::Refused(_)), Expect::MovesBySgl) => {}
                (Err(other), _) => return Err(format!("another refusal was expected: {other}")),
                (Ok(()), _) => return Err("it was not refused".into()),
            }
        }
        self.sum.refused += 1;
        Ok(())
    }

    fn transfer(&mut self, operation: Operation, first_byte: u64, pieces: &Pieces) -> Result<(), String> {
        transfer(&self.ours.process, self.disk, operation, first_byte, pieces)
            .map_err(|failed| format!("{operation:?}: {failed}"))
    }

    fn store(&self, pieces: &Pieces, bytes: &[u8]) -> Result<(), String> {
        let process = &self.ours.process;
        iomem::copy_to(process, &process.memory_map(), &vector(pieces)?, bytes)
            .map_err(|error| format!("{error:?}"))
    }

    fn load(&self, pieces: &Pieces) -> Result<Vec<u8>, String> {
        let process = &self.ours.process;
        let mut bytes = vec![0; length(pieces) as usize];
        iomem::copy_from(process, &process.memory_map(), &vector(pieces)?, &mut bytes)
            .map_err(|error| format!("{error:?}"))?;
        Ok(bytes)
    }

    /// Makes the pieces, and what lies around each, known bytes.
    fn surround(&self, pieces: &Pieces) -> Result<(), String> {
        for (at, len_bytes) in pieces {
            let whole = vec![(before(*at), len_bytes + 2 * GUARD_BYTES as u32)];
            self.store(&whole, &vec![GUARD; length(&whole) as usize])?;
        }
        Ok(())
    }

    fn check_surroundings(&self, pieces: &Pieces) -> Result<(), String> {
        for (at, len_bytes) in pieces {
            for beside in [before(*at), after(*at, u64::from(*len_bytes))] {
                let seen = self.load(&vec![(beside, GUARD_BYTES as u32)])?;
                compare("memory beside", &[GUARD; GUARD_BYTES as usize], &seen)?;
            }
        }
        Ok(())
    }
}

fn before(at: PhysAddr) -> PhysAddr {
    PhysAddr::from_u64(at.to_u64() - GUARD_BYTES)
}
