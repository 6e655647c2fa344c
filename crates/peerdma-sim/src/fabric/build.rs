//! From a blueprint to a fabric: configuration spaces, wires, decode tables.

use super::bus::{Bus, BusPlace};
use super::config_space::{BarShape, Space};
use super::decode::Opening;
use super::error::BuildError;
use super::host::HostSide;
use super::index::Index;
use super::iommu::Iommu;
use super::node::{Facing, Node};
use super::record::HostErrors;
use super::wiring::{self, Above};
use super::{BusId, Fabric, FunctionId, LinkId, LinkNode};
use crate::blueprint::Blueprint;
use peerdma::addr::{Address, BusAddr};
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{BarKind, EmitError, Express, Id, LinkRate, LinkState, PortType};
use peerdma::snapshot::{Function, Resource, Snapshot};
use std::collections::BTreeMap;

/// How many functions a machine may have.
const MOST_FUNCTIONS: usize = 1 << 18;

impl Fabric {
    pub(super) fn build(blueprint: &Blueprint) -> Result<Self, BuildError> {
        let snapshot = &blueprint.snapshot;
        let functions = snapshot.functions();
        if functions.len() > MOST_FUNCTIONS {
            return Err(BuildError::TooManyFunctions {
                count: functions.len(),
                most: MOST_FUNCTIONS,
            });
        }
        let host = HostSide::new(&snapshot.host)?;
        let places = wiring::places(snapshot)?;
        let mut fabric = Self {
            iommu: Iommu::new(host.iommu),
            index: Index::new(functions.iter().map(|function| function.bdf)),
            base: snapshot.clone(),
            spaces: Vec::with_capacity(functions.len()),
            nodes: Vec::with_capacity(functions.len()),
            buses: Vec::new(),
            links: Vec::new(),
            host,
            host_errors: HostErrors::default(),
            siblings: blueprint.nature.siblings,
            is_whole: true,
        };
        fabric.lay_wires(snapshot, &places)?;
        for (position, function) in functions.iter().enumerate() {
            let mut space = space(function)?;
            let root = fabric.root_of(FunctionId(position as u32));
            let node = &mut fabric.nodes[position];
            match node.physical_function {
                Some(_) => {
                    place_virtual(function, node, &fabric.host, root)?;
                    space.blank_id();
                }
                None => check_bars(function, &space)?,
            }
            node.decode(&space);
            fabric.spaces.push(space);
        }
        fabric.enable_virtual_functions();
        fabric.mark_multi_function();
        for bus in &mut fabric.buses {
            bus.decode_again(&fabric.nodes);
        }
        fabric.describe_links();
        Ok(fabric)
    }

    /// Makes buses, nodes and links.
    fn lay_wires(&mut self, snapshot: &Snapshot, places: &[Above]) -> Result<(), BuildError> {
        let functions = snapshot.functions();
        let mut root_buses = BTreeMap::new();
        let mut below: Vec<Option<(Facing, BusId)>> = Vec::with_capacity(functions.len());
        for (position, function) in functions.iter().enumerate() {
            below.push(function.bridge().map(|_| {
                let bus = BusId(self.buses.len() as u32);
                let bridge_id = FunctionId(position as u32);
                let facing = self.facing(bridge_id, function.config.express);
                self.buses.push(Bus::new(BusPlace::Below {
                    bridge: bridge_id,
                    facing,
                }));
                (facing, bus)
            }));
        }
        for (position, function) in functions.iter().enumerate() {
            let bus = match places[position] {
                Above::Bridge(above) => below[above].map(|(_, bus)| bus),
                Above::Root { domain, bus } => match root_buses.get(&(domain, bus)) {
                    Some(&known) => Some(known),
                    None => {
                        let root = self.host.position(domain, bus).ok_or(BuildError::NoHostBridge {
                            function: function.bdf,
                            domain,
                            bus,
                        })?;
                        let id = BusId(self.buses.len() as u32);
                        self.buses.push(Bus::new(BusPlace::Root(root as u32)));
                        self.host.roots[root].bus = Some(id);
                        root_buses.insert((domain, bus), id);
                        Some(id)
                    }
                },
            };
            // Wiring has made sure that what is above is a bridge.
            let bus = bus.ok_or(BuildError::Loop {
                function: function.bdf,
            })?;
            let physical = match function.os.physical_function {
                Fact::Known(Some(physical)) => self.index.find(physical),
                _ => None,
            };
            let mut node = Node::new(function.bdf, (bus, self.bus(bus).place), physical);
            node.below = below[position];
            self.nodes.push(node);
            let id = FunctionId(position as u32);
            self.buses[bus.index()].functions.push(id);
            if below[position].is_some() {
                self.buses[bus.index()].bridges.push(id);
            }
        }
        for at in 0..self.buses.len() {
            self.buses[at].root = self.root_above(BusId(at as u32));
        }
        Ok(())
    }

    /// The root that a bus is below. Wires have no loops.
    fn root_above(&self, bus: BusId) -> u32 {
        let mut at = bus;
        loop {
            match self.bus(at).place {
                BusPlace::Root(root) => return root,
                BusPlace::Below { bridge, .. } => at = self.node(bridge).bus,
            }
        }
    }

    /// What a bridge is to the bus below it.
    fn facing(&mut self, port: FunctionId, express: Fact<Option<Express>>) -> Facing {
        let port_type = match express {
            Fact::Known(Some(express)) => express.port_type,
            _ => return Facing::Conventional,
        };
        match port_type {
            PortType::UPSTREAM => Facing::Switch,
            PortType::TO_CONVENTIONAL => Facing::Conventional,
            _ => {
                let link = LinkId(self.links.len() as u32);
                self.links.push(LinkNode {
                    port,
                    device: None,
                    state: SLOWEST,
                    is_up: true,
                });
                Facing::Port(link)
            }
        }
    }

    /// Virtual functions answer in memory if their physical function lets them.
    fn enable_virtual_functions(&mut self) {
        for position in 0..self.nodes.len() {
            self.decode_virtual(FunctionId(position as u32));
        }
    }

    /// Sets memory enable of a virtual function: it lies in the SR-IOV capability of the physical one.
    pub(super) fn decode_virtual(&mut self, function: FunctionId) {
        const ENABLED: u32 = 0x9;
        let Some(physical) = self.nodes[function.index()].physical_function else {
            return;
        };
        let space = &self.spaces[physical.index()];
        let control = match space.layout.sriov {
            0 => 0,
            sriov => space.get(sriov + 8),
        };
        let own = self.spaces[function.index()].get(0x04) & 0x2 != 0;
        self.nodes[function.index()].memory_enabled = own || control & ENABLED == ENABLED;
    }

    /// Software looks for further functions only where the header says that there are any. Virtual ones do not count.
    fn mark_multi_function(&mut self) {
        let is_own = |position: &usize| self.nodes[*position].physical_function.is_none();
        let own: Vec<usize> = (0..self.nodes.len()).filter(is_own).collect();
        let device = |position: usize| {
            let bdf = self.nodes[position].bdf;
            (bdf.domain(), bdf.bus(), bdf.device())
        };
        for pair in own.windows(2) {
            if device(pair[0]) == device(pair[1]) {
                self.spaces[pair[0]].mark_multi_function();
                self.spaces[pair[1]].mark_multi_function();
            }
        }
    }

    /// Fills in what is at the lower ends of links, and how fast they are.
    fn describe_links(&mut self) {
        let functions = self.base.functions();
        for link in &mut self.links {
            let Some((_, bus)) = self.nodes[link.port.index()].below else {
                continue;
            };
            link.device = self.buses[bus.index()].functions.first().copied();
            let ends = [Some(link.port), link.device];
            let ends = ends.into_iter().flatten().filter_map(|end| {
                let link = functions.get(end.index())?.link().known()??;
                Some([link.now, link.max])
            });
            let states: Vec<LinkState> = ends.flatten().collect();
            let trained = states.into_iter().find(|state| state.width != 0);
            link.state = trained.unwrap_or(SLOWEST);
        }
    }
}

/// What a link is taken for of which nothing is known.
const SLOWEST: LinkState = LinkState {
    rate: LinkRate(1),
    width: 1,
};

/// The configuration space of a function.
fn space(function: &Function) -> Result<Space, BuildError> {
    let bdf = function.bdf;
    let emitted = match function.os.physical_function {
        // A virtual function has no vendor and device in its header: blanked when all else is written.
        Fact::Known(Some(_)) => {
            let mut config = function.config.clone();
            config.id = Fact::Known(Id { vendor: 1, device: 0 });
            config.emit()
        }
        _ => function.config.emit(),
    };
    let image = emitted.map_err(|error| match error {
        EmitError::Unknown { fact, why } => BuildError::UnknownFact {
            function: bdf,
            fact,
            why,
        },
        source => BuildError::Config {
            function: bdf,
            source,
        },
    })?;
    Ok(Space::new(image, shapes(function)?))
}

/// The base address registers: those that are set, and 32-bit ones without an address, which read 0.
fn shapes(function: &Function) -> Result<[Option<BarShape>; 6], BuildError> {
    let mut shapes = [None; 6];
    if matches!(function.os.physical_function, Fact::Known(Some(_))) {
        return Ok(shapes);
    }
    let registers = match &function.config.bars {
        Fact::Known(bars) => &bars[..],
        Fact::Unknown(_) => &[],
    };
    for register in registers {
        let size_bytes = match size_bytes(function, register.index) {
            Fact::Known(bytes) => bytes,
            Fact::Unknown(_) if register.kind == BarKind::Io => 0,
            Fact::Unknown(why) => {
                return Err(BuildError::UnknownFact {
                    function: function.bdf,
                    fact: BAR_SIZES[usize::from(register.index).min(5)],
                    why,
                });
            }
        };
        if let Some(shape) = shapes.get_mut(usize::from(register.index)) {
            *shape = Some(BarShape {
                kind: register.kind,
                size_bytes,
            });
        }
    }
    let most = if function.bridge().is_some() { 2 } else { 6 };
    for resource in resources(function) {
        let index = usize::from(resource.index);
        let upper_half = index > 0
            && matches!(shapes.get(index - 1), Some(Some(shape)) if shape.kind == BarKind::Memory64);
        if let (BarKind::Memory32, false, Fact::Known(size_bytes @ 1..)) =
            (resource.kind, resource.prefetchable, resource.size_bytes)
            && index < most
            && !upper_half
            && let Some(shape @ None) = shapes.get_mut(index)
        {
            *shape = Some(BarShape {
                kind: resource.kind,
                size_bytes,
            });
        }
    }
    Ok(shapes)
}

const BAR_SIZES: [&str; 6] = [
    "the size of BAR 0",
    "the size of BAR 1",
    "the size of BAR 2",
    "the size of BAR 3",
    "the size of BAR 4",
    "the size of BAR 5",
];

fn resources(function: &Function) -> &[Resource] {
    match &function.os.resources {
        Fact::Known(resources) => resources,
        Fact::Unknown(_) => &[],
    }
}

/// The size of a BAR that has a register: as the operating system tells it, else as Resizable BAR does.
fn size_bytes(function: &Function, index: u8) -> Fact<u64> {
    let told = match &function.os.resources {
        Fact::Unknown(why) => Fact::Unknown(*why),
        Fact::Known(list) => match list.iter().find(|resource| resource.index == index) {
            Some(resource) => match resource.size_bytes {
                Fact::Known(0) => Fact::Unknown(Unread::Contradictory),
                bytes => bytes,
            },
            None => Fact::NOT_IN_SOURCE,
        },
    };
    let resizable = match &function.config.rebar {
        Fact::Known(list) => list.iter().find(|rebar| rebar.bar == index),
        Fact::Unknown(_) => None,
    };
    told.or(resizable
        .and_then(|rebar| rebar.current_bytes())
        .filter(|&bytes| bytes != 0)
        .map_or(told, Fact::Known))
}

/// No BAR may leave its address space.
fn check_bars(function: &Function, space: &Space) -> Result<(), BuildError> {
    for bar in 0..6 {
        if let Some((address, size_bytes)) = space.memory_bar(bar)
            && address.checked_add(size_bytes - 1).is_none()
        {
            return Err(BuildError::BarPlace {
                function: function.bdf,
                bar,
                address,
                size_bytes,
            });
        }
    }
    Ok(())
}

/// The BARs of a virtual function are nowhere but in the SR-IOV capability: the operating system says where they are.
fn place_virtual(function: &Function, node: &mut Node, host: &HostSide, root: u32) -> Result<(), BuildError> {
    if let Fact::Unknown(why) = function.os.resources {
        return Err(BuildError::UnknownFact {
            function: function.bdf,
            fact: "where its BARs lie",
            why,
        });
    }
    let windows = host.roots.get(root as usize);
    let windows = windows.map_or(&[][..], |root| &root.windows[..]);
    for resource in resources(function) {
        let Fact::Known(span) = resource.span else {
            continue;
        };
        let first = windows.iter().find_map(|window| window.bus_address(span.first()));
        let last = first.and_then(|first: BusAddr| first.checked_add(span.len_minus_one()));
        if let (true, Some(first), Some(last), Some(bar)) = (
            resource.kind.is_memory(),
            first,
            last,
            node.bars.get_mut(usize::from(resource.index)),
        ) {
            *bar = Opening::new(first.to_u64(), last.to_u64());
        }
    }
    Ok(())
}
