//! The plan of a copy.

use super::{Cost, Layout, Reason, Rejected};
use crate::addr::Bdf;
use crate::dma::{MemoryKind, Refused};
use crate::route::spec::Form;
use crate::route::{Access, MapType};
use alloc::vec::Vec;
use core::fmt;

/// Who moves what through whose memory, how arrival is proven, and why not in another way.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyPlan {
    /// The way.
    pub method: Method,
    /// The source's device puts the data into the slots, and the destination's device takes it from there.
    pub crossings: [Crossing; 2],
    /// Where the slots lie.
    pub layout: Layout,
    /// What it costs.
    pub cost: Cost,
    /// All other ways, and why not.
    pub rejected: Vec<Rejected>,
}

/// Through whose memory the data goes, and who moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// The source's device writes it into the destination's memory: nothing but writes travels.
    Store,
    /// The destination's device reads it from the source's memory.
    Load,
    /// Both ends are the same device, and the data never leaves it.
    Internal,
    /// The source's device writes it into the memory of a third, and the destination's reads it there.
    ThirdParty(Bdf),
    /// Through RAM.
    ViaRam,
}

/// Whose memory the data passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Only that of the two ends.
    Direct,
    /// That of a third device.
    ThirdParty,
    /// RAM.
    ViaRam,
}

/// One device's access to the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crossing {
    /// Who reads or writes them.
    pub initiator: Bdf,
    /// Whose memory they are; nothing for RAM.
    pub provider: Option<Bdf>,
    /// What is done.
    pub operation: Access,
    /// How they are reached.
    pub reach: Reach,
    /// What shows that it has happened.
    pub proof: Proof,
    /// The refusal that was overridden, if one was.
    pub forced: Option<Refused>,
}

/// How an initiator reaches the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// They are its own: nothing travels.
    Own,
    /// They are in RAM.
    Ram,
    /// They are a peer's.
    Peer {
        /// The BAR they lie in.
        bar: u8,
        /// How it is reached.
        map_type: MapType,
        /// Which address its requests carry.
        form: Form,
    },
}

/// What shows that data has arrived where it was sent (invariant 8: a completion alone does not).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Data and completion entry take one path, or the data none: the entry is behind the data.
    DeviceOrder,
    /// It was read: what the read brought back is the data.
    ReadReturned,
    /// The completion entry is written to the same memory as the data, behind it, and the CPU sees it there.
    SamePathCompletion,
    /// Nothing, before the whole destination is read back: the entry lies in RAM, and the data goes to a peer. Taken only where whoever asks
    /// reads back ([`Arrival::ReadBack`](super::Arrival::ReadBack)).
    ReadBack,
}

impl CopyPlan {
    /// Whose memory the data passes.
    pub fn kind(&self) -> Kind {
        self.method.kind()
    }

    /// What shows that the data is there when the destination takes it.
    pub fn arrival(&self) -> Proof {
        match self.method {
            Method::Load => Proof::ReadReturned,
            Method::Store | Method::ThirdParty(_) => self.crossings[0].proof,
            Method::Internal | Method::ViaRam => Proof::DeviceOrder,
        }
    }

    /// Was a refusal overridden?
    pub fn is_forced(&self) -> bool {
        self.crossings.iter().any(|crossing| crossing.forced.is_some())
    }

    /// Why not in this way, where it was not taken.
    pub fn reason(&self, method: Method) -> Option<&Reason> {
        let mut rejected = self.rejected.iter();
        rejected
            .find(|rejected| rejected.method == method)
            .map(|rejected| &rejected.why)
    }
}

impl Method {
    /// Whose memory the data passes.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Store | Self::Load | Self::Internal => Kind::Direct,
            Self::ThirdParty(_) => Kind::ThirdParty,
            Self::ViaRam => Kind::ViaRam,
        }
    }

    /// Its name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Load => "load",
            Self::Internal => "internal",
            Self::ThirdParty(_) => "third-party",
            Self::ViaRam => "via-ram",
        }
    }
}

impl Kind {
    /// Its name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::ThirdParty => "third-party",
            Self::ViaRam => "via-ram",
        }
    }
}

impl Proof {
    /// Its name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DeviceOrder => "device-order",
            Self::ReadReturned => "read-returned",
            Self::SamePathCompletion => "same-path-completion",
            Self::ReadBack => "read-back",
        }
    }
}

impl Reach {
    /// The kind of memory that the slots are to the initiator.
    pub const fn memory_kind(self) -> MemoryKind {
        match self {
            Self::Own => MemoryKind::OwnBar,
            Self::Ram => MemoryKind::Ram,
            Self::Peer { map_type, .. } => match map_type {
                MapType::BusAddr => MemoryKind::PeerOnBus,
                MapType::ThruHostBridge => MemoryKind::PeerThroughHostBridge,
                MapType::NotSupported => MemoryKind::Unreachable,
            },
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThirdParty(provider) => write!(f, "third-party by {provider}"),
            _ => f.pad(self.name()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.memory_kind().name())
    }
}

impl fmt::Display for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let does = match self.operation {
            Access::Read => "reads",
            Access::Write => "writes",
        };
        write!(f, "{} {does} ", self.initiator)?;
        match (self.reach, self.provider) {
            (Reach::Own, _) => f.write_str("its own memory")?,
            (_, Some(provider)) => write!(f, "the memory of {provider} ({})", self.reach)?,
            (_, None) => f.write_str("RAM")?,
        }
        match self.forced {
            Some(refused) => write!(f, ", though refused ({refused})"),
            None => Ok(()),
        }
    }
}
