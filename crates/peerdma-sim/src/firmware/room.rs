//! Where BARs and windows go: each bus packed by alignment, from the ends of the tree up; then addresses from the top
//! down.

use super::plan::{Node, Plan};
use super::window::Chosen;
use crate::file::{BarWidth, Prefetchable, Reach};

const MIB: u64 = 1 << 20;
/// The two kinds of room: below 4 GiB (memory windows), above it (prefetchable windows).
pub(super) const LOW: usize = 0;
pub(super) const HIGH: usize = 1;

/// Which BARs go below 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LowPool {
    /// All but prefetchable ones of 64 bits, as conventional bridges need it.
    AllButWidePrefetchable,
    /// Only those of 32 bits.
    NarrowOnly,
}

/// What all buses need.
#[derive(Debug)]
pub(super) struct Rooms {
    /// Of each host bridge.
    pub(super) roots: Vec<[Room; 2]>,
    /// Of each function: what the bus behind it needs, if it is a bridge.
    nodes: Vec<[Room; 2]>,
}

/// What one bus needs of one kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    items: Vec<Item>,
    pub(super) len_bytes: u64,
    pub(super) align_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    node: usize,
    /// Position among the function's BARs; nothing for the window of a bridge.
    bar: Option<usize>,
    len_bytes: u64,
    align_bytes: u64,
    offset: u64,
}

impl Rooms {
    pub(super) fn new(plan: &Plan<'_>, pool: LowPool) -> Self {
        let hosts = plan.nodes.iter().map(|node| node.host + 1).max().unwrap_or(0);
        let hosts = hosts.max(plan.buses().count());
        let mut rooms = Self {
            roots: vec![Default::default(); hosts],
            nodes: vec![Default::default(); plan.nodes.len()],
        };
        for (index, node) in plan.nodes.iter().enumerate().rev() {
            for kind in [LOW, HIGH] {
                let room = &mut rooms.nodes[index][kind];
                room.pack();
                let (len_bytes, align_bytes) = (room.len_bytes, room.align_bytes);
                if len_bytes > 0 {
                    let item = Item {
                        node: index,
                        bar: None,
                        len_bytes,
                        align_bytes,
                        offset: 0,
                    };
                    rooms.above(node)[kind].items.push(item);
                }
            }
            for (position, placed) in node.bars.iter().enumerate() {
                if placed.bar.reach == Reach::Unassigned {
                    continue;
                }
                let is_wide = placed.bar.width == BarWidth::Wide;
                let is_high = match pool {
                    LowPool::AllButWidePrefetchable => {
                        is_wide && placed.bar.prefetchable == Prefetchable::Yes
                    }
                    LowPool::NarrowOnly => is_wide,
                };
                // The smallest page of any CPU: nobody else's registers share it.
                let align_bytes = placed.size_bytes.max(4096);
                let item = Item {
                    node: index,
                    bar: Some(position),
                    len_bytes: placed.size_bytes,
                    align_bytes,
                    offset: 0,
                };
                rooms.above(node)[usize::from(is_high)].items.push(item);
            }
        }
        rooms.roots.iter_mut().flatten().for_each(Room::pack);
        rooms
    }

    fn above(&mut self, node: &Node<'_>) -> &mut [Room; 2] {
        match node.parent {
            Some(parent) => &mut self.nodes[parent],
            None => &mut self.roots[node.host],
        }
    }

    /// Gives every BAR and window its address.
    pub(super) fn assign(&self, plan: &mut Plan<'_>, hosts: &[Chosen]) {
        for (room, host) in self.roots.iter().zip(hosts) {
            for kind in [LOW, HIGH] {
                room[kind].place(host.bases[kind], kind, plan);
            }
        }
        for index in 0..plan.nodes.len() {
            for kind in [LOW, HIGH] {
                if let Some((base, _)) = plan.nodes[index].windows[kind] {
                    self.nodes[index][kind].place(base, kind, plan);
                }
            }
        }
    }
}

impl Room {
    /// Puts the items behind one another, those with the largest alignment first. All sizes together stay far below
    /// 2^63: 65,536 functions of six BARs of up to 2^43 bytes.
    fn pack(&mut self) {
        self.items
            .sort_by_key(|item| (std::cmp::Reverse(item.align_bytes), item.node, item.bar));
        let mut end: u64 = 0;
        for item in &mut self.items {
            item.offset = end.next_multiple_of(item.align_bytes);
            end = item.offset + item.len_bytes;
        }
        self.len_bytes = end.next_multiple_of(MIB);
        self.align_bytes = self.items.first().map_or(MIB, |item| item.align_bytes.max(MIB));
    }

    fn place(&self, base: u64, kind: usize, plan: &mut Plan<'_>) {
        for item in &self.items {
            let address = base + item.offset;
            let node = &mut plan.nodes[item.node];
            match item.bar {
                Some(bar) => node.bars[bar].bus_address = Some(address),
                None => node.windows[kind] = Some((address, item.len_bytes)),
            }
        }
    }
}
