//! `peerdma route`: one pair, explained to whoever has to act on it.
//!
//! This file gathers the facts; [`drawing`] draws the way, [`text`] writes the sections ([`remedy`] has
//! the sentences of one, [`rates`] another one), [`json`] has all of it as data.

mod drawing;
mod json;
mod rates;
mod remedy;
mod text;

use crate::advice::{Advice, Missing};
use crate::args::RouteArgs;
use crate::error::Failure;
use crate::input::Machine;
use crate::report::Out;
use crate::select;
use peerdma::route::bandwidth::Estimator;
use peerdma::route::linux::{Evidence, Judge, Remedy};
use peerdma::route::{Access, Answer, Bottleneck, TlpClass};
use peerdma::topology::{NodeId, Path, Topology};
use rates::Rates;

/// One pair with all that is known about it.
struct Explanation<'m> {
    machine: &'m Machine,
    class: TlpClass,
    /// The client as named first; it accesses the provider's memory.
    there: Direction,
    /// The provider accesses the client's memory.
    back: Direction,
    links: Bottleneck,
    /// Estimates for `there` and `back`, where they are asked for.
    rates: Option<[Rates; 2]>,
    remedy: Option<Remedy>,
    advice: Vec<Advice>,
}

/// One function accesses another's memory.
struct Direction {
    client: NodeId,
    provider: NodeId,
    path: Path,
    evidence: Evidence,
}

impl Direction {
    fn new(judge: &Judge<'_>, client: NodeId, provider: NodeId, class: TlpClass) -> Self {
        Self {
            client,
            provider,
            path: Path::new(judge.topology(), client, provider),
            evidence: judge.evidence(provider, client, class),
        }
    }

    fn answer(&self, access: Access, class: TlpClass) -> Answer {
        self.evidence.verdict.answer(access, class)
    }

    fn is_itself(&self) -> bool {
        self.client == self.provider
    }

    fn is_unknown(&self, class: TlpClass) -> bool {
        Access::ALL
            .iter()
            .any(|&access| self.answer(access, class).map_type().is_none())
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] where the machine cannot be read or a name means no function.
pub(crate) fn run(args: &RouteArgs) -> Result<(), Failure> {
    let machine = Machine::open(&args.machine, args.verdict.policy)?;
    let out = Out::new(args.output);
    out.tell(&machine, &args.machine);
    let topology = &machine.topology;
    let client = select::one(topology, &args.client)?;
    let provider = select::one(topology, &args.provider)?;
    let judge = Judge::new(topology, machine.kernel);
    let explanation = Explanation::new(&machine, &judge, (client, provider), args);
    if args.output.json {
        out.print_json(&json::Answer::new(&explanation))
    } else {
        out.print(&text::write(&explanation, &out))
    }
}

impl<'m> Explanation<'m> {
    fn new(
        machine: &'m Machine,
        judge: &Judge<'m>,
        (client, provider): (NodeId, NodeId),
        args: &RouteArgs,
    ) -> Self {
        let class = TlpClass::from(args.verdict.tlp);
        let there = Direction::new(judge, client, provider, class);
        let back = Direction::new(judge, provider, client, class);
        let mut missing = Missing::default();
        for direction in [&there, &back] {
            if direction.is_unknown(class) {
                missing.add(judge, &direction.evidence, [client, provider]);
            }
        }
        let command = format!("route {} {}", args.client, args.provider);
        let rates = args.bandwidth.then(|| {
            let estimator = Estimator::new(&machine.topology);
            [&there, &back].map(|direction| Rates::new(&estimator, direction, class))
        });
        Self {
            links: links(&machine.topology, &there),
            rates,
            // Nothing travels from a function to itself, whatever ACS says.
            remedy: match there.is_itself() {
                true => None,
                false => Remedy::new(judge, &there.evidence, &back.evidence),
            },
            advice: missing.advice(machine, &command),
            machine,
            class,
            there,
            back,
        }
    }

    fn topology(&self) -> &'m Topology {
        &self.machine.topology
    }
}

/// The links that requests cross; all up to the root ports where they go through the root complex.
fn links(topology: &Topology, direction: &Direction) -> Bottleneck {
    if direction.is_itself() || !drawing::goes_up(direction) {
        return Bottleneck::new(topology, &direction.path);
    }
    let mut down: Vec<NodeId> = topology.climb(direction.provider).collect();
    down.reverse();
    let long = Path {
        up: topology.climb(direction.client).collect(),
        turn: None,
        down,
    };
    Bottleneck::new(topology, &long)
}
