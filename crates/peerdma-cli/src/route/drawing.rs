//! The way of a request, hop by hop: up from the client to where it turns, and down to the provider.
//!
//! The further left, the nearer to the processor: the drawing opens to the right like a `<`.

use super::Direction;
use crate::layout::{columns, fitted, padded, wrapped};
use crate::report::Out;
use crate::style::Tone;
use crate::{acs, links, names, reason};
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::route::link_above;
use peerdma::route::linux::{Effect, Hop, Reason, Side};
use peerdma::snapshot::Function;
use peerdma::topology::{NodeId, Topology};
use std::collections::BTreeMap;

/// Columns by which a level is moved.
const STEP: usize = 3;

/// Does the request go up to the root complex, as far as is known?
pub(super) fn goes_up(direction: &Direction) -> bool {
    direction.evidence.gate.is_some()
        && !matches!(
            direction.evidence.reason,
            Reason::AcsUnknown | Reason::PlaceUnknown
        )
}

/// Draws the way.
pub(super) fn draw(topology: &Topology, direction: &Direction, out: &Out) -> String {
    let (up, turn, down) = if let Some(blocker) = blocker_above(direction) {
        let mut up: Vec<NodeId> = topology.climb(direction.client).collect();
        let end = up.iter().position(|&node| topology.function(node).bdf == blocker);
        up.truncate(end.map_or(up.len(), |end| end + 1));
        (up, None, Vec::new())
    } else if goes_up(direction) {
        let mut down: Vec<NodeId> = topology.climb(direction.provider).collect();
        down.reverse();
        (topology.climb(direction.client).collect(), None, down)
    } else {
        let path = &direction.path;
        (path.up.clone(), path.turn, path.down.clone())
    };
    let mut drawing = Drawing {
        topology,
        direction,
        hops: direction.evidence.hops.iter().map(|hop| (hop.bdf, hop)).collect(),
        out,
        text: String::new(),
    };
    for (index, &node) in up.iter().enumerate() {
        let level = up.len() - index;
        drawing.hop(
            node,
            &format!("{}┌─ ", blank(level - 1)),
            &format!("{}│  ", blank(level - 1)),
            Way::Up,
        );
        drawing.link(node, &format!("{}│  ", blank(level - 1)));
    }
    match turn {
        Some(node) => drawing.hop(node, "", if down.is_empty() { "   " } else { "│  " }, Way::Turn),
        None => drawing.root_complex(),
    }
    for (index, &node) in down.iter().enumerate() {
        let level = index + 1;
        drawing.link(node, &format!("{}│  ", blank(level - 1)));
        let is_last = level == down.len();
        let stem = if is_last { "   " } else { "│  " };
        drawing.hop(
            node,
            &format!("{}└─ ", blank(level - 1)),
            &format!("{}{stem}", blank(level)),
            Way::Down,
        );
    }
    drawing.further();
    drawing.text
}

/// The bridge above the common one that stops the request, if one does.
fn blocker_above(direction: &Direction) -> Option<Bdf> {
    let hops = &direction.evidence.hops;
    let mut deciding = hops.iter().filter(|hop| hop.decides);
    let blocker = deciding.find(|hop| hop.side == Side::AboveCommon)?;
    (direction.evidence.reason == Reason::Blocked).then_some(blocker.bdf)
}

/// Which part of the drawing a hop belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Turn,
    Down,
}

struct Drawing<'a> {
    topology: &'a Topology,
    direction: &'a Direction,
    /// What is still to be told: a request to the root complex passes bridges on its way up and down, and each
    /// says its part once.
    hops: BTreeMap<Bdf, &'a Hop>,
    out: &'a Out,
    text: String,
}

impl Drawing<'_> {
    /// One function: its line, and what it does to the decision below.
    fn hop(&mut self, node: NodeId, branch: &str, stem: &str, way: Way) {
        let function = self.topology.function(node);
        let acs = acs_of(function);
        let name = match names::kernel_name(function) {
            Some(name) => name.to_owned(),
            None => names::kind_of(function).into_owned(),
        };
        let label = format!(
            "{branch}{}  {name}  {}",
            function.bdf,
            names::device(function.id())
        );
        let room = self.out.width.saturating_sub(columns(&acs) + 2).min(76);
        self.text.push_str(&padded(&fitted(&label, room), room));
        self.text.push_str("  ");
        self.text.push_str(&self.out.palette.paint(Tone::Faint, &acs));
        self.text.push('\n');
        let Some(hop) = self.hops.remove(&function.bdf) else {
            return;
        };
        if let Some((tone, note)) = note(hop, way, self.direction.evidence.reason) {
            let note = wrapped(&note, stem, &format!("{stem}   "), self.out.width);
            self.text
                .push_str(&self.out.palette.paint(tone, note.trim_end_matches('\n')));
            self.text.push('\n');
        }
    }

    /// The link above a function.
    fn link(&mut self, node: NodeId, stem: &str) {
        let (tone, words) = match link_above(self.topology, node) {
            None => return,
            Some(Fact::Unknown(why)) => (Tone::Doubt, format!("link unknown: {why}")),
            Some(Fact::Known(link)) => {
                let tone = links::tone(link.health);
                (tone, format!("link {}: {}", link.now, links::explained(&link)))
            }
        };
        let line = wrapped(&words, stem, stem, self.out.width);
        match tone {
            Tone::Strong => self.text.push_str(&line),
            tone => {
                let painted = self.out.palette.paint(tone, line.trim_end_matches('\n'));
                self.text.push_str(&painted);
                self.text.push('\n');
            }
        }
    }

    /// What lies above the drawing and would be asked if the request were sent on.
    fn further(&mut self) {
        let hops = &self.direction.evidence.hops;
        for hop in hops.iter().filter(|hop| hop.side == Side::AboveCommon) {
            if let (Some((tone, words)), Some(_)) = (
                note(hop, Way::Up, self.direction.evidence.reason),
                self.hops.get(&hop.bdf),
            ) {
                let words = format!("above, for what is redirected: {}: {words}", hop.bdf);
                let note = wrapped(&words, "", "   ", self.out.width);
                self.text
                    .push_str(&self.out.palette.paint(tone, note.trim_end_matches('\n')));
                self.text.push('\n');
            }
        }
    }

    fn root_complex(&mut self) {
        let evidence = &self.direction.evidence;
        let Some(gate) = &evidence.gate else {
            if evidence.reason == Reason::Blocked {
                let words = "✗ stops there, below the root complex";
                self.text.push_str(&self.out.palette.paint(Tone::Bad, words));
                self.text.push('\n');
            }
            return;
        };
        let bridges = if gate.same_host_bridge {
            format!(
                "one host bridge, with {} the first function on its root bus in this source",
                gate.provider.first
            )
        } else {
            format!(
                "from the host bridge with {} to the one with {}, each the first function on its root bus in this source",
                gate.client.first, gate.provider.first
            )
        };
        self.text.push_str(&wrapped(
            &format!("root complex: {bridges}"),
            "",
            "   ",
            self.out.width,
        ));
        let (tone, mark) = match gate.open {
            peerdma::route::linux::Accepted::Yes => (Tone::Fair, "✓"),
            peerdma::route::linux::Accepted::No => (Tone::Bad, "✗ stops here:"),
            peerdma::route::linux::Accepted::Unknown => (Tone::Doubt, "? decides:"),
        };
        let words = format!("{mark} {}", reason::root_complex(gate));
        let note = wrapped(&words, "│  ", "│  ", self.out.width);
        self.text
            .push_str(&self.out.palette.paint(tone, note.trim_end_matches('\n')));
        self.text.push('\n');
    }
}

fn blank(level: usize) -> String {
    // Beyond any machine's depth the drawing no longer moves to the right.
    " ".repeat(STEP * level.min(16))
}

/// The ACS control register in letters, with what the function could do.
fn acs_of(function: &Function) -> String {
    match &function.config.acs {
        Fact::Unknown(_) => "ACS ?".into(),
        Fact::Known(None) => "no ACS".into(),
        Fact::Known(Some(acs)) => format!("ACS {}/{}", acs.control, acs.capable),
    }
}

/// What a hop does to the decision, in words; nothing where it lets pass.
fn note(hop: &Hop, way: Way, reason: Reason) -> Option<(Tone, String)> {
    let mark = if hop.decides { "◄ decides: " } else { "" };
    match hop.effect {
        Effect::Redirects(flags) => {
            let is_another = !hop.decides && reason == Reason::Redirected;
            let also = if is_another { "redirects too: " } else { "" };
            Some((Tone::Fair, format!("{mark}{also}ACS {}", acs::effect(flags))))
        }
        Effect::BlocksTranslated => {
            let which = if hop.side == Side::AboveCommon {
                " on their way up"
            } else {
                ""
            };
            Some((Tone::Bad, format!("{mark}blocks translated requests (B){which}")))
        }
        Effect::Unreadable => Some((
            Tone::Bad,
            format!("{mark}the kernel cannot read its ACS control register and refuses"),
        )),
        Effect::Unknown(why) => Some((
            Tone::Doubt,
            format!(
                "{mark}it may {} or not: its ACS control register is unknown ({why})",
                if hop.side == Side::AboveCommon {
                    "block"
                } else {
                    "redirect"
                }
            ),
        )),
        Effect::Passes if hop.decides && way == Way::Turn => Some((
            Tone::Good,
            format!(
                "{mark}both sit below this bridge and nothing on the way redirects, so requests turn here"
            ),
        )),
        Effect::Passes | Effect::DoesNotCount => None,
    }
}
