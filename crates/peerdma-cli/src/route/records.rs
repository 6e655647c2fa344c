//! What probes have seen of this pair, or on such machines: evidence beside the verdict, which it never changes.

use crate::args::RouteArgs;
use crate::capture::Source;
use crate::error::Problem;
use crate::input::Machine;
use crate::probe::record::{self, End, Line, Port};
use crate::probe::record_file;
use crate::shown::plain;
use peerdma::topology::{NodeId, Topology};
use serde::Serialize;
use std::path::PathBuf;

/// A record that says something of a pair.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    closeness: Closeness,
    /// What was different then, in sentences.
    differences: Vec<String>,
    #[serde(flatten)]
    line: Line,
}

/// Of what is it evidence?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Closeness {
    /// Of these functions, on a machine with this host bridge and processor.
    Here,
    /// Of others, below such a root complex, with such a processor.
    SuchMachine,
}

/// The latest of each sort are shown.
const MOST_SHOWN: usize = 8;

/// Records of a pair and of its way back; nothing where no file was named.
///
/// # Errors
/// A [`Problem`] where the file holds no records.
pub(super) fn of(
    args: &RouteArgs,
    machine: &Machine,
    (client, provider): (NodeId, NodeId),
) -> Result<Option<Vec<Record>>, Problem> {
    let named = args.records.clone();
    let environment = || std::env::var_os("PEERDMA_RECORDS").filter(|path| !path.is_empty());
    let Some(path) = named.or_else(|| environment().map(PathBuf::from)) else {
        return Ok(None);
    };
    let lines = record_file::read(&path)?;
    let topology = &machine.topology;
    // What a simulated machine does says nothing of a real one.
    let sort = match machine.source {
        Source::Machine(_) => "simulated",
        Source::Live | Source::Sysfs(_) | Source::File(_) => "live",
    };
    let ends = [client, provider].map(|node| End::of(topology, node));
    let is_shared = record::share_a_port(topology, [Some(client), Some(provider)]);
    let cpu = record::cpu(topology);
    let mut found: Vec<Record> = (lines.into_iter().rev())
        .filter(|line| line.machine == sort && line.cpu == cpu)
        .filter_map(|line| {
            let closeness = closeness(&line, &ends, is_shared)?;
            Some(Record {
                closeness,
                differences: differences(&line, topology, [client, provider], closeness),
                line,
            })
        })
        .collect();
    // Stable: within a sort the latest stays first.
    found.sort_by_key(|record| record.closeness);
    let mut shown = [0; 2];
    found.retain(|record| {
        let count = &mut shown[record.closeness as usize];
        *count += 1;
        *count <= MOST_SHOWN
    });
    Ok(Some(found))
}

fn closeness(line: &Line, [client, provider]: &[End; 2], is_shared: bool) -> Option<Closeness> {
    let is = |[there, back]: [&End; 2]| (&line.client, &line.provider) == (there, back);
    if is([client, provider]) || is([provider, client]) {
        return Some(Closeness::Here);
    }
    // In its own memory nothing travels: that says nothing of a way, nor a way of that.
    if line.client.bdf == line.provider.bdf || client.bdf == provider.bdf {
        return None;
    }
    let is_such =
        |there: &End, back: &End| line.client.is_below_such(there) && line.provider.is_below_such(back);
    let is_alike = line.share_a_port == is_shared;
    (is_alike && (is_such(client, provider) || is_such(provider, client))).then_some(Closeness::SuchMachine)
}

/// What was different when it was measured.
fn differences(line: &Line, topology: &Topology, ends: [NodeId; 2], closeness: Closeness) -> Vec<String> {
    let host = &topology.snapshot().host;
    let mut found = Vec::new();
    let mut compare = |what: &str, then: &Option<String>, now: Option<String>| {
        if let (Some(then), Some(now)) = (then, now)
            && *then != now
        {
            found.push(format!("{what} was {then}, and is {now}"));
        }
    };
    compare(
        "the kernel",
        &line.kernel,
        host.kernel.known().map(|kernel| kernel.to_string()),
    );
    compare(
        "the IOMMU",
        &line.iommu,
        host.iommu.known().map(|iommu| iommu.to_string()),
    );
    if closeness == Closeness::SuchMachine {
        let now = record::redirect(&record::ports(topology, ends.into_iter()));
        let word = |is_on| if is_on { "on" } else { "off" };
        if let (Some(then), Some(now)) = (record::redirect(&line.ports), now)
            && then != now
        {
            found.push(format!(
                "ACS redirect on the way was {}, and is {}",
                word(then),
                word(now)
            ));
        }
    } else {
        for port in &line.ports {
            let node = port.bdf.parse().ok().and_then(|bdf| topology.find(bdf));
            let acs = node.map(|node| &topology.function(node).config.acs);
            let now = match acs {
                Some(peerdma::fact::Fact::Known(acs)) => acs.as_ref().map(|acs| acs.control.bits()),
                // Then or now nobody could say.
                _ => continue,
            };
            if port.acs_is_known && port.acs_control != now {
                found.push(changed(port, now));
            }
        }
    }
    found
}

fn changed(port: &Port, now: Option<u16>) -> String {
    let said =
        |control: Option<u16>| control.map_or_else(|| "none".to_owned(), |control| format!("{control:#x}"));
    format!(
        "ACS of {} was {}, and is {}",
        port.bdf,
        said(port.acs_control),
        said(now)
    )
}

impl Record {
    /// In sentences, one a direction.
    pub(super) fn words(&self) -> Vec<String> {
        let line = &self.line;
        let measured = match self.closeness {
            Closeness::Here => "measured here",
            Closeness::SuchMachine => "measured on such a machine",
        };
        let day = line.date.get(..10).unwrap_or(&line.date);
        let differences = match self.differences.is_empty() {
            true => String::new(),
            false => format!(" ({})", self.differences.join("; ")),
        };
        let by = if line.by_kernel { ", by the kernel" } else { "" };
        let tried = line.directions.iter().filter(|one| one.outcome.is_some());
        let sentence = |one: &record::Direction| {
            let rate = match (one.median_ns, one.bytes_per_second) {
                (Some(median_ns), Some(rate)) => {
                    format!("; median {} us, {} MB/s", median_ns / 1000, rate / 1_000_000)
                }
                _ => String::new(),
            };
            let words = format!(
                "{measured} on {day}{differences}: {} {}s memory of {}{by}: {} (verdict {}{}): {}{rate}",
                line.client.bdf,
                one.access,
                line.provider.bdf,
                one.judgement.as_deref().unwrap_or("not judged"),
                one.promise,
                one.map_type
                    .as_deref()
                    .map_or_else(String::new, |map_type| format!(", {map_type}")),
                one.said.as_deref().unwrap_or("nothing was said"),
            );
            // A file of somebody else's does not colour what it says.
            plain(&words).into_owned()
        };
        tried.map(sentence).collect()
    }
}
