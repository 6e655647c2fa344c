//! Every ordered pair as a line: `provider client distance map_type raw_distance`, no header; with
//! `--policy all` two more fields, what the rewrite and the specification answer (`READ/WRITE`), and with
//! `--bandwidth` two more, bytes a second of reading and of writing.
//!
//! The hot path of the command line: a machine of 10,000 functions has 10^8 lines. What repeats is
//! formatted once (addresses, and the rest of a line for each answer and distance), so that a line is
//! three copies into a large buffer.

use super::Pairs;
use crate::error::Failure;
use crate::judges::Row;
use peerdma::route::{Access, Answer, MapType, Verdict};
use peerdma::topology::NodeId;
use std::io::Write;

/// How many bytes are gathered before they are written.
const CHUNK_BYTES: usize = 1 << 20;

/// Writes the lines.
pub(super) fn write(pairs: &Pairs<'_>, out: &mut impl Write) -> Result<(), Failure> {
    let topology = pairs.judge.topology();
    let addresses: Vec<Vec<u8>> = topology
        .nodes()
        .map(|node| format!("{}\t", topology.function(node).bdf).into_bytes())
        .collect();
    let clients: Vec<(&[u8], NodeId)> = pairs
        .clients
        .iter()
        .map(|client| (&addresses[client.index()][..], *client))
        .collect();
    let mut ends = Ends::default();
    let mut row = Row::default();
    let mut buffer: Vec<u8> = Vec::with_capacity(CHUNK_BYTES + 4096);
    for &provider in &pairs.providers {
        pairs.judge.row(provider, &pairs.clients, &mut row);
        let start = &addresses[provider.index()][..];
        for (position, &(client, client_node)) in clients.iter().enumerate() {
            let verdict = row.verdict(position, client_node);
            let answers = Access::ALL.map(|access| verdict.answer(access, pairs.class));
            buffer.extend_from_slice(start);
            buffer.extend_from_slice(client);
            buffer.extend_from_slice(ends.of(verdict, answers));
            if let Some(judges) = &pairs.judges {
                let [_, next, spec] = judges.verdicts(provider, client_node);
                for verdict in [next, spec] {
                    let [read, write] = Access::ALL.map(|access| verdict.answer(access, pairs.class));
                    buffer.extend_from_slice(format!("\t{read}/{write}").as_bytes());
                }
            }
            for access in Access::ALL {
                if let Some(rate) = pairs.rate(provider, client_node, access, verdict) {
                    buffer.push(b'\t');
                    buffer.extend_from_slice(rate.field().as_bytes());
                }
            }
            buffer.push(b'\n');
            // Whole lines only: standard output passes them on without copying.
            if buffer.len() >= CHUNK_BYTES {
                out.write_all(&buffer)?;
                buffer.clear();
            }
        }
        pairs.progress.advance();
    }
    out.write_all(&buffer)?;
    out.flush()?;
    Ok(())
}

/// The rest of a line, for each answer and distance that came up.
#[derive(Default)]
struct Ends {
    /// By raw distance, 0 for none and else one more; then by the possible map types of reading and writing.
    lines: Vec<Vec<Vec<u8>>>,
}

impl Ends {
    fn of(&mut self, verdict: &Verdict, answers: [Answer; 2]) -> &[u8] {
        let distance = verdict.raw_distance().map_or(0, |raw| raw as usize + 1);
        let kind = answers.into_iter().fold(0, |kind, answer| {
            MapType::ALL.into_iter().fold(kind, |kind, map_type| {
                kind << 1 | usize::from(answer.allows(map_type))
            })
        });
        if self.lines.len() <= distance {
            self.lines.resize_with(distance + 1, || vec![Vec::new(); 64]);
        }
        let line = &mut self.lines[distance][kind];
        if line.is_empty() {
            *line = end(verdict, answers).into_bytes();
        }
        line
    }
}

/// One map type where reading and writing are answered alike, as Linux always does; else both.
fn end(verdict: &Verdict, [read, write]: [Answer; 2]) -> String {
    let number = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let distance = |answer| number(verdict.distance(answer));
    let raw = number(verdict.raw_distance().map(i64::from));
    if read == write {
        format!("{}\t{read}\t{raw}", distance(read))
    } else {
        format!("{}/{}\t{read}/{write}\t{raw}", distance(read), distance(write))
    }
}
