//! `peerdma route`: one pair, explained to whoever has to act on it.
//!
//! This file gathers the facts; [`drawing`] draws the way, [`text`] writes the sections ([`headlines`] the
//! first sentences, [`remedy`] has
//! the sentences of one, [`rates`] those of another, [`opinions`] and [`steps`] what other judges
//! say), [`idle`] has what is switched off, [`records`] has what probes have seen, [`json`] has all of it as data.

mod drawing;
mod headlines;
mod idle;
mod json;
mod opinions;
mod rates;
mod records;
mod remedy;
mod steps;
mod text;

use crate::advice::{Advice, Lacking, Missing};
use crate::args::{Policy, RouteArgs};
use crate::error::Failure;
use crate::input::Machine;
use crate::judges::Judges;
use crate::report::Out;
use crate::select;
use idle::Idle;
use peerdma::route::bandwidth::Estimator;
use peerdma::route::linux::{Evidence, Judge, Kernel, Remedy};
use peerdma::route::{Access, Answer, Bottleneck, MapType, TlpClass, Verdict, spec};
use peerdma::topology::{NodeId, Path, Topology};
use rates::Rates;
use records::Record;

/// One pair with all that is known about it.
struct Explanation<'m> {
    machine: &'m Machine,
    policy: Policy,
    class: TlpClass,
    /// The Linux that stands beside the others: the machine's own where the rewrite alone was asked for.
    linux: Kernel,
    /// The client as named first; it accesses the provider's memory.
    there: Direction,
    /// The provider accesses the client's memory.
    back: Direction,
    links: Bottleneck,
    /// Estimates for `there` and `back`, where they are asked for.
    rates: Option<[Rates; 2]>,
    remedy: Option<Remedy>,
    /// What is off because nothing runs the devices.
    idle: Option<Idle>,
    advice: Vec<Advice>,
    /// What probes have seen, where their records were given.
    records: Option<Vec<Record>>,
}

/// One function accesses another's memory.
struct Direction {
    client: NodeId,
    provider: NodeId,
    path: Path,
    evidence: Evidence,
    /// What Linux, the rewrite and the specification say.
    verdicts: [Verdict; 3],
    /// What the specification's answer stands on, for reading and for writing.
    spec: [spec::Evidence; 2],
    /// The verdict that the policy asks for.
    verdict: Verdict,
}

impl Direction {
    fn new(
        judge: &Judge<'_>,
        judges: &Judges<'_>,
        (client, provider): (NodeId, NodeId),
        (policy, class): (Policy, TlpClass),
    ) -> Self {
        let evidence = judge.evidence(provider, client, class);
        let verdicts = judges.verdicts(provider, client);
        Self {
            client,
            provider,
            path: Path::new(judge.topology(), client, provider),
            verdict: match policy {
                Policy::Spec => judges.spec.verdict(provider, client),
                Policy::Linux | Policy::Next | Policy::All => evidence.verdict,
            },
            evidence,
            verdicts,
            spec: Access::ALL.map(|access| judges.spec.evidence(provider, client, access, class)),
        }
    }

    /// What the judge says that the policy names.
    fn answer(&self, access: Access, class: TlpClass) -> Answer {
        self.verdict.answer(access, class)
    }

    /// What the Linux says that was asked.
    fn linux_answer(&self, access: Access, class: TlpClass) -> Answer {
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
    let mut explanation = Explanation::new(&machine, &judge, (client, provider), args);
    explanation.records = records::of(args, &machine, (client, provider))?;
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
        let policy = args.verdict.policy;
        let judges = Judges::new(machine);
        let there = Direction::new(judge, &judges, (client, provider), (policy, class));
        let back = Direction::new(judge, &judges, (provider, client), (policy, class));
        let (mut missing, mut lacking) = (Missing::default(), Lacking::default());
        for direction in [&there, &back] {
            if policy != Policy::Spec && direction.is_unknown(class) {
                missing.add(judge, &direction.evidence, [client, provider]);
            }
            if !matches!(policy, Policy::Spec | Policy::All) {
                continue;
            }
            for evidence in &direction.spec {
                if let spec::Reason::Unknown { at, missing } = evidence.reason {
                    lacking.add(at, missing);
                }
            }
        }
        let command = match policy {
            Policy::Spec | Policy::All => {
                format!(
                    "route {} {} --policy {}",
                    args.client,
                    args.provider,
                    policy.name()
                )
            }
            Policy::Linux | Policy::Next => format!("route {} {}", args.client, args.provider),
        };
        let mut advice = missing.advice(machine, &command);
        advice.extend(lacking.advice(machine, &command));
        let rates = args.bandwidth.then(|| {
            let estimator = Estimator::new(&machine.topology);
            [&there, &back].map(|direction| Rates::new(&estimator, direction, class))
        });
        Self {
            links: links(&machine.topology, &there, policy, class),
            rates,
            // Nothing travels from a function to itself, whatever ACS says.
            remedy: match there.is_itself() || policy == Policy::Spec {
                true => None,
                false => Remedy::new(judge, &there.evidence, &back.evidence),
            },
            idle: Idle::of(&machine.topology, &there, class),
            advice,
            records: None,
            machine,
            policy,
            class,
            linux: judges.linux.kernel(),
            there,
            back,
        }
    }

    fn topology(&self) -> &'m Topology {
        &self.machine.topology
    }
}

/// The links that requests cross; all up to the root ports where they go through the root complex.
fn links(topology: &Topology, direction: &Direction, policy: Policy, class: TlpClass) -> Bottleneck {
    let goes_up = match policy {
        Policy::Spec => Access::ALL
            .iter()
            .any(|&access| direction.answer(access, class).map_type() == Some(MapType::ThruHostBridge)),
        Policy::Linux | Policy::Next | Policy::All => drawing::goes_up(direction),
    };
    if direction.is_itself() || !goes_up {
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
