//! What is copied, and how: as the command line says, for a machine that has it.

use super::amount::{self, Blocks};
use super::resume::State;
use super::same::same;
use crate::args::CopyArgs;
use crate::error::Problem;
use crate::ground::{End, Pattern};
use crate::select;
use peerdma::addr::Bdf;
use peerdma::block::Volume;
use peerdma::engine::Job;
use peerdma::plan::Force;
use peerdma::topology::Topology;

/// How much of a pattern is copied where nobody says.
const PATTERN_BYTES: u64 = 64 << 20;
/// Bytes of a piece where nobody says: few enough for several in a small buffer.
pub(super) const CHUNK_BYTES: u64 = 256 << 10;
/// How many pieces are under way at once where nobody says.
pub(super) const QUEUE_DEPTH: u16 = 32;

/// What is copied, and how.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) source: End,
    pub(super) destination: End,
    /// From the first byte of the source, and of the destination.
    pub(super) source_offset: u64,
    pub(super) destination_offset: u64,
    pub(super) len_bytes: u64,
    /// Done by an earlier run.
    pub(super) resume_bytes: u64,
    pub(super) queue_depth: u16,
    pub(super) chunk_bytes: u32,
    /// Why these two are less than usual, where they are.
    pub(super) fitted: Option<String>,
    pub(super) way: WayWanted,
    /// What the source was filled with, where it was.
    pub(super) pattern: Option<Pattern>,
    /// The files in the place of the two media, as they were named.
    pub(super) files: [Option<String>; 2],
}

/// Which ways are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WayWanted {
    pub(super) via: Option<Bdf>,
    pub(super) memory: MemoryWanted,
    pub(super) force: Force,
}

/// Whose memory may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemoryWanted {
    Any,
    /// Of devices alone.
    Devices,
    /// RAM alone.
    Ram,
}

/// Both ends, as they are now.
pub(super) struct Ends {
    pub(super) source: End,
    pub(super) destination: End,
    pub(super) shapes: [Blocked; 2],
    /// What the source was filled with, where it was.
    pub(super) pattern: Option<Pattern>,
    /// What keeps their content, as it was named.
    pub(super) files: [Option<String>; 2],
}

/// How an end is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocked {
    pub(super) blocks: u64,
    pub(super) block_bytes: u64,
}

/// What the command line asks for, of these ends.
///
/// # Errors
/// A [`Problem`] where it makes no sense for them.
pub(super) fn request(
    args: &CopyArgs,
    topology: &Topology,
    ends: Ends,
    notes: &mut Vec<String>,
) -> Result<Request, Problem> {
    let part = part(args, &ends)?;
    let via = via(args, topology)?;
    let chunk_bytes = match &args.way.chunk {
        None => CHUNK_BYTES,
        Some(text) => amount::bytes("--chunk", text)?,
    };
    let chunk_bytes = u32::try_from(chunk_bytes)
        .ok()
        .filter(|bytes| (1..=1 << 30).contains(bytes));
    let mut request = Request {
        source: ends.source,
        destination: ends.destination,
        source_offset: part.source_offset,
        destination_offset: part.destination_offset,
        len_bytes: part.len_bytes,
        resume_bytes: 0,
        queue_depth: args.way.queue_depth.unwrap_or(QUEUE_DEPTH),
        chunk_bytes: chunk_bytes.ok_or_else(|| {
            Problem::new(
                format_args!(
                    "--chunk {} is no size of a piece",
                    args.way.chunk.as_deref().unwrap_or("")
                ),
                "a piece has at least a block, and at most 1 GiB",
                "give --chunk 256KiB, or another multiple of the block",
            )
        })?,
        fitted: None,
        way: WayWanted {
            via,
            memory: match (args.way.via_ram, args.way.require_p2p) {
                (true, _) => MemoryWanted::Ram,
                (_, true) => MemoryWanted::Devices,
                _ => MemoryWanted::Any,
            },
            force: match args.way.force_route {
                true => Force::Refused,
                false => Force::Never,
            },
        },
        pattern: ends.pattern,
        files: ends.files,
    };
    if let Some(path) = &args.resume {
        request.resume_bytes = State::done(path, &same(args, &request))?;
        if request.resume_bytes > 0 && request.files[1].is_none() {
            notes.push(format!(
                "{} was in memory and is gone with the interrupted run: the copy begins anew",
                request.destination.name
            ));
            request.resume_bytes = 0;
        }
    }
    Ok(request)
}

/// The device that `--via` names.
///
/// # Errors
/// A [`Problem`] where there is none.
pub(super) fn via(args: &CopyArgs, topology: &Topology) -> Result<Option<Bdf>, Problem> {
    let via = args.way.via.as_deref();
    via.map(|word| Ok(topology.function(select::one(topology, word)?).bdf))
        .transpose()
}

/// A copy onto itself is refused.
///
/// # Errors
/// A [`Problem`] where both are the same.
pub(super) fn refuse_same(source: &End, destination: &End) -> Result<(), Problem> {
    match source.is(destination) {
        false => Ok(()),
        true => Err(Problem::new(
            format_args!("{} would be copied onto itself", source.name),
            "source and destination are the same namespace",
            "name two namespaces",
        )),
    }
}

/// Which bytes go where.
struct Part {
    source_offset: u64,
    destination_offset: u64,
    len_bytes: u64,
}

fn part(args: &CopyArgs, ends: &Ends) -> Result<Part, Problem> {
    let Ends {
        source, destination, ..
    } = ends;
    let [here, there] = ends.shapes;
    let (blocks, block_bytes) = (here.blocks, here.block_bytes.max(1));
    let (there, block_there) = (there.blocks, there.block_bytes.max(1));
    let range = match &args.what.lba {
        None => Blocks::ALL,
        Some(text) => Blocks::read("--lba", text)?,
    };
    let Some(range) = range.of(blocks) else {
        return Err(Problem::new(
            format_args!(
                "{} has no blocks {}",
                source.name,
                args.what.lba.as_deref().unwrap_or("..")
            ),
            format_args!("it has {blocks} blocks of {block_bytes} bytes, numbered from 0"),
            "give a range within them",
        ));
    };
    let source_offset = range.start.saturating_mul(block_bytes);
    let most = (range.end - range.start).saturating_mul(block_bytes);
    let len_bytes = match &args.what.bytes {
        Some(text) => {
            let len_bytes = amount::bytes("--bytes", text)?;
            if len_bytes == 0 || !len_bytes.is_multiple_of(block_bytes) || len_bytes > most {
                return Err(Problem::new(
                    format_args!("{text} cannot be copied from {}", source.name),
                    match len_bytes {
                        0 => "it is nothing at all".to_owned(),
                        _ if len_bytes > most => format!("only {most} bytes are there"),
                        _ => format!("it is no whole number of blocks of {block_bytes} bytes"),
                    },
                    "give a multiple of the block that is there",
                ));
            }
            len_bytes
        }
        None if ends.pattern.is_some() && args.what.lba.is_none() => {
            // A pattern has no end of its own: no more than fits.
            let fits = there.saturating_mul(block_there);
            let common = block_bytes.max(block_there);
            most.min(PATTERN_BYTES).min(fits) / common * common
        }
        None => most,
    };
    let destination_offset = match args.what.to_lba {
        None => source_offset,
        Some(lba) => lba.saturating_mul(block_there),
    };
    let unfit = |why: String, fix: &str| {
        Problem::new(
            format_args!("{} does not fit {}", source.name, destination.name),
            why,
            fix,
        )
    };
    if len_bytes == 0
        || !len_bytes.is_multiple_of(block_there)
        || !destination_offset.is_multiple_of(block_there)
    {
        return Err(unfit(
            format!(
                "{len_bytes} bytes to byte {destination_offset} are no whole number of blocks of {block_there} bytes there"
            ),
            "choose --lba, --to-lba and --bytes as multiples of the larger block",
        ));
    }
    let there_bytes = there.saturating_mul(block_there);
    if destination_offset
        .checked_add(len_bytes)
        .is_none_or(|end| end > there_bytes)
    {
        return Err(unfit(
            format!(
                "{len_bytes} bytes are to go to byte {destination_offset} on, and it has {there_bytes} in all"
            ),
            "copy less (--bytes, --lba), to an earlier place (--to-lba), or take a larger destination",
        ));
    }
    Ok(Part {
        source_offset,
        destination_offset,
        len_bytes,
    })
}

/// The same, in blocks.
pub(super) fn job(request: &Request, source: &dyn Volume, destination: &dyn Volume) -> Job {
    Job {
        source_lba: request.source_offset / u64::from(source.limits().block_bytes.max(1)),
        destination_lba: request.destination_offset / u64::from(destination.limits().block_bytes.max(1)),
        len_bytes: request.len_bytes,
        resume_bytes: request.resume_bytes,
    }
}
