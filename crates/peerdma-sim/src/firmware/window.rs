//! The windows of host bridges: those that the file names, else as many bytes as the root bus needs, where neither RAM
//! nor another bridge is.

use super::plan::Plan;
use super::room::{HIGH, LOW, Room, Rooms};
use crate::file::{At, HostBridge, Machine, MachineError, Reach, Wrong};
use peerdma::addr::{Address, BusAddr, PhysAddr, Span};
use peerdma::snapshot::HostWindow;

/// Below 4 GiB, bus addresses are given out from here to the last.
const LOW_FIRST: i128 = 0x8000_0000;
const LOW_LAST: i128 = 0xfebf_ffff;
/// Above 4 GiB, from here.
const HIGH_FIRST: i128 = 0x10_0000_0000;
const HIGH_LAST: i128 = (1 << 52) - 1;
/// Interrupt controllers and firmware lie here on x86: the CPU sees no window there.
const RESERVED: (u64, u64) = (0xfec0_0000, 0xffff_ffff);
const INTERRUPTS: (u64, u64) = (0xfee0_0000, 0xfeef_ffff);

/// The windows of one host bridge, and where in them the room for the root bus starts.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) windows: Vec<HostWindow>,
    pub(super) bases: [u64; 2],
}

/// Chooses windows for all host bridges.
pub(super) fn choose(machine: &Machine, rooms: &Rooms) -> Result<Vec<Chosen>, MachineError> {
    let ram = machine.host.ram.iter();
    let mut taken: Vec<(u64, u64)> = ram
        .map(|span| (span.first().to_u64(), span.last().to_u64()))
        .collect();
    for (index, span) in taken.iter().enumerate() {
        if taken[..index].iter().any(|other| meet(*span, *other)) {
            let what = format!("two ranges of RAM overlap at {:#x}", span.0);
            let instead = "let every range start behind the one before".into();
            return Err(Wrong::Conflict { what, instead }.at(At::default()));
        }
    }
    for bridge in &machine.bridges {
        for (index, window) in bridge.windows.iter().enumerate() {
            check(bridge, index, *window, &taken)?;
            taken.push(seen_by_cpu(*window));
        }
    }
    taken.push(RESERVED);
    let bridges = machine.bridges.iter().zip(&rooms.roots);
    bridges
        .map(|(bridge, rooms)| match bridge.windows.is_empty() {
            true => free(bridge, rooms, &mut taken),
            false => within(bridge, rooms),
        })
        .collect()
}

/// The windows without what only peers reach.
pub(super) fn without_hidden(chosen: Vec<Chosen>, plan: &Plan<'_>) -> Vec<Chosen> {
    let mut chosen = chosen;
    for node in &plan.nodes {
        let Some(host) = chosen.get_mut(node.host) else {
            continue;
        };
        for placed in node
            .bars
            .iter()
            .filter(|placed| placed.bar.reach == Reach::PeersOnly)
        {
            let Some(first) = placed.bus_address else { continue };
            let last = first + (placed.size_bytes - 1);
            host.windows = host
                .windows
                .iter()
                .flat_map(|window| cut(*window, first, last))
                .collect();
        }
    }
    chosen
}

/// What is left of a window beside the bus addresses from `first` to `last`.
fn cut(window: HostWindow, first: u64, last: u64) -> Vec<HostWindow> {
    let (start, end) = (window.bus.first().to_u64(), window.bus.last().to_u64());
    if !meet((start, end), (first, last)) {
        return vec![window];
    }
    let parts = [
        first.checked_sub(1).map(|before| (start, before)),
        last.checked_add(1).map(|behind| (behind, end)),
    ];
    let parts = parts.into_iter().flatten().filter_map(|(from, to)| {
        let bus = Span::new(BusAddr::from_u64(from), BusAddr::from_u64(to)).ok()?;
        let phys = window.phys.checked_add(from - start)?;
        Some(HostWindow { bus, phys })
    });
    parts.collect()
}

/// Room in windows that the file names.
fn within(bridge: &HostBridge, rooms: &[Room; 2]) -> Result<Chosen, MachineError> {
    const FOUR_GIB: u64 = 1 << 32;
    let mut free: Vec<(u64, u64)> = bridge
        .windows
        .iter()
        .map(|window| (window.bus.first().to_u64(), window.bus.last().to_u64()))
        .collect();
    let mut bases = [0; 2];
    for kind in [LOW, HIGH] {
        let room = &rooms[kind];
        if room.len_bytes == 0 {
            continue;
        }
        let fits = |(first, last): (u64, u64)| {
            let base = first.checked_next_multiple_of(room.align_bytes)?;
            let end = base.checked_add(room.len_bytes - 1)?;
            (end <= last && (kind == HIGH || end < FOUR_GIB)).then_some((base, end))
        };
        let candidates = free.iter().enumerate();
        let found = candidates.filter_map(|(index, span)| fits(*span).map(|found| (index, found)));
        // What may lie anywhere leaves the room below 4 GiB to others.
        let best = found.min_by_key(|(_, (base, _))| (kind == HIGH && *base < FOUR_GIB, *base));
        let (index, (base, end)) = best.ok_or_else(|| {
            let place = match kind {
                LOW => "a window of this host bridge below 4 GiB",
                _ => "a window of this host bridge",
            };
            no_room(
                room,
                place,
                "enlarge its `window`, or leave it out for one that fits",
            )
            .at(bridge.at)
        })?;
        bases[kind] = base;
        free[index].0 = end + 1;
    }
    Ok(Chosen {
        windows: bridge.windows.clone(),
        bases,
    })
}

/// Windows that fit, where nothing else is.
fn free(bridge: &HostBridge, rooms: &[Room; 2], taken: &mut Vec<(u64, u64)>) -> Result<Chosen, MachineError> {
    let mut chosen = Chosen {
        windows: Vec::new(),
        bases: [0; 2],
    };
    for kind in [LOW, HIGH] {
        let room = &rooms[kind];
        if room.len_bytes == 0 {
            continue;
        }
        let (first, last, place) = match kind {
            LOW => (
                LOW_FIRST,
                LOW_LAST,
                "the addresses below 4 GiB that RAM and others leave free",
            ),
            _ => (HIGH_FIRST, HIGH_LAST, "the addresses below 2^52"),
        };
        let window = first_free(room, bridge.bus_offset.into(), (first, last), taken);
        let window = window.ok_or_else(|| {
            let instead = "make BARs smaller or prefetchable with 64 bits, or RAM smaller";
            no_room(room, place, instead).at(bridge.at)
        })?;
        taken.push(seen_by_cpu(window));
        chosen.bases[kind] = window.bus.first().to_u64();
        chosen.windows.push(window);
    }
    Ok(chosen)
}

/// The lowest bus addresses that fit and that the CPU sees where nothing else is.
fn first_free(
    room: &Room,
    bus_offset: i128,
    (first, last): (i128, i128),
    taken: &[(u64, u64)],
) -> Option<HostWindow> {
    let align = i128::from(room.align_bytes);
    let len = i128::from(room.len_bytes);
    let up = |address: i128| (address + align - 1).div_euclid(align) * align;
    let mut bus = up(first.max(-bus_offset));
    loop {
        let (phys, end) = (bus + bus_offset, bus + bus_offset + len - 1);
        if bus + len - 1 > last || end > HIGH_LAST {
            return None;
        }
        let in_the_way = taken
            .iter()
            .find(|(from, to)| i128::from(*from) <= end && phys <= i128::from(*to));
        match in_the_way {
            Some((_, to)) => bus = up(i128::from(*to) + 1 - bus_offset),
            None => {
                let bus_first = u64::try_from(bus).ok()?;
                let bus_last = u64::try_from(bus + len - 1).ok()?;
                return Some(HostWindow {
                    bus: Span::new(BusAddr::from_u64(bus_first), BusAddr::from_u64(bus_last)).ok()?,
                    phys: PhysAddr::from_u64(u64::try_from(phys).ok()?),
                });
            }
        }
    }
}

fn check(
    bridge: &HostBridge,
    index: usize,
    window: HostWindow,
    taken: &[(u64, u64)],
) -> Result<(), MachineError> {
    let conflict = |what: &str, instead: &str| {
        let (what, instead) = (what.into(), instead.into());
        Err(Wrong::Conflict { what, instead }.at(bridge.at))
    };
    let bus = |window: HostWindow| (window.bus.first().to_u64(), window.bus.last().to_u64());
    let move_it = "move its `cpu` address, or shorten it";
    if taken.iter().any(|other| meet(*other, seen_by_cpu(window))) {
        return conflict("a window lies where RAM or another window is", move_it);
    }
    if meet(seen_by_cpu(window), INTERRUPTS) {
        return conflict(
            "a window covers 0xfee00000 to 0xfeefffff, which are interrupts",
            move_it,
        );
    }
    let others = bridge.windows.iter().take(index);
    if others.into_iter().any(|other| meet(bus(*other), bus(window))) {
        return conflict("two windows share bus addresses", "move the `bus` address of one");
    }
    Ok(())
}

fn no_room(room: &Room, place: &'static str, instead: &'static str) -> Wrong {
    Wrong::NoRoom {
        need_bytes: room.len_bytes,
        align_bytes: room.align_bytes,
        place,
        instead,
    }
}

fn seen_by_cpu(window: HostWindow) -> (u64, u64) {
    let first = window.phys.to_u64();
    (first, first.saturating_add(window.bus.len_minus_one()))
}

fn meet(a: (u64, u64), b: (u64, u64)) -> bool {
    a.0 <= b.1 && b.0 <= a.1
}
