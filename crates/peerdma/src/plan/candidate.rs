//! Every way that there is, each possible or refused.

use super::layout::{Memory, lay_out};
use super::{
    Arrival, Cost, Crossing, DeviceMemory, End, Force, Layout, Method, Proof, QueueNeeds, Reach, Reason,
    Situation,
};
use crate::addr::Bdf;
use crate::block::PeerSupport;
use crate::dma::{PeerRoute, Refused};
use crate::memory::CpuView;
use crate::route::spec::Form;
use crate::route::{Access, MapType};
use crate::topology::Topology;
use alloc::vec::Vec;

/// One way.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) method: Method,
    /// Whose memory it uses.
    pub(super) provider: Option<Bdf>,
    /// What it would be, as the routes are.
    pub(super) plain: Result<Ready, Reason>,
    /// What it would be if a refusal were overridden, where that is asked for and would help.
    pub(super) forced: Option<Ready>,
}

/// A way that is possible.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) crossings: [Crossing; 2],
    pub(super) layout: Layout,
    pub(super) cost: Cost,
}

/// How a chunk must be cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) chunk_bytes: u32,
    pub(super) multiple_bytes: u64,
}

/// All ways, in the order in which they are preferred where they cost the same.
pub(super) fn all(situation: &Situation<'_>, cut: Cut) -> Vec<Candidate> {
    let source = &situation.source;
    let destination = &situation.destination;
    let mut ways = Vec::new();
    let own = |end: &End| {
        end.memory.ok_or(Reason::NoMemory {
            of: end.limits.initiator,
        })
    };
    let ends = [source.limits.initiator, destination.limits.initiator];
    if ends[0] == ends[1] {
        ways.push((Method::Internal, Some(ends[0]), own(source).or(own(destination))));
    } else {
        ways.push((Method::Store, Some(ends[1]), own(destination)));
        ways.push((Method::Load, Some(ends[0]), own(source)));
    }
    let thirds = situation
        .thirds
        .iter()
        .filter(|third| !ends.contains(&third.provider));
    ways.extend(thirds.map(|third| {
        (
            Method::ThirdParty(third.provider),
            Some(third.provider),
            Ok(*third),
        )
    }));
    let device = |(method, provider, memory): (_, _, Result<DeviceMemory, Reason>)| {
        let with = |force| memory.and_then(|memory| through(situation, memory, cut, force));
        let plain = with(Force::Never);
        let forced = match (situation.demands.force, &plain) {
            (Force::Refused, Err(Reason::NoRoute { .. })) => with(Force::Refused).ok(),
            _ => None,
        };
        Candidate {
            method,
            provider,
            plain,
            forced,
        }
    };
    let mut all: Vec<Candidate> = ways.into_iter().map(device).collect();
    all.push(Candidate {
        method: Method::ViaRam,
        provider: None,
        plain: via_ram(situation, cut),
        forced: None,
    });
    all
}

/// That an end does not reach RAM is never overridden: there, its queues lie nowhere either.
fn via_ram(situation: &Situation<'_>, cut: Cut) -> Result<Ready, Reason> {
    let ram = situation.ram.ok_or(Reason::NoRam)?;
    let crossing = |end: &End, operation, proof| Crossing {
        initiator: end.limits.initiator,
        provider: None,
        operation,
        reach: Reach::Ram,
        proof,
        forced: None,
    };
    let crossings = [
        crossing(&situation.source, Access::Write, Proof::DeviceOrder),
        crossing(&situation.destination, Access::Read, Proof::ReadReturned),
    ];
    for (end, access) in [
        (&situation.source, Access::Write),
        (&situation.destination, Access::Read),
    ] {
        let initiator = end.limits.initiator;
        let route = situation.routes.ram(initiator, access, end.class);
        route.map_err(|refused| Reason::NoRouteToRam {
            initiator,
            access,
            refused,
        })?;
    }
    ready(situation, crossings, Memory::Ram(ram), None, cut)
}

fn through(situation: &Situation<'_>, memory: DeviceMemory, cut: Cut, force: Force) -> Result<Ready, Reason> {
    let mut put = crossing(situation, &situation.source, memory, Access::Write, force)?;
    let take = crossing(situation, &situation.destination, memory, Access::Read, force)?;
    let queue = match put.proof {
        Proof::SamePathCompletion => match queue(&situation.source, memory) {
            Err(Reason::CompletionsInRam { .. }) if situation.demands.arrival == Arrival::ReadBack => {
                put.proof = Proof::ReadBack;
                None
            }
            needs => Some(needs?),
        },
        Proof::DeviceOrder | Proof::ReadReturned | Proof::ReadBack => None,
    };
    ready(situation, [put, take], Memory::Device(memory), queue, cut)
}

fn ready(
    situation: &Situation<'_>,
    crossings: [Crossing; 2],
    memory: Memory,
    queue: Option<QueueNeeds>,
    cut: Cut,
) -> Result<Ready, Reason> {
    Ok(Ready {
        crossings,
        layout: lay_out(situation, memory, queue, cut.chunk_bytes, cut.multiple_bytes)?,
        cost: Cost::of(situation, &crossings),
    })
}

/// What the source's completion queue needs beside the data: arrival is proven by an entry behind it, which the CPU must see.
fn queue(source: &End, memory: DeviceMemory) -> Result<QueueNeeds, Reason> {
    let of = source.limits.initiator;
    let needs = source.completion_queue.ok_or(Reason::CompletionsInRam { of })?;
    let is_seen = match memory.cpu {
        CpuView::None => false,
        CpuView::Memory => true,
        // Entries are looked at by dwords.
        CpuView::Mmio(widths) => widths.allow(4),
    };
    let provider = memory.provider;
    is_seen.then_some(needs).ok_or(Reason::Unseen { provider })
}

fn crossing(
    situation: &Situation<'_>,
    end: &End,
    memory: DeviceMemory,
    operation: Access,
    force: Force,
) -> Result<Crossing, Reason> {
    let DeviceMemory { provider, bar, .. } = memory;
    let initiator = end.limits.initiator;
    if end.limits.peer == PeerSupport::None {
        return Err(Reason::RamOnly { of: initiator });
    }
    if provider == initiator {
        let can = match operation {
            Access::Write => end.own_data.of_reads,
            Access::Read => end.own_data.of_writes,
        };
        return match can {
            false => Err(Reason::NotItsOwn {
                of: initiator,
                access: operation,
            }),
            true => Ok(Crossing {
                initiator,
                provider: Some(provider),
                operation,
                reach: Reach::Own,
                proof: Proof::DeviceOrder,
                forced: None,
            }),
        };
    }
    let route = situation
        .routes
        .route(initiator, provider, bar, operation, end.class);
    let (map_type, form, forced) = match (route, force) {
        (PeerRoute::Reached { map_type, form }, _) => (map_type, form, None),
        (PeerRoute::Refused(refused), Force::Refused) if refused != Refused::NoSuchFunction(provider) => {
            let (map_type, form) = as_if(situation.links.topology(), initiator, provider);
            (map_type, form, Some(refused))
        }
        (PeerRoute::Refused(refused), _) => {
            return Err(Reason::NoRoute {
                initiator,
                provider,
                access: operation,
                refused,
            });
        }
    };
    Ok(Crossing {
        initiator,
        provider: Some(provider),
        operation,
        reach: Reach::Peer { bar, map_type, form },
        proof: match operation {
            Access::Write => Proof::SamePathCompletion,
            Access::Read => Proof::ReadReturned,
        },
        forced,
    })
}

/// The route that is taken where the refusal of one is overridden: the one that the place of both in the tree suggests.
pub fn as_if(topology: &Topology, initiator: Bdf, provider: Bdf) -> (MapType, Form) {
    let shared = topology
        .find(initiator)
        .zip(topology.find(provider))
        .and_then(|(a, b)| topology.common_ancestor(a, b));
    match shared {
        Some(_) => (MapType::BusAddr, Form::BusAddress),
        None => (MapType::ThruHostBridge, Form::HostAddress),
    }
}
