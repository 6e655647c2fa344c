//! What was carried: for each direction of each link, each conventional bus, and host RAM.

use crate::device::Purpose;
use crate::fabric::{Direction, FunctionId, LinkId};

/// Traffic of one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// How many TLPs.
    pub tlps: u64,
    /// Their bytes: data, headers and framing.
    pub bytes: u64,
    /// Their data alone.
    pub data_bytes: u64,
}

/// What one direction of a link, a conventional bus, or host RAM carried. A TLP is counted when it is sent, for all of
/// its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Carried {
    /// User data, and what asks for it.
    pub payload: Traffic,
    /// Commands, completions, lists, doorbells, interrupts; and what processors read and write.
    pub queue: Traffic,
    /// Bytes of acknowledgements and credits (DLLPs) for the TLPs of the other direction.
    pub dllp_bytes: u64,
    /// How long it was busy, in picoseconds.
    pub busy_ps: u64,
}

impl Carried {
    pub(super) fn add(&mut self, purpose: Purpose, bytes: u64, data_bytes: u64) {
        let traffic = match purpose {
            Purpose::Payload => &mut self.payload,
            Purpose::Queue => &mut self.queue,
        };
        traffic.tlps += 1;
        traffic.bytes += bytes;
        traffic.data_bytes += data_bytes;
    }

    /// All TLPs.
    pub const fn tlps(&self) -> u64 {
        self.payload.tlps + self.queue.tlps
    }

    /// All bytes of TLPs.
    pub const fn bytes(&self) -> u64 {
        self.payload.bytes + self.queue.bytes
    }

    /// The busy part of `span_ps` picoseconds, in thousandths.
    pub const fn utilisation_permille(&self, span_ps: u64) -> u64 {
        match span_ps {
            0 => 0,
            _ => (self.busy_ps as u128 * 1000 / span_ps as u128) as u64,
        }
    }
}

/// What everything has carried since the machine was switched on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// Each link, in the order of [`Fabric::links`](crate::fabric::Fabric::links).
    pub links: Vec<LinkCarried>,
    /// Each conventional bus that carried anything, in the order of their bridges.
    pub conventional: Vec<(FunctionId, Carried)>,
    /// Host RAM, by requests of devices; busy as memory of 200 GB/s would be.
    pub ram: Carried,
    /// Interrupts that arrived when [`Machine::MOST_INTERRUPTS`](super::Machine::MOST_INTERRUPTS) waited to be taken.
    pub dropped_interrupts: u64,
}

/// What a link has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkCarried {
    /// The link.
    pub link: LinkId,
    /// To the root complex.
    pub up: Carried,
    /// Away from it.
    pub down: Carried,
}

impl LinkCarried {
    /// One direction of it.
    pub const fn direction(&self, direction: Direction) -> &Carried {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}
