//! What every answer says of the machine, its root buses and its functions.

use crate::capture::Source;
use crate::input::Machine;
use crate::layout::{bytes, count, wrapped};
use crate::names;
use crate::report::Out;
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::pci::BarKind;
use peerdma::route::linux::Kernel;
use peerdma::snapshot::{BarFacts, Cpu, Function, IommuMode, KernelVersion, Warnings};
use peerdma::topology::{Root, Topology};
use serde::Serialize;

/// Which judge to believe for what.
pub(crate) const WHOM_TO_BELIEVE: &str = "Linux decides whether it will be done; the specification says whether it would work; neither proves \
                                          that bytes arrive intact.";

/// The machine, as every answer begins.
#[derive(Serialize)]
pub(crate) struct MachineLine<'m> {
    source: &'m Source,
    /// The kernel that was asked: a release, `next` or `unknown`.
    kernel: String,
    /// The release that the machine runs.
    captured_kernel: Fact<KernelVersion>,
    /// As the source or `--cpu` names it.
    cpu: &'m Fact<Cpu>,
    /// The vendor that was concluded from the host bridge, where nobody names one.
    cpu_inferred: Option<&'m str>,
    iommu: Fact<IommuMode>,
    functions: usize,
    warnings: &'m Warnings,
    notes: &'m [String],
}

impl<'m> MachineLine<'m> {
    pub(crate) fn new(machine: &'m Machine) -> Self {
        let snapshot = machine.topology.snapshot();
        Self {
            source: &machine.source,
            kernel: machine.kernel.to_string(),
            captured_kernel: snapshot.host.kernel,
            cpu: &machine.cpu,
            cpu_inferred: machine.inferred_cpu().map(|cpu| &cpu.vendor[..]),
            iommu: snapshot.host.iommu,
            functions: snapshot.functions().len(),
            warnings: &machine.warnings,
            notes: &machine.notes,
        }
    }
}

/// A function in few words.
#[derive(Serialize)]
pub(crate) struct FunctionLine<'f> {
    bdf: Bdf,
    names: &'f [String],
    kind: String,
    id: Option<String>,
    class: Option<String>,
    device: String,
    driver: Option<&'f str>,
}

impl<'f> FunctionLine<'f> {
    pub(crate) fn new(function: &'f Function) -> Self {
        Self {
            bdf: function.bdf,
            names: &function.os.names,
            kind: names::kind_of(function).into_owned(),
            id: function.id().map(|id| id.to_string()),
            class: function.class().map(|class| format!("{:06x}", class.bits())),
            device: names::device(function.id()),
            driver: names::driver(function),
        }
    }
}

/// The lines above every table: source, kernel, processor, IOMMU.
pub(crate) fn heading(machine: &Machine, out: &Out) -> String {
    let snapshot = machine.topology.snapshot();
    let cpu = match (&snapshot.host.cpu, machine.inferred_cpu()) {
        (_, Some(_)) => "Intel (inferred)".into(),
        (Fact::Known(cpu), None) => cpu.to_string(),
        (Fact::Unknown(_), None) => "unknown".into(),
    };
    let iommu = match snapshot.host.iommu {
        Fact::Known(iommu) => iommu.to_string(),
        Fact::Unknown(_) => "unknown".into(),
    };
    let kernel = match machine.kernel {
        Kernel::Next => "posted rewrite (next)".into(),
        Kernel::Unknown => match snapshot.host.kernel {
            Fact::Known(runs) => format!("Linux {runs}, older than the checked releases"),
            Fact::Unknown(_) => "unknown".into(),
        },
        release => format!("Linux {release}"),
    };
    let line = format!(
        "{}: {} on {}. Kernel: {kernel}. Processor: {cpu}. IOMMU: {iommu}.",
        machine.source.name(),
        count(snapshot.functions().len(), "function"),
        count(machine.topology.roots().len(), "root bus"),
    );
    wrapped(&line, "", "  ", out.width)
}

/// A root bus, and as what Linux knows its host bridge: `root bus 0000:00, host bridge 8086:09a2 Intel ...`.
pub(crate) fn root(topology: &Topology, root: Root) -> String {
    let first = topology.function(root.first);
    let id = first.id().map_or_else(|| "unknown".into(), |id| id.to_string());
    format!(
        "root bus {:04x}:{:02x}, host bridge {id} {}",
        root.domain,
        root.bus,
        names::device(first.id())
    )
}

/// A BAR: `BAR 0: 64G, 64-bit, prefetchable, at 0x2000000000; could be 256M to 64G`.
pub(crate) fn bar(bar: &BarFacts) -> String {
    let size = bar
        .size_bytes
        .known()
        .map_or_else(|| "size unknown".into(), bytes);
    let mut text = format!("BAR {}: {size}", bar.index);
    text.push_str(match bar.kind {
        BarKind::Io => ", I/O ports",
        BarKind::Memory32 => ", 32-bit",
        BarKind::Memory64 => ", 64-bit",
    });
    if bar.prefetchable {
        text.push_str(", prefetchable");
    }
    match (bar.phys, bar.bus_address) {
        (Fact::Known(span), _) => text.push_str(&format!(", at {}", span.first())),
        (_, Fact::Known(address)) => text.push_str(&format!(", at bus address {address}")),
        _ => {}
    }
    if let Fact::Known(possible) = &bar.possible_bytes
        && !possible.is_empty()
    {
        let sizes: Vec<String> = possible.iter().map(|&size| bytes(size)).collect();
        text.push_str(&format!(", resizable to {}", sizes.join(" ")));
    }
    text
}
