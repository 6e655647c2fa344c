//! A probe as data, schema `peerdma.probe/1` (docs/json.md).

use super::session::{Account, Tried};
use super::text::promised;
use crate::ground::Sort;
use peerdma::addr::{Address, Bdf};
use peerdma::dma::PeerRoute;
use peerdma::probe::{Corruption, Figures, Outcome};
use peerdma::route::Access;
use serde::Serialize;
use std::fmt::Write as _;

/// The whole answer.
#[derive(Serialize)]
pub(super) struct Answer<'r> {
    schema: &'static str,
    machine: &'static str,
    volume: &'r str,
    initiator: Bdf,
    provider: Bdf,
    bar: u8,
    memory_at: u64,
    memory_bytes: u64,
    scratch_lba: u64,
    scratch_blocks: u64,
    block_bytes: u64,
    by_kernel: bool,
    directions: Vec<DirectionLine>,
    interrupted: bool,
    /// Why what was there is not back; nothing where it is.
    not_restored: &'r Option<String>,
    notes: &'r [String],
}

/// One direction: also a part of a record.
#[derive(Serialize)]
pub(super) struct DirectionLine {
    pub(super) access: Access,
    pub(super) promise: &'static str,
    pub(super) map_type: Option<&'static str>,
    pub(super) why_not: Option<String>,
    pub(super) spec: &'static str,
    pub(super) linux: String,
    pub(super) forced: bool,
    /// Nothing where it was not tried.
    pub(super) outcome: Option<&'static str>,
    pub(super) said: Option<String>,
    pub(super) judgement: Option<&'static str>,
    pub(super) transfers: u32,
    pub(super) unfit_transfers: u32,
    pub(super) verified_bytes: u64,
    pub(super) late_ns: u64,
    pub(super) corruption: Option<CorruptionLine>,
    pub(super) pair: Option<FiguresLine>,
    pub(super) by_ram: Option<FiguresLine>,
}

#[derive(Serialize)]
pub(super) struct CorruptionLine {
    pattern: &'static str,
    transfer_offset_bytes: u64,
    transfer_bytes: u64,
    operations: u32,
    /// Of the memory.
    first_offset_bytes: u64,
    /// Of the transfer.
    first_within_bytes: i64,
    expected: String,
    found: String,
    wrong_bytes: u64,
    guard_bytes: u64,
    looks: String,
}

#[derive(Serialize)]
pub(super) struct FiguresLine {
    latency_bytes: u32,
    min_ns: u64,
    pub(super) median_ns: u64,
    p99_ns: u64,
    bandwidth_bytes: u32,
    depth: u32,
    pub(super) bytes_per_second: Option<u64>,
}

impl<'r> Answer<'r> {
    pub(super) fn new(account: &'r Account, sort: Sort, notes: &'r [String]) -> Self {
        Self {
            schema: "peerdma.probe/1",
            machine: sort.name(),
            volume: &account.name,
            initiator: account.initiator,
            provider: account.memory.provider,
            bar: account.memory.bar,
            memory_at: account.memory.free.first().to_u64(),
            memory_bytes: account.memory.free.len_bytes().unwrap_or(u64::MAX),
            scratch_lba: account.scratch.lba,
            scratch_blocks: account.scratch.blocks,
            block_bytes: account.block_bytes,
            by_kernel: account.by_kernel,
            directions: account.tried.iter().map(DirectionLine::new).collect(),
            interrupted: account.interrupted,
            not_restored: &account.not_restored,
            notes,
        }
    }
}

impl DirectionLine {
    pub(super) fn new(one: &Tried) -> Self {
        let report = one.report.as_ref();
        let figures = report.and_then(|report| report.figures);
        Self {
            access: one.access,
            promise: promised(one.promise),
            map_type: match &one.route {
                None => Some("OWN_BAR"),
                Some(PeerRoute::Reached { map_type, .. }) => Some(map_type.name()),
                Some(PeerRoute::Refused(_)) => None,
            },
            why_not: match &one.route {
                Some(PeerRoute::Refused(why)) => Some(why.to_string()),
                _ => None,
            },
            spec: promised(one.spec),
            linux: one.linux.to_string(),
            forced: one.forced,
            outcome: report.map(|report| report.outcome.name()),
            said: report.map(|report| report.outcome.to_string()),
            judgement: one.judgement.map(|judgement| judgement.name()),
            transfers: report.map_or(0, |report| report.cases),
            unfit_transfers: report.map_or(0, |report| report.unfit),
            verified_bytes: report.map_or(0, |report| report.verified_bytes),
            late_ns: report.map_or(0, |report| report.late_ns),
            corruption: report.and_then(|report| match &report.outcome {
                Outcome::Corrupt(corruption) => Some(CorruptionLine::new(corruption)),
                _ => None,
            }),
            pair: figures.map(|[pair, _]| FiguresLine::new(&pair)),
            by_ram: figures.map(|[_, ram]| FiguresLine::new(&ram)),
        }
    }
}

impl CorruptionLine {
    fn new(corruption: &Corruption) -> Self {
        let hex = |bytes: &[u8; 16]| {
            let mut text = String::new();
            for byte in bytes.iter().take(corruption.len.into()) {
                let _ = write!(text, "{byte:02x}");
            }
            text
        };
        Self {
            pattern: corruption.case.pattern.name(),
            transfer_offset_bytes: corruption.case.offset_bytes,
            transfer_bytes: corruption.case.total_bytes(),
            operations: corruption.case.operations,
            first_offset_bytes: corruption.offset_bytes,
            first_within_bytes: corruption.within_bytes,
            expected: hex(&corruption.expected),
            found: hex(&corruption.found),
            wrong_bytes: corruption.wrong_bytes,
            guard_bytes: corruption.guard_bytes,
            looks: corruption.looks.to_string(),
        }
    }
}

impl FiguresLine {
    fn new(figures: &Figures) -> Self {
        Self {
            latency_bytes: figures.latency_bytes,
            min_ns: figures.min_ns,
            median_ns: figures.median_ns,
            p99_ns: figures.p99_ns,
            bandwidth_bytes: figures.bandwidth_bytes,
            depth: figures.depth,
            bytes_per_second: figures.bytes_per_second(),
        }
    }
}
