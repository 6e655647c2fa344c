//! What becomes of one request: the fabric asked as a judge is asked.
//!
//! An [`Inquirer`] wraps a fabric, maps every BAR of the machine in its IOMMU, and lets one function after another send
//! one full-sized request for the memory of another. It moves no bytes and takes no time. Those who compare the simulator
//! with other judges (`cargo xtask agree`, the hand-derived table) go this way.

mod ram;

use crate::blueprint::Blueprint;
use crate::fabric::{
    BuildError, Completer, End, Explain, Fabric, FunctionId, IoasId, IommuError, Loss, Rights, Route,
};
use crate::tlp::{Access, AddressType, Ordering, Request};
use peerdma::addr::{Address, Bdf};
use peerdma::fact::Fact;
use peerdma::pci::PortType;
use peerdma::snapshot::{Function, HostWindow, IommuMode, Snapshot};
use std::collections::BTreeSet;

/// Asks a fabric.
#[derive(Debug)]
pub struct Inquirer {
    fabric: Fabric,
    snapshot: Snapshot,
    /// For each function: the BAR that is asked for.
    memory: Vec<Option<Memory>>,
    inbound_offsets: Vec<i64>,
    request: Route,
    completion: Route,
}

/// The largest memory BAR of a function.
#[derive(Debug, Clone, Copy)]
struct Memory {
    bar: u8,
    bus: u64,
    phys: Option<u64>,
    size_bytes: u64,
}

/// Which address a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// The one in the BAR.
    BusAddress,
    /// The one that leads there through the root complex: mapped by the IOMMU where that translates, else the physical
    /// address as the initiator's host bridge takes it.
    HostAddress,
}

/// A request for the largest memory BAR of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Who sends it.
    pub client: FunctionId,
    /// Whose memory it is for.
    pub provider: FunctionId,
    /// Read or write.
    pub access: Access,
    /// Is the address translated? Then it is the bus address in either form.
    pub address_type: AddressType,
    /// The relaxed-ordering attribute.
    pub ordering: Ordering,
    /// Which address it carries.
    pub form: Form,
}

/// A request for host RAM, by an address that leads nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RamQuestion {
    /// Who sends it.
    pub client: FunctionId,
    /// Read or write.
    pub access: Access,
    /// Is the address translated?
    pub address_type: AddressType,
    /// The relaxed-ordering attribute.
    pub ordering: Ordering,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrived, and so did the completions of a read.
    Delivered {
        /// The way of the request.
        request: Way,
        /// The way of the completions; that of the request for a write.
        completion: Way,
    },
    /// It was lost, or its completions were.
    Lost(Loss),
    /// It ended at another place than the provider's memory.
    Astray(End),
    /// The provider has no memory BAR, or the CPU does not see it, so that there is no such address.
    NoAddress,
}

/// Did a packet pass the root complex?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// It turned around below it.
    Direct,
    /// It went up to the root complex, and down again.
    ThroughRootComplex,
}

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InquiryError {
    /// There is no such fabric.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Its IOMMU does not take what must be mapped.
    #[error(transparent)]
    Iommu(#[from] IommuError),
}

impl Inquirer {
    /// Where mapped addresses begin: above every window that firmware makes.
    const IOVA_BASE: u64 = 1 << 62;
    const PAGE_BYTES: u64 = 4096;

    /// The fabric of a blueprint, with every BAR mapped for every function.
    ///
    /// # Errors
    /// [`InquiryError`].
    pub fn new(blueprint: &Blueprint) -> Result<Self, InquiryError> {
        let mut fabric = Fabric::new(blueprint)?;
        let snapshot = blueprint.snapshot.clone();
        if snapshot.host.iommu == Fact::Known(IommuMode::Translating) {
            let ioas = fabric.iommu_mut().create()?;
            map_all(&mut fabric, &snapshot, ioas)?;
        }
        Ok(Self {
            memory: snapshot.functions().iter().map(largest).collect(),
            inbound_offsets: (snapshot.functions().iter())
                .map(|function| inbound_offset(&snapshot, function))
                .collect(),
            fabric,
            snapshot,
            request: Route::new(Explain::Notes),
            completion: Route::new(Explain::Notes),
        })
    }

    /// The fabric.
    pub fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// The way of the last request, with notes.
    pub fn request(&self) -> &Route {
        &self.request
    }

    /// The way of the last completion, with notes. Without meaning after a write, and where the request was lost.
    pub fn completion(&self) -> &Route {
        &self.completion
    }

    /// What becomes of a request of as many bytes as its sender puts into one packet.
    pub fn ask(&mut self, question: Question) -> Fate {
        let Some((memory, address)) = self.address(question) else {
            return Fate::NoAddress;
        };
        let client = self.fabric.function(question.client);
        let len_bytes = match question.access {
            Access::Read => client.max_read_request_bytes,
            Access::Write => client.max_payload_bytes,
        };
        // Nothing reaches beyond the BAR.
        let len_bytes = u64::from(len_bytes).min(memory.size_bytes) as u32;
        let request = Request {
            requester: client.bdf,
            access: question.access,
            address,
            len_bytes,
            address_type: question.address_type,
            ordering: question.ordering,
        };
        self.fabric.route_request(&request, &mut self.request);
        match self.request.end {
            End::Function { function, bar, .. } if function == question.provider && bar == memory.bar => {}
            End::Lost(loss) => return Fate::Lost(loss),
            end => return Fate::Astray(end),
        }
        let request_way = way(&self.request);
        if question.access == Access::Write {
            return Fate::Delivered {
                request: request_way,
                completion: request_way,
            };
        }
        let provider = self.fabric.function(question.provider);
        let payload_bytes = len_bytes.min(provider.max_payload_bytes.into());
        self.fabric.route_completion(
            Completer::Function(question.provider),
            &request,
            &self.request,
            payload_bytes,
            &mut self.completion,
        );
        match self.completion.end {
            End::Requester => Fate::Delivered {
                request: request_way,
                completion: way(&self.completion),
            },
            End::Lost(loss) => Fate::Lost(loss),
            end => Fate::Astray(end),
        }
    }

    /// The BAR that is asked for, and the address that the request carries.
    fn address(&self, question: Question) -> Option<(Memory, u64)> {
        let memory = self.memory[question.provider.index()]?;
        if question.form == Form::BusAddress || question.address_type == AddressType::Translated {
            return Some((memory, memory.bus));
        }
        let phys = memory.phys?;
        let address = match self.snapshot.host.iommu {
            Fact::Known(IommuMode::Translating) => Self::IOVA_BASE.checked_add(phys)?,
            _ => {
                let offset = self.inbound_offsets[question.client.index()];
                phys.checked_add_signed(offset.checked_neg()?)?
            }
        };
        Some((memory, address))
    }
}

fn way(route: &Route) -> Way {
    match route.crosses_root_complex() {
        true => Way::ThroughRootComplex,
        false => Way::Direct,
    }
}

/// The largest memory BAR with an address; of several, the first.
fn largest(function: &Function) -> Option<Memory> {
    let bars = function.bars().known()?;
    let memory = bars.iter().filter(|bar| bar.kind.is_memory()).filter_map(|bar| {
        let bus = bar.bus_address.known()?.to_u64();
        let size_bytes = bar.size_bytes.known()?;
        let memory = Memory {
            bar: bar.index,
            bus,
            phys: bar.phys.known().map(|span| span.first().to_u64()),
            size_bytes,
        };
        (bus != 0).then_some((size_bytes, memory))
    });
    let mut best: Option<(u64, Memory)> = None;
    for (size_bytes, memory) in memory {
        if best.is_none_or(|(most, _)| size_bytes > most) {
            best = Some((size_bytes, memory));
        }
    }
    best.map(|(_, memory)| memory)
}

/// Maps each page of each BAR, and of RAM, once, and attaches whoever may send requests.
fn map_all(fabric: &mut Fabric, snapshot: &Snapshot, ioas: IoasId) -> Result<(), IommuError> {
    let mut spans: Vec<(u64, u64)> = Vec::new();
    let windows = match &snapshot.host.bridges {
        Fact::Known(bridges) => bridges
            .iter()
            .filter_map(|bridge| bridge.windows.as_ref().known()),
        Fact::Unknown(_) => return Ok(()),
    };
    let windows = windows.flatten().map(|window| {
        let HostWindow { bus, phys } = *window;
        (phys.to_u64(), phys.to_u64().saturating_add(bus.len_minus_one()))
    });
    let ram = (snapshot.host.ram.as_ref().known().into_iter().flatten())
        .map(|span| (span.first().to_u64(), span.last().to_u64()));
    for (first, last) in windows.chain(ram) {
        let last = last | (Inquirer::PAGE_BYTES - 1);
        spans.push((
            first & !(Inquirer::PAGE_BYTES - 1),
            last.min(Inquirer::IOVA_BASE - 1),
        ));
    }
    spans.sort_unstable();
    let mut free = 0;
    for (first, last) in spans {
        let first = first.max(free);
        if first > last {
            continue;
        }
        free = last + 1;
        let iova = Inquirer::IOVA_BASE + first;
        let rights = Rights::ReadWrite;
        fabric.iommu_mut().map(ioas, iova, first, free - first, rights)?;
    }
    let mut requesters: BTreeSet<Bdf> = BTreeSet::new();
    for function in snapshot.functions() {
        // From behind a bridge to a conventional bus nothing comes under an ID of its own.
        if !bridges_above(snapshot, function).any(leads_to_conventional) {
            requesters.insert(function.bdf);
        }
        if let Some(bridge) = function.bridge().filter(|_| leads_to_conventional(function)) {
            requesters.insert(Bdf::from_devfn(function.bdf.domain(), bridge.secondary, 0));
        }
    }
    for requester in requesters {
        fabric.iommu_mut().attach(requester, ioas)?;
    }
    Ok(())
}

/// What the host bridge above a function adds.
fn inbound_offset(snapshot: &Snapshot, function: &Function) -> i64 {
    let top = bridges_above(snapshot, function).last().unwrap_or(function);
    let Fact::Known(bridges) = &snapshot.host.bridges else {
        return 0;
    };
    let root = (top.bdf.domain(), top.bdf.bus());
    let bridge = bridges.iter().find(|bridge| (bridge.domain, bridge.bus) == root);
    bridge
        .and_then(|bridge| bridge.inbound_offset.known())
        .unwrap_or(0)
}

/// The bridges above a function, bottom up.
fn bridges_above<'a>(snapshot: &'a Snapshot, function: &'a Function) -> impl Iterator<Item = &'a Function> {
    let above = |function: &&'a Function| match function.upstream {
        Fact::Known(Some(above)) => snapshot.functions().get(snapshot.position(above)?),
        _ => None,
    };
    // Never more than there are functions, whatever a snapshot says.
    std::iter::successors(above(&function), above).take(snapshot.functions().len())
}

/// Is it a bridge from which a conventional bus leads off?
fn leads_to_conventional(function: &Function) -> bool {
    let port_type = function.port_type();
    function.bridge().is_some() && matches!(port_type, Fact::Known(None | Some(PortType::TO_CONVENTIONAL)))
}
