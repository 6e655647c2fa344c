//! How a request or a completion travelled: what it crossed, what was decided, where it ended.

use super::Run;
use crate::names;
use peerdma::addr::Bdf;
use peerdma_sim::fabric::{Direction, End, FunctionId, Leg, LinkId, Route, Where, Why};
use serde::Serialize;

/// A way in words.
#[derive(Serialize)]
pub(super) struct Way {
    /// What it crossed, in the order of travel.
    pub(super) crossed: Vec<String>,
    /// What was decided, in the order of travel.
    pub(super) decisions: Vec<String>,
    pub(super) ended: Ended,
}

/// Where it ended.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ended {
    /// At this place.
    At(String),
    /// Lost.
    Lost {
        /// Where.
        at: String,
        /// Why.
        why: &'static str,
    },
}

impl Way {
    pub(super) fn new(run: &Run<'_>, route: &Route) -> Self {
        Self {
            crossed: route.legs.iter().map(|leg| crossed(run, *leg)).collect(),
            decisions: route.notes.iter().map(ToString::to_string).collect(),
            ended: match route.end {
                End::Function {
                    function,
                    bar,
                    offset,
                } => Ended::At(format!("{} BAR {bar} + {offset:#x}", called(run, function))),
                End::Ram { phys } => Ended::At(format!("RAM {phys:#x}")),
                End::Interrupt => Ended::At("the processor, as an interrupt".into()),
                End::Requester => Ended::At("its requester".into()),
                End::Lost(loss) => Ended::Lost {
                    at: place(run, loss.at),
                    why: why(loss.why),
                },
            },
        }
    }
}

/// What people call a function.
pub(super) fn called(run: &Run<'_>, function: FunctionId) -> String {
    spoken(run, run.machine.fabric().function(function).bdf)
}

/// What people call the function at an address.
pub(super) fn spoken(run: &Run<'_>, bdf: Bdf) -> String {
    let topology = &run.shown.topology;
    match topology.find(bdf) {
        Some(node) => names::spoken(topology.function(node)),
        None => bdf.to_string(),
    }
}

/// Port and device of a link.
pub(super) fn ends(run: &Run<'_>, link: LinkId) -> (String, Option<String>) {
    let view = run.machine.fabric().link(link);
    (
        called(run, view.port),
        view.device.map(|device| called(run, device)),
    )
}

pub(super) fn place(run: &Run<'_>, place: Where) -> String {
    match place {
        Where::Function(function) => called(run, function),
        Where::HostBridge { domain, bus } => format!("the root complex (host bridge {domain:04x}:{bus:02x})"),
        Where::Iommu => "the IOMMU".into(),
        Where::Nowhere => "nowhere".into(),
    }
}

pub(super) fn why(why: Why) -> &'static str {
    match why {
        Why::MasterDisabled => "bus-master enable is clear",
        Why::NoSuchRequester => "no function has its requester ID",
        Why::AcsViolation => "ACS violation",
        Why::UnsupportedRequest => "unsupported request",
        Why::MalformedTlp => "malformed packet: larger than MPS",
        Why::UnexpectedCompletion => "unexpected completion",
        Why::IommuFault => "IOMMU fault",
        Why::NotForwarded => "not forwarded from device to device",
        Why::LinkDown => "the link is down, or the function is gone",
        Why::CompleterAbort => "completer abort",
        Why::CompletionTimeout => "completion timeout",
        Why::Poisoned => "poisoned data",
        _ => "lost",
    }
}

fn crossed(run: &Run<'_>, leg: Leg) -> String {
    let fabric = run.machine.fabric();
    match leg {
        Leg::Link { link, direction } => {
            let view = fabric.link(link);
            match direction {
                Direction::Up => format!("up to {}", called(run, view.port)),
                Direction::Down => match view.device {
                    Some(device) => format!("down to {}", called(run, device)),
                    None => format!("down from {}", called(run, view.port)),
                },
            }
        }
        Leg::Switch { upstream_port } => format!("inside {}", called(run, upstream_port)),
        Leg::RootComplex => "root complex".into(),
        Leg::ConventionalBus { bridge } => format!("bus below {}", called(run, bridge)),
    }
}
