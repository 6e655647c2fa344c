//! What becomes of a read and of a write by the specification, function by function.

use crate::layout::{count, wrapped};
use crate::names;
use crate::reason::form_name;
use crate::report::Out;
use crate::style::Tone;
use peerdma::pci::AcsFlags;
use peerdma::route::Access;
use peerdma::route::spec::{Deed, Evidence, Fate, Form, Outcome, Reason, Step, Way};
use peerdma::topology::Topology;

/// Writes reading, then writing; a way that was told before is not told again.
pub(super) fn write(topology: &Topology, evidence: &[Evidence; 2], out: &Out, text: &mut String) {
    let mut told: Vec<(Form, &[Step])> = Vec::new();
    for one in evidence {
        let verb = if one.access == Access::Read {
            "Read"
        } else {
            "Write"
        };
        let line = format!("{verb}: {}.", one.answer);
        let line = out.palette.paint(Tone::Strong, &line);
        text.push_str(&format!("    {line}\n"));
        // What becomes of both alike is told once.
        let host_form = one.host_form.as_ref().filter(|fate| **fate != one.bus_form);
        let either = one.host_form.is_some() && host_form.is_none();
        let forms = [
            Some((Form::BusAddress, &one.bus_form)),
            host_form.map(|fate| (Form::HostAddress, fate)),
        ];
        for (form, fate) in forms.into_iter().flatten() {
            let (tone, words) = outcome(fate.outcome, one.access);
            let words = match either {
                true => format!("with the bus address or a host address: {words}"),
                false => format!("{}: {words}", form_name(form)),
            };
            let words = wrapped(&words, "      ", "        ", out.width);
            text.push_str(&out.palette.paint(tone, words.trim_end()));
            text.push('\n');
            if !either && !matters(form, one) {
                continue;
            }
            if !fate.request.is_empty() && told.contains(&(form, &fate.request)) {
                text.push_str("        the request goes the same way\n");
            } else {
                steps(
                    topology,
                    &request(fate),
                    &fate.request,
                    stop(fate, &fate.completion),
                    out,
                    text,
                );
                told.push((form, &fate.request));
            }
            if !fate.completion.is_empty() {
                steps(
                    topology,
                    "completion",
                    &fate.completion,
                    stop(fate, &[]),
                    out,
                    text,
                );
            }
        }
    }
}

/// What is told of the way: where the outcome is unknown, one that may be.
fn request(fate: &Fate) -> String {
    match fate.outcome {
        Outcome::Unknown { .. } => "request, where what is unknown does not stand in its way".into(),
        _ => "request".into(),
    }
}

/// Is this the form whose way is worth telling: the one that arrives, else each?
fn matters(form: Form, evidence: &Evidence) -> bool {
    match evidence.reason {
        Reason::SameFunction => false,
        Reason::Direct => form == Form::BusAddress,
        Reason::ThroughRootComplex { form: arrives } => form == arrives,
        Reason::Refused { .. } | Reason::Unknown { .. } => true,
    }
}

/// What ends a list of steps, if the packet ends there and nothing came `after`.
fn stop(fate: &Fate, after: &[Step]) -> Option<String> {
    if !after.is_empty() {
        return None;
    }
    match fate.outcome {
        Outcome::Refused { at, why } => Some(format!("✗ {at}: {why}")),
        Outcome::SameFunction | Outcome::Delivered { .. } | Outcome::Unknown { .. } => None,
    }
}

fn steps(
    topology: &Topology,
    packet: &str,
    steps: &[Step],
    stop: Option<String>,
    out: &Out,
    text: &mut String,
) {
    const MOST: usize = 40;
    if steps.is_empty() {
        return;
    }
    text.push_str(&out.palette.paint(Tone::Faint, &format!("        {packet}")));
    text.push('\n');
    for (index, step) in steps.iter().enumerate().take(MOST) {
        let next = steps.get(index + 1).filter(|next| next.at == step.at);
        // What the function does with it is told by the next step.
        if step.deed == Deed::PassesUp && next.is_some_and(|next| next.deed != Deed::PassesDown) {
            continue;
        }
        let name = topology.find(step.at).map_or_else(String::new, |node| {
            let function = topology.function(node);
            let name = names::kernel_name(function).map(str::to_owned);
            format!(
                " {}",
                name.unwrap_or_else(|| names::kind_of(function).into_owned())
            )
        });
        let line = format!("{}{name} {}", step.at, deed(step.deed));
        text.push_str(&wrapped(&line, "          ", "            ", out.width));
    }
    if let Some(more) = steps.len().checked_sub(MOST + 1) {
        text.push_str(&format!("          and {}\n", count(more + 1, "more step")));
    }
    if let Some(stop) = stop {
        let line = wrapped(&stop, "          ", "            ", out.width);
        text.push_str(&out.palette.paint(Tone::Bad, line.trim_end()));
        text.push('\n');
    }
}

fn outcome(outcome: Outcome, access: Access) -> (Tone, String) {
    match outcome {
        Outcome::SameFunction => (Tone::Faint, "nothing travels".into()),
        Outcome::Delivered { request, completion } => {
            let way = |way| match way {
                Way::Direct => "directly",
                Way::ThroughRootComplex => "through the root complex",
            };
            let tone = match (request, completion) {
                (Way::Direct, Way::Direct) => Tone::Good,
                _ => Tone::Fair,
            };
            let words = match access {
                Access::Write => format!("arrives {}", way(request)),
                Access::Read if request == completion => format!("arrives and comes back {}", way(request)),
                Access::Read => format!(
                    "arrives {}, and completions come back {}",
                    way(request),
                    way(completion)
                ),
            };
            (tone, words)
        }
        Outcome::Refused { at, why } => (Tone::Bad, format!("fails at {at}: {why}")),
        Outcome::Unknown { at, missing } => (
            Tone::Doubt,
            format!("depends on what is unknown: {missing} ({at})"),
        ),
    }
}

fn deed(deed: Deed) -> String {
    match deed {
        Deed::Issues => "issues it".into(),
        Deed::PassesUp => "passes it on".into(),
        Deed::ForwardsUpstream => "passes it up though the target lies below (U)".into(),
        Deed::PassesUpAsItsOwn => "passes it up as its own".into(),
        Deed::Redirects(bit) => format!("sends it up ({})", redirect(bit)),
        Deed::EntersRootComplex => "hands it to the root complex".into(),
        Deed::PassesDown => "passes it down".into(),
        Deed::Receives => "receives it".into(),
    }
}

fn redirect(bit: AcsFlags) -> String {
    if bit.contains(AcsFlags::COMPLETION_REDIRECT) {
        "completion redirect, C".into()
    } else if bit.contains(AcsFlags::REQUEST_REDIRECT) {
        "request redirect, R".into()
    } else {
        format!("ACS bit {bit}")
    }
}
