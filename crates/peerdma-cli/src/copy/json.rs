//! A copy as data, schema `peerdma.copy/1` (docs/json.md).

use super::account::{Account, Ended, SlotAddress};
use super::request::Request;
use super::{Report, text, unasked, verdict};
use crate::ground::{LinkTraffic, Names, Sort};
use peerdma::addr::{Address, Bdf};
use peerdma::engine::Check;
use peerdma::plan::{Crossing, Method, NoPlan, Rejected};
use peerdma::route::Access;
use peerdma_linux::ring::NOBODY;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

/// The whole answer.
#[derive(Serialize)]
pub(super) struct Answer<'r> {
    schema: &'static str,
    machine: &'static str,
    source: &'r str,
    destination: &'r str,
    bytes: u64,
    source_offset: u64,
    destination_offset: u64,
    copied_bytes: u64,
    done_bytes: u64,
    host_ram_bytes: u64,
    queue_bytes: Option<u64>,
    verified: bool,
    interrupted: bool,
    forced: bool,
    plan: PlanLine,
    /// Nothing where nobody counts.
    links: Option<Vec<LinkLine>>,
    simulated_seconds: Option<f64>,
    bytes_per_second: u64,
    host_seconds: f64,
    /// Nothing on a simulated machine.
    cpu_seconds: Option<f64>,
    via_ram: Option<RamLine>,
    failure: Option<FailureLine>,
    mismatch: Option<MismatchLine>,
    beliefs: &'r [String],
    notes: &'r [String],
}

#[derive(Serialize)]
struct PlanLine {
    kind: &'static str,
    method: &'static str,
    crossings: Vec<CrossingLine>,
    arrival: &'static str,
    bytes_per_second_estimated: Option<u64>,
    chunk_bytes: u32,
    slots: u32,
    /// Why they are fewer or smaller than usual.
    fitted: Option<String>,
    slots_at: u64,
    completion_queue_at: Option<u64>,
    rejected: Vec<RejectedLine>,
}

#[derive(Serialize)]
struct CrossingLine {
    /// Nothing where no function moves the data: the kernel's processor does.
    initiator: Option<Bdf>,
    /// Nothing for RAM.
    provider: Option<Bdf>,
    operation: &'static str,
    map_type: &'static str,
    /// What the initiator is told of the first slot.
    address: Option<u64>,
    address_space: Option<&'static str>,
    forced: Option<String>,
}

#[derive(Serialize)]
struct RejectedLine {
    kind: &'static str,
    method: &'static str,
    via: Option<Bdf>,
    reason: String,
}

#[derive(Serialize)]
struct LinkLine {
    port: Bdf,
    device: Option<Bdf>,
    up_bytes: u64,
    down_bytes: u64,
}

#[derive(Serialize)]
struct RamLine {
    copied_bytes: u64,
    host_ram_bytes: u64,
    simulated_seconds: f64,
    bytes_per_second: u64,
    host_seconds: f64,
}

#[derive(Serialize)]
struct FailureLine {
    end: &'static str,
    step: String,
    offset: u64,
    lba: u64,
    what: String,
}

#[derive(Serialize)]
struct MismatchLine {
    offset: u64,
    lba: u64,
    expected: String,
    found: String,
}

impl<'r> Answer<'r> {
    pub(super) fn new(report: &Report<'r>) -> Self {
        let Report { request, account, .. } = report;
        let Account {
            plan,
            counts,
            traffic,
            ..
        } = account;
        Self {
            schema: "peerdma.copy/1",
            machine: report.sort.name(),
            source: &request.source.name,
            destination: &request.destination.name,
            bytes: request.len_bytes,
            source_offset: request.source_offset,
            destination_offset: request.destination_offset,
            copied_bytes: counts.written_bytes,
            done_bytes: counts.durable_bytes,
            host_ram_bytes: traffic.ram_payload_bytes,
            queue_bytes: traffic.ram_queue_bytes,
            verified: report.is_verified(),
            interrupted: report.is_interrupted(),
            forced: plan.is_forced(),
            plan: PlanLine::new(report),
            links: (traffic.links.as_ref()).map(|links| links.iter().map(LinkLine::new).collect()),
            simulated_seconds: match report.sort {
                Sort::Simulated => Some(account.took.as_secs_f64()),
                Sort::Live => None,
            },
            bytes_per_second: text::rate(counts.written_bytes, account.took),
            host_seconds: account.host.as_secs_f64(),
            cpu_seconds: match report.sort {
                Sort::Simulated => None,
                Sort::Live => Some(account.cpu.as_secs_f64()),
            },
            via_ram: report.by_ram.map(RamLine::new),
            failure: match (&account.ended, &account.check) {
                (Ended::Failed(failure), _) | (_, Some(Check::Failed(failure))) => Some(FailureLine {
                    end: failure.end.name(),
                    step: failure.step.to_string(),
                    offset: failure.offset_bytes,
                    lba: failure.lba,
                    what: failure.trouble.to_string(),
                }),
                (Ended::Whole | Ended::Interrupted, _) => None,
            },
            mismatch: match &account.check {
                Some(Check::Differs(mismatch)) => {
                    let (expected, found) = verdict::samples(mismatch);
                    Some(MismatchLine {
                        offset: mismatch.offset_bytes,
                        lba: mismatch.lba,
                        expected,
                        found,
                    })
                }
                _ => None,
            },
            beliefs: report.beliefs,
            notes: report.notes,
        }
    }
}

impl PlanLine {
    fn new(report: &Report<'_>) -> Self {
        let Account { plan, addresses, .. } = report.account;
        let layout = &plan.layout;
        Self {
            kind: plan.kind().name(),
            method: plan.method.name(),
            crossings: plan
                .crossings
                .iter()
                .zip(*addresses)
                .map(CrossingLine::new)
                .collect(),
            arrival: plan.arrival().name(),
            bytes_per_second_estimated: plan.cost.bytes_per_second().filter(|rate| *rate != u64::MAX),
            chunk_bytes: layout.chunk_bytes,
            slots: layout.slots,
            fitted: report.request.fitted.clone(),
            slots_at: layout.slots_at.to_u64(),
            completion_queue_at: layout.completion_queue.map(|queue| queue.first().to_u64()),
            rejected: rejected_lines(&plan.rejected, report.names, report.request),
        }
    }
}

impl CrossingLine {
    fn new((crossing, address): (&Crossing, Option<SlotAddress>)) -> Self {
        Self {
            initiator: Some(crossing.initiator).filter(|bdf| *bdf != NOBODY),
            provider: crossing.provider,
            operation: match crossing.operation {
                Access::Read => "read",
                Access::Write => "write",
            },
            map_type: crossing.reach.memory_kind().name(),
            address: address.map(|address| address.addr),
            address_space: address.map(SlotAddress::space_name),
            forced: crossing.forced.map(|refused| refused.to_string()),
        }
    }
}

impl RejectedLine {
    fn new(rejected: &Rejected, names: Names<'_>, request: &Request) -> Self {
        Self {
            kind: rejected.method.kind().name(),
            method: rejected.method.name(),
            via: match rejected.method {
                Method::ThirdParty(bdf) => Some(bdf),
                _ => None,
            },
            reason: unasked::reason(names, request, rejected),
        }
    }
}

impl LinkLine {
    fn new(link: &LinkTraffic) -> Self {
        Self {
            port: link.port,
            device: link.device,
            up_bytes: link.up_bytes,
            down_bytes: link.down_bytes,
        }
    }
}

impl RamLine {
    fn new(account: &Account) -> Self {
        let copied = account.counts.written_bytes;
        let seconds = Duration::as_secs_f64;
        Self {
            copied_bytes: copied,
            host_ram_bytes: account.traffic.ram_payload_bytes,
            simulated_seconds: seconds(&account.took),
            bytes_per_second: text::rate(copied, account.took),
            host_seconds: seconds(&account.host),
        }
    }
}

/// The ways that are not possible, where there is no plan.
pub(super) fn rejected_of(why: &NoPlan, names: Names<'_>, request: &Request) -> Option<Value> {
    let lines = rejected_lines(why.rejected(), names, request);
    if lines.is_empty() {
        return None;
    }
    serde_json::to_value(lines).ok()
}

fn rejected_lines(rejected: &[Rejected], names: Names<'_>, request: &Request) -> Vec<RejectedLine> {
    let line = |rejected| RejectedLine::new(rejected, names, request);
    rejected.iter().map(line).collect()
}
