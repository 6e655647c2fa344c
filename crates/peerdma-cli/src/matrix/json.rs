//! The matrix as data, schema `peerdma.matrix/1` (docs/json.md). Pairs are written as they are judged:
//! memory does not grow with their number.

use super::Pairs;
use crate::answer::{AnswerLine, PoliciesLine};
use crate::describe::{FunctionLine, MachineLine};
use crate::error::Failure;
use crate::judges::Row;
use crate::rates::RatesLine;
use crate::shown::Escaping;
use peerdma::addr::Bdf;
use peerdma::route::Access;
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
    /// What each judge says, where all are asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    policies: Option<PoliciesLine>,
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
    serde_json::to_writer(Escaping(&mut out), &MachineLine::new(pairs.machine))?;
    let (policy, class) = (pairs.policy.name(), pairs.class.name());
    write!(out, ",\"policy\":\"{policy}\",\"tlp\":\"{class}\",\"functions\":")?;
    serde_json::to_writer(Escaping(&mut out), &functions)?;
    out.write_all(b",\"pairs\":[")?;
    let mut row = Row::default();
    let mut separator: &[u8] = b"\n";
    for &provider in &pairs.providers {
        pairs.judge.row(provider, &pairs.clients, &mut row);
        for (position, &client) in pairs.clients.iter().enumerate() {
            let verdict = row.verdict(position, client);
            out.write_all(separator)?;
            let pair = Pair {
                provider: topology.function(provider).bdf,
                client: topology.function(client).bdf,
                read: AnswerLine::new(verdict, Access::Read, pairs.class),
                write: AnswerLine::new(verdict, Access::Write, pairs.class),
                raw_distance: verdict.raw_distance(),
                policies: pairs
                    .judges
                    .as_ref()
                    .map(|judges| PoliciesLine::new(&judges.verdicts(provider, client), pairs.class)),
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
