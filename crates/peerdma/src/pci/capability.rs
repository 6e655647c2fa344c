//! The two chains of capabilities (PCIe Base 7.5.1.1.11 and 7.6.3).
//!
//! [`Config::parse`](super::Config::parse) asks for the places of the capabilities that it knows; a
//! walk over a chain is bounded whatever its pointers say, with the limits of Linux
//! (drivers/pci/pci.c), and a capability that occurs twice counts where it occurs first.

use super::{ConfigDefect, ConfigView, Extent, Header};
use crate::fact::{Fact, Unread};
use alloc::vec::Vec;

/// Where extended capabilities start.
const CONVENTIONAL_BYTES: u16 = ConfigView::CONVENTIONAL_BYTES as u16;

/// The places of the conventional capabilities `wanted`.
pub(super) fn conventional<const N: usize>(
    view: ConfigView<'_>,
    header: Header,
    wanted: [u16; N],
    defects: &mut Vec<ConfigDefect>,
) -> [Fact<Option<u16>>; N] {
    const STATUS: u16 = 0x06;
    const STATUS_HAS_CAPABILITIES: u16 = 0x10;
    let (Some(status), Some(first)) = (view.u16(STATUS), view.u8(header.capability_pointer())) else {
        return [view.cut(); N];
    };
    if status & STATUS_HAS_CAPABILITIES == 0 {
        return [Fact::Known(None); N];
    }
    Walk::conventional(first).find(view, wanted, defects)
}

/// The extended space of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// It has none.
    None,
    /// It is no PCI Express function: it may have one.
    Conventional,
    /// It is a PCI Express function: it has one, whether it can be read or not.
    Express,
}

/// The places of the extended capabilities `wanted`, in a function with this extended space.
pub(super) fn extended<const N: usize>(
    view: ConfigView<'_>,
    space: Fact<Space>,
    wanted: [u16; N],
    defects: &mut Vec<ConfigDefect>,
) -> [Fact<Option<u16>>; N] {
    let space = match space {
        Fact::Known(space) => space,
        Fact::Unknown(why) => return [Fact::Unknown(why); N],
    };
    match (space, chain(view)) {
        (Space::None, _) | (_, Fact::Known(Start::Empty)) => [Fact::Known(None); N],
        (_, Fact::Known(Start::There)) => Walk::extended().find(view, wanted, defects),
        (Space::Conventional, Fact::Known(Start::OutOfReach)) => [Fact::Known(None); N],
        (Space::Express, Fact::Known(Start::OutOfReach)) => [Fact::Unknown(Unread::OutOfReach); N],
        (_, Fact::Unknown(why)) => [Fact::Unknown(why); N],
    }
}

/// What is found where the extended chain starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    There,
    Empty,
    OutOfReach,
}

/// Is there an extended chain where a function should have one? Not where the first word is 0. Linux does not
/// get there where that word is all ones (nobody forwards the access), and where the extended space repeats
/// the conventional one, as behind bridges that drop the upper address bits (`pci_cfg_space_size_ext`
/// and `pci_ext_cfg_is_aliased`, drivers/pci/probe.c); the function may have a chain all the same.
fn chain(view: ConfigView<'_>) -> Fact<Start> {
    if view.extent() == Extent::Whole && view.len_bytes() <= CONVENTIONAL_BYTES {
        return Fact::Known(Start::OutOfReach);
    }
    match view.u32(CONVENTIONAL_BYTES) {
        Some(0) => return Fact::Known(Start::Empty),
        Some(u32::MAX) => return Fact::Known(Start::OutOfReach),
        _ => {}
    }
    let id = view.u32(0);
    let mut offset = CONVENTIONAL_BYTES;
    while usize::from(offset) < ConfigView::MAX_BYTES {
        match view.u32(offset) {
            None => return view.cut(),
            word if word != id => return Fact::Known(Start::There),
            _ => offset += CONVENTIONAL_BYTES,
        }
    }
    Fact::Known(Start::OutOfReach)
}

/// A walk along one of the chains.
pub(super) struct Walk {
    chain: Chain,
    /// Where the next capability is.
    offset: u16,
    steps_left: u16,
    /// One bit for each offset, all of which are multiples of 4.
    visited: [u64; ConfigView::MAX_BYTES / 4 / 64],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Chain {
    Conventional,
    Extended,
}

/// What a step of a [`Walk`] came to.
pub(super) enum Step {
    /// A capability.
    At {
        /// Its number.
        capability: u16,
        /// Where its header is.
        offset: u16,
    },
    /// The end of the chain.
    End,
    /// The end of the bytes.
    Cut,
    /// An offset where the walk was before.
    Loop {
        /// That offset.
        offset: u16,
    },
}

impl Walk {
    fn conventional(first: u8) -> Self {
        Self::new(Chain::Conventional, u16::from(first), 48)
    }

    /// Along the extended chain.
    pub(super) fn extended() -> Self {
        Self::new(Chain::Extended, CONVENTIONAL_BYTES, 480)
    }

    fn new(chain: Chain, first: u16, most_steps: u16) -> Self {
        Self {
            chain,
            offset: first & !3,
            steps_left: most_steps,
            visited: [0; 16],
        }
    }

    /// The next capability.
    pub(super) fn step(&mut self, view: ConfigView<'_>) -> Step {
        let offset = self.offset;
        if offset < self.chain.lowest_offset() {
            return Step::End;
        }
        if self.steps_left == 0 || !self.visit(offset) {
            return Step::Loop { offset };
        }
        self.steps_left -= 1;
        match self.chain.header(view, offset) {
            None => Step::Cut,
            Some((Chain::NO_CAPABILITY, _)) if self.chain == Chain::Conventional => Step::End,
            Some((capability, next)) => {
                self.offset = next & !3;
                Step::At { capability, offset }
            }
        }
    }

    /// Marks an offset; false where it was marked before.
    fn visit(&mut self, offset: u16) -> bool {
        let Some(word) = self.visited.get_mut(usize::from(offset / 256)) else {
            return false;
        };
        let bit = 1 << (offset / 4 % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn find<const N: usize>(
        mut self,
        view: ConfigView<'_>,
        wanted: [u16; N],
        defects: &mut Vec<ConfigDefect>,
    ) -> [Fact<Option<u16>>; N] {
        let mut places = [None; N];
        let missing = loop {
            match self.step(view) {
                Step::At { capability, offset } => {
                    for (place, wanted) in places.iter_mut().zip(wanted) {
                        if wanted == capability && place.is_none() {
                            *place = Some(offset);
                        }
                    }
                }
                Step::End => break Fact::Known(None),
                Step::Cut => break view.cut(),
                Step::Loop { offset } => {
                    defects.push(ConfigDefect::CapabilityLoop { offset });
                    break Fact::Unknown(Unread::Contradictory);
                }
            }
        };
        places.map(|place| match place {
            Some(offset) => Fact::Known(Some(offset)),
            None => missing,
        })
    }
}

impl Chain {
    /// A conventional capability number that ends the chain: what unconnected bytes read as.
    const NO_CAPABILITY: u16 = 0xff;

    /// A pointer below this is the end of the chain.
    const fn lowest_offset(self) -> u16 {
        match self {
            Chain::Conventional => 0x40,
            Chain::Extended => CONVENTIONAL_BYTES,
        }
    }

    /// Number of the capability at `offset`, and pointer to the next.
    fn header(self, view: ConfigView<'_>, offset: u16) -> Option<(u16, u16)> {
        match self {
            Chain::Conventional => view.u16(offset).map(|word| (word & 0xff, word >> 8)),
            Chain::Extended => view.u32(offset).map(|word| (word as u16, (word >> 20) as u16)),
        }
    }
}
