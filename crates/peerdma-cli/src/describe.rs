//! What every JSON answer says of the machine and of a function.

use crate::input::{Machine, Source};
use crate::names;
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::snapshot::{Cpu, Function, IommuMode, KernelVersion, Warnings};
use serde::Serialize;

/// The machine, as every answer begins.
#[derive(Serialize)]
pub(crate) struct MachineLine<'m> {
    source: &'m Source,
    /// The kernel that was asked: a release, `next` or `unknown`.
    kernel: String,
    /// The release that the machine runs.
    captured_kernel: Fact<KernelVersion>,
    cpu: &'m Fact<Cpu>,
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
            cpu: &snapshot.host.cpu,
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
            kind: names::kind(function.class()).into_owned(),
            id: function.id().map(|id| id.to_string()),
            class: function.class().map(|class| format!("{:06x}", class.bits())),
            device: names::device(function.id()),
            driver: names::driver(function),
        }
    }
}
