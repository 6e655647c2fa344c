//! A binding in words.

use super::Way;
use crate::args::BindArgs;
use crate::layout::{count, wrapped};
use crate::names;
use crate::report::Out;
use peerdma::topology::Topology;
use peerdma_linux::bind::{DEFAULT_STATE, Plan, Taken};
use std::path::Path;

/// What is to be done, step by step.
pub(super) fn answer(plan: &Plan, way: Way, topology: &Topology, out: &Out) -> String {
    let mut text = String::new();
    for taken in &plan.taken {
        let function = topology.find(taken.bdf).map(|node| topology.function(node));
        let device = function
            .map(|function| names::device(function.id()))
            .unwrap_or_default();
        let group = match taken.group {
            Some(group) => format!("IOMMU group {group}"),
            None => "no IOMMU group".into(),
        };
        let change = match taken.from == taken.to {
            true => "its driver stays".into(),
            false => format!("{} -> {}", name(&taken.from), name(&taken.to)),
        };
        let line = format!("{}  {device}: {change} ({group})", taken.bdf);
        text.push_str(&wrapped(&line, "", "  ", out.width));
        for step in &taken.steps {
            text.push_str(&wrapped(&step.to_string(), "  - ", "    ", out.line_width()));
        }
    }
    for bdf in &plan.already {
        text.push_str(&format!("{bdf}  is bound to vfio-pci already: left as it is\n"));
    }
    if plan.taken.is_empty() {
        text.push_str(match way {
            Way::Bind => "Nothing to do.\n",
            Way::Unbind => "Nothing to put back.\n",
        });
    }
    text
}

/// That it was done, and how it is undone.
pub(super) fn done(plan: &Plan, way: Way, args: &BindArgs) -> String {
    let functions = count(plan.taken.len(), "function");
    match way {
        Way::Unbind => format!("{functions} put back.\n"),
        Way::Bind => {
            let addresses: Vec<String> = plan.taken.iter().map(|taken| taken.bdf.to_string()).collect();
            let state = match args.state == Path::new(DEFAULT_STATE) {
                true => String::new(),
                false => format!(" --state {}", args.state.display()),
            };
            let mut text = format!(
                "{functions} bound to vfio-pci. Back again: peerdma unbind{state} {}\n",
                addresses.join(" ")
            );
            text.push_str(&owners(plan));
            text
        }
    }
}

/// The same, with each function's name, for who sees nothing else of it.
pub(super) fn became(plan: &Plan, way: Way, args: &BindArgs) -> String {
    let mut text = done(plan, way, args);
    for taken in &plan.taken {
        text.push_str(&format!(
            "{}: {} -> {}\n",
            taken.bdf,
            name(&taken.from),
            name(&taken.to)
        ));
    }
    text
}

/// Who may open them now.
fn owners(plan: &Plan) -> String {
    let mut groups: Vec<u32> = plan.taken.iter().filter_map(group).collect();
    groups.sort_unstable();
    groups.dedup();
    let nodes: Vec<String> = groups.iter().map(|group| format!("/dev/vfio/{group}")).collect();
    match nodes.is_empty() {
        true => String::new(),
        false => format!(
            "Root may open them; for another user: chown USER {}, and where the kernel has iommufd /dev/iommu and the devices' \
             files below /dev/vfio/devices (docs/linux.md)\n",
            nodes.join(" ")
        ),
    }
}

fn group(taken: &Taken) -> Option<u32> {
    taken.group
}

fn name(driver: &Option<String>) -> &str {
    driver.as_deref().unwrap_or("no driver")
}
