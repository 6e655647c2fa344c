//! `peerdma check`: pairs that must reach each other, for scripts and CI.

use crate::args::{CheckArgs, Policy, Requirement};
use crate::describe::MachineLine;
use crate::error::{Failure, Problem, unless_unread};
use crate::input::Machine;
use crate::judges::Judge;
use crate::reason;
use crate::report::Out;
use crate::select::{self, Selector};
use crate::style::Tone;
use peerdma::addr::Bdf;
use peerdma::route::{Access, Answer, MapType, TlpClass};
use peerdma::topology::{NodeId, Topology};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

/// Pairs that one run takes on at most.
const MOST_PAIRS: usize = 1_000_000;
/// The longest file of pairs that is read.
const MOST_PAIRS_BYTES: u64 = 64 << 20;

/// Something is blocked.
const BLOCKED: u8 = 1;
/// Nothing is blocked, something is unknown.
const UNKNOWN: u8 = 5;

/// What became of one pair in one direction; the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Outcome {
    Ok,
    Unknown,
    Fail,
}

impl Outcome {
    fn word(self) -> (&'static str, Tone) {
        match self {
            Self::Ok => ("OK", Tone::Good),
            Self::Unknown => ("UNKNOWN", Tone::Doubt),
            Self::Fail => ("FAIL", Tone::Bad),
        }
    }
}

/// One line of the answer.
#[derive(Serialize)]
struct Line {
    outcome: Outcome,
    client: Bdf,
    client_name: String,
    provider: Bdf,
    provider_name: String,
    read: Option<MapType>,
    write: Option<MapType>,
    distance: Option<i64>,
    reason: String,
}

/// Runs the command; the exit code tells the worst outcome.
///
/// # Errors
/// [`Failure`] where the machine cannot be read or no pair is meant.
pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    if args.verdict.policy == Policy::All {
        return Err(Failure::Bad(Problem::new(
            "--policy all gives three answers, and a check needs one",
            "the exit code says whether the pairs reach each other",
            "name the policy that counts: linux, next or spec",
        )));
    }
    let machine = Machine::open(&args.machine, args.verdict.policy)?;
    let out = Out::new(args.output);
    out.tell(&machine, &args.machine);
    let mut pairs = pairs(&machine.topology, args)?;
    if !args.one_way {
        pairs = pairs.iter().flat_map(|&(a, b)| [(a, b), (b, a)]).collect();
    }
    let mut seen = std::collections::BTreeSet::new();
    pairs.retain(|&pair| seen.insert(pair));
    let judge = Judge::new(&machine, args.verdict.policy);
    let lines: Vec<Line> = pairs
        .iter()
        .map(|&(client, provider)| judged(&judge, client, provider, args))
        .collect();
    let worst = lines.iter().map(|line| line.outcome).max().unwrap_or(Outcome::Ok);
    if args.output.json {
        unless_unread(out.print_json(&answer(&machine, args.verdict.policy, worst, &lines)))?;
    } else {
        unless_unread(out.print(&text(&lines, &out)))?;
    }
    Ok(match worst {
        Outcome::Ok => ExitCode::SUCCESS,
        Outcome::Fail => ExitCode::from(BLOCKED),
        Outcome::Unknown => ExitCode::from(UNKNOWN),
    })
}

fn answer<'a>(
    machine: &'a Machine,
    policy: Policy,
    outcome: Outcome,
    lines: &'a [Line],
) -> impl Serialize + 'a {
    #[derive(Serialize)]
    struct Answer<'a> {
        schema: &'static str,
        machine: MachineLine<'a>,
        policy: &'static str,
        outcome: Outcome,
        pairs: &'a [Line],
    }
    Answer {
        schema: "peerdma.check/1",
        machine: MachineLine::new(machine),
        policy: policy.name(),
        outcome,
        pairs: lines,
    }
}

fn text(lines: &[Line], out: &Out) -> String {
    let mut text = String::new();
    let name = |bdf: Bdf, name: &str| {
        if name.is_empty() {
            bdf.to_string()
        } else {
            format!("{name} {bdf}")
        }
    };
    for line in lines {
        let (word, tone) = line.outcome.word();
        let map_type = match line.read == line.write {
            true => map_type(line.read).to_owned(),
            false => format!("{}/{}", map_type(line.read), map_type(line.write)),
        };
        let distance = line
            .distance
            .map_or_else(|| "?".into(), |distance| distance.to_string());
        let _ = writeln!(
            text,
            "{}\t{}\t{}\t{map_type}\t{distance}\t{}",
            out.palette.paint(tone, word),
            name(line.client, &line.client_name),
            name(line.provider, &line.provider_name),
            line.reason
        );
    }
    text
}

fn map_type(map_type: Option<MapType>) -> &'static str {
    map_type.map_or("UNKNOWN", MapType::name)
}

/// Judges one direction: reading and writing must both be possible.
fn judged(judge: &Judge<'_>, client: NodeId, provider: NodeId, args: &CheckArgs) -> Line {
    let class = TlpClass::from(args.verdict.tlp);
    let verdict = judge.verdict(provider, client);
    let answers = Access::ALL.map(|access| verdict.answer(access, class));
    let outcome = answers.map(|answer| outcome(answer, args)).into_iter().max();
    let outcome = outcome.unwrap_or(Outcome::Unknown);
    let mut reason = match judge {
        Judge::Linux(judge) => reason::in_short(judge, client, provider, class),
        Judge::Spec(judge) => reason::of_spec(judge, client, provider, class),
    };
    match outcome {
        Outcome::Unknown if answers.iter().all(|answer| answer.surely_reached()) => {
            reason.push_str("; reached either way");
        }
        Outcome::Fail if answers.iter().all(|answer| !answer.surely_refused()) => {
            reason.push_str("; --require direct wants BUS_ADDR");
        }
        _ => {}
    }
    let function = |node| judge.topology().function(node);
    let name = |node| {
        crate::names::kernel_name(function(node))
            .unwrap_or_default()
            .to_owned()
    };
    Line {
        outcome,
        client: function(client).bdf,
        client_name: name(client),
        provider: function(provider).bdf,
        provider_name: name(provider),
        read: answers[0].map_type(),
        write: answers[1].map_type(),
        distance: verdict.distance(answers[0]),
        reason,
    }
}

fn outcome(answer: Answer, args: &CheckArgs) -> Outcome {
    match (args.require, answer.map_type()) {
        (_, Some(MapType::NotSupported)) => Outcome::Fail,
        (_, Some(MapType::BusAddr)) => Outcome::Ok,
        (Requirement::Any, Some(MapType::ThruHostBridge)) => Outcome::Ok,
        (Requirement::Direct, Some(MapType::ThruHostBridge)) => Outcome::Fail,
        (Requirement::Any, None) if args.any_route && answer.surely_reached() => Outcome::Ok,
        (Requirement::Direct, None) if !answer.allows(MapType::BusAddr) => Outcome::Fail,
        (_, None) => Outcome::Unknown,
    }
}

/// The pairs that the options name, as (A, B).
fn pairs(topology: &Topology, args: &CheckArgs) -> Result<Vec<(NodeId, NodeId)>, Problem> {
    let pairs = match (&args.pairs, &args.between) {
        (Some(path), _) => from_file(topology, path)?,
        (None, Some(between)) => from_kinds(topology, between)?,
        (None, None) => from_names(topology, &args.functions)?,
    };
    if pairs.is_empty() {
        return Err(Problem::new(
            "there is no pair to check",
            "no names were given, or nothing matches them",
            "name functions (`peerdma check nvme0 card0`), a file (--pairs) or kinds (--between class:nvme class:gpu)",
        ));
    }
    Ok(pairs)
}

fn from_names(topology: &Topology, names: &[String]) -> Result<Vec<(NodeId, NodeId)>, Problem> {
    names
        .chunks(2)
        .map(|pair| match pair {
            [a, b] => Ok((select::one(topology, a)?, select::one(topology, b)?)),
            _ => Err(Problem::new(
                format_args!("{} has no partner", pair.concat()),
                format_args!("{} names were given; pairs need an even number", names.len()),
                "name functions two by two: A B [A B ...]",
            )),
        })
        .collect()
}

fn from_kinds(topology: &Topology, between: &[String]) -> Result<Vec<(NodeId, NodeId)>, Problem> {
    let nodes = |text: &String| -> Result<Vec<NodeId>, Problem> {
        let selector = Selector::parse(topology, text)?;
        let found: Vec<NodeId> = topology
            .nodes()
            .filter(|&node| selector.means(topology, node))
            .collect();
        if found.is_empty() {
            return Err(Problem::new(
                format_args!("{text} matches no function"),
                format_args!(
                    "none of the machine's {} functions is of this kind",
                    topology.nodes().len()
                ),
                "list classes, vendors and drivers with `peerdma topo`",
            ));
        }
        Ok(found)
    };
    let [a, b] = between else {
        return Ok(Vec::new());
    };
    let (a, b) = (nodes(a)?, nodes(b)?);
    if a.len().saturating_mul(b.len()) > MOST_PAIRS {
        return Err(Problem::new(
            format_args!("{} times {} functions are too many pairs", a.len(), b.len()),
            format_args!("one run checks up to {MOST_PAIRS}"),
            "narrow the selectors, or take `peerdma matrix --format tsv`",
        ));
    }
    let all = a.iter().flat_map(|&a| b.iter().map(move |&b| (a, b)));
    Ok(all.filter(|(a, b)| a != b).collect())
}

fn from_file(topology: &Topology, path: &Path) -> Result<Vec<(NodeId, NodeId)>, Problem> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_PAIRS_BYTES + 1).read_to_end(&mut text));
    read.map_err(|error| {
        Problem::new(
            format_args!("{} cannot be read", path.display()),
            error,
            "check the path; the file holds two names a line, # starts a comment",
        )
    })?;
    if text.len() as u64 > MOST_PAIRS_BYTES {
        return Err(Problem::new(
            format_args!(
                "{} holds more than {} MiB",
                path.display(),
                MOST_PAIRS_BYTES >> 20
            ),
            "no list of pairs is that long; is it the right file?",
            "name a file with two names a line, or split it",
        ));
    }
    let text = String::from_utf8_lossy(&text);
    let mut pairs = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let names: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let at = |problem: Problem| Problem {
            error: format!("{} line {}: {}", path.display(), index + 1, problem.error),
            ..problem
        };
        match names.len() {
            0 => continue,
            2 => pairs.extend(from_names(topology, &names).map_err(at)?),
            count => {
                return Err(at(Problem::new(
                    format_args!("{count} names"),
                    "expected two: who reads and writes, and whose memory",
                    "write one pair a line; put further pairs into further lines",
                )));
            }
        }
        if pairs.len() > MOST_PAIRS {
            return Err(at(Problem::new(
                "too many pairs",
                format_args!("one run checks up to {MOST_PAIRS}"),
                "split the file",
            )));
        }
    }
    Ok(pairs)
}
