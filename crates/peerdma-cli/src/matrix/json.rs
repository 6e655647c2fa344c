//! The matrix as data, schema `peerdma.matrix/1` (docs/json.md). Pairs are written as they are judged:
//! memory does not grow with their number.

use super::Pairs;
use crate::answer::AnswerLine;
use crate::describe::{FunctionLine, MachineLine};
use crate::error::Failure;
use crate::rates::RatesLine;
use peerdma::addr::Bdf;
use peerdma::route::Access;
use peerdma::route::linux::Row;
use serde::Serialize;
use std::io::{BufWriter, Write};

/// One pair.
#[derive(Serialize)]
struct Pair {
    provider: Bdf,
    client: Bdf,
    read: AnswerLine,
    write: AnswerLine,
    raw_distance: Option<u32>,
    /// Estimates, where they are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    bandwidth: Option<RatesLine>,
}

pub(super) fn write(pairs: &Pairs<'_>, out: &mut impl Write) -> Result<(), Failure> {
    let topology = pairs.judge.topology();
    let mut out = BufWriter::with_capacity(1 << 18, out);
    let shown: std::collections::BTreeSet<_> =
        pairs.providers.iter().chain(&pairs.clients).copied().collect();
    let functions: Vec<FunctionLine<'_>> = shown
        .into_iter()
        .map(|node| FunctionLine::new(topology.function(node)))
        .collect();
    out.write_all(b"{\"schema\":\"peerdma.matrix/1\",\"machine\":")?;
    serde_json::to_writer(&mut out, &MachineLine::new(pairs.machine))?;
    write!(out, ",\"tlp\":\"{}\",\"functions\":", pairs.class.name())?;
    serde_json::to_writer(&mut out, &functions)?;
    out.write_all(b",\"pairs\":[")?;
    let mut row = Row::default();
    let mut separator: &[u8] = b"\n";
    for &provider in &pairs.providers {
        pairs.judge.row(provider, &mut row);
        for &client in &pairs.clients {
            let verdict = &row.verdicts()[client.index()];
            out.write_all(separator)?;
            let pair = Pair {
                provider: topology.function(provider).bdf,
                client: topology.function(client).bdf,
                read: AnswerLine::new(verdict, Access::Read, pairs.class),
                write: AnswerLine::new(verdict, Access::Write, pairs.class),
                raw_distance: verdict.raw_distance(),
                bandwidth: pairs.bandwidth.as_ref().map(|_| {
                    let rate = |access| pairs.rate(provider, client, access, verdict)?.line();
                    RatesLine {
                        read: rate(Access::Read),
                        write: rate(Access::Write),
                    }
                }),
            };
            serde_json::to_writer(&mut out, &pair)?;
            separator = b",\n";
        }
        pairs.progress.advance();
    }
    out.write_all(b"\n]}\n")?;
    out.flush()?;
    Ok(())
}
