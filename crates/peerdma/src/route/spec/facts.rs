//! What the walks ask of a machine, put together once.

use super::claims::Claims;
use super::memory::{BarPlace, Memory};
use crate::addr::{Address, Bdf};
use crate::fact::{Fact, Unread};
use crate::pci::{Acs, BridgeKind, PortType};
use crate::snapshot::{Cpu, Forwarding, HostBridge, HostWindow};
use crate::topology::{NodeId, Place, RootId, Topology};
use alloc::vec::Vec;

/// What kind of bus a bridge leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BusKind {
    /// One device: behind a root port, a switch's downstream port, or a PCI-to-PCIe bridge.
    Link,
    /// The bus inside a switch.
    Internal,
    /// A bus of PCI or PCI-X.
    Conventional,
    /// Nobody knows.
    Unknown,
}

/// A bus: below a bridge, or one of the root complex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bus {
    Below(NodeId),
    Root(RootId),
}

/// What is known of one function.
#[derive(Debug, Clone)]
pub(super) struct FunctionFacts {
    pub(super) bdf: Bdf,
    pub(super) memory_enabled: Fact<bool>,
    pub(super) bus_master: Fact<bool>,
    /// MPS; nothing in a conventional function.
    pub(super) payload_bytes: Fact<Option<u16>>,
    /// MRRS, likewise.
    pub(super) read_bytes: Fact<Option<u16>>,
    /// What its bus is, if it is a bridge.
    pub(super) below: BusKind,
    /// First and last address of its memory windows; nothing in a function that is no bridge.
    pub(super) windows: Fact<[Option<(u64, u64)>; 2]>,
    pub(super) memory: Memory,
    bars: (u32, u32),
}

/// What is known of one host bridge.
#[derive(Debug, Clone, Copy)]
pub(super) struct RootFacts<'t> {
    pub(super) windows: Fact<&'t [HostWindow]>,
    pub(super) inbound_offset: Fact<i64>,
    pub(super) forwarding: Fact<Forwarding>,
    /// Does the CPU surely see bus addresses as they are?
    pub(super) translation: Translation,
}

/// What a host bridge does to addresses on their way between CPU and bus, where its windows are not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Translation {
    /// Nothing, as every x86 host bridge.
    None,
    /// Nobody knows.
    Unknown,
}

/// Linux numbers domains that a driver makes up (Intel VMD, whose addresses may differ) above the 16 bits that
/// firmware has for them.
const LAST_HARDWARE_DOMAIN: u32 = 0xffff;

/// A machine as the walks see it.
#[derive(Debug, Clone)]
pub(super) struct Machine<'t> {
    pub(super) topology: &'t Topology,
    pub(super) claims: Claims,
    functions: Vec<FunctionFacts>,
    bars: Vec<BarPlace>,
    roots: Vec<RootFacts<'t>>,
}

impl<'t> Machine<'t> {
    /// Linear in the number of functions, but for sorting.
    pub(super) fn new(topology: &'t Topology) -> Self {
        let host = &topology.snapshot().host;
        let is_x86 = host.cpu.as_ref().known().is_some_and(Cpu::is_x86);
        let roots: Vec<RootFacts<'t>> = topology
            .roots()
            .iter()
            .map(|root| {
                let told = match &host.bridges {
                    Fact::Unknown(why) => RootFacts::unknown(*why),
                    Fact::Known(bridges) => bridges
                        .iter()
                        .find(|bridge| (bridge.domain, bridge.bus) == (root.domain, root.bus))
                        .map_or(RootFacts::unknown(Unread::NotInSource), RootFacts::of),
                };
                match is_x86 && root.domain <= LAST_HARDWARE_DOMAIN {
                    true => told.or_unchanged(),
                    false => told,
                }
            })
            .collect();
        let mut functions = Vec::with_capacity(topology.nodes().len());
        let mut bars: Vec<BarPlace> = Vec::new();
        for node in topology.nodes() {
            let start = bars.len();
            let root = topology.root(node).and_then(|root| roots.get(root.index()));
            let told = BarPlace::all(topology, node, root, &mut bars);
            let own = bars.get(start..).unwrap_or_default();
            let memory = match told {
                Fact::Known(()) => Memory::largest(own),
                Fact::Unknown(_) => Memory::Unknown,
            };
            functions.push(FunctionFacts::new(
                topology,
                node,
                memory,
                (start as u32, bars.len() as u32),
            ));
        }
        let claims = Claims::new(topology, &functions, &bars);
        Self {
            topology,
            claims,
            functions,
            bars,
            roots,
        }
    }

    pub(super) fn function(&self, node: NodeId) -> &FunctionFacts {
        &self.functions[node.index()]
    }

    pub(super) fn bdf(&self, node: NodeId) -> Bdf {
        self.function(node).bdf
    }

    pub(super) fn acs(&self, node: NodeId) -> &'t Fact<Option<Acs>> {
        &self.topology.function(node).config.acs
    }

    pub(super) fn root(&self, root: RootId) -> &RootFacts<'t> {
        &self.roots[root.index()]
    }

    pub(super) fn roots(&self) -> &[RootFacts<'t>] {
        &self.roots
    }

    /// The memory that a question is about.
    pub(super) fn memory(&self, node: NodeId, bar: Option<u8>) -> Memory {
        let facts = self.function(node);
        match (bar, facts.memory) {
            (Some(_), Memory::Unknown) | (None, _) => facts.memory,
            (Some(index), _) => {
                let bars = self.bars.get(facts.bars.0 as usize..facts.bars.1 as usize);
                let bar = bars.unwrap_or_default().iter().find(|bar| bar.index == index);
                bar.map_or(Memory::None, |bar| Memory::of(*bar))
            }
        }
    }

    /// Does the address lie in a BAR of the function?
    pub(super) fn is_in_bar(&self, node: NodeId, address: u64) -> bool {
        let bars = self.function(node).bars(&self.bars).iter();
        let mut spans = bars.filter_map(|bar| bar.span());
        spans.any(|(first, last)| first <= address && address <= last)
    }

    /// The bus that a function sits on; nothing where its place is unknown.
    pub(super) fn bus_of(&self, node: NodeId) -> Option<Bus> {
        match self.topology.place(node) {
            Place::Below(bridge) => Some(Bus::Below(bridge)),
            Place::OnRoot(root) => Some(Bus::Root(root)),
            Place::Unknown => None,
        }
    }

    /// The bus number in the requester ID: a bridge that asks in a client's place uses its secondary one.
    pub(super) fn requester_bus(&self, requester: NodeId, client: NodeId) -> u8 {
        let own = self.bdf(requester).bus();
        match self.topology.function(requester).bridge() {
            Some(bridge) if requester != client => bridge.secondary,
            _ => own,
        }
    }

    /// The function on `bus` that is `node` or lies above it.
    pub(super) fn towards(&self, bus: Bus, node: NodeId) -> Option<NodeId> {
        self.topology
            .climb(node)
            .find(|&node| self.bus_of(node) == Some(bus))
    }
}

impl<'t> RootFacts<'t> {
    const fn unknown(why: Unread) -> Self {
        Self {
            windows: Fact::Unknown(why),
            inbound_offset: Fact::Unknown(why),
            forwarding: Fact::Unknown(why),
            translation: Translation::Unknown,
        }
    }

    /// The same, with addresses left as they are where nobody tells otherwise.
    fn or_unchanged(self) -> Self {
        Self {
            inbound_offset: self.inbound_offset.or(Fact::Known(0)),
            translation: match self.windows {
                Fact::Known(_) => self.translation,
                Fact::Unknown(_) => Translation::None,
            },
            ..self
        }
    }

    fn of(bridge: &'t HostBridge) -> Self {
        Self {
            windows: bridge.windows.as_ref().map(Vec::as_slice),
            inbound_offset: bridge.inbound_offset,
            forwarding: bridge.forwarding,
            translation: Translation::Unknown,
        }
    }
}

impl FunctionFacts {
    fn new(topology: &Topology, node: NodeId, memory: Memory, bars: (u32, u32)) -> Self {
        let function = topology.function(node);
        let is_virtual = matches!(function.os.physical_function, Fact::Known(Some(_)));
        let memory_enabled = match function.config.command.map(|command| command.memory_enabled()) {
            // A virtual function's bit is hard-wired; the one that counts is in the SR-IOV capability (9.3.3.3.4).
            Fact::Known(false) if is_virtual => Fact::NOT_IN_SOURCE,
            enabled => enabled,
        };
        let payload = match function.config.express {
            Fact::Known(None) => Fact::Known(None),
            Fact::Known(Some(express)) => express.payload.map(Some),
            Fact::Unknown(why) => Fact::Unknown(why),
        };
        let windows = match function.config.bridge {
            Fact::Known(None) => Fact::Known([None; 2]),
            Fact::Known(Some(bridge)) => bridge.windows.map(|windows| {
                [windows.memory, windows.prefetchable]
                    .map(|window| window.map(|span| (span.first().to_u64(), span.last().to_u64())))
            }),
            Fact::Unknown(why) => Fact::Unknown(why),
        };
        let is_card_bus = function
            .bridge()
            .is_some_and(|bridge| bridge.kind == BridgeKind::CardBus);
        let below = match function.port_type() {
            _ if is_card_bus => BusKind::Conventional,
            Fact::Known(None | Some(PortType::TO_CONVENTIONAL)) => BusKind::Conventional,
            Fact::Known(Some(PortType::ROOT_PORT | PortType::DOWNSTREAM | PortType::FROM_CONVENTIONAL)) => {
                BusKind::Link
            }
            Fact::Known(Some(PortType::UPSTREAM)) => BusKind::Internal,
            Fact::Known(Some(_)) | Fact::Unknown(_) => BusKind::Unknown,
        };
        Self {
            bdf: function.bdf,
            memory_enabled,
            bus_master: function.config.command.map(|command| command.bus_master()),
            payload_bytes: payload.map(|payload| Some(payload?.max_payload_bytes)),
            read_bytes: payload.map(|payload| Some(payload?.max_read_request_bytes)),
            below,
            windows,
            memory,
            bars,
        }
    }

    /// Its BARs, among those of all functions.
    pub(super) fn bars<'b>(&self, bars: &'b [BarPlace]) -> &'b [BarPlace] {
        bars.get(self.bars.0 as usize..self.bars.1 as usize)
            .unwrap_or_default()
    }
}
