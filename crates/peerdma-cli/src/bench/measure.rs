//! Memory is laid out and mapped, the volume is kept busy, and what it cost is looked at.

use super::wanted::Wanted;
use super::watch::Watch;
use crate::args::BenchArgs;
use crate::copy::consent::Consent;
use crate::copy::progress::Stop;
use crate::error::Problem;
use crate::ground::{Ground, Pair, Pattern, cpu_ns};
use peerdma::addr::{Address, Origin, PhysAddr, PhysVec};
use peerdma::block::{Data, Operation, Volume};
use peerdma::dma::{Direction, Mapper, SingleThread};
use peerdma::engine::Trouble;
use peerdma::load::{self, Measured};
use peerdma_nvme::QueueOptions;

/// What was measured.
pub(super) struct Figures {
    pub(super) measured: Measured,
    /// Of this process, in kernel and program, all threads.
    pub(super) cpu_ns: u64,
    pub(super) ram_payload_bytes: u64,
    /// Whose memory the data lay in; nothing for RAM.
    pub(super) via: Option<String>,
    pub(super) trouble: Option<Trouble>,
}

const PAGE_BYTES: u64 = 4096;

/// Measures a volume.
///
/// # Errors
/// A [`Problem`] where it cannot be measured, or nobody agrees.
pub(super) fn measure<G: Ground>(
    args: &BenchArgs,
    wanted: &Wanted,
    pair: Pair<G>,
    consent: Consent,
    stop: &Stop,
    watch: &mut Watch,
) -> Result<Figures, Problem> {
    let Pair { rig, end, memory, .. } = pair;
    let ground = rig.ground().clone();
    if wanted.load.operation == Operation::Write {
        let last = wanted.load.first_lba.saturating_add(wanted.load.blocks);
        let question = format!(
            "Overwrite blocks {}..{last} of {}? What they hold is lost.",
            wanted.load.first_lba, end.name
        );
        consent.obtain(&question, stop)?;
    }
    let bad = |why: &dyn std::fmt::Display| {
        Problem::new(
            format_args!("{} cannot be measured so", end.name),
            why,
            "choose a smaller --block or --depth, or other memory (--via)",
        )
    };
    let options = QueueOptions {
        depth: wanted.depth,
        ..QueueOptions::default()
    };
    let mut volume = rig.volume(&end, &options)?;
    let limits = *volume.limits();
    if wanted.each_bytes > limits.max_transfer_bytes {
        return Err(bad(&format_args!(
            "one operation carries {} bytes at most",
            limits.max_transfer_bytes
        )));
    }
    let depth = wanted.depth.min(limits.queue_depth).max(1);
    let stride = u64::from(wanted.each_bytes).next_multiple_of(PAGE_BYTES);
    let needed_bytes = stride * u64::from(depth);
    let ram = match memory {
        Some(_) => None,
        None => Some(rig.ram(needed_bytes, needed_bytes)?),
    };
    let first = match (&ram, memory) {
        (Some(ram), _) => ram.span.first(),
        (None, Some(memory)) => {
            let first = memory.free.first().to_u64().next_multiple_of(PAGE_BYTES);
            let fits = memory.free.last().to_u64().checked_sub(first);
            if fits.is_none_or(|less| less < needed_bytes - 1) {
                return Err(bad(&format_args!(
                    "{depth} operations at once need {needed_bytes} bytes, and the memory of {} has fewer",
                    memory.provider
                )));
            }
            PhysAddr::from_u64(first)
        }
        (None, None) => return Err(bad(&"there is no memory for its data")),
    };
    if let (Some(_), Operation::Write) = (&ram, wanted.load.operation) {
        fill(&ground, first, needed_bytes, args.seed).map_err(|error| bad(&error))?;
    }
    let mut mapper = rig.mapper(end.initiator)?;
    let origin = if ram.is_some() {
        Origin::Ram
    } else {
        Origin::LookUp
    };
    let mut data = Vec::new();
    for slot in 0..depth {
        let at = first.checked_add(u64::from(slot) * stride).unwrap_or(first);
        let piece = PhysVec::new(at, wanted.each_bytes, origin).map_err(|error| bad(&error))?;
        data.push(Data::Mapped(
            map(&mut mapper, piece, wanted, &limits.constraints).map_err(|why| bad(&why))?,
        ));
    }
    let (mark, cpu) = (ground.mark(), cpu_ns());
    let ended = load::run(&wanted.load, &mut volume, data, &ground, &mut |done| {
        watch.at(done, ground.now_ns())
    });
    let cpu_ns = cpu_ns().saturating_sub(cpu);
    let traffic = ground.traffic(&mark);
    let closed = volume.close();
    for data in ended.data {
        if let Data::Mapped(mapping) = data {
            let _ = mapper.unmap(mapping);
        }
    }
    drop(mapper);
    drop(ram);
    if closed.is_ok() {
        let _ = rig.close();
    }
    Ok(Figures {
        measured: ended.measured,
        cpu_ns,
        ram_payload_bytes: traffic.ram_payload_bytes,
        via: memory.map(|memory| ground.names().call_at_length(memory.provider)),
        trouble: ended.trouble,
    })
}

fn map(
    mapper: &mut Mapper<SingleThread>,
    piece: PhysVec,
    wanted: &Wanted,
    constraints: &peerdma::dma::Constraints,
) -> Result<peerdma::dma::Mapping, String> {
    let direction = match wanted.load.operation {
        Operation::Read => Direction::DeviceWrites,
        Operation::Write | Operation::Flush => Direction::DeviceReads,
    };
    let located = mapper.look_up(&[piece]).map_err(|error| error.to_string())?;
    let mapped = mapper.map(located, direction, constraints);
    mapped.map_err(|error| error.to_string())
}

/// What is written tells where it comes from, and does not compress to nothing.
fn fill<G: Ground>(
    ground: &G,
    first: PhysAddr,
    len_bytes: u64,
    seed: u64,
) -> Result<(), peerdma::device::DeviceError> {
    let mut piece = vec![0; PAGE_BYTES as usize];
    let mut offset = 0;
    while offset < len_bytes {
        Pattern::Seeded(seed).fill(offset, &mut piece);
        ground.write_ram(first.checked_add(offset).unwrap_or(first), &piece)?;
        offset += PAGE_BYTES;
    }
    Ok(())
}
