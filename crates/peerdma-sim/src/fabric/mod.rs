//! The fabric: ports, windows, ACS, root complex and IOMMU. Where does this TLP go?
//!
//! Built from a [`Blueprint`]; the machine asks it for the way of every TLP, and hands it the writes of software to
//! configuration spaces. It knows no time and moves no data.
//!
//! ```text
//! build      blueprint -> configuration spaces (config_space, layout, writable), wires (wiring), host (host)
//! node, bus  what is decoded from them: flags and ranges in flat arrays; decode: who claims an address
//! request    a memory request, hop by hop (climb), down to its target (descend), past ACS (acs)
//! root_complex, iommu, mappings   what happens at the top
//! completion its answer, by requester ID; completion_descend: down to the requester
//! view       what others see of functions and links
//! record     what hardware writes down of losses; failed_read: at requesters, and in Status
//! ```

mod acs;
mod ats;
mod build;
mod bus;
mod completion;
mod completion_descend;
mod config_space;
mod contexts;
mod decode;
mod descend;
mod error;
mod failed_read;
mod host;
mod index;
mod iommu;
mod layout;
mod mappings;
mod node;
mod note;
mod record;
mod request;
mod root_complex;
mod route;
mod snapshot;
#[cfg(test)]
mod tests;
mod view;
mod wiring;
mod writable;

pub use config_space::{ConfigEffect, Width};
pub use contexts::AtsPermission;
pub use error::BuildError;
pub use iommu::{FaultReason, IoasId, Iommu, IommuError, IommuFault, Mapped, Rights, Translated};
pub use note::{Decision, Note};
pub use record::HostErrors;
pub use route::{Completer, Direction, End, Explain, Leg, Loss, Packet, Route, Where, Why};
pub use view::{FunctionId, FunctionView, LinkId, LinkView};

use crate::blueprint::{Blueprint, Siblings};
use bus::{Bus, BusPlace};
use config_space::Space;
use host::HostSide;
use index::Index;
use node::{Facing, Node};
use peerdma::addr::Bdf;
use peerdma::snapshot::Snapshot;

/// A bus of a [`Fabric`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BusId(u32);

impl BusId {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

type LinkNode = LinkView;

/// The fabric of a machine.
#[derive(Debug)]
pub struct Fabric {
    /// The blueprint's facts: what no configuration space says.
    base: Snapshot,
    index: Index,
    spaces: Vec<Space>,
    nodes: Vec<Node>,
    buses: Vec<Bus>,
    links: Vec<LinkNode>,
    host: HostSide,
    host_errors: HostErrors,
    iommu: Iommu,
    siblings: Siblings,
    /// All functions are there and all links up, so that nobody has to look.
    is_whole: bool,
}

impl Fabric {
    /// The fabric that a blueprint describes.
    ///
    /// # Errors
    /// [`BuildError`] where a fact that it needs is unknown, or no such machine can be.
    pub fn new(blueprint: &Blueprint) -> Result<Self, BuildError> {
        Self::build(blueprint)
    }

    /// The function at `bdf`.
    pub fn find(&self, bdf: Bdf) -> Option<FunctionId> {
        self.index.find(bdf)
    }

    /// All functions, in the snapshot's order.
    pub fn functions(&self) -> impl ExactSizeIterator<Item = FunctionId> + use<> {
        (0..self.nodes.len() as u32).map(FunctionId)
    }

    /// All links.
    pub fn links(&self) -> impl ExactSizeIterator<Item = LinkId> + use<> {
        (0..self.links.len() as u32).map(LinkId)
    }

    /// Address and size in bytes of a memory BAR as its registers say now; nothing where there is none. A BAR that no
    /// address was given to is at 0.
    ///
    /// # Panics
    /// For a [`FunctionId`] of another fabric.
    pub fn bar(&self, function: FunctionId, bar: u8) -> Option<(u64, u64)> {
        let node = self.node(function);
        if node.physical_function.is_some() {
            let opening = *node.bars.get(usize::from(bar))?;
            let size_bytes = decode::bytes_to(opening.first, opening.last.max(opening.first));
            return opening.is_open().then_some((opening.first, size_bytes));
        }
        self.spaces[function.index()].memory_bar(bar)
    }

    /// What software reads at `offset`: all ones where nothing answers.
    pub fn config_read(&self, function: FunctionId, offset: u16, width: Width) -> u32 {
        match (self.spaces.get(function.index()), self.answers(function)) {
            (Some(space), true) => space.read(offset, width),
            _ => u32::MAX >> (32 - 8 * u32::from(width.bytes())),
        }
    }

    /// Software writes `value` at `offset`; what is read-only stays.
    pub fn config_write(
        &mut self,
        function: FunctionId,
        offset: u16,
        width: Width,
        value: u32,
    ) -> ConfigEffect {
        if !self.answers(function) {
            return ConfigEffect::default();
        }
        let Some(space) = self.spaces.get_mut(function.index()) else {
            return ConfigEffect::default();
        };
        let effect = space.write(offset, width, value);
        if effect.bus_reset {
            self.reset_below(function);
        }
        if effect.routes_changed() {
            self.decode_again(function);
        }
        effect
    }

    /// Takes a link down: what is below no longer answers.
    pub fn take_link_down(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(link.index()) {
            link.is_up = false;
            self.is_whole = false;
        }
    }

    /// Brings a link up again; what is below has been reset.
    pub fn bring_link_up(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(link.index()) {
            link.is_up = true;
            let port = link.port;
            self.is_whole =
                self.links.iter().all(|link| link.is_up) && self.nodes.iter().all(|node| !node.is_gone);
            self.reset_below(port);
        }
    }

    /// Takes a function, and all below it, out of the machine.
    pub fn remove(&mut self, function: FunctionId) {
        let Some(node) = self.nodes.get_mut(function.index()) else {
            return;
        };
        node.is_gone = true;
        self.is_whole = false;
        let bus = node.bus;
        self.buses[bus.index()].decode_again(&self.nodes);
    }

    /// The IOMMU.
    pub fn iommu(&self) -> &Iommu {
        &self.iommu
    }

    /// The IOMMU, to change what it maps.
    pub fn iommu_mut(&mut self) -> &mut Iommu {
        &mut self.iommu
    }

    fn node(&self, function: FunctionId) -> &Node {
        &self.nodes[function.index()]
    }

    fn bus(&self, bus: BusId) -> &Bus {
        &self.buses[bus.index()]
    }

    /// The host bridge that a function is below.
    pub(crate) fn host_bridge_of(&self, function: FunctionId) -> Where {
        let root = self.host.roots.get(self.root_of(function) as usize);
        root.map_or(Where::Nowhere, host::Root::place)
    }

    /// All functions below a bridge, by wires, whatever its bus numbers say.
    pub(crate) fn functions_below(&self, bridge: FunctionId) -> Vec<FunctionId> {
        let mut found = Vec::new();
        let mut waiting = vec![bridge];
        while let Some(bridge) = waiting.pop() {
            if let Some((_, bus)) = self.node(bridge).below {
                found.extend_from_slice(&self.bus(bus).functions);
                waiting.extend_from_slice(&self.bus(bus).bridges);
            }
        }
        found
    }

    /// The root that a function is below.
    fn root_of(&self, function: FunctionId) -> u32 {
        self.bus(self.node(function).bus).root
    }

    /// Is a function there, with all bridges and links above it?
    #[inline]
    pub(crate) fn answers(&self, function: FunctionId) -> bool {
        match self.is_whole {
            true => function.index() < self.nodes.len(),
            false => self.answers_now(function),
        }
    }

    #[inline]
    fn is_up(&self, link: LinkId) -> bool {
        self.is_whole || self.links[link.index()].is_up
    }

    #[cold]
    fn answers_now(&self, function: FunctionId) -> bool {
        let mut at = function;
        loop {
            let Some(node) = self.nodes.get(at.index()) else {
                return false;
            };
            if node.is_gone {
                return false;
            }
            match self.bus(node.bus).place {
                BusPlace::Root(_) => return true,
                BusPlace::Below { bridge, facing } => {
                    if let Facing::Port(link) = facing
                        && !self.links[link.index()].is_up
                    {
                        return false;
                    }
                    at = bridge;
                }
            }
        }
    }

    /// Decodes a function's configuration space after a change, and what depends on it.
    fn decode_again(&mut self, function: FunctionId) {
        let Some(node) = self.nodes.get_mut(function.index()) else {
            return;
        };
        node.decode(&self.spaces[function.index()]);
        let bus = node.bus;
        self.decode_virtual(function);
        if self.spaces[function.index()].layout.sriov != 0 {
            // Virtual functions sit on the bus of their physical one.
            let functions = self.buses[bus.index()].functions.clone();
            for below in functions {
                self.decode_virtual(below);
            }
        }
        self.buses[bus.index()].decode_again(&self.nodes);
    }

    /// Resets all that is below a bridge.
    fn reset_below(&mut self, bridge: FunctionId) {
        let below = self.functions_below(bridge);
        for function in &below {
            let space = &mut self.spaces[function.index()];
            space.reset_bus();
            self.nodes[function.index()].decode(space);
        }
        for function in &below {
            self.decode_virtual(*function);
        }
        let mut buses: Vec<usize> = below
            .iter()
            .map(|function| self.node(*function).bus.index())
            .collect();
        buses.sort_unstable();
        buses.dedup();
        for bus in buses {
            self.buses[bus].decode_again(&self.nodes);
        }
    }
}
