//! Every pair as a line with a header, names, and reading and writing apart (RFC 4180).
//!
//! Names come from captures and from the database of ids, and the lines end up in spreadsheets: what one
//! would take for a formula gets an apostrophe before it. Numbers stay numbers, -1 too.

use super::Pairs;
use crate::error::Failure;
use crate::judges::Row;
use crate::names;
use peerdma::route::{Access, Answer, Verdict};
use std::io::Write;

const HEADER: &str = "provider,provider_name,provider_device,client,client_name,client_device,\
                      read,read_distance,write,write_distance,raw_distance";

/// Further fields with `--policy all`.
const OTHERS: &str = ",next_read,next_write,spec_read,spec_write";

/// Further fields with `--bandwidth`.
const RATES: &str = ",read_bytes_per_second,write_bytes_per_second";

pub(super) fn write(pairs: &Pairs<'_>, out: &mut impl Write) -> Result<(), Failure> {
    let topology = pairs.judge.topology();
    let cells: Vec<String> = topology
        .nodes()
        .map(|node| {
            let function = topology.function(node);
            let name = names::kernel_name(function).unwrap_or_default();
            let device = names::device(function.id());
            format!("{},{},{}", function.bdf, quoted(name), quoted(&device))
        })
        .collect();
    let mut row = Row::default();
    let mut buffer = String::from(HEADER);
    if pairs.judges.is_some() {
        buffer.push_str(OTHERS);
    }
    if pairs.bandwidth.is_some() {
        buffer.push_str(RATES);
    }
    buffer.push('\n');
    for &provider in &pairs.providers {
        pairs.judge.row(provider, &pairs.clients, &mut row);
        for (position, &client) in pairs.clients.iter().enumerate() {
            let verdict = row.verdict(position, client);
            let (read, write) = (
                verdict.answer(Access::Read, pairs.class),
                verdict.answer(Access::Write, pairs.class),
            );
            let raw = verdict
                .raw_distance()
                .map_or_else(|| "?".into(), |raw| raw.to_string());
            buffer.push_str(&cells[provider.index()]);
            buffer.push(',');
            buffer.push_str(&cells[client.index()]);
            buffer.push_str(&format!(
                ",{read},{},{write},{},{raw}",
                distance(verdict, read),
                distance(verdict, write)
            ));
            if let Some(judges) = &pairs.judges {
                let [_, next, spec] = judges.verdicts(provider, client);
                for (verdict, access) in [next, spec]
                    .iter()
                    .flat_map(|verdict| Access::ALL.map(|access| (verdict, access)))
                {
                    buffer.push_str(&format!(",{}", verdict.answer(access, pairs.class)));
                }
            }
            for access in Access::ALL {
                if let Some(rate) = pairs.rate(provider, client, access, verdict) {
                    buffer.push(',');
                    buffer.push_str(&rate.field());
                }
            }
            buffer.push('\n');
        }
        if buffer.len() > 1 << 18 {
            out.write_all(buffer.as_bytes())?;
            buffer.clear();
        }
        pairs.progress.advance();
    }
    out.write_all(buffer.as_bytes())?;
    out.flush()?;
    Ok(())
}

fn distance(verdict: &Verdict, answer: Answer) -> String {
    verdict
        .distance(answer)
        .map_or_else(|| "?".into(), |distance| distance.to_string())
}

/// A field of text, in quotes where it has to be, and never a formula.
fn quoted(text: &str) -> String {
    let text = match text.starts_with(['=', '+', '-', '@']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_a_formula() {
        for (text, field) in [
            ("nvme0", "nvme0"),
            ("=1+1", "'=1+1"),
            ("+a", "'+a"),
            ("-a", "'-a"),
            ("@a", "'@a"),
            ("=A,\"B\"", "\"'=A,\"\"B\"\"\""),
        ] {
            assert_eq!(quoted(text), field);
        }
    }
}
