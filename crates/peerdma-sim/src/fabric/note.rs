//! What was decided on the way of a TLP, by whom, by which rule: the lines of a trace.

use super::iommu::FaultReason;
use super::route::Where;
use peerdma::addr::Bdf;
use peerdma::snapshot::Forwarding;
use std::fmt;

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Note {
    /// Who decided.
    pub at: Where,
    /// The address of that function.
    pub bdf: Option<Bdf>,
    /// What, and by which rule.
    pub decision: Decision,
}

/// What was decided, and by which rule (chapters of PCIe Base).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decision {
    /// Bus-master enable is clear: nothing is sent (7.5.1.1.3).
    MasterDisabled,
    /// The function is not there, or a link above it is down.
    SenderGone,
    /// The link is down.
    LinkDown,
    /// The function that was to take it is not there any more.
    ReceiverGone,
    /// The payload is larger than MPS: malformed (2.2.2).
    TooLarge {
        /// Its payload.
        payload_bytes: u32,
        /// What the receiver takes.
        most_bytes: u32,
    },
    /// Source validation (V): the requester's bus is none of those below the port (6.12.1.1).
    ForgedSource {
        /// Who it claims to be from.
        requester: Bdf,
        /// The first bus below.
        secondary: u8,
        /// The last.
        subordinate: u8,
    },
    /// Translation blocking (B): no translated request may enter (6.12.1.1).
    TranslatedBlocked,
    /// Bus-master enable of a bridge is clear: it forwards no request upstream (7.5.1.1.3).
    ForwardsNothingUp,
    /// The target lies below the port that it came in through, and upstream forwarding (U) is set (6.12.1.1).
    ForwardedUp,
    /// The target lies below the port that it came in through, and upstream forwarding (U) is clear.
    NotForwardedUp,
    /// Nobody beside the port has the address: on upstream.
    GoesUp,
    /// It turns around here: nothing redirects it.
    TurnsAround {
        /// Where it goes.
        to: Bdf,
    },
    /// Direct translated (T): a translated request turns around whatever R and E say (6.12.3).
    DirectTranslated {
        /// Where it goes.
        to: Bdf,
    },
    /// Egress control (E): the bit of the target is clear, so it turns around (6.12.1.1).
    EgressAllowed {
        /// Where it goes.
        to: Bdf,
        /// The number of the bit.
        number: Option<u8>,
    },
    /// Egress control (E): the bit of the target is set, and so is request redirect (R): upstream.
    EgressRedirected {
        /// Where it wanted to go.
        to: Bdf,
        /// The number of the bit.
        number: Option<u8>,
    },
    /// Egress control (E): the bit of the target is set, request redirect (R) is clear: a violation.
    EgressForbidden {
        /// Where it wanted to go.
        to: Bdf,
        /// The number of the bit.
        number: Option<u8>,
    },
    /// Request redirect (R): upstream instead of around (6.12.1.1).
    RequestRedirected {
        /// Where it wanted to go.
        to: Bdf,
    },
    /// Completion redirect (C), ordering strict: upstream instead of around (6.12.1.1).
    CompletionRedirected {
        /// Where it wanted to go.
        to: Bdf,
    },
    /// A function of the same device takes it inside the device.
    StaysInDevice {
        /// Which.
        to: Bdf,
    },
    /// The device has no ACS, and sends requests for its own functions out on the link: the machine says so.
    LeavesDevice {
        /// For whom it is.
        to: Bdf,
    },
    /// A bridge from a conventional bus sends it on under a requester ID of its own.
    Alias {
        /// The new ID.
        requester: Bdf,
    },
    /// A write to the interrupt window of the processor.
    Interrupt,
    /// The IOMMU translates.
    Translated {
        /// The address that came.
        iova: u64,
        /// What it leads to.
        phys: u64,
    },
    /// The address is physical but for the inbound offset.
    Physical {
        /// The physical address.
        phys: u64,
    },
    /// The IOMMU passes an address that was translated before (ATS).
    PassedTranslated {
        /// The physical address.
        phys: u64,
    },
    /// The IOMMU refuses.
    Fault {
        /// Why.
        why: FaultReason,
        /// The address.
        iova: u64,
    },
    /// There is no IOMMU that could pass a translated address.
    TranslatedWithoutIommu,
    /// With its inbound offset the address leaves the address space.
    LeavesAddressSpace,
    /// Host RAM.
    Ram {
        /// Where.
        phys: u64,
    },
    /// No RAM and no host bridge has the physical address.
    NobodyAtPhysical {
        /// The address.
        phys: u64,
    },
    /// A host bridge has it.
    HostWindow {
        /// The physical address.
        phys: u64,
        /// The address on the bus.
        bus_address: u64,
        /// PCI domain of the host bridge.
        domain: u32,
        /// Its root bus.
        bus: u8,
    },
    /// The root complex forwards from device to device.
    Forwarded {
        /// By which policy.
        policy: Forwarding,
    },
    /// The root complex does not forward from device to device.
    NotForwarded {
        /// By which policy.
        policy: Forwarding,
    },
    /// It takes it down: the address lies in its window.
    TakesDown,
    /// It takes it down: the requester's bus is one of those below it.
    TakesCompletionDown {
        /// The bus.
        bus: u8,
    },
    /// A BAR takes it.
    Takes {
        /// Number of the BAR.
        bar: u8,
        /// Bytes from its start.
        offset: u64,
    },
    /// Nobody takes the address (2.3.1).
    NobodyClaims {
        /// The address.
        address: u64,
    },
    /// The address lies in the windows of the switch, and no port of it claims it.
    NobodyInSwitch {
        /// The address.
        address: u64,
    },
    /// Nobody waits for the completion here (2.3.2).
    Unexpected {
        /// Whom it is for.
        requester: Bdf,
    },
    /// The completion goes back the way that the root complex sent the request.
    GoesBack,
    /// The requester has its completion.
    Arrived,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.at, self.bdf) {
            (Where::Function(_), Some(bdf)) => write!(f, "{bdf}: ")?,
            (Where::Function(function), None) => write!(f, "function {}: ", function.index())?,
            (Where::HostBridge { domain, bus }, _) => write!(f, "host bridge {domain:04x}:{bus:02x}: ")?,
            (Where::Iommu, _) => f.write_str("IOMMU: ")?,
            (Where::Nowhere, _) => {}
        }
        self.decision.fmt(f)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MasterDisabled => f.write_str("bus-master enable is clear, it sends nothing"),
            Self::SenderGone => f.write_str("it is gone, or a link above it is down"),
            Self::LinkDown => f.write_str("the link below is down"),
            Self::ReceiverGone => f.write_str("it is gone"),
            Self::TooLarge {
                payload_bytes,
                most_bytes,
            } => write!(
                f,
                "{payload_bytes} bytes of payload are more than its MPS of {most_bytes}: malformed, dropped"
            ),
            Self::ForgedSource {
                requester,
                secondary,
                subordinate,
            } => write!(
                f,
                "ACS V: {requester} is on none of the buses {secondary:02x}-{subordinate:02x} below: violation"
            ),
            Self::TranslatedBlocked => f.write_str("ACS B: a translated request may not enter: violation"),
            Self::ForwardsNothingUp => {
                f.write_str("bus-master enable is clear, it forwards no request upstream: unsupported")
            }
            Self::ForwardedUp => f.write_str("ACS U: the target lies below this very port: on upstream"),
            Self::NotForwardedUp => {
                f.write_str("the target lies below this very port, and ACS U is clear: refused")
            }
            Self::GoesUp => f.write_str("nobody beside it is the target: on upstream"),
            Self::TurnsAround { to } => write!(f, "turns around to {to}"),
            Self::DirectTranslated { to } => write!(f, "ACS T: translated, turns around to {to}"),
            Self::EgressAllowed { to, number } => {
                write!(f, "ACS E: ")?;
                bit(f, number)?;
                write!(f, " is clear, turns around to {to}")
            }
            Self::EgressRedirected { to, number } => {
                write!(f, "ACS E: ")?;
                bit(f, number)?;
                write!(f, " is set, and so is R: not to {to} but upstream")
            }
            Self::EgressForbidden { to, number } => {
                write!(f, "ACS E: ")?;
                bit(f, number)?;
                write!(f, " is set, R is clear: nothing may go to {to}: violation")
            }
            Self::RequestRedirected { to } => write!(f, "ACS R: not to {to} but upstream"),
            Self::CompletionRedirected { to } => write!(f, "ACS C: not to {to} but upstream"),
            Self::StaysInDevice { to } => write!(f, "{to} of the same device takes it inside"),
            Self::LeavesDevice { to } => write!(f, "for {to} of the same device, and yet out on the link"),
            Self::Alias { requester } => write!(f, "sends it on as {requester}"),
            Self::Interrupt => f.write_str("an interrupt, not a write to memory"),
            Self::Translated { iova, phys } => write!(f, "{iova:#x} is {phys:#x}"),
            Self::Physical { phys } => write!(f, "untranslated, physical address {phys:#x}"),
            Self::PassedTranslated { phys } => write!(f, "translated before, physical address {phys:#x}"),
            Self::Fault { why, iova } => write!(f, "refuses {iova:#x}: {why}"),
            Self::TranslatedWithoutIommu => f.write_str("a translated request, and no IOMMU: unsupported"),
            Self::LeavesAddressSpace => {
                f.write_str("with the inbound offset the address leaves the address space: unsupported")
            }
            Self::Ram { phys } => write!(f, "RAM at {phys:#x}"),
            Self::NobodyAtPhysical { phys } => {
                write!(
                    f,
                    "neither RAM nor a host bridge's window holds {phys:#x}: unsupported"
                )
            }
            Self::HostWindow {
                phys,
                bus_address,
                domain,
                bus,
            } => write!(
                f,
                "{phys:#x} is {bus_address:#x} below the host bridge {domain:04x}:{bus:02x}"
            ),
            Self::Forwarded { policy } => write!(f, "forwards between devices: policy {policy}"),
            Self::NotForwarded { policy } => {
                write!(f, "does not forward it between devices: policy {policy}")
            }
            Self::TakesDown => f.write_str("its window holds the address: down"),
            Self::TakesCompletionDown { bus } => write!(f, "bus {bus:02x} is below it: down"),
            Self::Takes { bar, offset } => write!(f, "BAR {bar} takes it at {offset:#x}"),
            Self::NobodyClaims { address } => write!(f, "nobody here claims {address:#x}: unsupported"),
            Self::NobodyInSwitch { address } => write!(
                f,
                "{address:#x} lies in the windows of the switch, and no port of it claims it: unsupported"
            ),
            Self::Unexpected { requester } => {
                write!(f, "nothing here waits for a completion for {requester}: dropped")
            }
            Self::GoesBack => f.write_str("sends the completion back the way of its request"),
            Self::Arrived => f.write_str("has its completion"),
        }
    }
}

fn bit(f: &mut fmt::Formatter<'_>, number: Option<u8>) -> fmt::Result {
    match number {
        Some(number) => write!(f, "bit {number}"),
        None => f.write_str("the bit of a target without a number"),
    }
}
