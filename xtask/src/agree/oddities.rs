//! What no firmware would do to a machine, and what a source may not tell: random machines get some of both.
//!
//! [`meddle`] changes facts for both judges: sizes, enables, controls, vectors, port numbers, windows, BARs of bridges.
//! [`forget`] takes facts from the specification's judge alone, which must then be right whatever they are.

use peerdma::addr::{Address, Bdf, BusAddr, PhysAddr, Span};
use peerdma::fact::Fact;
use peerdma::pci::{Acs, AcsFlags, Bar, BarKind, Command, EgressVector, PortType};
use peerdma::snapshot::{Function, Host, Resource, Snapshot};
use peerdma_sim::random::Random;

const MEMORY_ENABLE: u16 = 0x2;
const BUS_MASTER: u16 = 0x4;
const MIB: u64 = 1 << 20;

/// Is every address given out once?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addresses {
    Once,
    Twice,
}

/// Changes facts here and there; most machines stay as firmware made them.
pub(crate) fn meddle(snapshot: &mut Snapshot, random: &mut Random) -> Addresses {
    let percent = random.one_of(&[0, 0, 5, 10, 25]);
    let mut taken: Option<BusAddr> = None;
    let mut addresses = Addresses::Once;
    if random.chance(percent) {
        addresses = Addresses::Twice;
        cover(snapshot, random);
    }
    if random.chance(percent) {
        interrupt(snapshot, random);
    }
    let host = snapshot.host.clone();
    snapshot.edit(|function| {
        if random.chance(percent) {
            enable(function, random);
        }
        if random.chance(percent) {
            size(function, random);
        }
        if random.chance(2 * percent) {
            control(function, random);
        }
        if random.chance(percent) {
            number(function, random);
        }
        if random.chance(percent / 2) {
            close(function, random);
        }
        if random.chance(2 * percent) {
            // Bridges further down keep what this one loses.
            addresses = Addresses::Twice;
            furnish(function, &host, random);
        }
        if random.chance(percent) {
            shrink(function, random);
        }
        if random.chance(percent / 3) {
            addresses = Addresses::Twice;
            place_twice(function, &host, &mut taken);
        }
        if random.chance(percent) && is_conventional_bridge(function) {
            function.config.express = Fact::Known(None);
            function.config.acs = Fact::Known(None);
            function.os.port_type = Fact::Known(None);
            function.os.link = Fact::Known(None);
        }
    });
    addresses
}

/// Makes facts unknown here and there. Where addresses are given out twice, windows and memory stay: that they are not is what the
/// judge takes for granted where it does not know them.
pub(super) fn forget(snapshot: &mut Snapshot, addresses: Addresses, random: &mut Random) {
    // Random machines translate addresses as no x86 host bridge does: who made the processor would mislead.
    snapshot.host.cpu = Fact::NOT_IN_SOURCE;
    let percent = random.one_of(&[0, 0, 0, 2, 5, 20]);
    if percent == 0 {
        return;
    }
    let host = &mut snapshot.host;
    if random.chance(percent) {
        host.iommu = Fact::NOT_IN_SOURCE;
    }
    if random.chance(percent) && addresses == Addresses::Once {
        host.ram = Fact::NOT_IN_SOURCE;
    }
    if let Fact::Known(bridges) = &mut host.bridges {
        for bridge in bridges {
            if random.chance(percent) {
                bridge.forwarding = Fact::NOT_IN_SOURCE;
            }
            if random.chance(percent) {
                bridge.inbound_offset = Fact::NOT_IN_SOURCE;
            }
            if random.chance(percent) && addresses == Addresses::Once {
                bridge.windows = Fact::NOT_IN_SOURCE;
            }
        }
    }
    snapshot.edit(|function| {
        let config = &mut function.config;
        if random.chance(percent) {
            config.command = Fact::NOT_IN_SOURCE;
        }
        if random.chance(percent) {
            config.acs = Fact::NOT_IN_SOURCE;
        }
        if let Fact::Known(Some(acs)) = &mut config.acs
            && acs.egress != Fact::Known(None)
            && random.chance(percent)
        {
            acs.egress = Fact::NOT_IN_SOURCE;
        }
        if random.chance(percent) {
            config.ats = Fact::NOT_IN_SOURCE;
        }
        if let Fact::Known(Some(express)) = &mut config.express {
            if random.chance(percent) {
                express.payload = Fact::NOT_IN_SOURCE;
            }
            if random.chance(percent) {
                express.port_number = Fact::NOT_IN_SOURCE;
            }
        }
        if let Fact::Known(Some(bridge)) = &mut config.bridge
            && random.chance(percent)
            && addresses == Addresses::Once
        {
            bridge.windows = Fact::NOT_IN_SOURCE;
        }
    });
}

/// Puts host memory over the start of a host bridge's window.
fn cover(snapshot: &mut Snapshot, random: &mut Random) {
    let (Fact::Known(bridges), Fact::Known(ram)) = (&snapshot.host.bridges, &mut snapshot.host.ram) else {
        return;
    };
    let windows = bridges
        .iter()
        .filter_map(|bridge| bridge.windows.as_ref().known());
    let firsts: Vec<u64> = windows.flatten().map(|window| window.phys.to_u64()).collect();
    if firsts.is_empty() {
        return;
    }
    let first = random.one_of(&firsts);
    let last = PhysAddr::from_u64(first.saturating_add(64 * MIB - 1));
    ram.extend(Span::new(PhysAddr::from_u64(first), last));
}

/// Makes a host bridge take the address of a BAR for that of an interrupt.
fn interrupt(snapshot: &mut Snapshot, random: &mut Random) {
    const INTERRUPTS: u64 = 0xfee0_0000;
    let bars = snapshot
        .functions()
        .iter()
        .filter_map(|function| function.config.bars.as_ref().known());
    let bars: Vec<u64> = bars
        .flatten()
        .map(|bar| bar.address.to_u64())
        .filter(|&bar| bar != 0)
        .collect();
    let Fact::Known(bridges) = &mut snapshot.host.bridges else {
        return;
    };
    if bars.is_empty() || bridges.is_empty() {
        return;
    }
    let at = random.number() % bridges.len() as u64;
    if let Some(bridge) = bridges.get_mut(at as usize) {
        let offset = INTERRUPTS.wrapping_sub(random.one_of(&bars)) as i64;
        bridge.inbound_offset = Fact::Known(offset);
    }
}

fn enable(function: &mut Function, random: &mut Random) {
    if let Fact::Known(Command(command)) = &mut function.config.command {
        *command ^= random.one_of(&[MEMORY_ENABLE, BUS_MASTER]);
    }
}

fn size(function: &mut Function, random: &mut Random) {
    if let Fact::Known(Some(express)) = &mut function.config.express
        && let Fact::Known(payload) = &mut express.payload
    {
        payload.max_supported_bytes = 4096;
        payload.max_payload_bytes = random.one_of(&[128, 256, 512, 1024, 4096]);
        payload.max_read_request_bytes = random.one_of(&[128, 256, 512, 4096]);
    }
}

/// Another vector of any length, other bits, or none of it.
fn control(function: &mut Function, random: &mut Random) {
    let Fact::Known(Some(acs)) = &mut function.config.acs else {
        return;
    };
    if random.chance(10) {
        function.config.acs = Fact::Known(None);
        return;
    }
    let bits = random.number() & random.number() & 0x7f | u64::from(random.chance(50)) << 5;
    let mut vector = None;
    if random.chance(70) {
        acs.capable = AcsFlags::from_register(0x7f);
        let bits = random.one_of(&[1, 2, 3, 8, 33, 200, 255, EgressVector::MOST_BITS]);
        vector = EgressVector::new(bits).map(|vector| {
            let forbidden = (0..=u8::MAX).filter(|_| random.chance(40));
            forbidden.fold(vector, EgressVector::forbidding)
        });
    } else {
        // All but egress control.
        acs.capable = AcsFlags::from_register((random.number() & 0x5f) as u16);
    }
    *acs = Acs {
        control: AcsFlags::from_register(bits as u16),
        egress: Fact::Known(vector),
        ..*acs
    };
}

fn number(function: &mut Function, random: &mut Random) {
    if let Fact::Known(Some(express)) = &mut function.config.express
        && let Fact::Known(Some(number)) = &mut express.port_number
    {
        *number = random.one_of(&[0, 1, 2, 3, 32, 40, 199, 254, 255]);
    }
}

fn close(function: &mut Function, random: &mut Random) {
    if let Fact::Known(Some(bridge)) = &mut function.config.bridge
        && let Fact::Known(windows) = &mut bridge.windows
    {
        match random.chance(50) {
            true => windows.memory = None,
            false => windows.prefetchable = None,
        }
    }
}

/// Gives a bridge a BAR, in what was the end of its own window.
fn furnish(function: &mut Function, host: &Host, random: &mut Random) {
    let Fact::Known(Some(bridge)) = &mut function.config.bridge else {
        return;
    };
    let Fact::Known(windows) = &mut bridge.windows else {
        return;
    };
    let Fact::Known(bars) = &mut function.config.bars else {
        return;
    };
    let window = match windows.prefetchable.is_some() {
        true => &mut windows.prefetchable,
        false => &mut windows.memory,
    };
    let Some(span) = *window else {
        return;
    };
    if span.len_minus_one() < 2 * MIB || !bars.is_empty() {
        return;
    }
    let address = BusAddr::from_u64(span.last().to_u64() + 1 - MIB);
    let last = BusAddr::from_u64(address.to_u64() - 1);
    let size_bytes = random.one_of(&[4096, 1 << 16, MIB]);
    let Some(seen) = seen_at(host, function.bdf, address, size_bytes) else {
        return;
    };
    *window = Span::new(span.first(), last).ok();
    bars.push(Bar {
        index: 0,
        kind: BarKind::Memory64,
        prefetchable: false,
        address,
    });
    let resource = Resource {
        index: 0,
        kind: BarKind::Memory64,
        prefetchable: false,
        span: Fact::Known(seen),
        size_bytes: Fact::Known(size_bytes),
    };
    if let Fact::Known(resources) = &mut function.os.resources {
        resources.push(resource);
    }
}

/// Where the CPU sees an address.
fn seen_at(host: &Host, bdf: Bdf, address: BusAddr, size_bytes: u64) -> Option<Span<PhysAddr>> {
    let bridges = host.bridges.as_ref().known()?.iter();
    let mut windows = bridges
        .filter(|bridge| bridge.domain == bdf.domain())
        .filter_map(|bridge| bridge.windows.as_ref().known())
        .flatten();
    let first = windows.find_map(|window| window.phys_address(address))?;
    let last = PhysAddr::from_u64(first.to_u64().checked_add(size_bytes - 1)?);
    Span::new(first, last).ok()
}

/// Leaves BARs smaller than a packet may be.
fn shrink(function: &mut Function, random: &mut Random) {
    let Fact::Known(resources) = &mut function.os.resources else {
        return;
    };
    function.config.rebar = Fact::Known(Vec::new());
    for resource in resources.iter_mut().filter(|resource| resource.kind.is_memory()) {
        let size_bytes = random.one_of(&[16, 64, 128, 256, 512, 1024]);
        if let Fact::Known(span) = resource.span {
            let last = PhysAddr::from_u64(span.first().to_u64() + (size_bytes - 1));
            resource.span = Span::new(span.first(), last).map_or(Fact::NOT_IN_SOURCE, Fact::Known);
        }
        resource.size_bytes = Fact::Known(size_bytes);
    }
}

/// Puts a BAR of one function where that of another is.
fn place_twice(function: &mut Function, host: &Host, taken: &mut Option<BusAddr>) {
    let (Fact::Known(bars), Fact::Known(resources)) = (&mut function.config.bars, &mut function.os.resources)
    else {
        return;
    };
    let Some(bar) = bars.iter_mut().find(|bar| bar.kind == BarKind::Memory64) else {
        return;
    };
    let Some(address) = *taken else {
        *taken = Some(bar.address);
        return;
    };
    let Some(resource) = resources.iter_mut().find(|resource| resource.index == bar.index) else {
        return;
    };
    if let Fact::Known(size_bytes) = resource.size_bytes
        && let Some(seen) = seen_at(host, function.bdf, address, size_bytes)
    {
        bar.address = address;
        resource.span = Fact::Known(seen);
    }
}

fn is_conventional_bridge(function: &Function) -> bool {
    matches!(function.port_type(), Fact::Known(Some(PortType::TO_CONVENTIONAL)))
}
