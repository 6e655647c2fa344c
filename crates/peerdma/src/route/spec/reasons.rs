//! Why a request does not arrive, and what is missing where nobody can tell.

use crate::pci::AcsFlags;
use core::fmt;

/// Why a request does not arrive, or its completions do not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Refusal {
    /// The initiator may not issue requests: its Bus Master Enable is clear (7.5.1.1.3).
    MasterDisabled,
    /// A port or bridge on the way up may not pass requests upwards: its Bus Master Enable is clear (7.5.1.1.3).
    PortMasterDisabled,
    /// A function that would take the address does not decode memory: its Memory Space Enable is clear
    /// (7.5.1.1.3).
    MemoryDisabled,
    /// The provider has no memory BAR with an address, or not the one that was asked for.
    NoMemory,
    /// No address leads from the initiator's host bridge to the memory: the CPU does not see it.
    NoHostAddress,
    /// This control bit forbids it (6.12.1.1, 6.12.1.2).
    AcsViolation(AcsFlags),
    /// It came up through the port below which its target lies, and upstream forwarding is off.
    NotForwardedUpstream,
    /// Nobody takes the address (2.3.1).
    Unclaimed,
    /// Another function than the provider takes the address.
    WrongFunction,
    /// It carries more payload than its receiver is set to take (2.2.2).
    MalformedTlp,
    /// The IOMMU has no such address for this requester, or does not let it translate by itself (10.1).
    IommuFault,
    /// The root complex does not forward it (1.3.1).
    NotForwarded,
    /// Host memory lies at the address.
    HostMemory,
    /// A write to this address is an interrupt.
    InterruptWindow,
    /// The completion came up through the port below which the requester lies, and upstream forwarding is off: it
    /// is dropped, and the requester waits in vain (2.3.2).
    UnexpectedCompletion,
    /// The root complex does not forward the completion: the requester waits in vain.
    CompletionNotForwarded,
}

impl Refusal {
    /// Its name in output and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MasterDisabled => "master-disabled",
            Self::PortMasterDisabled => "port-master-disabled",
            Self::MemoryDisabled => "memory-disabled",
            Self::NoMemory => "no-memory",
            Self::NoHostAddress => "no-host-address",
            Self::AcsViolation(_) => "acs-violation",
            Self::NotForwardedUpstream => "not-forwarded-upstream",
            Self::Unclaimed => "unclaimed",
            Self::WrongFunction => "wrong-function",
            Self::MalformedTlp => "malformed-tlp",
            Self::IommuFault => "iommu-fault",
            Self::NotForwarded => "not-forwarded",
            Self::HostMemory => "host-memory",
            Self::InterruptWindow => "interrupt-window",
            Self::UnexpectedCompletion => "unexpected-completion",
            Self::CompletionNotForwarded => "completion-not-forwarded",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MasterDisabled => "it may not issue requests (bus master enable is clear)",
            Self::PortMasterDisabled => "it passes no requests upwards (bus master enable is clear)",
            Self::MemoryDisabled => "it answers at no memory address (memory enable is clear)",
            Self::NoMemory => "it has no such memory BAR with an address",
            Self::NoHostAddress => "no address leads from there to the memory",
            Self::AcsViolation(bit) => return write!(f, "ACS forbids it (control bit {bit})"),
            Self::NotForwardedUpstream => {
                "the target lies below the port that the request came through, and upstream forwarding is off"
            }
            Self::Unclaimed => "nobody takes the address",
            Self::WrongFunction => "it takes the address, and is not the provider",
            Self::MalformedTlp => "the packet carries more payload than it is set to take",
            Self::IommuFault => "the IOMMU refuses the address",
            Self::NotForwarded => "the root complex does not forward it",
            Self::HostMemory => "host memory lies at the address",
            Self::InterruptWindow => "a write to this address is an interrupt",
            Self::UnexpectedCompletion => {
                "the requester lies below the port that the completion came through, and upstream forwarding is off"
            }
            Self::CompletionNotForwarded => "the root complex does not forward the completion",
        })
    }
}

/// What is not known, or left open by the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Missing {
    /// Where the function sits.
    Place,
    /// What kind of port it is.
    PortType,
    /// Bus Master Enable.
    BusMaster,
    /// Memory Space Enable (of a virtual function: it is in its physical function's SR-IOV capability).
    MemoryEnable,
    /// This ACS control bit.
    Acs(AcsFlags),
    /// The bit of the egress control vector, or the port number that chooses it.
    EgressVector,
    /// The payload size that it is set to, or that of the sender.
    Payload,
    /// The windows of the bridge.
    Windows,
    /// Its BARs, or their addresses.
    Bars,
    /// What a port or bridge does with a request from below for its own BAR.
    OwnBar,
    /// What a port or bridge does with a request or completion of its own for what lies below it.
    OwnPackets,
    /// Which of two functions takes the address: both say that they do.
    TwoClaims,
    /// Do functions of this device reach each other inside it? The specification leaves that to a device without ACS.
    InsideDevice,
    /// Where the CPU sees the memory.
    HostAddress,
    /// Where host memory lies.
    HostMemory,
    /// The host bridge's windows.
    HostWindows,
    /// What the host bridge adds to addresses from below.
    InboundOffset,
    /// What the root complex forwards.
    Forwarding,
    /// What the IOMMU does.
    IommuMode,
    /// What happens to a translated request where no IOMMU is switched on.
    TranslatedWithoutIommu,
    /// Are translated requests enabled in it?
    Ats,
    /// So many facts are unknown that not all their combinations were tried.
    TooMuch,
}

impl Missing {
    /// Its name in output and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Place => "place",
            Self::PortType => "port-type",
            Self::BusMaster => "bus-master",
            Self::MemoryEnable => "memory-enable",
            Self::Acs(_) => "acs",
            Self::EgressVector => "egress-vector",
            Self::Payload => "payload",
            Self::Windows => "windows",
            Self::Bars => "bars",
            Self::OwnBar => "own-bar",
            Self::OwnPackets => "own-packets",
            Self::TwoClaims => "two-claims",
            Self::InsideDevice => "inside-device",
            Self::HostAddress => "host-address",
            Self::HostMemory => "host-memory",
            Self::HostWindows => "host-windows",
            Self::InboundOffset => "inbound-offset",
            Self::Forwarding => "forwarding",
            Self::IommuMode => "iommu-mode",
            Self::TranslatedWithoutIommu => "translated-without-iommu",
            Self::Ats => "ats",
            Self::TooMuch => "too-much",
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Place => "where it sits",
            Self::PortType => "what kind of port it is",
            Self::BusMaster => "bus master enable",
            Self::MemoryEnable => "memory enable",
            Self::Acs(bit) => return write!(f, "ACS control bit {bit}"),
            Self::EgressVector => "the egress control vector, or the port number that chooses its bit",
            Self::Payload => "the payload size that it, or the sender, is set to",
            Self::Windows => "its windows",
            Self::Bars => "its BARs",
            Self::OwnBar => "what it does with requests from below for its own BAR",
            Self::OwnPackets => "what it does with packets of its own for what lies below it",
            Self::TwoClaims => "who takes the address: two functions say that they do",
            Self::InsideDevice => "whether functions of this device reach each other inside it",
            Self::HostAddress => "where the CPU sees the memory",
            Self::HostMemory => "where host memory lies",
            Self::HostWindows => "the windows of the host bridge",
            Self::InboundOffset => "what the host bridge adds to addresses from below",
            Self::Forwarding => "what the root complex forwards",
            Self::IommuMode => "what the IOMMU does",
            Self::TranslatedWithoutIommu => {
                "what becomes of a translated request where no IOMMU is switched on"
            }
            Self::Ats => "whether translated requests are enabled in it",
            Self::TooMuch => "too many facts to try all their combinations",
        })
    }
}
