//! The BARs of a function: what the registers, the operating system and the Resizable BAR capability say
//! of them, put together.

use super::Function;
use crate::addr::{BusAddr, PhysAddr, Span};
use crate::fact::Fact;
use crate::pci::BarKind;
use alloc::vec::Vec;

/// All that is known of one BAR: the register, the placement, and the sizes it could have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BarFacts {
    /// Number of the (first) register, 0 to 5.
    pub index: u8,
    /// Which space it decodes, and how wide it is.
    pub kind: BarKind,
    /// Is the memory free of side effects on reading?
    pub prefetchable: bool,
    /// Its address on the bus.
    pub bus_address: Fact<BusAddr>,
    /// Where the CPU sees it.
    pub phys: Fact<Span<PhysAddr>>,
    /// Its size, in bytes.
    pub size_bytes: Fact<u64>,
    /// The sizes it could have, in bytes, ascending; empty where it is not resizable.
    pub possible_bytes: Fact<Vec<u64>>,
}

impl Function {
    /// Its BARs, from registers and placement together, ordered by index.
    pub fn bars(&self) -> Fact<Vec<BarFacts>> {
        let mut bars: Vec<BarFacts> = Vec::new();
        if let Fact::Known(resources) = &self.os.resources {
            bars.extend(resources.iter().map(|resource| BarFacts {
                index: resource.index,
                kind: resource.kind,
                prefetchable: resource.prefetchable,
                bus_address: Fact::NOT_IN_SOURCE,
                phys: resource.span,
                size_bytes: resource.size_bytes,
                possible_bytes: Fact::NOT_IN_SOURCE,
            }));
        }
        match (&self.config.bars, &self.os.resources) {
            (Fact::Unknown(why), Fact::Unknown(_)) => return Fact::Unknown(*why),
            (Fact::Unknown(_), Fact::Known(_)) => {}
            (Fact::Known(registers), _) => {
                for register in registers {
                    match bars.iter_mut().find(|bar| bar.index == register.index) {
                        Some(bar) => bar.bus_address = Fact::Known(register.address),
                        None => bars.push(BarFacts {
                            index: register.index,
                            kind: register.kind,
                            prefetchable: register.prefetchable,
                            bus_address: Fact::Known(register.address),
                            phys: Fact::NOT_IN_SOURCE,
                            size_bytes: Fact::NOT_IN_SOURCE,
                            possible_bytes: Fact::NOT_IN_SOURCE,
                        }),
                    }
                }
            }
        }
        bars.sort_by_key(|bar| bar.index);
        for bar in &mut bars {
            match &self.config.rebar {
                Fact::Unknown(why) => bar.possible_bytes = Fact::Unknown(*why),
                Fact::Known(list) => {
                    let rebar = list.iter().find(|rebar| rebar.bar == bar.index);
                    let possible = rebar.map(|rebar| rebar.possible_bytes().collect());
                    bar.possible_bytes = Fact::Known(possible.unwrap_or_default());
                    if let Some(bytes) = rebar.and_then(|rebar| rebar.current_bytes()) {
                        bar.size_bytes = bar.size_bytes.or(Fact::Known(bytes));
                    }
                }
            }
        }
        Fact::Known(bars)
    }
}
