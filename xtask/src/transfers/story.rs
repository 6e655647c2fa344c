//! What is done to a machine, as data: rolled from a seed, made smaller where it fails, printed.

use super::world::{PAGE, World};
use peerdma::addr::{Address, Origin, PhysAddr};
use peerdma::dma::{Constraints, Direction};
use peerdma::memory::RegionId;
use peerdma_sim::random::Random;
use std::fmt;

/// What is done to the machine of a seed.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub(super) seed: u64,
    /// Mapped for good.
    pub(super) registered: Vec<RegionId>,
    pub(super) batches: Vec<Batch>,
}

/// Requests that are under way together.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) requests: Vec<Request>,
    pub(super) ending: Ending,
}

/// One vector for one initiator.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// Its place among the actors.
    pub(super) actor: usize,
    pub(super) pieces: Vec<Piece>,
    pub(super) direction: Direction,
    pub(super) constraints: Constraints,
}

/// A piece of a vector.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) addr: u64,
    pub(super) len_bytes: u32,
    pub(super) origin: Origin,
}

/// How a batch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// All is unmapped.
    Unmap,
    /// And then the devices do once more what they did.
    Late,
    /// The region of the first piece is taken away meanwhile; and then the devices do once more what they did.
    Revoke,
}

impl Piece {
    pub(super) fn last(self) -> u64 {
        self.addr.saturating_add(u64::from(self.len_bytes) - 1)
    }

    fn meets(self, other: Self) -> bool {
        self.addr <= other.last() && other.addr <= self.last()
    }
}

/// Page lists of NVMe.
const PAGES: Constraints = Constraints {
    gap_mask: PAGE - 1,
    max_segments: 33,
    align_bytes: 4,
    ..Constraints::NONE
};
const SHAPES: [Constraints; 12] = [
    Constraints::NONE,
    Constraints::NONE,
    PAGES,
    Constraints::NONE,
    Constraints::NONE,
    PAGES,
    Constraints {
        max_segment_bytes: PAGE as u32,
        boundary_mask: PAGE - 1,
        ..PAGES
    },
    // Scatter-gather lists of NVMe.
    Constraints {
        align_bytes: 4,
        max_segments: 64,
        ..Constraints::NONE
    },
    Constraints {
        address_mask: u32::MAX as u64,
        ..Constraints::NONE
    },
    Constraints {
        max_segment_bytes: 1536,
        boundary_mask: 0xffff,
        ..Constraints::NONE
    },
    Constraints {
        align_bytes: 512,
        boundary_mask: 0x1fff,
        ..Constraints::NONE
    },
    Constraints {
        max_segments: 4,
        boundary_mask: u32::MAX as u64,
        ..Constraints::NONE
    },
];

impl Story {
    /// What the seed says, for a machine as it says.
    pub(super) fn roll(seed: u64, world: &World) -> Self {
        let mut random = Random::new(seed ^ 0x73_746f_7279);
        let percent = random.one_of(&[0, 40, 40, 100]);
        let regions = world.map.regions().iter();
        let registered = (regions.map(|region| region.id))
            .filter(|_| random.chance(percent))
            .collect();
        let mut batches: Vec<Batch> = (0..4).map(|_| batch(world, &mut random)).collect();
        if random.chance(40)
            && let Some(last) = batches.last_mut()
        {
            last.ending = Ending::Revoke;
        }
        Self {
            seed,
            registered,
            batches,
        }
    }
}

fn batch(world: &World, random: &mut Random) -> Batch {
    let mut taken: Vec<(Piece, bool)> = Vec::new();
    let count = random.one_of(&[1, 2, 2, 3]);
    Batch {
        requests: (0..count).map(|_| request(world, random, &mut taken)).collect(),
        ending: random.one_of(&[Ending::Unmap, Ending::Late]),
    }
}

fn request(world: &World, random: &mut Random, taken: &mut Vec<(Piece, bool)>) -> Request {
    let actor = (random.number() % world.actors.len() as u64) as usize;
    let direction = random.one_of(&[
        Direction::DeviceReads,
        Direction::DeviceReads,
        Direction::DeviceWrites,
        Direction::DeviceWrites,
        Direction::Both,
    ]);
    let is_write = direction != Direction::DeviceReads;
    let constraints = random.one_of(&SHAPES);
    let menu = menu(world, actor, random);
    let align = match random.chance(90) {
        true => (constraints.gap_mask + 1).max(constraints.align_bytes.into()),
        false => 1,
    };
    let mut pieces: Vec<Piece> = Vec::new();
    for _ in 0..random.one_of(&[1, 1, 2, 3, 4, 6, 9]) {
        for _ in 0..4 {
            let piece = piece(world, &menu, align, pieces.last().copied(), random);
            let is_free =
                |(other, is_written): &(Piece, bool)| !(piece.meets(*other) && (is_write || *is_written));
            if taken.iter().all(is_free) {
                taken.push((piece, is_write));
                pieces.push(piece);
                break;
            }
        }
    }
    if random.chance(4) {
        let sound = pieces.clone();
        spoil(world, &mut pieces, random);
        // It must not meet what is under way beside it.
        let others = &taken[..taken.len() - sound.len()];
        let is_alone = |(number, piece): (usize, &Piece)| {
            let meets = |other: &Piece| piece.meets(*other);
            !others.iter().any(|(other, _)| meets(other)) && !pieces.iter().take(number).any(meets)
        };
        if !pieces.iter().enumerate().all(is_alone) {
            pieces = sound;
        }
        taken.extend(pieces.iter().map(|piece| (*piece, is_write)));
    }
    Request {
        actor,
        pieces,
        direction,
        constraints,
    }
}

/// The spots that a vector takes its pieces from.
fn menu(world: &World, actor: usize, random: &mut Random) -> Vec<usize> {
    let own = world.actors[actor].initiator.bdf;
    let of = |wanted: &dyn Fn(Option<peerdma::addr::Bdf>) -> bool| -> Vec<usize> {
        (0..world.spots.len())
            .filter(|spot| wanted(world.spots[*spot].provider))
            .collect()
    };
    let ram = of(&|provider| provider.is_none());
    let own_bars = of(&|provider| provider == Some(own));
    let peers = of(&|provider| provider.is_some_and(|provider| provider != own));
    let one_peer = |random: &mut Random| -> Vec<usize> {
        if peers.is_empty() {
            return Vec::new();
        }
        let region = world.spots[random.one_of(&peers)].region;
        (peers.iter().copied())
            .filter(|spot| world.spots[*spot].region == region)
            .collect()
    };
    let mut menu = match random.number() % 100 {
        0..=17 => ram,
        18..=44 => [ram, one_peer(random)].concat(),
        45..=64 => one_peer(random),
        65..=74 => [ram, own_bars].concat(),
        75..=84 => [ram, own_bars, one_peer(random)].concat(),
        85..=92 => [one_peer(random), one_peer(random)].concat(),
        _ => Vec::new(),
    };
    if menu.is_empty() {
        menu = (0..world.spots.len()).collect();
    }
    menu
}

fn piece(world: &World, menu: &[usize], align: u64, before: Option<Piece>, random: &mut Random) -> Piece {
    let spot = world.spots[random.one_of(menu)];
    let end = spot.first + (spot.len_bytes - 1);
    let mut addr = spot.first + random.number() % spot.len_bytes / align * align;
    // Goes on where the piece before ends.
    if let Some(next) = before.and_then(|before| before.last().checked_add(1))
        && random.chance(30)
        && world.area(next).is_some()
    {
        addr = next;
    }
    let room = match end.checked_sub(addr) {
        Some(room) => room + 1,
        None => world.area(addr).map_or(1, |(region, ..)| {
            (region.span.last().to_u64() - addr).saturating_add(1)
        }),
    };
    let wish = match align {
        1 => random.one_of(&[1, 2, 7, 64, 129, 512, 1000, 4096, 5000, 9001]),
        _ => align * random.one_of(&[1, 1, 2, 3, 4]),
    };
    let origin = match world.area(addr) {
        Some((region, ..)) if region.memory == peerdma::memory::Memory::Ram && random.chance(70) => {
            Origin::Ram
        }
        _ => Origin::LookUp,
    };
    Piece {
        addr,
        len_bytes: wish.min(room) as u32,
        origin,
    }
}

/// Something that must be refused, as a rule.
fn spoil(world: &World, pieces: &mut Vec<Piece>, random: &mut Random) {
    if pieces.is_empty() {
        return;
    }
    let at = (random.number() % pieces.len() as u64) as usize;
    let piece = pieces[at];
    let end = world
        .area(piece.addr)
        .map_or(0, |(region, ..)| region.span.last().to_u64());
    pieces[at] = match random.number() % 5 {
        0 => Piece {
            origin: Origin::Ram,
            ..piece
        },
        1 => Piece {
            addr: end.saturating_sub(15),
            len_bytes: 32,
            ..piece
        },
        2 => Piece {
            addr: end.saturating_add(1),
            ..piece
        },
        3 => Piece {
            addr: random.number() >> 16,
            ..piece
        },
        _ => {
            pieces.clear();
            return;
        }
    };
    if peerdma::addr::PhysVec::new(
        PhysAddr::from_u64(pieces[at].addr),
        pieces[at].len_bytes,
        piece.origin,
    )
    .is_err()
    {
        pieces[at] = piece;
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registered: Vec<usize> = self.registered.iter().map(|region| region.index()).collect();
        writeln!(f, "machine {}; registered regions: {registered:?}", self.seed)?;
        for (number, batch) in self.batches.iter().enumerate() {
            writeln!(f, "  batch {number}, ending {:?}", batch.ending)?;
            for request in &batch.requests {
                writeln!(
                    f,
                    "    initiator {}: {:?}, {:?}",
                    request.actor, request.direction, request.constraints
                )?;
                for piece in &request.pieces {
                    writeln!(
                        f,
                        "      {:#x} bytes at {:#x}, {:?}",
                        piece.len_bytes, piece.addr, piece.origin
                    )?;
                }
            }
        }
        Ok(())
    }
}
