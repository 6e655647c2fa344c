//! The PCI Express capability (PCIe Base 7.5.3).

use super::emit::{Image, at_most, required};
use super::{ConfigDefect, ConfigView, EmitError, Link, LinkState};
use crate::fact::{Fact, Unread};
use alloc::vec::Vec;
use core::fmt;

/// The PCI Express capability of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Express {
    /// What kind of device or port it is.
    pub port_type: PortType,
    /// The link; nothing in functions integrated into the root complex.
    pub link: Fact<Option<Link>>,
    /// Port Number, which egress control vectors go by; nothing in functions without a link.
    #[cfg_attr(feature = "serde", serde(default))]
    pub port_number: Fact<Option<u8>>,
    /// Sizes of packets.
    pub payload: Fact<Payload>,
}

impl Express {
    /// Capability number.
    pub(super) const CAPABILITY: u16 = 0x10;
    const FLAGS: u16 = 0x02;
    const DEVICE_CAPABILITIES: u16 = 0x04;
    const DEVICE_CONTROL: u16 = 0x08;
    const LINK_CAPABILITIES: u16 = 0x0c;
    /// The highest byte of Link Capabilities.
    const PORT_NUMBER: u16 = 0x0f;
    const LINK_STATUS: u16 = 0x12;
    /// Size of the second version of the capability.
    const BYTES: u16 = 0x3c;

    /// The capability at `place`.
    pub(super) fn parse(
        view: ConfigView<'_>,
        place: Fact<Option<u16>>,
        defects: &mut Vec<ConfigDefect>,
    ) -> Fact<Option<Self>> {
        view.within(place, |offset| {
            let port_type = PortType((view.u16(offset + Self::FLAGS)? >> 4 & 0xf) as u8);
            Some(Self {
                port_type,
                link: Self::link(view, offset, port_type),
                port_number: Self::port_number(view, offset, port_type),
                payload: Self::payload(view, offset, defects),
            })
        })
    }

    /// Appends the capability.
    pub(super) fn emit(&self, image: &mut Image) -> Result<(), EmitError> {
        const VERSION: u16 = 2;
        let offset = image.append(Self::CAPABILITY, Self::BYTES);
        let port_type = at_most("the port type", self.port_type.0.into(), 0xf)? as u16;
        image.put_u16(offset + Self::FLAGS, port_type << 4 | VERSION);
        let (capable, control) = required(&self.payload, "the payload sizes")?.to_registers()?;
        image.put_u32(offset + Self::DEVICE_CAPABILITIES, capable);
        image.put_u16(offset + Self::DEVICE_CONTROL, control);
        if let Some(link) = required(&self.link, "the link")? {
            // What could not be read back: a link where there are no registers, or of no lanes.
            if !self.port_type.has_link_registers() || link.max.width == 0 {
                return Err(EmitError::Unwritable {
                    fact: "the width of the link",
                    value: link.max.width.into(),
                });
            }
            image.put_u16(offset + Self::LINK_CAPABILITIES, link.max.to_register()?);
            image.put_u16(offset + Self::LINK_STATUS, link.now.to_register()?);
        }
        const PORT_NUMBER: &str = "the port number";
        if let Some(number) = *required(&self.port_number, PORT_NUMBER)? {
            // What could not be read back: a number where there is no link.
            if !matches!(self.link, Fact::Known(Some(_))) {
                let value = number.into();
                return Err(EmitError::Unwritable {
                    fact: PORT_NUMBER,
                    value,
                });
            }
            image.put_u8(offset + Self::PORT_NUMBER, number);
        } else if let Fact::Known(Some(link)) = self.link {
            let value = link.max.width.into();
            return Err(EmitError::Unwritable {
                fact: PORT_NUMBER,
                value,
            });
        }
        Ok(())
    }

    fn link(view: ConfigView<'_>, offset: u16, port_type: PortType) -> Fact<Option<Link>> {
        if !port_type.has_link_registers() {
            return Fact::Known(None);
        }
        let Some(capable) = view.u32(offset + Self::LINK_CAPABILITIES) else {
            return view.cut();
        };
        let max = LinkState::from_register(capable as u16);
        if max.width == 0 {
            return Fact::Known(None);
        }
        view.fact(view.u16(offset + Self::LINK_STATUS)).map(|status| {
            let now = LinkState::from_register(status);
            Some(Link { max, now })
        })
    }

    /// Known where there is a link, whatever it is trained to.
    fn port_number(view: ConfigView<'_>, offset: u16, port_type: PortType) -> Fact<Option<u8>> {
        if !port_type.has_link_registers() {
            return Fact::Known(None);
        }
        view.fact(view.u32(offset + Self::LINK_CAPABILITIES))
            .map(|capable| {
                let has_link = LinkState::from_register(capable as u16).width != 0;
                has_link.then_some((capable >> 24) as u8)
            })
    }

    fn payload(view: ConfigView<'_>, offset: u16, defects: &mut Vec<ConfigDefect>) -> Fact<Payload> {
        let registers = (
            view.u32(offset + Self::DEVICE_CAPABILITIES),
            view.u16(offset + Self::DEVICE_CONTROL),
        );
        let (Some(capable), Some(control)) = registers else {
            return view.cut();
        };
        match Payload::parse(capable, control) {
            Some(payload) => Fact::Known(payload),
            None => {
                defects.push(ConfigDefect::ReservedValue {
                    offset: offset + Self::DEVICE_CONTROL,
                });
                Fact::Unknown(Unread::Contradictory)
            }
        }
    }
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

    /// Does such a function have registers for a link? One that is integrated into the root complex
    /// has none.
    pub(super) const fn has_link_registers(self) -> bool {
        !matches!(self, Self::INTEGRATED_ENDPOINT | Self::EVENT_COLLECTOR)
    }

    /// Does such a function only exist on root buses?
    pub const fn sits_on_a_root_bus(self) -> bool {
        matches!(
            self,
            Self::ROOT_PORT | Self::INTEGRATED_ENDPOINT | Self::EVENT_COLLECTOR
        )
    }

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

impl Payload {
    /// What Device Capabilities and Device Control code; nothing where one of the codes is reserved.
    fn parse(capable: u32, control: u16) -> Option<Self> {
        Some(Self {
            max_supported_bytes: Self::size_bytes(capable as u16 & 0x7)?,
            max_payload_bytes: Self::size_bytes(control >> 5 & 0x7)?,
            max_read_request_bytes: Self::size_bytes(control >> 12 & 0x7)?,
        })
    }

    /// Codes 0 to 5 are 128 to 4096 bytes; 6 and 7 are reserved.
    fn size_bytes(code: u16) -> Option<u16> {
        (code <= 5).then(|| 128 << code)
    }

    /// Device Capabilities and Device Control.
    fn to_registers(self) -> Result<(u32, u16), EmitError> {
        let capable = Self::code(self.max_supported_bytes)?;
        let payload = Self::code(self.max_payload_bytes)?;
        let request = Self::code(self.max_read_request_bytes)?;
        Ok((capable.into(), payload << 5 | request << 12))
    }

    fn code(bytes: u16) -> Result<u16, EmitError> {
        let code = (0..=5).find(|&code| Self::size_bytes(code) == Some(bytes));
        code.ok_or(EmitError::Unwritable {
            fact: "a payload size",
            value: bytes.into(),
        })
    }
}
