//! Every ordered pair as a line: `provider client distance map_type raw_distance`, no header; with
//! `--bandwidth` two more fields, bytes a second of reading and of writing.
//!
//! The hot path of the command line: a machine of 10,000 functions has 10^8 lines. What repeats is
//! formatted once (addresses, and the rest of a line for each answer and distance), so that a line is
//! three copies into a large buffer.

use super::Pairs;
use crate::error::Failure;
use peerdma::route::linux::Row;
use peerdma::route::{Access, Answer, MapType, Verdict};
use peerdma::topology::NodeId;
use std::io::Write;

/// How many bytes are gathered before they are written.
const CHUNK_BYTES: usize = 1 << 20;

/// Writes the lines. Linux has one map type for reading and writing, and so has this format; `json` and
/// `csv` keep the two apart.
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
        pairs.judge.row(provider, &mut row);
        let verdicts = row.verdicts();
        let start = &addresses[provider.index()][..];
        for &(client, client_node) in &clients {
            let verdict = &verdicts[client_node.index()];
            let answer = verdict.answer(Access::Read, pairs.class);
            buffer.extend_from_slice(start);
            buffer.extend_from_slice(client);
            buffer.extend_from_slice(ends.of(verdict, answer));
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
    /// By raw distance, 0 for none and else one more; then by the answer's possible map types.
    lines: Vec<[Vec<u8>; 8]>,
}

impl Ends {
    fn of(&mut self, verdict: &Verdict, answer: Answer) -> &[u8] {
        let distance = verdict.raw_distance().map_or(0, |raw| raw as usize + 1);
        let kind = MapType::ALL.into_iter().fold(0, |kind, map_type| {
            kind << 1 | usize::from(answer.allows(map_type))
        });
        if self.lines.get(distance).is_none_or(|ends| ends[kind].is_empty()) {
            if self.lines.len() <= distance {
                self.lines.resize_with(distance + 1, Default::default);
            }
            self.lines[distance][kind] = end(verdict, answer).into_bytes();
        }
        &self.lines[distance][kind]
    }
}

fn end(verdict: &Verdict, answer: Answer) -> String {
    let number = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    format!(
        "{}\t{answer}\t{}",
        number(verdict.distance(answer)),
        number(verdict.raw_distance().map(i64::from)),
    )
}
