//! What becomes of a TLP: the way it takes, and where that ends.

use super::note::Note;
use super::{FunctionId, LinkId};
use crate::tlp::Failure;
use peerdma::addr::Bdf;

/// The way of one TLP, and of all that follow it to the next bytes.
///
/// One value is used again and again: its vectors keep what they have allocated.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// What it crosses, in the order of travel.
    pub legs: Vec<Leg>,
    /// Where it ends.
    pub end: End,
    /// For how many bytes from its address on legs, end and effects are the same, the end moving on with the address:
    /// at least 1. Said of a request; a completion's goes on for ever.
    pub holds_bytes: u64,
    /// The requester ID as it arrived at the end: that of the function, or the alias of a bridge.
    pub requester: Bdf,
    /// The function that sent the request; nothing for the processor, and before anything was routed.
    pub initiator: Option<FunctionId>,
    /// One for each decision, where [`Explain::Notes`] was asked for.
    pub notes: Vec<Note>,
    pub(super) explain: Explain,
}

/// Are notes taken?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Explain {
    /// None.
    #[default]
    Nothing,
    /// One for each decision.
    Notes,
}

impl Route {
    /// A route to be filled.
    pub fn new(explain: Explain) -> Self {
        Self {
            legs: Vec::with_capacity(16),
            end: End::Requester,
            holds_bytes: 1,
            requester: Bdf::from_devfn(0, 0, 0),
            initiator: None,
            notes: Vec::new(),
            explain,
        }
    }

    /// It ends so.
    #[inline]
    pub(super) fn ends(&mut self, end: End) -> Ended {
        self.end = end;
        Ended
    }

    /// Did it lead through the root complex?
    pub fn crosses_root_complex(&self) -> bool {
        self.legs.contains(&Leg::RootComplex)
    }
}

impl Default for Route {
    fn default() -> Self {
        Self::new(Explain::Nothing)
    }
}

/// A walk has come to its end, which the route says: handing that down from call to call would cost more than the walk.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub(super) struct Ended;

/// One step of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Leg {
    /// A link.
    Link {
        /// Which.
        link: LinkId,
        /// Which way.
        direction: Direction,
    },
    /// The inside of a switch.
    Switch {
        /// The switch's upstream port, which names it.
        upstream_port: FunctionId,
    },
    /// The root complex.
    RootComplex,
    /// A conventional bus.
    ConventionalBus {
        /// The bridge above it.
        bridge: FunctionId,
    },
}

/// Away from the root complex, or to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// To the root complex.
    Up,
    /// Away from it.
    Down,
}

/// Where a TLP ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// A function takes the request.
    Function {
        /// Which.
        function: FunctionId,
        /// In which of its BARs.
        bar: u8,
        /// Bytes from the start of the BAR.
        offset: u64,
    },
    /// Host RAM takes it.
    Ram {
        /// Where.
        phys: u64,
    },
    /// It is no write to memory but an interrupt (x86: 0xfee0_0000 to 0xfeef_ffff).
    Interrupt,
    /// A completion has arrived at the requester.
    Requester,
    /// It gets nowhere.
    Lost(Loss),
}

/// A TLP that gets nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Loss {
    /// Who gave up on it.
    pub at: Where,
    /// Why.
    pub why: Why,
    /// What it was.
    pub packet: Packet,
}

/// What a lost TLP was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packet {
    /// A memory request.
    Request,
    /// A completion.
    Completion,
}

/// Who gave up on a TLP, or decided about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Where {
    /// A function.
    Function(FunctionId),
    /// The root complex, at the host bridge of this root bus.
    HostBridge {
        /// PCI domain.
        domain: u32,
        /// Root bus.
        bus: u8,
    },
    /// The IOMMU.
    Iommu,
    /// Nobody: the request comes from a function that is not part of the machine.
    Nowhere,
}

/// Why a TLP gets nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// Bus-master enable of the initiator is clear: nothing was sent.
    MasterDisabled,
    /// No function of the machine has the requester ID.
    NoSuchRequester,
    /// A port's access control services forbid it.
    AcsViolation,
    /// Nobody takes the address, or a bridge may not forward it.
    UnsupportedRequest,
    /// Its payload is larger than what the receiver is set to take.
    MalformedTlp,
    /// A completion that nobody waits for where it came.
    UnexpectedCompletion,
    /// The IOMMU has no translation for it, or not with these rights.
    IommuFault,
    /// The root complex does not forward it from device to device.
    NotForwarded,
    /// A link on its way is down, or a function is gone.
    LinkDown,
    /// The completer refused (recorded by the machine).
    CompleterAbort,
    /// No completion came in time (recorded by the machine).
    CompletionTimeout,
    /// The data is marked as bad (recorded by the machine).
    Poisoned,
}

impl Loss {
    /// What the requester of a read learns. The requester of a write learns nothing, except
    /// [`Failure::MasterDisabled`].
    pub fn seen_by_reader(&self) -> Failure {
        match (self.packet, self.why) {
            (_, Why::MasterDisabled | Why::NoSuchRequester) => Failure::MasterDisabled,
            (_, Why::Poisoned) => Failure::Poisoned,
            (Packet::Completion, _) => Failure::CompletionTimeout,
            (_, Why::AcsViolation | Why::CompleterAbort) => Failure::CompleterAbort,
            (_, Why::UnsupportedRequest | Why::IommuFault | Why::NotForwarded) => Failure::UnsupportedRequest,
            (_, Why::MalformedTlp | Why::UnexpectedCompletion | Why::LinkDown | Why::CompletionTimeout) => {
                Failure::CompletionTimeout
            }
        }
    }
}

impl Loss {
    /// Who answers a read request that was given up so: who gave up on it.
    pub(crate) fn completer(&self) -> Completer {
        match self.at {
            Where::Function(function) => Completer::Function(function),
            Where::HostBridge { .. } | Where::Iommu | Where::Nowhere => Completer::RootComplex,
        }
    }
}

/// Who sends a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Completer {
    /// A function.
    Function(FunctionId),
    /// The root complex, for RAM.
    RootComplex,
}
