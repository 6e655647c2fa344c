//! The PCI Express capability (PCIe Base 7.5.3).

use super::Link;
use crate::fact::Fact;
use core::fmt;

/// The PCI Express capability of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Express {
    /// What kind of device or port it is.
    pub port_type: PortType,
    /// The link; nothing in functions integrated into the root complex.
    pub link: Fact<Option<Link>>,
    /// Sizes of packets.
    pub payload: Fact<Payload>,
}

/// Device/Port Type, 4 bits; unknown values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct PortType(pub u8);

impl PortType {
    /// PCI Express endpoint.
    pub const ENDPOINT: Self = Self(0);
    /// Legacy PCI Express endpoint.
    pub const LEGACY_ENDPOINT: Self = Self(1);
    /// Root port of a root complex.
    pub const ROOT_PORT: Self = Self(4);
    /// Upstream port of a switch.
    pub const UPSTREAM: Self = Self(5);
    /// Downstream port of a switch.
    pub const DOWNSTREAM: Self = Self(6);
    /// PCI Express to PCI or PCI-X bridge.
    pub const TO_CONVENTIONAL: Self = Self(7);
    /// PCI or PCI-X to PCI Express bridge.
    pub const FROM_CONVENTIONAL: Self = Self(8);
    /// Endpoint integrated into the root complex.
    pub const INTEGRATED_ENDPOINT: Self = Self(9);
    /// Event collector of the root complex.
    pub const EVENT_COLLECTOR: Self = Self(10);

    /// Must a link or a switch lie above such a function, so that it cannot sit on a root bus of
    /// a physical machine?
    pub const fn sits_below_a_link(self) -> bool {
        matches!(
            self,
            Self::ENDPOINT
                | Self::LEGACY_ENDPOINT
                | Self::UPSTREAM
                | Self::DOWNSTREAM
                | Self::TO_CONVENTIONAL
        )
    }
}

impl fmt::Display for PortType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::ENDPOINT => "endpoint",
            Self::LEGACY_ENDPOINT => "legacy endpoint",
            Self::ROOT_PORT => "root port",
            Self::UPSTREAM => "switch upstream port",
            Self::DOWNSTREAM => "switch downstream port",
            Self::TO_CONVENTIONAL => "PCIe-to-PCI bridge",
            Self::FROM_CONVENTIONAL => "PCI-to-PCIe bridge",
            Self::INTEGRATED_ENDPOINT => "integrated endpoint",
            Self::EVENT_COLLECTOR => "event collector",
            Self(other) => return write!(f, "port type {other}"),
        })
    }
}

/// The sizes that Device Capabilities and Device Control state, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Payload {
    /// Largest payload that the function can take.
    pub max_supported_bytes: u16,
    /// Largest payload that it is told to use (MPS).
    pub max_payload_bytes: u16,
    /// Largest read that it may request (MRRS).
    pub max_read_request_bytes: u16,
}
