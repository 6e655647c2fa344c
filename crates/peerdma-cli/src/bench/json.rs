//! A measurement as data, schema `peerdma.bench/1` (docs/json.md).

use super::measure::Figures;
use super::text::{cpu_each_ns, per_second};
use super::wanted::Wanted;
use crate::args::{BenchArgs, PatternArg, RwArg};
use crate::ground::Sort;
use serde::Serialize;

/// The whole answer.
#[derive(Serialize)]
pub(super) struct Answer<'r> {
    schema: &'static str,
    machine: &'static str,
    volume: &'r str,
    rw: &'static str,
    pattern: &'static str,
    block_bytes: u32,
    depth: u16,
    polled: bool,
    first_lba: u64,
    blocks: u64,
    /// Whose memory the data lay in; nothing for RAM.
    via: &'r Option<String>,
    operations: u64,
    bytes: u64,
    took_ns: u64,
    operations_per_second: u64,
    bytes_per_second: u64,
    min_ns: Option<u64>,
    median_ns: Option<u64>,
    p99_ns: Option<u64>,
    p999_ns: Option<u64>,
    max_ns: Option<u64>,
    /// Nothing on a simulated machine.
    cpu_ns_per_operation: Option<u64>,
    ram_payload_bytes: u64,
    failure: Option<String>,
}

impl<'r> Answer<'r> {
    pub(super) fn new(args: &'r BenchArgs, wanted: &Wanted, figures: &'r Figures, sort: Sort) -> Self {
        let measured = &figures.measured;
        let latencies = &measured.latencies;
        Self {
            schema: "peerdma.bench/1",
            machine: sort.name(),
            volume: &args.volume,
            rw: match args.rw {
                RwArg::Read => "read",
                RwArg::Write => "write",
            },
            pattern: match args.pattern {
                PatternArg::Random => "random",
                PatternArg::Sequential => "sequential",
            },
            block_bytes: wanted.each_bytes,
            depth: wanted.depth,
            polled: args.polled,
            first_lba: wanted.load.first_lba,
            blocks: wanted.load.blocks,
            via: &figures.via,
            operations: measured.operations,
            bytes: measured.bytes,
            took_ns: measured.took_ns,
            operations_per_second: per_second(measured.operations, measured.took_ns),
            bytes_per_second: per_second(measured.bytes, measured.took_ns),
            min_ns: latencies.min_ns(),
            median_ns: latencies.quantile_ns(50_000),
            p99_ns: latencies.quantile_ns(99_000),
            p999_ns: latencies.quantile_ns(99_900),
            max_ns: latencies.max_ns(),
            cpu_ns_per_operation: (sort == Sort::Live).then(|| cpu_each_ns(figures)).flatten(),
            ram_payload_bytes: figures.ram_payload_bytes,
            failure: figures.trouble.as_ref().map(ToString::to_string),
        }
    }
}
