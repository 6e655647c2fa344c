//! What is asked, and what becomes of a request.

use super::{Missing, Refusal};
use crate::addr::Bdf;
use crate::pci::AcsFlags;
use crate::route::{Access, TlpClass};
use crate::topology::NodeId;
use alloc::vec::Vec;
use core::fmt;

/// One request: whose memory, by whom, in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Whose memory it is.
    pub provider: NodeId,
    /// Who reads or writes it.
    pub client: NodeId,
    /// Number of the BAR; `None` for the largest that decodes memory and has an address.
    pub bar: Option<u8>,
    /// What is done.
    pub access: Access,
    /// The kind of packets.
    pub class: TlpClass,
    /// Which address the request carries. A translated request always carries the bus address.
    pub form: Form,
}

/// The two addresses by which a device can be told to reach the same byte of a BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Form {
    /// The value in the BAR's register: a switch can recognise it.
    BusAddress,
    /// What the host's own memory would be named by: where the IOMMU translates, an address that it maps to the
    /// BAR (and that lies in no bridge's window); otherwise the physical address as the initiator's host bridge
    /// expects it.
    HostAddress,
}

impl Form {
    /// Its name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BusAddress => "bus-address",
            Self::HostAddress => "host-address",
        }
    }
}

/// What becomes of a request, and of the completions that it causes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Fate {
    /// How it ends.
    pub outcome: Outcome,
    /// Where it is refused, and unknown facts decide for which reason: the further refusals that are possible.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub other_refusals: Vec<Outcome>,
    /// Every function that the request passes, in order, with what it does. Where the outcome is unknown, the way
    /// with the unknown facts taken as they would least get in the way.
    pub request: Vec<Step>,
    /// The same for the completions of a read.
    pub completion: Vec<Step>,
}

impl Fate {
    /// What is said without a walk.
    pub(super) const fn without_way(outcome: Outcome) -> Self {
        Self {
            outcome,
            other_refusals: Vec::new(),
            request: Vec::new(),
            completion: Vec::new(),
        }
    }

    /// The same way with another end.
    pub(super) fn unknown(mut self, at: Bdf, missing: Missing) -> Self {
        self.outcome = Outcome::Unknown { at, missing };
        self.other_refusals.clear();
        self
    }
}

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Outcome {
    /// The function asks for its own memory: nothing travels.
    SameFunction,
    /// It arrives, and so do the completions of a read.
    Delivered {
        /// The way of the request.
        request: Way,
        /// The way of the completions; that of the request for a write, which has none.
        completion: Way,
    },
    /// It does not arrive, or the completions do not come back.
    Refused {
        /// The function that stops it; at the root complex, the one through which it came in.
        at: Bdf,
        /// Why.
        why: Refusal,
    },
    /// That depends on a fact that is not known, or that the specification leaves open.
    Unknown {
        /// The function whose fact it is.
        at: Bdf,
        /// The fact.
        missing: Missing,
    },
}

/// Does a packet pass the root complex?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Way {
    /// It turns around below it.
    Direct,
    /// It goes up to the root complex, and down again.
    ThroughRootComplex,
}

impl Way {
    /// Its name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::ThroughRootComplex => "through-root-complex",
        }
    }
}

/// One function on the way of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Step {
    /// The function.
    pub at: Bdf,
    /// What it does.
    pub deed: Deed,
}

/// What a function does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Deed {
    /// It issues it.
    Issues,
    /// It takes it from below and passes it on: upwards, or to the one that comes next.
    PassesUp,
    /// The same, although the target lies below it: upstream forwarding is on.
    ForwardsUpstream,
    /// A bridge from a conventional bus: it passes it on as its own.
    PassesUpAsItsOwn,
    /// The packet could turn around here; this control bit sends it up instead.
    Redirects(AcsFlags),
    /// It hands it to the root complex.
    EntersRootComplex,
    /// It passes it downwards.
    PassesDown,
    /// The packet has arrived.
    Receives,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Issues => "issues it",
            Self::PassesUp => "takes it from below",
            Self::ForwardsUpstream => {
                "sends it on upwards, although the target lies below (upstream forwarding)"
            }
            Self::PassesUpAsItsOwn => "passes it up as its own",
            Self::Redirects(bit) => return write!(f, "sends it up instead of across (control bit {bit})"),
            Self::EntersRootComplex => "hands it to the root complex",
            Self::PassesDown => "passes it down",
            Self::Receives => "receives it",
        })
    }
}
