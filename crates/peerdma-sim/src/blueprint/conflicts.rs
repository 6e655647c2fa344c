//! Parts of a machine that claim the same addresses: a captured machine keeps them, and each is told of with who answers.
//!
//! [`super::from_snapshot`] asks once everything is filled in. Machine files are refused for the same (`crate::firmware`).

use peerdma::addr::{Address, PhysAddr, Span};
use peerdma::fact::Fact;
use peerdma::snapshot::{Function, Host, HostBridge, Warnings};

/// Addresses from the first to the last, and whose they are.
struct Claim<T> {
    first: u64,
    last: u64,
    by: T,
}

/// Warns of all addresses that RAM, windows and BARs claim twice.
pub(super) fn warn(host: &Host, functions: &[Function], warnings: &mut Warnings) {
    let ram = host.ram.as_ref().known().map_or(&[][..], Vec::as_slice);
    let bridges = host.bridges.as_ref().known().map_or(&[][..], Vec::as_slice);
    between_ram_and_windows(ram, bridges, warnings);
    for bridge in bridges {
        on_the_bus(bridge, warnings);
    }
    below_ram(ram, functions, warnings);
}

/// As the CPU sees them.
fn between_ram_and_windows(ram: &[Span<PhysAddr>], bridges: &[HostBridge], warnings: &mut Warnings) {
    let ranges = ram.iter().map(|span| Claim {
        first: span.first().to_u64(),
        last: span.last().to_u64(),
        by: None,
    });
    let windows = bridges.iter().flat_map(|bridge| {
        let windows = bridge.windows.as_ref().known().map_or(&[][..], Vec::as_slice);
        windows.iter().map(move |window| Claim {
            first: window.phys.to_u64(),
            last: window.phys.to_u64().saturating_add(window.bus.len_minus_one()),
            by: Some(bridge),
        })
    });
    for (before, behind, first, last) in overlaps(ranges.chain(windows).collect()) {
        let what = match (before, behind) {
            (None, None) => {
                format!("two ranges of its RAM hold {first:#x} to {last:#x}; they are one memory there")
            }
            (Some(bridge), None) | (None, Some(bridge)) => format!(
                "its RAM and a window of {} both claim {first:#x} to {last:#x}; RAM answers there, no device",
                name(bridge)
            ),
            (Some(one), Some(other)) if std::ptr::eq(one, other) => format!(
                "two windows of {} claim the physical addresses {first:#x} to {last:#x}; the first of them has them",
                name(one)
            ),
            (Some(one), Some(other)) => format!(
                "windows of {} and {} claim the physical addresses {first:#x} to {last:#x}; the one of the lower domain and \
                 bus has them",
                name(one),
                name(other)
            ),
        };
        warnings.push("the machine", what);
    }
}

/// As devices see the windows of one host bridge.
fn on_the_bus(bridge: &HostBridge, warnings: &mut Warnings) {
    let Fact::Known(windows) = &bridge.windows else {
        return;
    };
    let windows = windows.iter().map(|window| Claim {
        first: window.bus.first().to_u64(),
        last: window.bus.last().to_u64(),
        by: (),
    });
    for ((), (), first, last) in overlaps(windows.collect()) {
        warnings.push(
            name(bridge),
            format_args!(
                "two of its windows hold the bus addresses {first:#x} to {last:#x}; the first of them tells where the CPU \
                 sees those"
            ),
        );
    }
}

/// BARs that nobody reaches by a physical address, since RAM answers there.
fn below_ram(ram: &[Span<PhysAddr>], functions: &[Function], warnings: &mut Warnings) {
    let mut ram: Vec<(u64, u64)> = ram
        .iter()
        .map(|span| (span.first().to_u64(), span.last().to_u64()))
        .collect();
    ram.sort_unstable();
    // Ranges within others say nothing more; the rest ends in the order in which it begins.
    let mut end = None;
    ram.retain(|(_, last)| {
        let reaches_further = end.is_none_or(|end| *last > end);
        end = end.max(Some(*last));
        reaches_further
    });
    for function in functions {
        let Fact::Known(resources) = &function.os.resources else {
            continue;
        };
        for resource in resources.iter().filter(|resource| resource.kind.is_memory()) {
            let Fact::Known(span) = resource.span else {
                continue;
            };
            let (first, last) = (span.first().to_u64(), span.last().to_u64());
            let after = ram.partition_point(|(_, ram_last)| *ram_last < first);
            if let Some((ram_first, ram_last)) = ram.get(after).filter(|(ram_first, _)| *ram_first <= last) {
                warnings.push(
                    function.bdf,
                    format_args!(
                        "its BAR {} and RAM both claim the physical addresses {:#x} to {:#x}; RAM answers there",
                        resource.index,
                        first.max(*ram_first),
                        last.min(*ram_last)
                    ),
                );
            }
        }
    }
}

/// For every claim that meets one that starts before it: who has it before, who too, and what both claim. Of several
/// before it, it is the one that reaches furthest.
fn overlaps<T: Copy>(mut claims: Vec<Claim<T>>) -> Vec<(T, T, u64, u64)> {
    claims.sort_by_key(|claim| claim.first);
    let mut found = Vec::new();
    let mut furthest: Option<Claim<T>> = None;
    for claim in claims {
        if let Some(before) = furthest.as_ref().filter(|before| claim.first <= before.last) {
            found.push((before.by, claim.by, claim.first, claim.last.min(before.last)));
        }
        if furthest.as_ref().is_none_or(|before| claim.last > before.last) {
            furthest = Some(claim);
        }
    }
    found
}

fn name(bridge: &HostBridge) -> String {
    format!("host bridge {:04x}:{:02x}", bridge.domain, bridge.bus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprint::Blueprint;
    use peerdma::addr::BusAddr;
    use peerdma::snapshot::HostWindow;

    /// What is said of a machine with these changes to its host.
    fn told(change: impl FnOnce(&mut Host, &mut Vec<HostWindow>)) -> Vec<String> {
        let file =
            "[[bridge]]\nport = { device = { kind = \"card\", bar = { size = \"1 MiB\", bits = 32 } } }";
        let mut snapshot = crate::file::load(file).unwrap().snapshot;
        let Fact::Known(mut bridges) = snapshot.host.bridges.clone() else {
            panic!()
        };
        let mut windows = std::mem::take(&mut bridges[0].windows).known().unwrap();
        change(&mut snapshot.host, &mut windows);
        bridges[0].windows = Fact::Known(windows);
        snapshot.host.bridges = Fact::Known(bridges);
        let (_, warnings) = Blueprint::from_snapshot(&snapshot).unwrap();
        warnings.list().iter().map(ToString::to_string).collect()
    }

    fn ram(first: u64, last: u64) -> Span<PhysAddr> {
        Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).unwrap()
    }

    #[test]
    fn what_no_machine_can_have_is_left_out_and_the_rest_is_switched_on() {
        let mut snapshot = crate::file::load("[[bridge]]\nport = {}").unwrap().snapshot;
        let Fact::Known(bridges) = &mut snapshot.host.bridges else {
            panic!()
        };
        let bus = Span::new(BusAddr::from_u64(0), BusAddr::from_u64(u64::MAX)).unwrap();
        let phys = PhysAddr::from_u64(4096);
        bridges[0].windows = Fact::Known(vec![HostWindow { bus, phys }]);
        let twice = bridges[0].clone();
        bridges.push(twice);
        let (blueprint, warnings) = Blueprint::from_snapshot(&snapshot).unwrap();
        let told: Vec<_> = warnings.list().iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].contains("leaves the physical address space") && !told[0].contains("0xffff"),
            "{told:?}"
        );
        assert!(
            told[1].contains("host bridge 0000:00: it is described twice"),
            "{told:?}"
        );
        assert!(crate::fabric::Fabric::new(&blueprint).is_ok());
        let (again, warnings) = Blueprint::from_snapshot(&blueprint.snapshot).unwrap();
        assert_eq!((again.snapshot, warnings.list().len()), (blueprint.snapshot, 0));
    }

    #[test]
    fn what_is_claimed_twice_is_told_with_who_answers() {
        let before = told(|_, _| {});
        let has = |told: Vec<String>, parts: &[&str]| {
            let new: Vec<_> = told.iter().filter(|one| !before.contains(one)).collect();
            assert_eq!(new.len(), parts.len(), "{new:?}");
            for part in parts {
                assert!(new.iter().any(|one| one.contains(part)), "{part}: {new:?}");
            }
        };
        has(
            told(|host, _| host.ram = Fact::Known(vec![ram(0, 0x8000_0fff)])),
            &[
                "the machine: its RAM and a window of host bridge 0000:00 both claim 0x80000000 to 0x80000fff; RAM answers",
                "0000:01:00.0: its BAR 0 and RAM both claim the physical addresses 0x80000000 to 0x80000fff; RAM answers",
            ],
        );
        has(
            told(|host, _| {
                host.ram = Fact::Known(vec![ram(0, 0xffff), ram(0x8000, 0x8fff), ram(0x10000, 0x1ffff)])
            }),
            &["two ranges of its RAM hold 0x8000 to 0x8fff"],
        );
        has(
            told(|_, windows| windows.push(windows[0])),
            &[
                "two windows of host bridge 0000:00 claim the physical addresses 0x80000000 to 0x800fffff; the first",
                "host bridge 0000:00: two of its windows hold the bus addresses 0x80000000 to 0x800fffff",
            ],
        );
        has(
            told(|_, windows| {
                let bus = Span::new(BusAddr::from_u64(1 << 40), BusAddr::from_u64(1 << 41)).unwrap();
                let phys = windows[0].phys;
                windows.push(HostWindow { bus, phys });
            }),
            &[
                "two windows of host bridge 0000:00 claim the physical",
                "its RAM and a window of host bridge 0000:00 both claim 0x100000000 to 0x17fffffff",
            ],
        );
    }
}
