//! What a line of the tree tells of one function.

use crate::style::Tone;
use crate::{layout, links, names};
use peerdma::fact::Fact;
use peerdma::route::linux::REDIRECT;
use peerdma::route::{LinkHealth, link_above};
use peerdma::snapshot::Function;
use peerdma::topology::{NodeId, Topology};

/// The columns between the tree and the device's name, in their order.
pub(super) const TITLES: [&str; COLUMNS] = ["NAME", "LINK GT/s", "ACS", "BARS", "NUMA", "GROUP", "DRIVER"];
pub(super) const COLUMNS: usize = 7;

/// The columns that go first where the terminal is narrow, the least important first.
pub(super) const DISPENSABLE: [usize; 4] = [4, 3, 6, 5];

/// A cell and its look.
pub(super) type Cell = (String, Option<Tone>);

/// The cells of a function's line.
pub(super) fn cells(topology: &Topology, node: NodeId) -> [Cell; COLUMNS] {
    let function = topology.function(node);
    let name = match names::kernel_name(function) {
        Some(name) => (name.to_owned(), Some(Tone::Strong)),
        None => (names::kind_of(function).into_owned(), None),
    };
    [
        name,
        link(topology, node),
        acs(function),
        (bars(function), None),
        (numa(function), None),
        (group(function), None),
        (driver(function), None),
    ]
}

/// Makes cells shorter for a narrow terminal: of ACS only what is switched on, links without spaces.
pub(super) fn narrow<'a>(lines: impl Iterator<Item = &'a mut [Cell; COLUMNS]>) {
    for [_, (link, _), (acs, _), ..] in lines {
        *link = link.replace(" x", "x").replace(" of ", "/");
        if let Some((on, _)) = acs.split_once('/') {
            *acs = on.to_owned();
        }
    }
}

fn link(topology: &Topology, node: NodeId) -> Cell {
    match link_above(topology, node) {
        None => (String::new(), None),
        Some(Fact::Unknown(_)) => ("?".into(), Some(Tone::Doubt)),
        Some(Fact::Known(link)) => {
            let tone = links::tone(link.health);
            let text = match (link.health, link.best) {
                (LinkHealth::Down, _) => "down".into(),
                (LinkHealth::Downtrained | LinkHealth::Narrowed, Fact::Known(best)) => {
                    format!("{} of {}", links::brief(link.now), links::brief(best))
                }
                _ => links::brief(link.now),
            };
            (text, (tone != Tone::Strong).then_some(tone))
        }
    }
}

fn acs(function: &Function) -> Cell {
    match &function.config.acs {
        Fact::Unknown(_) => ("?".into(), Some(Tone::Doubt)),
        Fact::Known(None) => (String::new(), None),
        Fact::Known(Some(acs)) => {
            let tone = acs.control.intersects(REDIRECT).then_some(Tone::Fair);
            (format!("{}/{}", acs.control, acs.capable), tone)
        }
    }
}

fn bars(function: &Function) -> String {
    let Fact::Known(bars) = function.bars() else {
        return "?".into();
    };
    let sizes: Vec<String> = bars
        .iter()
        .filter(|bar| bar.kind.is_memory())
        .map(|bar| {
            let size = bar.size_bytes.known().map_or_else(|| "?".into(), layout::bytes);
            let largest = match &bar.possible_bytes {
                Fact::Known(possible) => possible.last().copied(),
                Fact::Unknown(_) => None,
            };
            let grows = largest > bar.size_bytes.known() && largest.is_some();
            if grows { format!("{size}+") } else { size }
        })
        .collect();
    sizes.join(" ")
}

fn numa(function: &Function) -> String {
    match function.os.numa_node {
        Fact::Known(Some(node)) => node.to_string(),
        Fact::Known(None) => String::new(),
        Fact::Unknown(_) => "?".into(),
    }
}

fn group(function: &Function) -> String {
    match &function.os.iommu_group {
        Fact::Known(Some(group)) => group.number.to_string(),
        Fact::Known(None) => String::new(),
        Fact::Unknown(_) => "?".into(),
    }
}

fn driver(function: &Function) -> String {
    match &function.os.driver {
        Fact::Known(driver) => driver.clone().unwrap_or_default(),
        Fact::Unknown(_) => "?".into(),
    }
}
