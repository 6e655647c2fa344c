//! The tree as text: one line a function, columns aligned, as wide as the terminal.

use super::cells::{self, COLUMNS, Cell, DISPENSABLE, TITLES};
use crate::advice;
use crate::capture::Source;
use crate::describe;
use crate::input::Machine;
use crate::layout::{bytes, columns, fitted, padded, wrapped};
use crate::names;
use crate::report::Out;
use crate::style::Tone;
use peerdma::fact::Fact;
use peerdma::snapshot::Function;
use peerdma::topology::{NodeId, Place, Topology};
use std::fmt::Write as _;

/// How much is told of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// One line.
    Lines,
    /// Further lines below it.
    All,
}

/// Room that a device's name shall have before columns are given up for it.
const DEVICE_COLUMNS: usize = 16;

/// Room that details shall have below the columns, before they move to the left.
const DETAIL_COLUMNS: usize = 64;

/// A line of the tree before its columns are known.
struct Line {
    node: NodeId,
    /// Branches, address, range of buses.
    tree: String,
    /// What continues below, for further lines.
    below: String,
    cells: [Cell; COLUMNS],
}

pub(super) fn draw(machine: &Machine, out: &Out, detail: Detail) -> String {
    let topology = &machine.topology;
    let mut sections = sections(topology);
    let tree_columns = lines(&sections)
        .map(|line| columns(&line.tree))
        .max()
        .unwrap_or(0);
    let mut widths = widths(&sections);
    let mut shown = shown_columns(&sections, &widths, tree_columns, out.line_width());
    let used: usize = tree_columns + shown.iter().map(|&column| widths[column] + 2).sum::<usize>();
    if used + DEVICE_COLUMNS > out.line_width() {
        cells::narrow(
            sections
                .iter_mut()
                .flat_map(|(_, lines)| lines)
                .map(|line| &mut line.cells),
        );
        widths = self::widths(&sections);
        shown = shown_columns(&sections, &widths, tree_columns, out.line_width());
    }
    let mut text = describe::heading(machine, out);
    text.push('\n');
    let mut title = padded("", tree_columns);
    for column in shown.iter().copied() {
        let _ = write!(title, "  {}", padded(TITLES[column], widths[column]));
    }
    if device_room(out, columns(&title)) > 0 {
        title.push_str("  DEVICE");
    }
    title.truncate(title.trim_end().len());
    text.push_str(&out.palette.paint(Tone::Faint, &fitted(&title, out.line_width())));
    text.push('\n');
    for (head, lines) in &sections {
        text.push_str(&out.palette.paint(Tone::Strong, &fitted(head, out.line_width())));
        text.push('\n');
        for line in lines {
            write_line(&mut text, topology, line, out, (tree_columns, &shown, &widths));
            if detail == Detail::All {
                write_detail(
                    &mut text,
                    topology.function(line.node),
                    &line.below,
                    out,
                    tree_columns,
                );
            }
        }
    }
    write_legend(&mut text, &sections, &machine.source, out);
    text
}

fn lines(sections: &[(String, Vec<Line>)]) -> impl Iterator<Item = &Line> {
    sections.iter().flat_map(|(_, lines)| lines)
}

/// How wide each column has to be.
fn widths(sections: &[(String, Vec<Line>)]) -> [usize; COLUMNS] {
    let mut widths = TITLES.map(str::len);
    for line in lines(sections) {
        for (width, (text, _)) in widths.iter_mut().zip(&line.cells) {
            *width = (*width).max(columns(text));
        }
    }
    // A name longer than this is cut, so that one odd interface does not push out a column.
    widths[0] = widths[0].min(14);
    widths
}

/// The columns that fit beside the tree and the start of a device's name.
fn shown_columns(
    sections: &[(String, Vec<Line>)],
    widths: &[usize; COLUMNS],
    tree_columns: usize,
    line_width: usize,
) -> Vec<usize> {
    let is_empty = |column: &usize| lines(sections).all(|line| line.cells[*column].0.is_empty());
    let mut shown: Vec<usize> = (0..COLUMNS).filter(|column| !is_empty(column)).collect();
    for dispensable in DISPENSABLE {
        let used: usize = tree_columns + shown.iter().map(|&column| widths[column] + 2).sum::<usize>();
        if used + DEVICE_COLUMNS <= line_width {
            break;
        }
        shown.retain(|&column| column != dispensable);
    }
    shown
}

fn write_line(
    text: &mut String,
    topology: &Topology,
    line: &Line,
    out: &Out,
    (tree_columns, shown, widths): (usize, &[usize], &[usize; COLUMNS]),
) {
    text.push_str(&padded(&fitted(&line.tree, out.line_width()), tree_columns));
    let mut used = tree_columns;
    for &column in shown {
        let (cell, tone) = &line.cells[column];
        let room = out.line_width().saturating_sub(used + 2);
        let cell = fitted(cell, widths[column].min(room));
        let gap = widths[column].saturating_sub(columns(&cell));
        text.push_str("  ");
        match tone {
            Some(tone) => text.push_str(&out.palette.paint(*tone, &cell)),
            None => text.push_str(&cell),
        }
        text.extend(std::iter::repeat_n(' ', gap));
        used += widths[column] + 2;
    }
    let room = device_room(out, used);
    if room > 0 {
        text.push_str("  ");
        let device = names::device(topology.function(line.node).id());
        text.push_str(&fitted(&device, room));
    }
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

/// What is left for the device's name; nothing where it would not be worth a column.
fn device_room(out: &Out, used: usize) -> usize {
    match out.line_width().saturating_sub(used + 2) {
        ..6 => 0,
        room => room,
    }
}

/// Root buses with their lines, and at the end what has no place.
fn sections(topology: &Topology) -> Vec<(String, Vec<Line>)> {
    let mut tops: Vec<Vec<NodeId>> = vec![Vec::new(); topology.roots().len()];
    let mut unplaced = Vec::new();
    for node in topology.nodes() {
        match topology.place(node) {
            Place::OnRoot(root) => {
                if let Some(top) = tops.get_mut(root.index()) {
                    top.push(node);
                }
            }
            Place::Unknown => unplaced.push(node),
            Place::Below(_) => {}
        }
    }
    let mut sections: Vec<(String, Vec<Line>)> = topology
        .roots()
        .iter()
        .zip(&tops)
        .map(|(root, top)| (describe::root(topology, *root), branches(topology, top)))
        .collect();
    if !unplaced.is_empty() {
        let lines = unplaced
            .iter()
            .map(|&node| line(topology, node, String::new(), String::new()));
        sections.push(("place unknown (see the warnings)".into(), lines.collect()));
    }
    sections
}

/// The lines of some siblings and all that is below them; no recursion, since a hostile source may nest
/// as deep as it has functions.
fn branches(topology: &Topology, top: &[NodeId]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut open: Vec<(NodeId, bool, String)> = Vec::new();
    push_siblings(&mut open, top, "");
    while let Some((node, last, before)) = open.pop() {
        // Beyond any machine's depth the drawing no longer moves to the right.
        let deep = columns(&before) > 64;
        let branch = if last { "└─ " } else { "├─ " };
        let after = if last { "   " } else { "│  " };
        let below = if deep {
            before.clone()
        } else {
            format!("{before}{after}")
        };
        let children = topology.children(node);
        let stem = if children.is_empty() { "   " } else { "│  " };
        lines.push(line(
            topology,
            node,
            format!("{before}{branch}"),
            format!("{below}{stem}"),
        ));
        push_siblings(&mut open, children, &below);
    }
    lines
}

fn push_siblings(open: &mut Vec<(NodeId, bool, String)>, siblings: &[NodeId], before: &str) {
    for (index, &node) in siblings.iter().enumerate().rev() {
        open.push((node, index + 1 == siblings.len(), before.to_owned()));
    }
}

fn line(topology: &Topology, node: NodeId, mut tree: String, below: String) -> Line {
    let function = topology.function(node);
    let _ = write!(tree, "{}", function.bdf);
    if let Some(bridge) = function.bridge() {
        let _ = write!(tree, " [{:02x}", bridge.secondary);
        if bridge.subordinate != bridge.secondary {
            let _ = write!(tree, "-{:02x}", bridge.subordinate);
        }
        tree.push(']');
    }
    if topology.has_gap_above(node) {
        tree.push_str(" (gap above)");
    }
    Line {
        node,
        tree,
        below,
        cells: cells::cells(topology, node),
    }
}

fn write_detail(text: &mut String, function: &Function, below: &str, out: &Out, tree_columns: usize) {
    // Where the columns to the right are few, details begin right behind the branches.
    let start = if tree_columns + DETAIL_COLUMNS <= out.line_width() {
        padded(below, tree_columns)
    } else {
        below.to_owned()
    };
    let (first, next) = (format!("{start}  "), format!("{start}    "));
    let mut add = |detail: String| {
        for line in wrapped(&detail, &first, &next, out.line_width()).lines() {
            text.push_str(&fitted(line, out.line_width()));
            text.push('\n');
        }
    };
    let id = function
        .id()
        .map_or_else(|| "id unknown".into(), |id| id.to_string());
    let kind = match function.port_type() {
        Fact::Known(Some(kind)) => kind.to_string(),
        Fact::Known(None) => "conventional PCI".into(),
        Fact::Unknown(_) => "kind of port unknown".into(),
    };
    add(format!("{id}, {}, {kind}", names::class(function.class())));
    if let Fact::Known(Some(subsystem)) = function.config.subsystem {
        add(format!("subsystem {subsystem}"));
    }
    if let Fact::Known(Some(express)) = function.config.express
        && let Fact::Known(payload) = express.payload
    {
        add(format!(
            "payload {} of {} bytes, reads of up to {} bytes",
            payload.max_payload_bytes, payload.max_supported_bytes, payload.max_read_request_bytes
        ));
    }
    for detail in bars(function) {
        add(detail);
    }
    if let Fact::Known(Some(p2pmem)) = function.os.p2pmem {
        add(format!(
            "p2pmem {}, {} free{}",
            bytes(p2pmem.size_bytes),
            bytes(p2pmem.available_bytes),
            if p2pmem.published { ", published" } else { "" }
        ));
    }
    if function.os.names.len() > 1 {
        add(format!("also called {}", function.os.names[1..].join(", ")));
    }
}

/// A line for each BAR.
pub(crate) fn bars(function: &Function) -> Vec<String> {
    let Fact::Known(bars) = function.bars() else {
        return vec!["BARs unknown".into()];
    };
    bars.iter().map(describe::bar).collect()
}

fn write_legend(text: &mut String, sections: &[(String, Vec<Line>)], source: &Source, out: &Out) {
    let cells = |column: usize| {
        sections
            .iter()
            .flat_map(|(_, lines)| lines)
            .map(move |line| &line.cells[column].0[..])
    };
    let mut legend = String::from("\n");
    let mut add = |words: &str| legend.push_str(&wrapped(words, "", "  ", out.width));
    if cells(1).any(|link| link.contains(" of ") || link.contains("/")) {
        add(
            "LINK \"2.5 x16 of 16 x16\": trained below what both ends can do; a lower rate is normal while idle.",
        );
    }
    if cells(2).any(|acs| !matches!(acs, "" | "?")) {
        add(
            "ACS \"VRCU/VBRCUT\": bits that are on, of those that could be. V source validation, B translation blocking, R request redirect, C completion redirect, \
             U upstream forwarding, E egress control, T direct translated. R, C and E send traffic to the root complex.",
        );
    }
    if cells(2).any(|acs| acs == "?") {
        add(&format!(
            "ACS ?: the source does not tell; to settle it: {}.",
            advice::capture(source, "topo")
        ));
    }
    if cells(3).any(|bars| bars.contains('+')) {
        add("BARS +: the BAR could be made larger (resizable; -v shows the sizes).");
    }
    if legend.len() > 1 {
        text.push_str(&out.palette.paint(Tone::Faint, legend.trim_end_matches('\n')));
        text.push('\n');
    }
}
