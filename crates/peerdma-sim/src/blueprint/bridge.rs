//! Bus numbers and windows of captured bridges that do not tell them: those that hold what is below.

use super::from_snapshot::Tree;
use super::function::settle;
use peerdma::addr::{Address, BusAddr, Span};
use peerdma::fact::Fact;
use peerdma::pci::{Bridge, BridgeKind, Windows};
use peerdma::snapshot::Function;

const MIB: u64 = 1 << 20;
const FOUR_GIB: u64 = 1 << 32;

/// What lies below a bridge.
#[derive(Debug, Clone, Copy, Default)]
struct Below {
    buses: Option<(u8, u8)>,
    /// Addresses below 4 GiB, and above.
    low: Option<(u64, u64)>,
    high: Option<(u64, u64)>,
}

/// Fills in bridges, from the leaves up: `order` has every function behind the bridge above it.
pub(super) fn fill(functions: &mut [Function], tree: &Tree, order: &[usize], told: &mut [Vec<String>]) {
    let mut below = vec![Below::default(); functions.len()];
    for &index in order.iter().rev() {
        let own = below[index];
        let function = &mut functions[index];
        settle(&mut function.config.bridge, &mut told[index], || {
            bridge(function.bdf.bus(), own)
        });
        if let Fact::Known(Some(bridge)) = &mut function.config.bridge
            && bridge.kind == BridgeKind::Pci
        {
            settle(&mut bridge.windows, &mut told[index], || {
                (windows(own), "windows that hold what is below".into())
            });
        }
        if let Some(above) = tree.above[index] {
            let bus = function.bdf.bus();
            let end = function
                .bridge()
                .map_or(bus, |bridge| bridge.subordinate.max(bus));
            let above = &mut below[above];
            above.buses = Some(
                above
                    .buses
                    .map_or((bus, end), |(first, last)| (first.min(bus), last.max(end))),
            );
            above.low = hull(above.low, own.low);
            above.high = hull(above.high, own.high);
            for span in bars(function) {
                match span.1 < FOUR_GIB {
                    true => above.low = hull(above.low, Some(span)),
                    false => above.high = hull(above.high, Some(span)),
                }
            }
        }
    }
}

fn bridge(primary: u8, below: Below) -> (Option<Bridge>, String) {
    let Some((secondary, subordinate)) = below.buses else {
        return (None, "no bridge".into());
    };
    let bridge = Bridge {
        kind: BridgeKind::Pci,
        primary,
        secondary,
        subordinate,
        windows: Fact::NOT_IN_SOURCE,
    };
    (
        Some(bridge),
        format!("a bridge to buses {secondary:02x} to {subordinate:02x}"),
    )
}

fn windows(below: Below) -> Windows {
    let window = |span: Option<(u64, u64)>| {
        let (first, last) = span?;
        let span = Span::new(
            BusAddr::from_u64(first / MIB * MIB),
            BusAddr::from_u64(last | (MIB - 1)),
        );
        span.ok()
    };
    Windows {
        io: None,
        memory: window(below.low),
        prefetchable: window(below.high),
    }
}

fn hull(a: Option<(u64, u64)>, b: Option<(u64, u64)>) -> Option<(u64, u64)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (one, other) => one.or(other),
    }
}

/// First and last bus address of each memory BAR that has one.
fn bars(function: &Function) -> Vec<(u64, u64)> {
    let (Fact::Known(registers), Fact::Known(resources)) = (&function.config.bars, &function.os.resources)
    else {
        return Vec::new();
    };
    let memory = registers
        .iter()
        .filter(|bar| bar.kind.is_memory() && bar.address.to_u64() != 0);
    memory
        .filter_map(|bar| {
            let resource = resources.iter().find(|resource| resource.index == bar.index)?;
            let first = bar.address.to_u64();
            let last = first.checked_add(resource.size_bytes.known()?.checked_sub(1)?)?;
            Some((first, last))
        })
        .collect()
}
