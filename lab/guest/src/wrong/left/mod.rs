//! What is left mapped in a process that goes on: the kernel clears away after one that is gone, so that nothing shows there.
//!
//! Called by [`super::run()`]. This process maps RAM and another controller's memory for two controllers in two groups, meets errors, forgets what it has
//! mapped, and asks the kernel: how many mappings it still grants (type 1 counts them, those of BARs too), how much memory of this process is
//! locked, and whether every I/O address that was ever used can be mapped again.

mod seen;

use self::seen::{All, Held, Seen, lock};
use super::Guest;
use peerdma::addr::{Address, Bdf, Iova, Origin, PhysAddr, PhysVec};
use peerdma::device::Host;
use peerdma::dma::{Constraints, Direction, Ioas, MapError, Mapper, Mapping, SingleThread, Translation};
use peerdma::iommu::{IommuError, Rights, Target, Translations};
use peerdma::memory::Memory;
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use peerdma_linux::process::{IoSpace, Process, ProcessOptions};
use peerdma_linux::vfio::Api;
use peerdma_linux::{KeepConfig, source};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

const PAGE_BYTES: u64 = 4096;
const RAM_BYTES: u64 = 16 << 20;
const PIECE_BYTES: u32 = 64 << 10;
/// No memory is there.
const NOWHERE: u64 = u64::MAX - (1 << 20) + 1;
/// Mappings that the kernel grants in the address space of the first, and of the last.
const GRANTED: [u32; 2] = [64, 8];
const LIMIT: &str = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit";

pub(super) fn run(guest: &Guest) -> Result<(), String> {
    let [first, second, third, ..] = &guest.controllers;
    // It shares the first one's group.
    second.give_to("vfio-pci")?;
    guest.lend(&[first, third])?;
    let ends = [first, third].map(|one| one.address.parse::<Bdf>().map_err(text));
    let [first_bdf, third_bdf] = ends;
    let living = Living::new(&guest.api, [first_bdf?, third_bdf?])?;
    guest.tell("unmapped", living.unmapped());
    guest.tell("refused", living.refused());
    guest.tell("forgotten", living.forgotten());
    guest.tell("mapped-again", living.again());
    drop(living);
    guest.tell(
        "copy",
        guest
            .fresh(first, third)
            .map(|()| "the devices can be used".into()),
    );
    guest.ranges.send(&[first, third])
}

struct Living {
    api: Api,
    process: Process,
    ends: [Bdf; 2],
    /// Before anything was mapped.
    start: Held,
    used: Arc<Mutex<BTreeSet<u64>>>,
}

impl Living {
    fn new(api: &str, ends: [Bdf; 2]) -> Result<Self, String> {
        let api = match api {
            "iommufd" => Api::Iommufd,
            _ => Api::Type1,
        };
        let snapshot =
            source::live(Path::new("/"), KeepConfig::Drop, &mut Warnings::default()).map_err(text)?;
        let topology = Topology::new(snapshot, &mut Warnings::default());
        let options = ProcessOptions {
            api: Some(api),
            ram_bytes: RAM_BYTES,
        };
        let process = Process::new(topology, options).map_err(text)?;
        for (bdf, granted) in ends.iter().zip(GRANTED) {
            if api == Api::Type1 {
                fs::write(LIMIT, granted.to_string()).map_err(|error| format!("{LIMIT}: {error}"))?;
            }
            process.take(&[*bdf]).map_err(text)?;
        }
        // So that the memory map has its place, and nothing of it counts below.
        process.memory_map();
        let mut living = Self {
            api,
            process,
            ends,
            start: Held {
                left: Vec::new(),
                locked_kib: 0,
                pinned_kib: 0,
            },
            used: Arc::default(),
        };
        living.start = Held::of(&living.space()?)?;
        let granted = GRANTED.map(Some).to_vec();
        match api {
            Api::Type1 if living.start.left != granted => Err(format!(
                "the kernel grants {:?} mappings, and was told {granted:?}",
                living.start.left
            )),
            _ => Ok(living),
        }
    }

    fn space(&self) -> Result<IoSpace, String> {
        let space = self.process.io_space(&self.ends).map_err(text)?;
        space.ok_or_else(|| "VFIO gave no address space".into())
    }

    /// An address space for both, whose mappings the kernel can be asked for.
    fn open(&self) -> Result<(Arc<Ioas<SingleThread>>, Seen), String> {
        let space = self.space()?;
        let seen = Seen {
            apertures: space.apertures().to_vec(),
            inner: Arc::new(Mutex::new(space)),
            used: self.used.clone(),
        };
        let ioas = Ioas::<SingleThread>::new(
            Translation::Translated(Box::new(seen.clone()) as _),
            self.process.memory_map(),
            &self.process.reserved(),
        );
        for bdf in self.ends {
            let initiator = self.process.initiator(bdf).ok_or("no such function")?;
            ioas.add_initiator(initiator, &All).map_err(text)?;
        }
        Ok((ioas, seen))
    }

    /// A mapper of the last, to whose memory of the first, and RAM, it maps.
    fn mapper(&self, ioas: &Arc<Ioas<SingleThread>>) -> Result<Mapper<SingleThread>, String> {
        ioas.mapper(self.ends[1]).map_err(text)
    }

    /// Memory of the first: the largest of its BARs that is memory.
    fn peer(&self) -> Result<PhysAddr, String> {
        let map = self.process.memory_map();
        let of_first = map.regions().iter().filter_map(|region| match region.memory {
            Memory::Bar(bar) if bar.provider == self.ends[0] => {
                Some((region.span.len_minus_one(), region.span.first()))
            }
            _ => None,
        });
        let largest = of_first.max().ok_or("it lends no memory")?;
        Ok(largest.1)
    }

    /// Maps a piece of RAM, and one of the other's memory.
    fn both(&self, mapper: &mut Mapper<SingleThread>) -> Result<[Mapping; 2], String> {
        let ram = self
            .process
            .allocate(PIECE_BYTES.into(), PAGE_BYTES)
            .map_err(text)?;
        Ok([
            map(mapper, ram)?.map_err(text)?,
            map(mapper, self.peer()?)?.map_err(text)?,
        ])
    }

    fn is_as_before(&self, now: &Held) -> Result<(), String> {
        match *now == self.start {
            true => Ok(()),
            false => Err(format!(
                "something is left: the kernel has {now:?}, and had {:?}",
                self.start
            )),
        }
    }

    /// What is mapped is seen by the kernel, and is gone with its handle.
    fn unmapped(&self) -> Result<String, String> {
        let (ioas, seen) = self.open()?;
        let mut mapper = self.mapper(&ioas)?;
        let mappings = self.both(&mut mapper)?;
        let during = seen.held()?;
        if during.kib() <= self.start.kib() {
            return Err(format!("nothing shows that RAM is mapped: {during:?}"));
        }
        let fewer = |(now, before): (&Option<u32>, &Option<u32>)| now < before || now.is_none();
        if !during.left.iter().zip(&self.start.left).all(fewer) {
            return Err(format!("nothing shows that memory is mapped: {during:?}"));
        }
        for mapping in mappings {
            mapper
                .unmap(mapping)
                .map_err(|error| format!("{:?}", error.why))?;
        }
        self.is_as_before(&seen.held()?)?;
        self.free();
        Ok(format!(
            "RAM and another's memory were mapped for two groups ({:?} mappings left, {} KiB locked), and were not any more",
            during.left,
            during.kib()
        ))
    }

    /// What is refused leaves nothing, in either of two address spaces, and takes away nothing that was there.
    fn refused(&self) -> Result<String, String> {
        let (ioas, seen) = self.open()?;
        let mut mapper = self.mapper(&ioas)?;
        let kept = self.both(&mut mapper)?;
        let before = seen.held()?;
        let mut refusals = 0;
        let nothing = PhysVec::new(PhysAddr::from_u64(NOWHERE), PIECE_BYTES, Origin::LookUp);
        let nothing = nothing.map_err(|error| format!("{error:?}"))?;
        if mapper.look_up(&[nothing]).is_ok() {
            return Err("a hole in the memory map was looked up".into());
        }
        refusals += 1;
        // The device cannot be told so.
        let ram = self
            .process
            .allocate(PIECE_BYTES.into(), PAGE_BYTES)
            .map_err(text)?;
        let constraints = Constraints {
            max_segment_bytes: 16,
            max_segments: 1,
            ..Constraints::NONE
        };
        let located = mapper.look_up(&[piece(ram)?]).map_err(text)?;
        if mapper.map(located, Direction::DeviceWrites, &constraints).is_ok() {
            return Err("a list that the device does not take was made".into());
        }
        refusals += 1;
        // An address that is used.
        if let Some(iova) = seen.first() {
            let again = seen
                .lock()
                .map(iova, ram, PAGE_BYTES, Rights::ReadWrite, Target::Ram);
            if again != Err(IommuError::Overlap) {
                return Err(format!("an address was given twice: {again:?}"));
            }
            refusals += 1;
        }
        if seen.held()? != before {
            return Err(format!(
                "a refusal left something: {:?}, before {before:?}",
                seen.held()?
            ));
        }
        let mut more = Vec::new();
        if self.api == Api::Type1 {
            // The kernel refuses in the second address space what it has mapped in the first.
            let why = loop {
                let ram = self
                    .process
                    .allocate(PIECE_BYTES.into(), PAGE_BYTES)
                    .map_err(text)?;
                match map(&mut mapper, ram)? {
                    Ok(mapping) => more.push(mapping),
                    Err(why) => break why,
                }
                if more.len() > 2 * GRANTED[1] as usize {
                    return Err("the kernel granted more than its limit".into());
                }
            };
            refusals += 1;
            let now = seen.held()?;
            let [Some(first), Some(last)] = now.left[..] else {
                return Err("the kernel does not count mappings".into());
            };
            if last != 0 || GRANTED[0] - first != GRANTED[1] {
                return Err(format!(
                    "after {why} one address space has {} mappings, and the other {}",
                    GRANTED[0] - first,
                    GRANTED[1] - last
                ));
            }
        }
        for mapping in more {
            mapper
                .unmap(mapping)
                .map_err(|error| format!("{:?}", error.why))?;
        }
        if seen.held()? != before {
            return Err(format!(
                "something is left: {:?}, before {before:?}",
                seen.held()?
            ));
        }
        for mapping in kept {
            mapper
                .unmap(mapping)
                .map_err(|error| format!("{:?}", error.why))?;
        }
        self.is_as_before(&seen.held()?)?;
        self.free();
        Ok(format!(
            "{refusals} mappings were refused, one of them by the kernel in the second of two address spaces where it can be: none left anything in either"
        ))
    }

    /// Handles are dropped, and so is the address space: nothing is mapped.
    fn forgotten(&self) -> Result<String, String> {
        let (ioas, seen) = self.open()?;
        let mut mapper = self.mapper(&ioas)?;
        drop(self.both(&mut mapper)?);
        let forgotten = seen.held()?;
        drop(mapper);
        drop(ioas);
        drop(seen);
        self.is_as_before(&Held::of(&self.space()?)?)?;
        self.free();
        Ok(format!(
            "mappings that were never ended ({} KiB locked) are gone with their address space",
            forgotten.kib()
        ))
    }

    /// Every address that was ever used can be mapped.
    fn again(&self) -> Result<String, String> {
        let mut space = self.space()?;
        let used: Vec<u64> = lock(&self.used).iter().copied().collect();
        if used.is_empty() {
            return Err("no address was used".into());
        }
        let ram = self.process.allocate(PAGE_BYTES, PAGE_BYTES).map_err(text)?;
        for iova in &used {
            let iova = Iova::from_u64(*iova);
            let done = space.map(iova, ram, PAGE_BYTES, Rights::ReadWrite, Target::Ram);
            let done = done.and_then(|()| space.unmap(iova, PAGE_BYTES));
            done.map_err(|error| format!("{iova:?}: {error}"))?;
        }
        self.is_as_before(&Held::of(&space)?)?;
        drop(space);
        self.free();
        Ok(format!(
            "all {} I/O addresses that were used can be used again",
            used.len()
        ))
    }

    /// Gives back all RAM.
    fn free(&self) {
        for span in self.process.allocations() {
            self.process.free(span.first());
        }
    }
}

fn piece(at: PhysAddr) -> Result<PhysVec, String> {
    PhysVec::new(at, PIECE_BYTES, Origin::LookUp).map_err(|error| format!("{error:?}"))
}

fn map(mapper: &mut Mapper<SingleThread>, at: PhysAddr) -> Result<Result<Mapping, MapError>, String> {
    let located = mapper.look_up(&[piece(at)?]).map_err(text)?;
    Ok(mapper.map(located, Direction::DeviceWrites, &Constraints::NONE))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
