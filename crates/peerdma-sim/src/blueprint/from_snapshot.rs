//! A captured machine becomes one that can be simulated: what the capture does not tell is filled in, and said.
//!
//! ```text
//! places (who sits below whom) -> bars -> function (all other facts) -> bridge (buses, windows) -> host -> devices
//! ```
//!
//! What is known stays as it is, with these exceptions, each with a warning: what no register can hold is dropped; virtual
//! functions, which have neither identity nor BARs nor a memory enable of their own, become ordinary ones with the
//! addresses that the operating system tells. BARs that overlap, and BARs without an address, stay as they are; so do RAM,
//! windows and BARs that claim the same physical addresses, of which the warnings tell.

use super::bars::Addresses;
use super::function::Ends;
use super::{Blueprint, DeviceKind, NvmeKind, bars, bridge, conflicts, function, host, identity};
use crate::blueprint::NamespaceKind;
use crate::device::nvme::Controller;
use crate::firmware::{MOST_FUNCTIONS, groups};
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::pci::ClassCode;
use peerdma::snapshot::{Function, Host, Snapshot, Warnings};
use peerdma::topology::{Place, Topology};
use std::collections::{BTreeMap, HashMap};

/// No machine can be made of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FromSnapshotError {
    /// It has too many functions.
    #[error("the snapshot has {count} functions; a simulated machine has at most {MOST_FUNCTIONS}")]
    TooManyFunctions {
        /// How many.
        count: usize,
    },
}

impl Blueprint {
    /// The machine that a snapshot shows, with every fact that it lacks filled in; each such fact is named in the warnings.
    ///
    /// A snapshot of a simulated machine gives the same snapshot again, without a change.
    ///
    /// # Errors
    /// [`FromSnapshotError`] where the machine is too large.
    pub fn from_snapshot(snapshot: &Snapshot) -> Result<(Self, Warnings), FromSnapshotError> {
        let count = snapshot.functions().len();
        if count > MOST_FUNCTIONS {
            return Err(FromSnapshotError::TooManyFunctions { count });
        }
        let mut warnings = Warnings::default();
        let mut functions = snapshot.functions().to_vec();
        let order = places(snapshot, &mut functions, &mut warnings);
        let tree = Tree::new(&functions);
        let mut told: Vec<Vec<String>> = vec![Vec::new(); functions.len()];
        let addresses = Addresses::new(snapshot, &functions, &tree);
        for (index, function) in functions.iter_mut().enumerate() {
            bars::fill(function, tree.roots[index], &addresses, &mut told[index]);
        }
        let payload_bytes = function::least_payload_bytes(&functions);
        for &index in &order {
            let above = tree.above[index].map(|above| Ends::of(&functions[above]));
            let has_children = tree.has_children[index];
            function::fill(
                &mut functions[index],
                above,
                has_children,
                payload_bytes,
                &mut told[index],
            );
        }
        bridge::fill(&mut functions, &tree, &order, &mut told);
        for (function, told) in functions.iter_mut().zip(&mut told) {
            function::make_writable(function, told);
            // These bytes are those of the machine that was captured.
            function.raw_config = None;
            if !told.is_empty() {
                warnings.push(
                    function.bdf,
                    format_args!("not told, and taken for it: {}", told.join(", ")),
                );
            }
        }
        let host = host::fill(snapshot, &functions, &tree, &mut warnings);
        conflicts::warn(&host, &functions, &mut warnings);
        if functions
            .iter()
            .any(|function| !function.os.iommu_group.is_known())
        {
            let mode = host.iommu.known().unwrap_or(peerdma::snapshot::IommuMode::Off);
            let mut grouped = functions.clone();
            groups::assign(&mut grouped, mode);
            for (function, grouped) in functions.iter_mut().zip(grouped) {
                let group = grouped.os.iommu_group;
                function.os.iommu_group = std::mem::take(&mut function.os.iommu_group).or(group);
            }
            warnings.push(
                "the machine",
                "IOMMU groups that are not told are those that Linux would form",
            );
        }
        let nature = host::nature(snapshot, &mut warnings);
        let host = Host {
            nature: Some(nature.clone()),
            ..host
        };
        let blueprint = Self {
            devices: devices(&functions, &mut warnings),
            snapshot: Snapshot::new(host, functions, &mut warnings),
            nature,
        };
        Ok((blueprint, warnings))
    }
}

/// Who sits below whom, and on which root bus.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) above: Vec<Option<usize>>,
    /// Domain and bus of the root bus.
    pub(super) roots: Vec<(u32, u8)>,
    pub(super) has_children: Vec<bool>,
}

impl Tree {
    fn new(functions: &[Function]) -> Self {
        let positions: HashMap<Bdf, usize> = functions
            .iter()
            .enumerate()
            .map(|(index, function)| (function.bdf, index))
            .collect();
        let above: Vec<Option<usize>> = functions
            .iter()
            .map(|function| positions.get(&function.upstream.known().flatten()?).copied())
            .collect();
        let mut has_children = vec![false; functions.len()];
        for &bridge in above.iter().flatten() {
            has_children[bridge] = true;
        }
        let root = |index: usize| {
            let climb = std::iter::successors(Some(index), |&at| above[at]);
            let top = climb
                .take(Topology::MOST_DEPTH as usize + 1)
                .last()
                .unwrap_or(index);
            (functions[top].bdf.domain(), functions[top].bdf.bus())
        };
        Self {
            roots: (0..functions.len()).map(root).collect(),
            above,
            has_children,
        }
    }
}

/// Says of every function what is above it; returns all of them, each behind the bridge above it.
fn places(snapshot: &Snapshot, functions: &mut [Function], warnings: &mut Warnings) -> Vec<usize> {
    let topology = Topology::new(snapshot.clone(), warnings);
    let mut order: Vec<usize> = topology.top_down().iter().map(|node| node.index()).collect();
    let mut is_placed = vec![false; functions.len()];
    for &index in &order {
        is_placed[index] = true;
    }
    order.extend((0..functions.len()).filter(|index| !is_placed[*index]));
    for node in topology.nodes() {
        let function = &mut functions[node.index()];
        let upstream = match topology.place(node) {
            Place::OnRoot(_) => None,
            Place::Below(bridge) if is_placed[node.index()] => Some(topology.function(bridge).bdf),
            Place::Below(_) | Place::Unknown => {
                warnings.push(
                    function.bdf,
                    "nobody can tell where it sits; it is taken to be on a root bus",
                );
                None
            }
        };
        if topology.has_gap_above(node) {
            warnings.push(
                function.bdf,
                "a bridge above it is missing; it is taken to sit right below the next",
            );
        }
        function.upstream = Fact::Known(upstream);
    }
    order
}

/// What the functions are that are no bridges and more than plain memory.
fn devices(functions: &[Function], warnings: &mut Warnings) -> BTreeMap<Bdf, DeviceKind> {
    let mut devices = BTreeMap::new();
    for function in functions.iter().filter(|function| function.bridge().is_none()) {
        let own = identity::kind(function.config.subsystem.known().flatten());
        let is_nvme = function
            .config
            .class
            .known()
            .is_some_and(|class| class.class() == ClassCode::NVM && class.interface() == 2);
        let foreign = is_nvme.then(|| {
            DeviceKind::Nvme(NvmeKind {
                namespaces: vec![NamespaceKind::default()],
                cmb: None,
            })
        });
        let Some(mut kind) = own.or(foreign) else { continue };
        let size_bytes = |index: u8| {
            let resources = function.os.resources.as_ref().known()?;
            let resource = resources
                .iter()
                .find(|one| one.index == index && one.kind.is_memory())?;
            resource.size_bytes.known()
        };
        let has = |index: u8| size_bytes(index).is_some();
        match &mut kind {
            DeviceKind::Card => {}
            DeviceKind::Nvme(_) | DeviceKind::Accelerator(_) if !has(0) => {
                warnings.push(
                    function.bdf,
                    "it has no registers in BAR 0; it is simulated as a card of plain memory",
                );
                kind = DeviceKind::Card;
            }
            DeviceKind::Nvme(_) if size_bytes(0) < Some(Controller::LEAST_REGISTER_BAR_BYTES) => {
                warnings.push(
                    function.bdf,
                    "its BAR 0 has no room for the doorbells of an NVMe controller; it is simulated as a card of plain memory",
                );
                kind = DeviceKind::Card;
            }
            DeviceKind::Accelerator(_) if !has(2) => {
                warnings.push(
                    function.bdf,
                    "it has no memory in BAR 2; it is simulated as a card of plain memory",
                );
                kind = DeviceKind::Card;
            }
            DeviceKind::Accelerator(_) => {}
            DeviceKind::Nvme(nvme) => {
                let can_hold = |bytes: u64| bytes >= 4096 && bytes.is_power_of_two();
                let lost = nvme.cmb.take_if(|cmb| !size_bytes(cmb.bar).is_some_and(can_hold));
                if let Some(cmb) = lost {
                    warnings.push(
                        function.bdf,
                        format_args!(
                            "BAR {} can hold no controller memory buffer; it has none",
                            cmb.bar
                        ),
                    );
                }
                warnings.push(
                    function.bdf,
                    "no register tells its namespaces: it has one of 1 GiB in memory, in blocks of 512 bytes",
                );
            }
        }
        devices.insert(function.bdf, kind);
    }
    devices
}
