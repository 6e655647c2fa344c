//! How long each link is busy with one byte of a flow: what several flows together leave of the links that they share.
//!
//! Called by [`crate::plan`], which adds up the flows of a copy. One flow alone is what [`Estimator::estimate`] tells.

use super::wire::{LONG_HEADER_BYTES, Stream};
use super::{Estimator, Flow, LinkDirection, NoEstimate, Training, Way, loads};
use crate::route::{Access, LinkEnds};
use crate::topology::{NodeId, Topology};
use alloc::vec::Vec;

/// How busy one direction of a link is with a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    /// The link.
    pub link: LinkEnds,
    /// Which direction.
    pub direction: LinkDirection,
    /// For how many femtoseconds it is busy with each byte of payload; `u64::MAX` where it is down.
    pub femtoseconds_per_byte: u64,
}

impl<'t> Estimator<'t> {
    /// The machine whose links it knows.
    pub fn topology(&self) -> &'t Topology {
        self.topology
    }

    /// How busy the links are with one device's access to another's memory.
    ///
    /// # Errors
    /// [`NoEstimate`], as for [`Self::estimate`]; but a flow that crosses no link occupies none.
    pub fn occupancy(&self, flow: Flow, training: Training) -> Result<Vec<Occupancy>, NoEstimate> {
        let header = self.header_bytes[flow.provider.index()].ok_or(NoEstimate::NoMemory)?;
        let (up, down) = self.sides(flow)?;
        let stream = self.stream(flow, header)?;
        self.busy(stream, &up, &down, training)
    }

    /// How busy the links are with a device's access to RAM: all those above it. The root complex is taken to answer reads in packets
    /// as large as the device's own, and RAM to lie above 4 GiB.
    ///
    /// # Errors
    /// [`NoEstimate`]
    pub fn ram_occupancy(
        &self,
        client: NodeId,
        access: Access,
        training: Training,
    ) -> Result<Vec<Occupancy>, NoEstimate> {
        let flow = Flow {
            client,
            provider: client,
            access,
            way: Way::RootComplex,
        };
        let (up, _) = self.sides(flow)?;
        let stream = self.stream(flow, LONG_HEADER_BYTES)?;
        self.busy(stream, &up, &[], training)
    }

    fn busy(
        &self,
        stream: Stream,
        up: &[NodeId],
        down: &[NodeId],
        training: Training,
    ) -> Result<Vec<Occupancy>, NoEstimate> {
        let unit = stream.unit();
        let mut all = Vec::new();
        for &node in up.iter().chain(down.iter().filter(|node| !up.contains(node))) {
            let Some((link, counted)) = self.crossings[node.index()].counted(training, self.at(node))? else {
                continue;
            };
            let (up_bytes, down_bytes) =
                loads(unit.load(counted.rate), up.contains(&node), down.contains(&node));
            let raw = u128::from(counted.bytes_per_second());
            for (direction, bytes) in [(LinkDirection::Up, up_bytes), (LinkDirection::Down, down_bytes)] {
                let whole = u128::from(bytes) * FEMTOSECONDS_PER_SECOND;
                let each = whole.checked_div(raw * u128::from(unit.payload_bytes));
                let femtoseconds_per_byte = match (bytes, each) {
                    (0, _) => continue,
                    (_, Some(each)) => u64::try_from(each).unwrap_or(u64::MAX),
                    (_, None) => u64::MAX,
                };
                all.push(Occupancy {
                    link,
                    direction,
                    femtoseconds_per_byte,
                });
            }
        }
        Ok(all)
    }
}

const FEMTOSECONDS_PER_SECOND: u128 = 1_000_000_000_000_000;
