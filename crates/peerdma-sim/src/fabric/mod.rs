//! The fabric: ports, windows, ACS, root complex and IOMMU. Where does this TLP go?
//!
//! Built from a [`Blueprint`]; the machine asks it for the way of every TLP, and hands it the writes of software to
//! configuration spaces. It knows no time and moves no data.

mod config_space;
mod error;
mod iommu;
mod note;
mod route;

pub use config_space::{ConfigEffect, Width};
pub use error::BuildError;
pub use iommu::{FaultReason, IoasId, Iommu, IommuError, IommuFault, Rights, Translated};
pub use note::Note;
pub use route::{Completer, Direction, End, Explain, Leg, Loss, Packet, Route, Where, Why};

use crate::blueprint::Blueprint;
use crate::device::Translation;
use crate::tlp::{Access, Request};
use peerdma::addr::Bdf;
use peerdma::pci::LinkState;
use peerdma::snapshot::{IommuMode, Snapshot};

/// A function of a [`Fabric`]: its position in the snapshot's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionId(u32);

impl FunctionId {
    /// Its position in the snapshot's order.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A link of a [`Fabric`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(u32);

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
    /// Does it lead to further buses?
    pub is_bridge: bool,
    /// The physical function of a virtual one.
    pub physical_function: Option<FunctionId>,
    /// The link that it sits on the lower end of; nothing on a root bus, inside a switch or on a conventional bus.
    pub link_above: Option<LinkId>,
    /// Is it there, and all links above it up?
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

/// The fabric of a machine.
#[derive(Debug)]
pub struct Fabric {
    iommu: Iommu,
    functions: Vec<FunctionView>,
    links: Vec<LinkView>,
}

impl Fabric {
    /// The fabric that a blueprint describes.
    ///
    /// # Errors
    /// [`BuildError`] where a fact that it needs is unknown, or no such machine can be.
    pub fn new(blueprint: &Blueprint) -> Result<Self, BuildError> {
        let _ = blueprint;
        Ok(Self {
            iommu: Iommu::new(IommuMode::Off),
            functions: Vec::new(),
            links: Vec::new(),
        })
    }

    /// The machine as it is now: configuration spaces read anew, beside what the blueprint says of the host.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }

    /// The function at `bdf`.
    pub fn find(&self, bdf: Bdf) -> Option<FunctionId> {
        let _ = bdf;
        None
    }

    /// All functions, in the snapshot's order.
    pub fn functions(&self) -> impl ExactSizeIterator<Item = FunctionId> + use<> {
        (0..self.functions.len() as u32).map(FunctionId)
    }

    /// What a function is set to. A [`FunctionId`] of another fabric may panic.
    pub fn function(&self, function: FunctionId) -> FunctionView {
        self.functions[function.index()]
    }

    /// All links.
    pub fn links(&self) -> impl ExactSizeIterator<Item = LinkId> + use<> {
        (0..self.links.len() as u32).map(LinkId)
    }

    /// A link. A [`LinkId`] of another fabric may panic.
    pub fn link(&self, link: LinkId) -> LinkView {
        self.links[link.index()]
    }

    /// Address and size in bytes of a memory BAR as its registers say now; nothing where there is none.
    pub fn bar(&self, function: FunctionId, bar: u8) -> Option<(u64, u64)> {
        let _ = (function, bar);
        None
    }

    /// What software reads at `offset`: all ones where nothing answers.
    pub fn config_read(&self, function: FunctionId, offset: u16, width: Width) -> u32 {
        let _ = (function, offset, width);
        u32::MAX
    }

    /// Software writes `value` at `offset`; what is read-only stays.
    pub fn config_write(
        &mut self,
        function: FunctionId,
        offset: u16,
        width: Width,
        value: u32,
    ) -> ConfigEffect {
        let _ = (function, offset, width, value);
        ConfigEffect::default()
    }

    /// The way of a request from the function that its requester ID names.
    pub fn route_request(&self, request: &Request, route: &mut Route) {
        let _ = (request, route);
    }

    /// The way of a request that `sender` sends, whatever requester ID it claims to have.
    pub fn route_request_from(&self, sender: FunctionId, request: &Request, route: &mut Route) {
        let _ = (sender, request, route);
    }

    /// The way of a processor's load or store.
    pub fn route_cpu(&self, access: Access, phys: u64, len_bytes: u32, route: &mut Route) {
        let _ = (access, phys, len_bytes, route);
    }

    /// The way of a completion for `request`, whose own way was `path`.
    pub fn route_completion(
        &self,
        completer: Completer,
        request: &Request,
        path: &Route,
        payload_bytes: u32,
        route: &mut Route,
    ) {
        let _ = (completer, request, path, payload_bytes, route);
    }

    /// What the translation agent answers to `function` (ATS): the address to put into translated requests. Nothing
    /// where ATS is off, not allowed, or nothing is mapped.
    pub fn translate_for_device(&self, function: FunctionId, iova: u64) -> Option<Translation> {
        let _ = (function, iova);
        None
    }

    /// Records a loss where hardware records it: Device Status and AER of the function that saw it, the fault log of
    /// the IOMMU.
    pub fn record(&mut self, loss: &Loss, request: &Request) {
        let _ = (loss, request);
    }

    /// Takes a link down: what is below no longer answers.
    pub fn take_link_down(&mut self, link: LinkId) {
        let _ = link;
    }

    /// Brings a link up again; what is below has been reset.
    pub fn bring_link_up(&mut self, link: LinkId) {
        let _ = link;
    }

    /// Takes a function, and all below it, out of the machine.
    pub fn remove(&mut self, function: FunctionId) {
        let _ = function;
    }

    /// The IOMMU.
    pub fn iommu(&self) -> &Iommu {
        &self.iommu
    }

    /// The IOMMU, to change what it maps.
    pub fn iommu_mut(&mut self) -> &mut Iommu {
        &mut self.iommu
    }
}
