//! The matrix for reading: a row for each provider, a column for each client, a code in each cell.

use super::Pairs;
use super::cell::{Cell, is_direct, legend};
use super::summary::Summary;
use crate::error::{Failure, Problem};
use crate::judges::Row;
use crate::layout::{self, count, fitted, padded, wrapped};
use crate::report::Out;
use crate::style::Tone;
use crate::{describe, names};
use peerdma::route::Access;
use peerdma::topology::NodeId;
use std::fmt::Write as _;

/// More cells than anybody reads; a machine of that size is for the other formats.
const MOST_CELLS: usize = 1_000_000;

/// How much of a device's name a label shows at most, and at least where columns need the room.
const DEVICE_COLUMNS: std::ops::RangeInclusive<usize> = 10..=40;

pub(super) fn write(pairs: &Pairs<'_>, out: &Out) -> Result<(), Failure> {
    if pairs.providers.len().saturating_mul(pairs.clients.len()) > MOST_CELLS {
        return Err(Failure::Bad(Problem::new(
            format_args!(
                "a table of {} rows and {} columns is too large to read",
                pairs.providers.len(),
                pairs.clients.len()
            ),
            "tables are printed up to a million cells",
            "narrow it with --class, --provider or --client, or take `--format tsv`",
        )));
    }
    let table = Table::new(pairs);
    let mut text = describe::heading(pairs.machine, out);
    let mut axes = format!(
        "Rows: whose memory ({}). Columns: who reads and writes it ({}).",
        count(pairs.providers.len(), "function"),
        pairs.clients.len()
    );
    if pairs.left_out > 0 {
        let _ = write!(
            axes,
            " Left out: {} (bridges and chipset; --all shows them).",
            count(pairs.left_out, "function")
        );
    }
    text.push_str(&wrapped(&axes, "", "  ", out.width));
    text.push('\n');
    table.write_key(out, &mut text);
    table.write_blocks(out, &mut text);
    table.write_legend(out, &mut text);
    table.summary.write(pairs, out, &mut text);
    out.print(&text)
}

struct Table<'p, 'm> {
    pairs: &'p Pairs<'m>,
    /// All functions shown, in the order of addresses: their position is their number.
    shown: Vec<NodeId>,
    /// By row, then column.
    cells: Vec<Vec<Cell>>,
    /// The longest text of a cell.
    longest: usize,
    /// Columns that cells without an `h` leave free at their end, so that digits stand below digits.
    tail: usize,
    /// How many functions Linux would not map their own memory for by bus address, as far as is known.
    own: usize,
    summary: Summary,
}

impl<'p, 'm> Table<'p, 'm> {
    fn new(pairs: &'p Pairs<'m>) -> Self {
        let mut shown: Vec<NodeId> = pairs.providers.iter().chain(&pairs.clients).copied().collect();
        shown.sort_unstable();
        shown.dedup();
        let mut row = Row::default();
        let mut summary = Summary::default();
        let mut own = 0;
        let mut cells = Vec::with_capacity(pairs.providers.len());
        for &provider in &pairs.providers {
            pairs.judge.row(provider, &pairs.clients, &mut row);
            let judged = pairs.clients.iter().enumerate().map(|(position, &client)| {
                let verdict = row.verdict(position, client);
                if provider == client && is_direct(verdict, pairs) {
                    return Cell::Codes(["=", "="]);
                }
                own += usize::from(provider == client);
                summary.count(pairs, provider, client, verdict);
                let cell = Cell::new(pairs, provider, client, verdict);
                if let Cell::NoRate(why) = cell {
                    summary.count_unrated(&why);
                }
                cell
            });
            cells.push(judged.collect());
        }
        let tail = usize::from(cells.iter().flatten().any(Cell::goes_through));
        let length = |cell: &Cell| cell.length() + if cell.goes_through() { 0 } else { tail };
        Self {
            pairs,
            shown,
            longest: cells.iter().flatten().map(length).max().unwrap_or(1),
            tail,
            cells,
            own,
            summary,
        }
    }

    fn number(&self, node: NodeId) -> usize {
        self.shown.partition_point(|&other| other < node) + 1
    }

    /// Explains the numbers of columns that are no rows.
    fn write_key(&self, out: &Out, text: &mut String) {
        let extra: Vec<NodeId> = self
            .pairs
            .clients
            .iter()
            .filter(|client| self.pairs.providers.binary_search(client).is_err())
            .copied()
            .collect();
        if extra.is_empty() {
            return;
        }
        text.push_str("Columns:\n");
        for client in extra {
            let label = self.label(client, self.name_columns(), *DEVICE_COLUMNS.end());
            text.push_str(fitted(&label, out.width).trim_end());
            text.push('\n');
        }
        text.push('\n');
    }

    fn write_blocks(&self, out: &Out, text: &mut String) {
        let names = self.name_columns();
        let (digits, cell) = (self.digits(), self.cell_columns());
        let fixed = digits + 2 + self.address_columns() + 2 + names + 2;
        let roots: Vec<_> = self
            .pairs
            .clients
            .iter()
            .map(|&client| self.root(client))
            .collect();
        let bars = roots.windows(2).filter(|pair| pair[0] != pair[1]).count() * 2;
        let wanted = self.pairs.clients.len() * cell + bars;
        let room = out.width.saturating_sub(fixed);
        let device = room
            .saturating_sub(wanted)
            .clamp(*DEVICE_COLUMNS.start(), *DEVICE_COLUMNS.end());
        let in_block = room.saturating_sub(device);
        let mut from = 0;
        while from < self.pairs.clients.len() {
            let (mut to, mut used) = (from, 0);
            while to < self.pairs.clients.len() {
                let bar = if to > from && roots[to] != roots[to - 1] {
                    2
                } else {
                    0
                };
                if to > from && used + cell + bar > in_block {
                    break;
                }
                used += cell + bar;
                to += 1;
            }
            if from > 0 {
                text.push('\n');
            }
            self.write_block(out, text, from..to, &roots, device);
            from = to;
        }
    }

    fn write_block(
        &self,
        out: &Out,
        text: &mut String,
        columns: std::ops::Range<usize>,
        roots: &[Option<peerdma::topology::RootId>],
        device: usize,
    ) {
        let names = self.name_columns();
        let (digits, cell) = (self.digits(), self.cell_columns());
        let label_columns = digits + 2 + self.address_columns() + 2 + names + 2 + device;
        let bar = |column: usize| column > columns.start && roots[column] != roots[column - 1];
        text.push_str(&" ".repeat(label_columns));
        for column in columns.clone() {
            if bar(column) {
                text.push_str(" │");
            }
            let number = self.number(self.pairs.clients[column]).to_string();
            let before = cell - self.tail;
            text.push_str(&out.palette.paint(Tone::Faint, &format!("{number:>before$}")));
            text.push_str(&" ".repeat(self.tail));
        }
        end_line(text);
        let mut last = None;
        for (index, &provider) in self.pairs.providers.iter().enumerate() {
            let root = self.root(provider);
            if index == 0 || last != Some(root) {
                let line = fitted(&self.root_line(provider), out.width);
                text.push_str(&out.palette.paint(Tone::Faint, line.trim_end()));
                text.push('\n');
            }
            last = Some(root);
            text.push_str(&padded(&self.label(provider, names, device), label_columns));
            for column in columns.clone() {
                if bar(column) {
                    text.push_str(&out.palette.paint(Tone::Faint, " │"));
                }
                let shown = &self.cells[index][column];
                let tail = if shown.goes_through() { 0 } else { self.tail };
                text.push_str(&" ".repeat(cell - shown.length() - tail));
                shown.write(out, text);
                text.push_str(&" ".repeat(tail));
            }
            end_line(text);
        }
    }

    fn write_legend(&self, out: &Out, text: &mut String) {
        text.push('\n');
        if let Some(bandwidth) = &self.pairs.bandwidth {
            self.write_rates_legend(bandwidth.access, out, text);
        }
        let used = |code: &str| self.cells.iter().flatten().any(|cell| cell.shows(code));
        for (code, tone, meaning) in legend(self.pairs.policy) {
            if used(code) {
                let _ = write!(text, "  {}  ", out.palette.paint(tone, code));
                let meaning = wrapped(meaning, "     ", "     ", out.width);
                text.push_str(meaning.trim_start());
            }
        }
        if self.own > 0 {
            let words = format!(
                "Not = though a function meets itself ({}): Linux counts its own redirect bits, known or not, even where nothing \
                 travels.",
                count(self.own, "cell")
            );
            text.push_str(&wrapped(&words, "  ", "  ", out.width));
        }
        if self.differs() {
            text.push_str("  Two codes in a cell: reading, then writing.\n");
        }
    }

    fn write_rates_legend(&self, access: Access, out: &Out, text: &mut String) {
        let (verb, other) = match access {
            Access::Read => ("read from", "write"),
            Access::Write => ("write into", "read"),
        };
        let mut words = format!(
            "Numbers: GB/s (10^9 bytes a second) that the column's function can {verb} the row's memory as far as links, packet \
             sizes and packet overhead go; one flow, an estimate (docs/bandwidth.md; --access {other} for the other)."
        );
        if self.tail > 0 {
            words.push_str(" With h: through the root complex, which may be slower than any link.");
        }
        text.push_str(&wrapped(&words, "  ", "  ", out.width));
    }

    fn label(&self, node: NodeId, names: usize, device: usize) -> String {
        let function = self.pairs.judge.topology().function(node);
        format!(
            "{:>digits$}  {:<addresses$}  {}  {}",
            self.number(node),
            function.bdf.to_string(),
            padded(&fitted(&name(self.pairs, node), names), names),
            fitted(&names::device(function.id()), device),
            digits = self.digits(),
            addresses = self.address_columns(),
        )
    }

    fn root_line(&self, provider: NodeId) -> String {
        let topology = self.pairs.judge.topology();
        match topology
            .root(provider)
            .and_then(|root| topology.roots().get(root.index()))
        {
            None => "── place in the tree not certain (see the warnings)".into(),
            Some(root) => format!("── {}", describe::root(topology, *root)),
        }
    }

    fn root(&self, node: NodeId) -> Option<peerdma::topology::RootId> {
        self.pairs.judge.topology().root(node)
    }

    fn digits(&self) -> usize {
        self.shown.len().to_string().len()
    }

    fn cell_columns(&self) -> usize {
        (self.digits() + self.tail).max(self.longest) + 1
    }

    fn differs(&self) -> bool {
        self.cells
            .iter()
            .flatten()
            .any(|cell| matches!(cell, Cell::Codes([read, write]) if read != write))
    }

    fn address_columns(&self) -> usize {
        let topology = self.pairs.judge.topology();
        let columns = |node: &NodeId| topology.function(*node).bdf.to_string().len();
        self.shown.iter().map(columns).max().unwrap_or(0)
    }

    fn name_columns(&self) -> usize {
        let columns = |node: &NodeId| layout::columns(&name(self.pairs, *node));
        self.shown.iter().map(columns).max().unwrap_or(0).min(14)
    }
}

/// Ends a line without blanks at its end.
fn end_line(text: &mut String) {
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

/// A kernel name, else the kind.
pub(super) fn name(pairs: &Pairs<'_>, node: NodeId) -> String {
    let function = pairs.judge.topology().function(node);
    names::kernel_name(function).map_or_else(|| names::kind_of(function).into_owned(), str::to_owned)
}
