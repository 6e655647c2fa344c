//! A script's run as data, schema `peerdma.simulate/1` (docs/json.md).

use super::Run;
use super::way::{self, Way};
use crate::describe::MachineLine;
use peerdma::addr::Bdf;
use peerdma_sim::machine::{Carried, Traffic};
use peerdma_sim::script::{Fates, Form, Moved, Told};
use peerdma_sim::tlp::Access;
use serde::Serialize;

/// The whole answer.
#[derive(Serialize)]
pub(super) struct Answer<'r> {
    schema: &'static str,
    machine: MachineLine<'r>,
    script: &'r str,
    as_expected: bool,
    ended_ps: u64,
    lost_packets: u64,
    refused_writes: u64,
    transfers: Vec<TransferLine<'r>>,
    links: Vec<LinkLine>,
    conventional_buses: Vec<BusLine>,
    ram: CarriedLine,
}

#[derive(Serialize)]
struct TransferLine<'r> {
    name: Option<&'r str>,
    from: &'r str,
    to: &'r str,
    bytes: u64,
    by: Bdf,
    access: &'static str,
    class: &'static str,
    address_form: &'static str,
    address: u64,
    started_ps: u64,
    ended_ps: u64,
    bytes_per_second: Option<u64>,
    became: &'static str,
    says: SaysLine,
    expected: Option<&'static str>,
    as_expected: bool,
    intact_bytes: u64,
    lost_bytes: u64,
    all_ones_bytes: u64,
    wrong_bytes: u64,
    ranges: Vec<RangeLine>,
    further_ranges: u64,
    request: Way,
    completion: Option<Way>,
    first_loss: Option<LossLine>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum SaysLine {
    Success,
    Error { what: &'static str, good_bytes: u64 },
    Nothing,
}

#[derive(Serialize)]
struct RangeLine {
    offset: u64,
    len_bytes: u64,
    became: &'static str,
}

#[derive(Serialize)]
struct LossLine {
    time_ps: u64,
    address: u64,
    at: String,
    why: &'static str,
}

#[derive(Serialize)]
struct LinkLine {
    port: Bdf,
    device: Option<Bdf>,
    up: CarriedLine,
    down: CarriedLine,
}

#[derive(Serialize)]
struct BusLine {
    bridge: Bdf,
    carried: CarriedLine,
}

#[derive(Serialize)]
struct CarriedLine {
    payload: TrafficLine,
    queue: TrafficLine,
    dllp_bytes: u64,
    busy_ps: u64,
}

#[derive(Serialize)]
struct TrafficLine {
    packets: u64,
    bytes: u64,
    data_bytes: u64,
}

impl<'r> Answer<'r> {
    pub(super) fn new(run: &'r Run<'r>) -> Self {
        let report = run.report;
        let fabric = run.machine.fabric();
        let bdf = |function| fabric.function(function).bdf;
        let links = report.counters.links.iter().map(|link| {
            let view = fabric.link(link.link);
            LinkLine {
                port: bdf(view.port),
                device: view.device.map(bdf),
                up: CarriedLine::new(&link.up),
                down: CarriedLine::new(&link.down),
            }
        });
        let buses = report.counters.conventional.iter();
        Self {
            schema: "peerdma.simulate/1",
            machine: MachineLine::new(run.shown),
            script: run.script_name,
            as_expected: report.is_as_expected(),
            ended_ps: report.ended.as_ps(),
            lost_packets: report.lost_tlps,
            refused_writes: report.refused_writes,
            transfers: report
                .transfers
                .iter()
                .map(|moved| transfer(run, moved))
                .collect(),
            links: links.collect(),
            conventional_buses: buses
                .map(|(bridge, carried)| BusLine {
                    bridge: bdf(*bridge),
                    carried: CarriedLine::new(carried),
                })
                .collect(),
            ram: CarriedLine::new(&report.counters.ram),
        }
    }
}

impl CarriedLine {
    fn new(carried: &Carried) -> Self {
        let traffic = |traffic: &Traffic| TrafficLine {
            packets: traffic.tlps,
            bytes: traffic.bytes,
            data_bytes: traffic.data_bytes,
        };
        Self {
            payload: traffic(&carried.payload),
            queue: traffic(&carried.queue),
            dllp_bytes: carried.dllp_bytes,
            busy_ps: carried.busy_ps,
        }
    }
}

fn transfer<'r>(run: &Run<'_>, moved: &'r Moved) -> TransferLine<'r> {
    let fates: &Fates = &moved.fates;
    TransferLine {
        name: moved.name.as_deref(),
        from: &moved.from,
        to: &moved.to,
        bytes: moved.bytes,
        by: moved.by,
        access: match moved.access {
            Access::Read => "read",
            Access::Write => "write",
        },
        class: moved.class.word(),
        address_form: match moved.form {
            Form::Bus => "bus",
            Form::Host => "host",
        },
        address: moved.address,
        started_ps: moved.started.as_ps(),
        ended_ps: moved.ended.as_ps(),
        bytes_per_second: moved.bytes_per_second(),
        became: fates.whole().word(),
        says: match moved.told {
            Told::Success => SaysLine::Success,
            Told::Error { what, good_bytes } => SaysLine::Error { what, good_bytes },
            Told::Nothing => SaysLine::Nothing,
        },
        expected: moved.expected.map(|expected| expected.word()),
        as_expected: moved.is_as_expected(),
        intact_bytes: fates.intact_bytes,
        lost_bytes: fates.lost_bytes,
        all_ones_bytes: fates.all_ones_bytes,
        wrong_bytes: fates.wrong_bytes,
        ranges: (fates.ranges.iter())
            .map(|range| RangeLine {
                offset: range.offset,
                len_bytes: range.len_bytes,
                became: range.fate.word(),
            })
            .collect(),
        further_ranges: fates.further_ranges,
        request: Way::new(run, &moved.request),
        completion: moved.completion.as_ref().map(|route| Way::new(run, route)),
        first_loss: moved.first_loss.map(|lost| LossLine {
            time_ps: lost.time.as_ps(),
            address: lost.request.address,
            at: way::place(run, lost.loss.at),
            why: way::why(lost.loss.why),
        }),
    }
}
