//! What others see of a fabric's functions and links: how they are named, and what they are set to.
//!
//! The machine asks for it wherever a function's own settings decide: how large its packets are, whether it may send.

use super::Fabric;
use super::bus::BusPlace;
use super::node::{Facing, PayloadSizes};
use peerdma::addr::Bdf;
use peerdma::pci::LinkState;

/// A function of a [`Fabric`]: its position in the snapshot's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionId(pub(super) u32);

impl FunctionId {
    /// Its position in the snapshot's order.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A link of a [`Fabric`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub(super) u32);

impl LinkId {
    /// Its position in [`Fabric::links`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a function is set to, as far as its own traffic goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionView {
    /// Its address.
    pub bdf: Bdf,
    /// Its MPS; 128 for a conventional function.
    pub max_payload_bytes: u16,
    /// Its MRRS; 128 for a conventional function.
    pub max_read_request_bytes: u16,
    /// May it set the relaxed-ordering attribute (Device Control; of a virtual function, that of its physical one)? A
    /// conventional function has no such attribute.
    pub may_relax_ordering: bool,
    /// May it send translated requests (ATS control)?
    pub ats_enabled: bool,
    /// May it send requests (bus-master enable)?
    pub bus_master: bool,
    /// Does it answer at its memory BARs (memory enable)?
    pub memory_enabled: bool,
    /// Does it lead to further buses?
    pub is_bridge: bool,
    /// The physical function of a virtual one.
    pub physical_function: Option<FunctionId>,
    /// The bridge above it; nothing on a root bus.
    pub bridge_above: Option<FunctionId>,
    /// The link that it sits on the lower end of; nothing on a root bus, inside a switch or on a conventional bus.
    pub link_above: Option<LinkId>,
    /// Is it there, and are all links above it up?
    pub answers: bool,
}

/// A link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkView {
    /// The port above it.
    pub port: FunctionId,
    /// The first function of the device below it; nothing where the slot is empty.
    pub device: Option<FunctionId>,
    /// Rate and width; never of no lanes.
    pub state: LinkState,
    /// Is it up?
    pub is_up: bool,
}

impl Fabric {
    /// What a function is set to.
    ///
    /// # Panics
    /// For a [`FunctionId`] of another fabric.
    pub fn function(&self, function: FunctionId) -> FunctionView {
        const CONVENTIONAL_BYTES: u16 = 128;
        let node = self.node(function);
        let (bridge_above, link_above) = match self.bus(node.bus).place {
            BusPlace::Root(_) => (None, None),
            BusPlace::Below {
                bridge,
                facing: Facing::Port(link),
            } => (Some(bridge), Some(link)),
            BusPlace::Below { bridge, .. } => (Some(bridge), None),
        };
        FunctionView {
            bdf: node.bdf,
            max_payload_bytes: self
                .sizes_on_link(function)
                .map_or(CONVENTIONAL_BYTES, |payload| payload.max_payload_bytes),
            max_read_request_bytes: self
                .sizes_on_link(function)
                .map_or(CONVENTIONAL_BYTES, |payload| payload.max_read_request_bytes),
            may_relax_ordering: (node
                .physical_function
                .map_or(node, |physical| self.node(physical))
                .payload)
                .is_some_and(|payload| payload.relaxed_ordering),
            ats_enabled: node.ats_enabled,
            bus_master: node.bus_master,
            memory_enabled: node.memory_enabled,
            is_bridge: node.below.is_some(),
            physical_function: node.physical_function,
            bridge_above,
            link_above,
            answers: self.answers(function),
        }
    }

    /// A link.
    ///
    /// # Panics
    /// For a [`LinkId`] of another fabric.
    pub fn link(&self, link: LinkId) -> LinkView {
        self.links[link.index()]
    }

    /// How large packets of a function are on the first link that they come to. A conventional function makes none: the
    /// nearest bridge above it with a link above does.
    fn sizes_on_link(&self, function: FunctionId) -> Option<PayloadSizes> {
        let mut at = function;
        loop {
            let node = self.node(at);
            if node.payload.is_some() {
                return node.payload;
            }
            match self.bus(node.bus).place {
                BusPlace::Below {
                    bridge,
                    facing: Facing::Conventional,
                } => at = bridge,
                BusPlace::Root(_) | BusPlace::Below { .. } => return None,
            }
        }
    }
}
