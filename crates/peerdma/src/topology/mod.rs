//! Who sits below whom: an arena of functions with their bridges.
//!
//! Built once from a [`Snapshot`], which it then owns; read by everything in [`crate::route`]. Sources
//! that name each function's bridge (sysfs) are believed; for the others the bus numbers of the
//! bridges decide (see `buses.rs`). Where the source contradicts itself a function has no place, and
//! neither has what is below it: nothing is guessed.

mod addresses;
mod buses;
mod path;
#[cfg(test)]
mod tests;

pub use path::Path;

use crate::addr::Bdf;
use crate::fact::Fact;
use crate::snapshot::{Function, Snapshot, Warnings};
use alloc::vec;
use alloc::vec::Vec;

/// A function of a [`Topology`]; ids are ordered as the functions' addresses are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    /// Its position in the snapshot's list of functions.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A root bus, and with it a host bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootId(u32);

impl RootId {
    /// Its position in [`Topology::roots`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One root bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// PCI domain.
    pub domain: u32,
    /// Bus number.
    pub bus: u8,
    /// The function with the lowest address on it: the one that Linux looks up in its list of host
    /// bridges.
    pub first: NodeId,
}

/// Where a function sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Directly on a root bus.
    OnRoot(RootId),
    /// Directly below a bridge.
    Below(NodeId),
    /// Nobody can tell.
    Unknown,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    place: Place,
    /// Functions from here to the root bus, this one included; 0 where the place is unknown.
    depth: u32,
    root: Option<RootId>,
    above: Above,
}

/// Is what [`Place`] names directly above?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Above {
    Direct,
    /// The source lacks a bridge in between.
    BeyondGap,
}

/// A machine's functions as trees below its root buses.
///
/// # Panics
/// Whatever takes a [`NodeId`] or a [`RootId`] wants one of the same topology: an id of another one names
/// another function, or none, and then the call panics.
#[derive(Debug, Clone)]
pub struct Topology {
    snapshot: Snapshot,
    nodes: Vec<Node>,
    roots: Vec<Root>,
    top_down: Vec<NodeId>,
    children: Vec<NodeId>,
    first_child: Vec<u32>,
}

impl Topology {
    /// Bridges are never nested deeper: each takes a bus number, and a domain has 256. A source that says
    /// otherwise is not believed.
    pub const MOST_DEPTH: u32 = 256;

    /// Builds the trees; says in `warnings` what could not be placed, and why.
    pub fn new(snapshot: Snapshot, warnings: &mut Warnings) -> Self {
        let places = buses::places(&snapshot, warnings);
        let roots = roots(&snapshot, &places);
        let mut nodes: Vec<Node> = Vec::with_capacity(places.len());
        for (index, place) in places.iter().enumerate() {
            let above = match place {
                buses::Upstream::BeyondGap(_) => Above::BeyondGap,
                _ => Above::Direct,
            };
            let place = match *place {
                buses::Upstream::Bridge(bridge) | buses::Upstream::BeyondGap(bridge) => {
                    Place::Below(NodeId(bridge as u32))
                }
                buses::Upstream::Unknown => Place::Unknown,
                buses::Upstream::RootBus(bus) => {
                    let key = (snapshot.functions()[index].bdf.domain(), bus);
                    match roots.binary_search_by_key(&key, |root| (root.domain, root.bus)) {
                        Ok(position) => Place::OnRoot(RootId(position as u32)),
                        Err(_) => Place::Unknown,
                    }
                }
            };
            nodes.push(Node {
                place,
                depth: 0,
                root: None,
                above,
            });
        }
        let mut topology = Self {
            snapshot,
            nodes,
            roots,
            top_down: Vec::new(),
            children: Vec::new(),
            first_child: Vec::new(),
        };
        topology.link_children();
        topology.descend(warnings);
        topology
    }

    /// The machine it was built from.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// All functions, in the order of their addresses.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// All functions whose place is known, each after the bridge above it.
    pub fn top_down(&self) -> &[NodeId] {
        &self.top_down
    }

    /// What the snapshot tells of a function.
    pub fn function(&self, node: NodeId) -> &Function {
        &self.snapshot.functions()[node.index()]
    }

    /// The function at an address.
    pub fn find(&self, bdf: Bdf) -> Option<NodeId> {
        self.snapshot.position(bdf).map(|index| NodeId(index as u32))
    }

    /// The root buses, in the order of their addresses.
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// The ids of the root buses, in the same order.
    pub fn root_ids(&self) -> impl ExactSizeIterator<Item = RootId> + use<> {
        (0..self.roots.len() as u32).map(RootId)
    }

    /// Where a function sits; [`Place::Unknown`] also for whatever is below such a function.
    pub fn place(&self, node: NodeId) -> Place {
        self.nodes[node.index()].place
    }

    /// The root bus above a function, if its place is known for sure: not so where the source lacks a
    /// bridge on the way up, though [`Self::place`] then names the next one that it has.
    pub fn root(&self, node: NodeId) -> Option<RootId> {
        self.nodes[node.index()].root
    }

    /// The bridge directly above; nothing on a root bus and where the place is unknown
    /// (`pci_upstream_bridge` in Linux).
    pub fn upstream(&self, node: NodeId) -> Option<NodeId> {
        match self.nodes[node.index()].place {
            Place::Below(bridge) => Some(bridge),
            Place::OnRoot(_) | Place::Unknown => None,
        }
    }

    /// Does the source lack a bridge between this function and the one that [`Self::place`] names?
    pub fn has_gap_above(&self, node: NodeId) -> bool {
        self.nodes[node.index()].above == Above::BeyondGap
    }

    /// How many functions lie from here to the root bus, this one included; 0 where the place is
    /// unknown.
    pub fn depth(&self, node: NodeId) -> u32 {
        self.nodes[node.index()].depth
    }

    /// The functions directly below a bridge, in the order of their addresses.
    pub fn children(&self, node: NodeId) -> &[NodeId] {
        let start = self.first_child[node.index()] as usize;
        let end = self.first_child[node.index() + 1] as usize;
        &self.children[start..end]
    }

    /// The function and every bridge above it, bottom up.
    pub fn climb(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        core::iter::successors(Some(node), |&node| self.upstream(node))
    }

    /// The nearest function that is `a` or above it and `b` or above it.
    pub fn common_ancestor(&self, a: NodeId, b: NodeId) -> Option<NodeId> {
        let (mut a, mut b) = (a, b);
        while a != b {
            if self.depth(a) >= self.depth(b) {
                a = self.upstream(a)?;
            } else {
                b = self.upstream(b)?;
            }
        }
        Some(a)
    }

    /// Groups the functions by the bridge above them (a counting sort, so siblings stay in order).
    fn link_children(&mut self) {
        let mut first_child = vec![0u32; self.nodes.len() + 1];
        for node in &self.nodes {
            if let Place::Below(bridge) = node.place {
                first_child[bridge.index() + 1] += 1;
            }
        }
        for index in 1..first_child.len() {
            first_child[index] += first_child[index - 1];
        }
        let mut next = first_child.clone();
        let mut children = vec![NodeId(0); *first_child.last().unwrap_or(&0) as usize];
        for (index, node) in self.nodes.iter().enumerate() {
            if let Place::Below(bridge) = node.place {
                let slot = &mut next[bridge.index()];
                children[*slot as usize] = NodeId(index as u32);
                *slot += 1;
            }
        }
        self.children = children;
        self.first_child = first_child;
    }

    /// Gives every function that hangs below a root bus its depth and root. What is not reached is in
    /// a loop of bridges or below a function without a place, and has no place either.
    fn descend(&mut self, warnings: &mut Warnings) {
        let mut queue: Vec<NodeId> = Vec::with_capacity(self.nodes.len());
        for index in 0..self.nodes.len() {
            if let Place::OnRoot(root) = self.nodes[index].place {
                self.nodes[index].depth = 1;
                self.nodes[index].root = Some(root);
                queue.push(NodeId(index as u32));
            }
        }
        let mut done = 0;
        while let Some(&node) = queue.get(done) {
            done += 1;
            let Node { depth, root, .. } = self.nodes[node.index()];
            if depth > Self::MOST_DEPTH {
                continue;
            }
            let start = self.first_child[node.index()] as usize;
            let end = self.first_child[node.index() + 1] as usize;
            for slot in start..end {
                let child = self.children[slot];
                let child_node = &mut self.nodes[child.index()];
                child_node.depth = depth + 1;
                child_node.root = root.filter(|_| child_node.above == Above::Direct);
                queue.push(child);
            }
        }
        self.top_down = queue;
        for index in 0..self.nodes.len() {
            if self.nodes[index].depth == 0 && self.nodes[index].place != Place::Unknown {
                let bdf = self.snapshot.functions()[index].bdf;
                warnings.push(
                    bdf,
                    "it sits below a bridge whose own place is unknown, or in a loop or an endless chain of bridges; \
                     every verdict about it is unknown",
                );
                self.nodes[index].place = Place::Unknown;
            }
        }
    }
}

/// The root buses, in the order of their addresses, each with its first function.
fn roots(snapshot: &Snapshot, places: &[buses::Upstream]) -> Vec<Root> {
    let on_root = |(index, place): (usize, &buses::Upstream)| match *place {
        buses::Upstream::RootBus(bus) => Some(Root {
            domain: snapshot.functions()[index].bdf.domain(),
            bus,
            first: NodeId(index as u32),
        }),
        _ => None,
    };
    let mut roots: Vec<Root> = places.iter().enumerate().filter_map(on_root).collect();
    // The sort is stable and functions come in the order of their addresses: the first one stays.
    roots.sort_by_key(|root| (root.domain, root.bus));
    roots.dedup_by_key(|root| (root.domain, root.bus));
    roots
}

/// The buses that a function claims to lead to, as far as anyone knows.
pub(crate) fn claims_buses(function: &Function) -> Option<(u8, u8)> {
    match &function.config.bridge {
        Fact::Known(Some(bridge)) => Some((bridge.secondary, bridge.subordinate)),
        _ => None,
    }
}
