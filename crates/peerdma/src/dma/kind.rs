//! The five memory kinds.

use crate::route::MapType;
use core::fmt;

/// What a piece of memory is to one initiator, for one direction and class of packets: never a property of the memory alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemoryKind {
    /// Host RAM.
    Ram,
    /// The initiator's own BAR: nothing travels.
    OwnBar,
    /// A peer's BAR, reached below the root complex.
    PeerOnBus,
    /// A peer's BAR, reached through the root complex.
    PeerThroughHostBridge,
    /// Refused.
    Unreachable,
}

impl MemoryKind {
    /// Its name in output: for memory of BARs the map type, in Linux's words and our `OWN_BAR`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ram => "RAM",
            Self::OwnBar => "OWN_BAR",
            Self::PeerOnBus => MapType::BusAddr.name(),
            Self::PeerThroughHostBridge => MapType::ThruHostBridge.name(),
            Self::Unreachable => MapType::NotSupported.name(),
        }
    }

    /// Is it memory behind a BAR?
    pub const fn is_bar(self) -> bool {
        !matches!(self, Self::Ram)
    }
}

impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
