//! What was moved between two moments.

use super::Computer;
use crate::machine::{Carried, Counters};
use peerdma::addr::Bdf;

/// What was moved since some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of user data that devices read from host RAM or wrote there.
    pub ram_payload_bytes: u64,
    /// Bytes of commands, completions and lists that devices read from host RAM or wrote there.
    pub ram_queue_bytes: u64,
    /// For each link that carried user data: the port above it, and bytes of user data towards the root complex and away
    /// from it.
    pub links: Vec<LinkTraffic>,
}

/// User data on one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkTraffic {
    /// The port above the link.
    pub port: Bdf,
    /// The first function below it; nothing where the slot is empty.
    pub device: Option<Bdf>,
    /// Bytes of user data towards the root complex.
    pub up_bytes: u64,
    /// Bytes of user data away from it.
    pub down_bytes: u64,
}

impl Computer {
    /// All counters, from the moment when the machine was switched on.
    pub fn counters(&self) -> Counters {
        self.shared.machine.borrow().counters()
    }

    /// What was moved since these counters were taken.
    pub fn traffic(&self, since: &Counters) -> Traffic {
        let now = self.counters();
        let machine = self.shared.machine.borrow();
        let fabric = machine.fabric();
        let bytes = |now: &Carried, before: Option<&Carried>| {
            let before = before.map_or(0, |before| before.payload.data_bytes);
            now.payload.data_bytes.saturating_sub(before)
        };
        let links = now.links.iter().enumerate().filter_map(|(index, link)| {
            let before = since.links.get(index);
            let view = fabric.link(link.link);
            let traffic = LinkTraffic {
                port: fabric.function(view.port).bdf,
                device: view.device.map(|device| fabric.function(device).bdf),
                up_bytes: bytes(&link.up, before.map(|before| &before.up)),
                down_bytes: bytes(&link.down, before.map(|before| &before.down)),
            };
            (traffic.up_bytes + traffic.down_bytes > 0).then_some(traffic)
        });
        let (ram, before) = (&now.ram, &since.ram);
        Traffic {
            ram_payload_bytes: bytes(ram, Some(before)),
            ram_queue_bytes: (ram.queue.data_bytes).saturating_sub(before.queue.data_bytes),
            links: links.collect(),
        }
    }
}
