//! How many bytes a second of payload the links on the way let through, for one flow.
//!
//! Called by the command line for `--bandwidth`. The estimate follows from registers alone: rate, width and
//! line encoding of every link, the packet sizes that both ends are set to, headers, framing and
//! acknowledgements (PCIe Base chapters 2 to 4). It says what the links allow to a device that always has enough
//! requests outstanding and never waits; root complexes, memory and devices may be slower, and other
//! flows take their share (docs/bandwidth.md).

mod occupancy;
#[cfg(test)]
mod tests;
mod way;
mod wire;

pub use occupancy::Occupancy;

use crate::addr::{Address, Bdf};
use crate::fact::{Fact, Unread};
use crate::pci::{LinkState, Payload};
use crate::route::{Access, LinkEnds, MapType};
use crate::snapshot::Function;
use crate::topology::{NodeId, Topology};
use alloc::vec::Vec;
use core::fmt;
use way::Crossing;
use wire::{LONG_HEADER_BYTES, Load, SHORT_HEADER_BYTES, Stream};

/// Which way requests and completions take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They turn around at the nearest function above both ends.
    Direct,
    /// They go up to the root complex and down again; a link above both ends is then crossed twice.
    RootComplex,
}

impl Way {
    /// The way of what is mapped like this; nothing where it is refused.
    pub const fn of(map_type: MapType) -> Option<Self> {
        match map_type {
            MapType::BusAddr => Some(Self::Direct),
            MapType::ThruHostBridge => Some(Self::RootComplex),
            MapType::NotSupported => None,
        }
    }
}

/// One device's access to another's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Who reads or writes.
    pub client: NodeId,
    /// Whose memory.
    pub provider: NodeId,
    /// What it does.
    pub access: Access,
    /// Over which way.
    pub way: Way,
}

/// Which state of the links is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Training {
    /// What they are trained to.
    Now,
    /// The best that both ends of each can do.
    Best,
}

/// A direction of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum LinkDirection {
    /// Towards the root complex.
    Up,
    /// Away from it.
    Down,
}

/// What the links let through, and which of them lets through least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Estimate {
    /// Payload; 0 where a link on the way is down.
    pub bytes_per_second: u64,
    /// The link that limits it: of several alike the first that the client's requests meet.
    pub limiting: LinkEnds,
    /// The direction of that link that is full first.
    pub direction: LinkDirection,
    /// The state of that link that was counted.
    pub counted: LinkState,
    /// What that direction carries in all, packet overhead included.
    pub raw_bytes_per_second: u64,
    /// Payload of each packet that carries data.
    pub payload_bytes: u16,
    /// The header of requests: 12 bytes, or 16 for addresses above 4 GiB.
    pub request_header_bytes: u8,
}

impl Estimate {
    /// Payload as a part of all that the limiting direction carries; 0 where the link is down.
    pub fn efficiency(&self) -> f64 {
        if self.raw_bytes_per_second == 0 {
            return 0.0;
        }
        self.bytes_per_second as f64 / self.raw_bytes_per_second as f64
    }
}

/// Why there is no estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum NoEstimate {
    /// A fact is missing.
    Missing {
        /// Of which function.
        at: Bdf,
        /// Which fact.
        fact: MissingFact,
        /// Why.
        why: Unread,
    },
    /// There is a conventional bus on the way, or a device without packet sizes at its end.
    Conventional {
        /// The function below that bus, or that device.
        at: Bdf,
    },
    /// The provider has no memory BAR: there is nothing to read or write.
    NoMemory,
    /// No link is on the way: both ends are parts of the root complex or of one device.
    NoLink,
}

/// A fact that an estimate needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum MissingFact {
    /// Where it sits in the tree.
    Place,
    /// The state of the link above it.
    Link,
    /// The best that both ends of the link above it can do.
    BestLink,
    /// Its packet sizes (MPS and MRRS).
    PacketSizes,
}

impl fmt::Display for NoEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { at, fact, why } => write!(f, "{fact} {at} is unknown: {why}"),
            Self::Conventional { at } => {
                write!(f, "{at} is on a conventional bus, or has no packet sizes")
            }
            Self::NoMemory => f.write_str("the provider has no memory BAR"),
            Self::NoLink => f.write_str("no link is on the way"),
        }
    }
}

impl core::error::Error for NoEstimate {}

impl fmt::Display for MissingFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Place => "the place in the tree of",
            Self::Link => "the link above",
            Self::BestLink => "the best that both ends can do of the link above",
            Self::PacketSizes => "the packet size (MPS, MRRS) of",
        })
    }
}

/// Estimates for the functions of one topology.
///
/// # Panics
/// Where a [`NodeId`] is not one of its topology, as there.
#[derive(Debug, Clone)]
pub struct Estimator<'t> {
    topology: &'t Topology,
    /// By function: what lies directly above it.
    crossings: Vec<Crossing>,
    /// By function: the header of requests for its memory; nothing where it has none.
    header_bytes: Vec<Option<u8>>,
}

impl<'t> Estimator<'t> {
    /// Looks at every link once; time and memory linear in the number of functions.
    pub fn new(topology: &'t Topology) -> Self {
        Self {
            topology,
            crossings: topology
                .nodes()
                .map(|node| Crossing::above(topology, node))
                .collect(),
            header_bytes: topology
                .nodes()
                .map(|node| header_bytes(topology.function(node)))
                .collect(),
        }
    }

    /// The estimate for one flow. A write sends packets of the client's MPS; a read sends requests of the
    /// client's MRRS, answered in packets of the provider's MPS. Completions take the way of the
    /// requests back.
    ///
    /// # Errors
    /// [`NoEstimate`] where a fact is missing, or no link limits the flow.
    pub fn estimate(&self, flow: Flow, training: Training) -> Result<Estimate, NoEstimate> {
        let header = self.header_bytes[flow.provider.index()].ok_or(NoEstimate::NoMemory)?;
        let (up, down) = self.sides(flow)?;
        let stream = self.stream(flow, header)?;
        let unit = stream.unit();
        let mut slowest: Option<Estimate> = None;
        let mut missing = None;
        for &node in up.iter().chain(&down) {
            let link = match self.crossings[node.index()].counted(training, self.at(node)) {
                Ok(Some(link)) => link,
                Ok(None) => continue,
                Err(why) => {
                    missing = missing.or(Some(why));
                    continue;
                }
            };
            let (ends, counted) = link;
            let load = unit.load(counted.rate);
            let (up_bytes, down_bytes) = loads(load, up.contains(&node), down.contains(&node));
            let raw_bytes_per_second = counted.bytes_per_second();
            for (direction, bytes) in in_order(flow, up.contains(&node), up_bytes, down_bytes) {
                let estimate = Estimate {
                    bytes_per_second: raw_bytes_per_second.saturating_mul(unit.payload_bytes) / bytes.max(1),
                    limiting: ends,
                    direction,
                    counted,
                    raw_bytes_per_second,
                    payload_bytes: stream.payload_bytes(),
                    request_header_bytes: header,
                };
                if slowest.is_none_or(|slowest| estimate.bytes_per_second < slowest.bytes_per_second) {
                    slowest = Some(estimate);
                }
            }
        }
        match (slowest, missing) {
            // Whatever the other links are: nothing passes this one.
            (Some(estimate), _) if estimate.bytes_per_second == 0 => Ok(estimate),
            (_, Some(missing)) => Err(missing),
            (Some(estimate), None) => Ok(estimate),
            (None, None) => Err(NoEstimate::NoLink),
        }
    }

    fn at(&self, node: NodeId) -> Bdf {
        self.topology.function(node).bdf
    }

    /// How the two ends are set up for the flow.
    fn stream(&self, flow: Flow, request_header_bytes: u8) -> Result<Stream, NoEstimate> {
        let client = self.packet_sizes(flow.client)?;
        let max_payload_bytes = match flow.access {
            Access::Write => client.max_payload_bytes,
            Access::Read => self.packet_sizes(flow.provider)?.max_payload_bytes,
        };
        Ok(Stream {
            access: flow.access,
            max_payload_bytes,
            max_read_request_bytes: client.max_read_request_bytes,
            request_header_bytes,
        })
    }

    /// MPS and MRRS; of a virtual function those of its physical one, since its own bits are reserved
    /// (SR-IOV 3.5.4, today PCIe Base 9.3.5.4).
    fn packet_sizes(&self, node: NodeId) -> Result<Payload, NoEstimate> {
        let mut function = self.topology.function(node);
        let at = function.bdf;
        let missing = |why| NoEstimate::Missing {
            at,
            fact: MissingFact::PacketSizes,
            why,
        };
        if let Fact::Known(Some(physical)) = function.os.physical_function {
            let physical = self.topology.find(physical);
            let physical = physical.ok_or(missing(Unread::NotInSource))?;
            function = self.topology.function(physical);
        }
        let sizes = match function.config.express {
            Fact::Known(Some(express)) => express.payload,
            Fact::Known(None) => return Err(NoEstimate::Conventional { at }),
            Fact::Unknown(why) => Fact::Unknown(why),
        };
        match sizes {
            Fact::Known(sizes) if sizes.max_payload_bytes == 0 || sizes.max_read_request_bytes == 0 => {
                Err(missing(Unread::Contradictory))
            }
            Fact::Known(sizes) => Ok(sizes),
            Fact::Unknown(why) => Err(missing(why)),
        }
    }
}

/// The header of requests for a function's memory, by the address of its largest memory BAR; nothing
/// where it has none. Where that address or a size is unknown the longer header is counted: an estimate
/// that is 1 to 3 per cent low rather than none.
fn header_bytes(function: &Function) -> Option<u8> {
    let Fact::Known(bars) = function.bars() else {
        return Some(LONG_HEADER_BYTES);
    };
    let memory: Vec<_> = bars.iter().filter(|bar| bar.kind.is_memory()).collect();
    let largest = memory.iter().filter_map(|bar| bar.size_bytes.known()).max();
    let may_be_largest = |size: Fact<u64>| size.known().is_none_or(|size| Some(size) == largest);
    let is_low = |address: Option<u64>| address.is_some_and(|address| address < 1 << 32);
    match memory.as_slice() {
        [] => None,
        bars if bars
            .iter()
            .filter(|bar| may_be_largest(bar.size_bytes))
            .all(|bar| is_low(bar.bus_address.known().map(Address::to_u64))) =>
        {
            Some(SHORT_HEADER_BYTES)
        }
        _ => Some(LONG_HEADER_BYTES),
    }
}

/// Bytes up and down a link that lies on the client's side, on the provider's, or on both.
fn loads(load: Load, client_side: bool, provider_side: bool) -> (u64, u64) {
    let on = |side: bool, bytes: u64| if side { bytes } else { 0 };
    let up = on(client_side, load.forward_bytes) + on(provider_side, load.backward_bytes);
    let down = on(client_side, load.backward_bytes) + on(provider_side, load.forward_bytes);
    (up, down)
}

/// Both directions of a link, first the one that carries the data.
fn in_order(flow: Flow, client_side: bool, up_bytes: u64, down_bytes: u64) -> [(LinkDirection, u64); 2] {
    let (up, down) = ((LinkDirection::Up, up_bytes), (LinkDirection::Down, down_bytes));
    if client_side == (flow.access == Access::Write) {
        [up, down]
    } else {
        [down, up]
    }
}
