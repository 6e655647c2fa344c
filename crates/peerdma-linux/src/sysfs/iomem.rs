//! `/proc/iomem`: where host bridges have their windows, and where RAM lies.
//!
//! Called by [`super::read`], once functions and processor are known. One line each resource, two blanks of indentation a level
//! (`r_show` in kernel/resource.c): `80000000-febfffff : PCI Bus 0000:00`. A line is named after the bus that the
//! range leads to, so that those of root buses are the windows of host bridges, and those of other buses
//! the windows of the bridges above them. Whoever lacks CAP_SYS_ADMIN reads the names with zeros for addresses.
//!
//! What the file does not tell is what devices see. On x86 the two are the same: the kernel gives no PCI device there an
//! offset (`dma_range_map` in struct device is filled from device-tree `dma-ranges` and ACPI `_DMA` of other
//! architectures), and firmware describes no translated windows. Elsewhere the BARs tell: what their registers differ
//! by from the places that the kernel gave them.

use super::number;
use super::place::Place;
use crate::tree::{Gap, Tree};
use peerdma::addr::{Address, BusAddr, PhysAddr, Span};
use peerdma::fact::{Fact, Unread};
use peerdma::snapshot::{Cpu, Function, Host, HostBridge, HostWindow, Warnings};
use std::collections::{BTreeMap, BTreeSet};

/// How much of the file is read at most: forty thousand resources.
pub(crate) const MOST_BYTES: usize = 4 << 20;

/// Domains from here on are made up by drivers (Intel VMD), whose addresses may differ on any machine.
const FIRST_MADE_UP_DOMAIN: u32 = 0x1_0000;

const WHERE: &str = "proc/iomem";

/// Fills in host bridges and RAM, as far as the file tells.
pub(super) fn fill<T: Tree>(
    tree: &T,
    place: &Place<T::Folder>,
    functions: &[Function],
    host: &mut Host,
    warnings: &mut Warnings,
) {
    let text = match &place.proc {
        Some(proc) => tree.read_whole(proc, b"iomem", MOST_BYTES),
        None => Err(Gap::Missing),
    };
    let resources = match text.map_err(Gap::unread).and_then(|text| parse(&text)) {
        Ok(resources) => resources,
        Err(why) => {
            if why == Unread::Contradictory {
                warnings.push(
                    WHERE,
                    "not of the known form; windows of host bridges and RAM are unknown",
                );
            }
            (host.ram, host.bridges) = (Fact::Unknown(why), Fact::Unknown(why));
            return;
        }
    };
    host.ram = Fact::Known(resources.ram);
    let is_x86 = host.cpu.as_ref().known().is_some_and(Cpu::is_x86);
    let offsets = Offsets::new(match is_x86 && functions.iter().all(is_of_hardware) {
        true => &[],
        false => functions,
    });
    let bridges = root_buses(functions).into_iter().map(|(domain, bus)| {
        let is_unchanged = is_x86 && domain < FIRST_MADE_UP_DOMAIN;
        let spans = resources.buses.get(&(domain, bus));
        let windows: Fact<Vec<HostWindow>> = match spans {
            // `pci=nocrs`, or a host bridge whose resources are named otherwise.
            None => Fact::NOT_IN_SOURCE,
            Some(spans) => shifted(spans, |span| match is_unchanged {
                true => Fact::Known(0),
                false => offsets.of(span, domain),
            }),
        };
        if windows == Fact::Unknown(Unread::Contradictory) {
            let at = format_args!("host bridge {domain:04x}:{bus:02x}");
            warnings.push(
                at,
                "BARs in one of its windows tell different offsets; its windows are unknown",
            );
        }
        HostBridge {
            domain,
            bus,
            windows,
            inbound_offset: match is_unchanged {
                true => Fact::Known(0),
                false => Fact::NOT_IN_SOURCE,
            },
            forwarding: Fact::NOT_IN_SOURCE,
        }
    });
    host.bridges = Fact::Known(bridges.collect());
}

fn is_of_hardware(function: &Function) -> bool {
    function.bdf.domain() < FIRST_MADE_UP_DOMAIN
}

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Resources {
    ram: Vec<Span<PhysAddr>>,
    /// Ranges by the bus that they lead to; none lies in another of the same bus.
    buses: BTreeMap<(u32, u8), Vec<Span<PhysAddr>>>,
}

fn parse(text: &[u8]) -> Result<Resources, Unread> {
    // More than is taken in: the last line may be cut, and what follows is missing.
    if text.len() >= MOST_BYTES {
        return Err(Unread::Contradictory);
    }
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let lines = text.get(..end).unwrap_or_default().split(|byte| *byte == b'\n');
    let mut resources = Resources::default();
    let (mut is_empty, mut is_hidden) = (true, true);
    for line in lines.map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        let (span, name) = resource(line).ok_or(Unread::Contradictory)?;
        is_empty = false;
        is_hidden &= span.last().to_u64() == 0;
        // "System RAM (kmem)" and the like are RAM that came later.
        if name.starts_with(b"System RAM") {
            resources.ram.push(span);
        } else if let Some(bus) = name.strip_prefix(b"PCI Bus ").and_then(bus) {
            let there = resources.buses.entry(bus).or_default();
            // What lies in a range comes directly after it.
            let outer = there.last();
            if !outer.is_some_and(|outer| outer.contains(span.first()) && outer.contains(span.last())) {
                there.push(span);
            }
        }
    }
    match (is_empty, is_hidden) {
        // Archivers take files of `proc` for empty.
        (true, _) => Err(Unread::NotInSource),
        (false, true) => Err(Unread::AccessDenied),
        (false, false) => Ok(resources),
    }
}

/// `80000000-febfffff : PCI Bus 0000:00`
fn resource(line: &[u8]) -> Option<(Span<PhysAddr>, &[u8])> {
    let at = line.windows(3).position(|three| three == b" : ")?;
    let (range, name) = (line.get(..at)?, line.get(at + 3..)?);
    let dash = range.iter().position(|byte| *byte == b'-')?;
    let first = digits(range.get(..dash)?)?;
    let last = digits(range.get(dash + 1..)?)?;
    let span = Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).ok()?;
    Some((span, name))
}

fn digits(text: &[u8]) -> Option<u64> {
    number::hexadecimal(&[b"0x", text].concat())
}

/// `0000:00`; a domain may have more than four digits.
fn bus(name: &[u8]) -> Option<(u32, u8)> {
    let colon = name.iter().position(|byte| *byte == b':')?;
    let domain = u32::try_from(digits(name.get(..colon)?)?).ok()?;
    let bus = u8::try_from(digits(name.get(colon + 1..)?)?).ok()?;
    Some((domain, bus))
}

/// The buses to which no bridge leads.
fn root_buses(functions: &[Function]) -> BTreeSet<(u32, u8)> {
    let below: BTreeSet<(u32, u8)> = functions
        .iter()
        .filter_map(|function| Some((function.bdf.domain(), function.bridge()?)))
        .flat_map(|(domain, bridge)| (bridge.secondary..=bridge.subordinate).map(move |bus| (domain, bus)))
        .collect();
    let is_on_root = |function: &&Function| match function.upstream {
        Fact::Known(upstream) => upstream.is_none(),
        Fact::Unknown(_) => !below.contains(&(function.bdf.domain(), function.bdf.bus())),
    };
    let on_root = functions.iter().filter(is_on_root);
    on_root
        .map(|function| (function.bdf.domain(), function.bdf.bus()))
        .collect()
}

/// The windows, each moved by its offset.
fn shifted(spans: &[Span<PhysAddr>], offset: impl Fn(Span<PhysAddr>) -> Fact<u64>) -> Fact<Vec<HostWindow>> {
    let mut windows = Vec::with_capacity(spans.len());
    for &span in spans {
        let offset = match offset(span) {
            Fact::Known(offset) => offset,
            Fact::Unknown(why) => return Fact::Unknown(why),
        };
        let bus = |address: PhysAddr| BusAddr::from_u64(address.to_u64().wrapping_sub(offset));
        match Span::new(bus(span.first()), bus(span.last())) {
            Ok(bus) => windows.push(HostWindow {
                bus,
                phys: span.first(),
            }),
            Err(_) => return Fact::Unknown(Unread::Contradictory),
        }
    }
    Fact::Known(windows)
}

/// What the BARs of a machine tell: by how much the CPU sees them elsewhere than their bus does.
struct Offsets {
    /// Domain and place of a BAR, its offset, and where the next one with another offset stands; sorted.
    bars: Vec<(u32, u64, u64, usize)>,
}

impl Offsets {
    fn new(functions: &[Function]) -> Self {
        let mut bars = Vec::new();
        for function in functions {
            let domain = function.bdf.domain();
            for bar in function.bars().known().unwrap_or_default() {
                if let (Fact::Known(seen), Fact::Known(on_bus)) = (bar.phys, bar.bus_address)
                    && bar.kind.is_memory()
                    && on_bus.to_u64() != 0
                {
                    let seen = seen.first().to_u64();
                    bars.push((domain, seen, seen.wrapping_sub(on_bus.to_u64()), 0));
                }
            }
        }
        bars.sort_unstable();
        let mut next = (bars.len(), None);
        for (index, bar) in bars.iter_mut().enumerate().rev() {
            if next.1.is_some_and(|offset| offset != bar.2) {
                next.0 = index + 1;
            }
            next.1 = Some(bar.2);
            bar.3 = next.0;
        }
        Self { bars }
    }

    /// What all BARs in a window tell; unknown where it holds none.
    fn of(&self, window: Span<PhysAddr>, domain: u32) -> Fact<u64> {
        let (first, last) = (window.first().to_u64(), window.last().to_u64());
        let start = self.bars.partition_point(|bar| (bar.0, bar.1) < (domain, first));
        let is_inside = |index: usize| {
            let bar = self.bars.get(index);
            bar.filter(|bar| bar.0 == domain && bar.1 <= last)
        };
        match is_inside(start) {
            None => Fact::NOT_IN_SOURCE,
            Some(bar) if is_inside(bar.3).is_none() => Fact::Known(bar.2),
            Some(_) => Fact::Unknown(Unread::Contradictory),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerdma::addr::Bdf;
    use peerdma::pci::{Bar, BarKind};
    use peerdma::snapshot::Resource;

    const TEXT: &str = "00001000-0009fbff : System RAM\n000a0000-000bffff : PCI Bus 0000:00\n\
        00100000-3fffffff : System RAM\n  01000000-01ffffff : Kernel code\n\
        c0000000-faffffff : PCI Bus 0000:00\n  f9000000-faffffff : PCI Bus 0000:01\n    f9000000-f9ffffff : 0000:01:00.0\n\
        fb000000-fbffffff : PCI Bus 0000:40\n  fb000000-fb0fffff : PCI Bus 0000:40\n\
        100000000-8ffffffff : PCI Bus 0000:00\n1000000000-10ffffffff : System RAM (kmem)\n";

    fn span(first: u64, last: u64) -> Span<PhysAddr> {
        Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).unwrap()
    }

    #[test]
    fn windows_are_told_by_their_bus_and_ram_by_its_name() {
        let read = parse(TEXT.as_bytes()).unwrap();
        let ram = [
            span(0x1000, 0x9fbff),
            span(0x10_0000, 0x3fff_ffff),
            span(0x10_0000_0000, 0x10_ffff_ffff),
        ];
        assert_eq!(read.ram, ram);
        let of_0 = [
            span(0xa_0000, 0xb_ffff),
            span(0xc000_0000, 0xfaff_ffff),
            span(0x1_0000_0000, 0x8_ffff_ffff),
        ];
        assert_eq!(read.buses[&(0, 0)], of_0);
        assert_eq!(read.buses[&(0, 0x40)], [span(0xfb00_0000, 0xfbff_ffff)]);
        assert_eq!(read.buses[&(0, 1)].len(), 1);
    }

    #[test]
    fn zeros_for_addresses_are_a_missing_privilege_and_anything_else_is_no_memory_map() {
        let hidden = "00000000-00000000 : System RAM\n  00000000-00000000 : PCI Bus 0000:00\n";
        assert_eq!(parse(hidden.as_bytes()), Err(Unread::AccessDenied));
        assert_eq!(parse(b""), Err(Unread::NotInSource));
        assert_eq!(parse(b"\0\0\n"), Err(Unread::NotInSource));
        for text in [
            "PCI Bus 0000:00",
            "2-1 : System RAM",
            "1-2 System RAM",
            "1-g : System RAM",
            "-1 : x",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(Unread::Contradictory), "{text}");
        }
    }

    #[test]
    fn offsets_are_those_of_the_bars_in_a_window_or_unknown() {
        let bars = [
            (0x8000_0000, 0x4000_0000),
            (0x8100_0000, 0x4100_0000),
            (0x9000_0000, 0x9000_0000),
        ];
        let mut function = Function::new(Bdf::from_devfn(0, 0, 8));
        function.os.resources = Fact::Known(
            bars.iter()
                .enumerate()
                .map(|(index, (phys, _))| Resource {
                    index: index as u8,
                    kind: BarKind::Memory32,
                    prefetchable: false,
                    span: Fact::Known(span(*phys, phys + 0xfff)),
                    size_bytes: Fact::Known(0x1000),
                })
                .collect(),
        );
        let register = |(index, (_, bus)): (usize, &(u64, u64))| Bar {
            index: index as u8,
            kind: BarKind::Memory32,
            prefetchable: false,
            address: BusAddr::from_u64(*bus),
        };
        function.config.bars = Fact::Known(bars.iter().enumerate().map(register).collect());
        let offsets = Offsets::new(&[function]);
        assert_eq!(
            offsets.of(span(0x8000_0000, 0x8fff_ffff), 0),
            Fact::Known(0x4000_0000)
        );
        assert_eq!(offsets.of(span(0x9000_0000, 0x9fff_ffff), 0), Fact::Known(0));
        assert_eq!(
            offsets.of(span(0x8100_0000, 0x9fff_ffff), 0),
            Fact::Unknown(Unread::Contradictory)
        );
        assert_eq!(offsets.of(span(0x8000_0000, 0x8fff_ffff), 1), Fact::NOT_IN_SOURCE);
        assert_eq!(offsets.of(span(0xa000_0000, 0xafff_ffff), 0), Fact::NOT_IN_SOURCE);
    }
}
