//! What the command line asks of a volume.

use crate::args::{BenchArgs, PatternArg, RwArg};
use crate::copy::amount::{self, Blocks};
use crate::error::Problem;
use peerdma::block::Operation;
use peerdma::load::{Load, Order};

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) load: Load,
    /// Bytes of one operation.
    pub(super) each_bytes: u32,
    pub(super) depth: u16,
}

/// Seconds where nobody says how long.
const SECONDS: f64 = 5.0;

/// What is asked of a volume with so many blocks.
///
/// # Errors
/// A [`Problem`] where it makes no sense.
pub(super) fn wanted(args: &BenchArgs, blocks: u64, block_bytes: u64) -> Result<Wanted, Problem> {
    let each = amount::bytes("--block", &args.block)?;
    let each_bytes = u32::try_from(each).ok();
    let each_bytes =
        each_bytes.filter(|each| *each > 0 && u64::from(*each).is_multiple_of(block_bytes.max(1)));
    let each_bytes = each_bytes.ok_or_else(|| {
        Problem::new(
            format_args!("--block {} is no operation on {}", args.block, args.volume),
            format_args!("it is no whole number of blocks of {block_bytes} bytes"),
            "give a multiple of the block: --block 4KiB",
        )
    })?;
    let range = match &args.lba {
        None => Blocks::ALL,
        Some(text) => Blocks::read("--lba", text)?,
    };
    let few = |why: String| {
        Problem::new(
            format_args!("{} cannot be measured so", args.volume),
            why,
            "give a range of its blocks that holds an operation at least: --lba 0..1000, --bytes 1MiB",
        )
    };
    let has = || format!("it has {blocks} blocks of {block_bytes} bytes, numbered from 0");
    let range = range.of(blocks).ok_or_else(|| few(has()))?;
    let mut count = range.end - range.start;
    if let Some(text) = &args.bytes {
        let most = amount::bytes("--bytes", text)? / block_bytes.max(1);
        if most > count {
            return Err(few(has()));
        }
        count = most;
    }
    let blocks_each = u64::from(each_bytes) / block_bytes.max(1);
    if count < blocks_each {
        return Err(few(format!(
            "{count} blocks are less than an operation of {blocks_each}"
        )));
    }
    let seconds = match (args.seconds, args.operations) {
        (None, None) => Some(SECONDS),
        (seconds, _) => seconds,
    };
    if seconds.is_some_and(|seconds| !(seconds > 0.0 && seconds <= 1e6)) {
        return Err(Problem::new(
            "--seconds is no time that can be measured",
            "it must be above 0, and a million at most",
            "give --seconds 10",
        ));
    }
    if args.operations == Some(0) {
        return Err(Problem::new(
            "--operations 0 measures nothing",
            "no operation tells how long one takes",
            "give --operations 1000, or --seconds 10",
        ));
    }
    Ok(Wanted {
        load: Load {
            operation: match args.rw {
                RwArg::Read => Operation::Read,
                RwArg::Write => Operation::Write,
            },
            first_lba: range.start,
            blocks: count,
            blocks_each: u32::try_from(blocks_each).unwrap_or(u32::MAX),
            order: match args.pattern {
                PatternArg::Random => Order::Random(args.seed),
                PatternArg::Sequential => Order::Sequential,
            },
            most_operations: args.operations.unwrap_or(u64::MAX),
            budget_ns: seconds.map_or(u64::MAX, |seconds| (seconds * 1e9) as u64),
        },
        each_bytes,
        depth: args.depth,
    })
}
