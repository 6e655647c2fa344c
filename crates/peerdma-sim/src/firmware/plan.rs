//! Who sits where, once [`super::enumeration`] has numbered it; payload sizes.

use super::enumeration::Enumeration;
use super::{MOST_HOST_BRIDGES, MOST_RANGES};
use crate::blueprint::{CmbKind, DeviceKind, NvmeKind};
use crate::file::{
    At, Bar, Common, ConventionalBridge, Device, Kind, Machine, MachineError, PayloadHabit, PcieSwitch, Port,
    Wrong,
};
use peerdma::addr::Bdf;
use peerdma::pci::Id;
use std::collections::{BTreeMap, HashMap};

/// All functions of a machine, each behind the bridge above it.
#[derive(Debug)]
pub(super) struct Plan<'m> {
    pub(super) nodes: Vec<Node<'m>>,
    pub(super) root_buses: Vec<u8>,
}

/// A function.
#[derive(Debug)]
pub(super) struct Node<'m> {
    pub(super) bdf: Bdf,
    /// Index of the bridge above; nothing on a root bus.
    pub(super) parent: Option<usize>,
    /// Index of its host bridge.
    pub(super) host: usize,
    /// Index of the function on the root bus above it, or of itself.
    pub(super) root: usize,
    pub(super) role: Role<'m>,
    /// Port number.
    pub(super) number: u8,
    /// Secondary and subordinate bus of a bridge.
    pub(super) buses: Option<(u8, u8)>,
    pub(super) bars: Vec<PlacedBar>,
    /// Base and length of the windows of a bridge: memory, prefetchable.
    pub(super) windows: [Option<(u64, u64)>; 2],
    pub(super) max_payload_bytes: u16,
}

/// What a function is in the hierarchy.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role<'m> {
    HostBridge(Id),
    RootPort(&'m Port),
    Upstream(&'m PcieSwitch, &'m Port),
    Downstream(&'m Port),
    /// With the port that its link leads to, if it has one.
    Conventional(&'m ConventionalBridge, Option<&'m Port>),
    /// Below a port.
    Endpoint(&'m Device, &'m Port),
    Integrated(&'m Device),
    OnConventionalBus(&'m Device),
}

/// A BAR with its size as firmware set it, and its address.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlacedBar {
    pub(super) bar: Bar,
    pub(super) size_bytes: u64,
    pub(super) bus_address: Option<u64>,
}

impl<'m> Plan<'m> {
    pub(super) fn new(machine: &'m Machine) -> Result<Self, MachineError> {
        let start = At::default();
        limit("host bridges", machine.bridges.len(), MOST_HOST_BRIDGES, start)?;
        limit("ranges of RAM", machine.host.ram.len(), MOST_RANGES, start)?;
        let mut walk = Enumeration::new(machine.firmware.bars);
        let mut ranges: Vec<(u32, u8, u8)> = Vec::new();
        for (host, bridge) in machine.bridges.iter().enumerate() {
            limit("windows", bridge.windows.len(), MOST_RANGES, bridge.at)?;
            let (first, last) = walk.host_bridge(host, bridge)?;
            let meets =
                |other: &&(u32, u8, u8)| other.0 == bridge.domain && other.1 <= last && first <= other.2;
            if let Some((domain, taken, end)) = ranges.iter().find(meets) {
                let conflict = Wrong::Conflict {
                    what: format!(
                        "it takes buses {first:#04x} to {last:#04x} of domain {domain:#x}, of which another host \
                         bridge has {taken:#04x} to {end:#04x}"
                    ),
                    instead: "leave out `bus`, choose one that leaves room, or give it another `domain`"
                        .into(),
                };
                return Err(conflict.at(bridge.at));
            }
            ranges.push((bridge.domain, first, last));
        }
        let mut plan = walk.finish();
        plan.choose_payloads(machine.firmware.payload)?;
        Ok(plan)
    }

    /// The root bus of each host bridge.
    pub(super) fn buses(&self) -> impl Iterator<Item = u8> + '_ {
        self.root_buses.iter().copied()
    }

    /// What the functions are that are no bridges.
    pub(super) fn devices(&self) -> BTreeMap<Bdf, DeviceKind> {
        let devices = self.nodes.iter().filter_map(|node| {
            let device = node.role.device()?;
            Some((node.bdf, device_kind(device)))
        });
        devices.collect()
    }

    fn choose_payloads(&mut self, habit: PayloadHabit) -> Result<(), MachineError> {
        let mut least: HashMap<usize, u16> = HashMap::new();
        let group = |node: &Node<'_>, index: usize| match habit {
            PayloadHabit::Safe => 0,
            PayloadHabit::PerRootPort => node.root,
            PayloadHabit::AsCapable => index,
        };
        for (index, node) in self.nodes.iter().enumerate() {
            if let Some(common) = node.role.common().filter(|_| node.role.is_express()) {
                let supported = common.max_supported_bytes;
                least
                    .entry(group(node, index))
                    .and_modify(|least| *least = supported.min(*least))
                    .or_insert(supported);
            }
        }
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let Some(common) = node.role.common() else {
                continue;
            };
            let chosen = least.get(&group(node, index)).copied().unwrap_or(128);
            let chosen = chosen.min(common.max_supported_bytes);
            node.max_payload_bytes = common.max_payload_bytes.unwrap_or(chosen);
            if node.max_payload_bytes > common.max_supported_bytes {
                let conflict = Wrong::Conflict {
                    what: format!(
                        "`mps = {}` is more than the {} bytes that it can take",
                        node.max_payload_bytes, common.max_supported_bytes
                    ),
                    instead: "raise `mps-supported`, or lower `mps`".into(),
                };
                return Err(conflict.at(common.at));
            }
        }
        Ok(())
    }
}

fn limit(what: &str, count: usize, most: usize, at: At) -> Result<(), MachineError> {
    if count <= most {
        return Ok(());
    }
    let conflict = Wrong::Conflict {
        what: format!("there are {count} {what}"),
        instead: format!("there can be {most}"),
    };
    Err(conflict.at(at))
}

/// What a device of a machine file is to the simulator.
fn device_kind(device: &Device) -> DeviceKind {
    match &device.kind {
        Kind::Card { .. } => DeviceKind::Card,
        Kind::Accelerator { kind, .. } => DeviceKind::Accelerator(kind.clone()),
        Kind::Nvme { namespaces, cmb } => DeviceKind::Nvme(NvmeKind {
            namespaces: namespaces.clone(),
            cmb: cmb.as_ref().map(|cmb| CmbKind {
                bar: cmb.bar.index,
                abilities: cmb.abilities,
                style: cmb.style,
            }),
        }),
    }
}

impl<'m> Role<'m> {
    pub(super) fn common(self) -> Option<&'m Common> {
        match self {
            Self::HostBridge(_) => None,
            Self::RootPort(port) | Self::Downstream(port) => Some(&port.common),
            Self::Upstream(switch, _) => Some(&switch.common),
            Self::Conventional(bridge, _) => Some(&bridge.common),
            Self::Endpoint(device, _) | Self::Integrated(device) | Self::OnConventionalBus(device) => {
                Some(&device.common)
            }
        }
    }

    pub(super) fn device(self) -> Option<&'m Device> {
        match self {
            Self::Endpoint(device, _) | Self::Integrated(device) | Self::OnConventionalBus(device) => {
                Some(device)
            }
            _ => None,
        }
    }

    /// What the subsystem of a device shows.
    pub(super) fn kind(self) -> Option<DeviceKind> {
        self.device().map(device_kind)
    }

    /// Does it have a PCI Express capability?
    pub(super) fn is_express(self) -> bool {
        !matches!(
            self,
            Self::HostBridge(_) | Self::OnConventionalBus(_) | Self::Conventional(_, None)
        )
    }
}
