//! What three judges say of each pair, side by side: contradictions first, then what one of them does not
//! know, then what they agree on.

use super::Pairs;
use super::cell::{code, legend, tone};
use super::table::name;
use crate::args::Policy;
use crate::describe;
use crate::error::{Failure, Problem};
use crate::judges::Judges;
use crate::layout::{count, fitted, padded, wrapped};
use crate::report::Out;
use crate::style::Tone;
use peerdma::route::{Access, Answer, Verdict};
use peerdma::topology::NodeId;

/// More lines than anybody reads.
const MOST_PAIRS: usize = 100_000;

/// Who answers, in the order of the columns.
const NAMES: [&str; 3] = ["linux", "next", "spec"];

/// Columns of an answer: `B/-` below its name.
const ANSWER_COLUMNS: usize = 7;

/// How three answers relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Relation {
    /// No map type is possible for all of them.
    Contradict,
    /// One leaves open what another knows.
    OneUnknown,
    Agree,
}

impl Relation {
    const ALL: [Self; 3] = [Self::Contradict, Self::OneUnknown, Self::Agree];

    fn of(verdicts: &[Verdict; 3], pairs: &Pairs<'_>) -> Self {
        let answers = |access| {
            verdicts
                .each_ref()
                .map(|verdict| verdict.answer(access, pairs.class))
        };
        let relations = Access::ALL.map(|access| Self::of_answers(answers(access)));
        relations.into_iter().min().unwrap_or(Self::Agree)
    }

    fn of_answers(answers: [Answer; 3]) -> Self {
        let [first, ..] = answers;
        if answers.iter().all(|answer| *answer == first) {
            return Self::Agree;
        }
        let disjoint = |a: Answer, b: Answer| !a.possible().any(|map_type| b.allows(map_type));
        let contradict = answers.iter().any(|&a| answers.iter().any(|&b| disjoint(a, b)));
        if contradict {
            Self::Contradict
        } else {
            Self::OneUnknown
        }
    }

    fn title(self, pairs: usize) -> String {
        match self {
            Self::Contradict => format!("{}: the judges contradict each other", count(pairs, "pair")),
            Self::OneUnknown => format!("{}: one leaves open what another knows", count(pairs, "pair")),
            Self::Agree => format!("{}: all say the same", count(pairs, "pair")),
        }
    }
}

/// One pair.
struct Line {
    relation: Relation,
    provider: NodeId,
    client: NodeId,
    /// By judge, reading and writing.
    codes: [[&'static str; 2]; 3],
}

pub(super) fn write(pairs: &Pairs<'_>, judges: &Judges<'_>, out: &Out) -> Result<(), Failure> {
    let all = pairs.providers.len().saturating_mul(pairs.clients.len());
    if all > MOST_PAIRS || pairs.bandwidth.is_some() {
        let (error, why) = match pairs.bandwidth {
            Some(_) => (
                "--policy all has no table of bandwidth".to_owned(),
                "the way of a pair is that of one judge",
            ),
            None => (
                format!("a table of {all} pairs is too large to read"),
                "side by side each pair takes a line, and up to 100000 are printed",
            ),
        };
        return Err(Failure::Bad(Problem::new(
            error,
            why,
            "name one policy, narrow it with --class, --provider or --client, or take `--format csv`",
        )));
    }
    let lines = lines(pairs, judges);
    let mut text = describe::heading(pairs.machine, out);
    let number = |relation| lines.iter().filter(|line| line.relation == relation).count();
    let [contradict, unknown, agree] = Relation::ALL.map(number);
    let mut counted = format!(
        "{}: {contradict} judged in contradiction, {unknown} left open by one judge and known to another, {agree} alike.",
        count(lines.len(), "ordered pair")
    );
    if pairs.left_out > 0 {
        counted.push_str(&format!(
            " Left out: {} (bridges and chipset; --all shows them).",
            count(pairs.left_out, "function")
        ));
    }
    text.push_str(&wrapped(&counted, "", "  ", out.width));
    let label = label_columns(pairs, out);
    for relation in Relation::ALL {
        let mut of_relation = lines.iter().filter(|line| line.relation == relation).peekable();
        if of_relation.peek().is_none() {
            continue;
        }
        let title = relation.title(number(relation));
        text.push_str(&format!("\n{}\n", out.palette.paint(Tone::Strong, &title)));
        let mut titles = String::new();
        for name in NAMES {
            titles.push_str(&padded(name, ANSWER_COLUMNS));
        }
        titles.push_str(&padded("whose memory", label + 2));
        titles.push_str("read and written by");
        let titles = fitted(&titles, out.width.saturating_sub(2));
        text.push_str(&format!("  {}\n", out.palette.paint(Tone::Faint, &titles)));
        for line in of_relation {
            write_line(line, pairs, label, out, &mut text);
        }
    }
    write_legend(&lines, judges, out, &mut text);
    out.print(&text)
}

/// All pairs but those of a function with itself; contradictions first, each kind in the order of addresses.
fn lines(pairs: &Pairs<'_>, judges: &Judges<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for &provider in &pairs.providers {
        for &client in pairs.clients.iter().filter(|&&client| client != provider) {
            let verdicts = judges.verdicts(provider, client);
            lines.push(Line {
                relation: Relation::of(&verdicts, pairs),
                provider,
                client,
                codes: verdicts
                    .each_ref()
                    .map(|verdict| Access::ALL.map(|access| code(verdict.answer(access, pairs.class)))),
            });
        }
        pairs.progress.advance();
    }
    lines.sort_by_key(|line| line.relation);
    lines
}

fn write_line(line: &Line, pairs: &Pairs<'_>, label: usize, out: &Out, text: &mut String) {
    text.push_str("  ");
    for [read, write] in line.codes {
        text.push_str(&out.palette.paint(tone(read), read));
        let mut used = 1;
        if read != write {
            text.push('/');
            text.push_str(&out.palette.paint(tone(write), write));
            used = 3;
        }
        text.push_str(&" ".repeat(ANSWER_COLUMNS - used));
    }
    let provider = fitted(&spoken(pairs, line.provider), label);
    text.push_str(&padded(&provider, label + 2));
    text.push_str(&fitted(&spoken(pairs, line.client), label));
    text.push('\n');
}

fn write_legend(lines: &[Line], judges: &Judges<'_>, out: &Out, text: &mut String) {
    text.push('\n');
    for (code, tone, meaning) in legend(Policy::Spec) {
        if lines
            .iter()
            .any(|line| line.codes.iter().flatten().any(|shown| *shown == code))
        {
            let meaning = match code {
                "-" => "refused: Linux will not do it, or by the specification it does not arrive",
                _ => meaning,
            };
            text.push_str(&format!("  {}  ", out.palette.paint(tone, code)));
            text.push_str(wrapped(meaning, "     ", "     ", out.width).trim_start());
        }
    }
    if lines
        .iter()
        .any(|line| line.codes.iter().any(|[read, write]| read != write))
    {
        text.push_str("  Two codes: reading, then writing.\n");
    }
    let linux = match judges.linux.kernel() {
        peerdma::route::linux::Kernel::Unknown => {
            "linux: where 6.1 to 7.3 agree, the release being unknown.".to_owned()
        }
        kernel => format!("linux: {kernel}."),
    };
    let words = format!(
        "{linux} next: the posted rewrite. spec: the rules of PCI Express alone. {}",
        describe::WHOM_TO_BELIEVE
    );
    text.push_str(&wrapped(&words, "  ", "  ", out.width));
    let words = "Why a pair is as it is: peerdma route CLIENT PROVIDER --policy all";
    text.push_str(&wrapped(words, "", "  ", out.width));
}

/// `0000:03:00.0 gpu`.
fn spoken(pairs: &Pairs<'_>, node: NodeId) -> String {
    format!(
        "{} {}",
        pairs.judge.topology().function(node).bdf,
        name(pairs, node)
    )
}

/// Columns of each end of a pair.
fn label_columns(pairs: &Pairs<'_>, out: &Out) -> usize {
    let ends = pairs.providers.iter().chain(&pairs.clients);
    let wanted = ends
        .map(|&node| crate::layout::columns(&spoken(pairs, node)))
        .max();
    let room = out.width.saturating_sub(2 + NAMES.len() * ANSWER_COLUMNS + 2) / 2;
    wanted.unwrap_or(0).max("whose memory".len()).min(room)
}
