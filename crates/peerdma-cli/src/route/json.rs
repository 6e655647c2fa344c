//! The explanation as data, schema `peerdma.route/1` (docs/json.md).

use super::idle::{self, Idle};
use super::records::Record;
use super::{Direction, Explanation};
use crate::advice::Advice;
use crate::answer::{AnswerLine, PoliciesLine};
use crate::describe::{FunctionLine, MachineLine};
use crate::rates::{Rate, RatesLine};
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::pci::Acs;
use peerdma::route::linux::{Effect, Gate, Reason, Remedy, Side};
use peerdma::route::{Access, Bottleneck, spec};
use peerdma::snapshot::{BarFacts, IommuGroup, P2pmem};
use peerdma::topology::{NodeId, Topology};
use serde::Serialize;

/// The whole answer.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    schema: &'static str,
    machine: MachineLine<'a>,
    policy: &'static str,
    tlp: &'static str,
    client: End<'a>,
    provider: End<'a>,
    /// The client accesses the provider's memory, then the other way round.
    directions: [DirectionLine<'a>; 2],
    links: &'a Bottleneck,
    unknown: &'a [Advice],
    remedy: &'a Option<Remedy>,
    /// What is off because nothing runs the devices, and what the specification would say once it is on.
    idle: Option<idle::Line<'a>>,
    /// What probes have seen, where their records were given: the verdict does not depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    records: &'a Option<Vec<Record>>,
}

/// A function and its memory.
#[derive(Serialize)]
struct End<'a> {
    #[serde(flatten)]
    function: FunctionLine<'a>,
    bars: Fact<Vec<BarFacts>>,
    p2pmem: Fact<Option<P2pmem>>,
    iommu_group: &'a Fact<Option<IommuGroup>>,
}

#[derive(Serialize)]
struct DirectionLine<'a> {
    client: Bdf,
    provider: Bdf,
    read: AnswerLine,
    write: AnswerLine,
    raw_distance: Option<u32>,
    reason: Reason,
    hops: Vec<HopLine<'a>>,
    /// What the root complex was asked; nothing where requests turn below it.
    root_complex: &'a Option<Gate>,
    /// What each judge says.
    policies: PoliciesLine,
    /// What the specification's answers stand on.
    spec: SpecLine<'a>,
    /// Estimates, where they are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    bandwidth: Option<RatesAndBest>,
}

/// What the specification's answers stand on.
#[derive(Serialize)]
struct SpecLine<'a> {
    read: SpecEvidence<'a>,
    write: SpecEvidence<'a>,
}

#[derive(Serialize)]
struct SpecEvidence<'a> {
    bar: Option<u8>,
    reason: spec::Reason,
    bus_form: &'a spec::Fate,
    host_form: &'a Option<spec::Fate>,
}

impl<'a> SpecEvidence<'a> {
    fn new(evidence: &'a spec::Evidence) -> Self {
        Self {
            bar: evidence.bar,
            reason: evidence.reason,
            bus_form: &evidence.bus_form,
            host_form: &evidence.host_form,
        }
    }
}

/// What the links let through now, and at their best.
#[derive(Serialize)]
struct RatesAndBest {
    now: RatesLine,
    best: RatesLine,
}

#[derive(Serialize)]
struct HopLine<'a> {
    bdf: Bdf,
    side: Side,
    effect: Effect,
    decides: bool,
    acs: Option<&'a Fact<Option<Acs>>>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(explanation: &'a Explanation<'a>) -> Self {
        let topology = explanation.topology();
        let direction = |index: usize, direction: &'a Direction| DirectionLine {
            client: topology.function(direction.client).bdf,
            provider: topology.function(direction.provider).bdf,
            read: AnswerLine::new(&direction.verdict, Access::Read, explanation.class),
            write: AnswerLine::new(&direction.verdict, Access::Write, explanation.class),
            raw_distance: direction.evidence.verdict.raw_distance(),
            reason: direction.evidence.reason,
            hops: hops(topology, direction),
            root_complex: &direction.evidence.gate,
            policies: PoliciesLine::new(&direction.verdicts, explanation.class),
            spec: SpecLine {
                read: SpecEvidence::new(&direction.spec[0]),
                write: SpecEvidence::new(&direction.spec[1]),
            },
            bandwidth: explanation
                .rates
                .as_ref()
                .and_then(|rates| rates.get(index))
                .map(|rates| RatesAndBest {
                    now: line(&rates.now),
                    best: line(&rates.best),
                }),
        };
        Self {
            schema: "peerdma.route/1",
            machine: MachineLine::new(explanation.machine),
            policy: explanation.policy.name(),
            tlp: explanation.class.name(),
            client: end(topology, explanation.there.client),
            provider: end(topology, explanation.there.provider),
            directions: [direction(0, &explanation.there), direction(1, &explanation.back)],
            links: &explanation.links,
            unknown: &explanation.advice,
            remedy: &explanation.remedy,
            idle: explanation.idle.as_ref().map(Idle::line),
            records: &explanation.records,
        }
    }
}

fn line(rates: &[Rate; 2]) -> RatesLine {
    let [read, write] = rates;
    RatesLine {
        read: read.line(),
        write: write.line(),
    }
}

fn hops<'a>(topology: &'a Topology, direction: &'a Direction) -> Vec<HopLine<'a>> {
    let line = |hop: &peerdma::route::linux::Hop| HopLine {
        bdf: hop.bdf,
        side: hop.side,
        effect: hop.effect,
        decides: hop.decides,
        acs: topology
            .find(hop.bdf)
            .map(|node| &topology.function(node).config.acs),
    };
    direction.evidence.hops.iter().map(line).collect()
}

fn end(topology: &Topology, node: NodeId) -> End<'_> {
    let function = topology.function(node);
    End {
        function: FunctionLine::new(function),
        bars: function.bars(),
        p2pmem: function.os.p2pmem,
        iommu_group: &function.os.iommu_group,
    }
}
