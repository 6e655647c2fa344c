//! One PCI function, as a source told it.

use super::Os;
use crate::addr::Bdf;
use crate::fact::{Fact, Unread};
use crate::pci::{Bridge, ClassCode, Config, Id, Link, PortType};
use alloc::vec::Vec;

/// One PCI function: what its configuration space means, and what the operating system adds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Function {
    /// Where it sits.
    pub bdf: Bdf,
    /// The bridge directly above, `None` on a root bus; unknown where the source leaves it to the bus
    /// numbers of bridges (a virtual function has the bridge of its physical function).
    #[cfg_attr(feature = "serde", serde(default))]
    pub upstream: Fact<Option<Bdf>>,
    /// What its configuration space means.
    #[cfg_attr(feature = "serde", serde(default))]
    pub config: Config,
    /// What the operating system says beside it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub os: Os,
    /// The bytes of its configuration space, where the reader was told to keep them.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none", with = "super::hex_bytes")
    )]
    pub raw_config: Option<Vec<u8>>,
}

impl Function {
    /// A function of which nothing but its address is known yet.
    pub fn new(bdf: Bdf) -> Self {
        Self::unknown(bdf, Unread::NotInSource)
    }

    /// A function of which nothing but its address is known, for this reason.
    pub fn unknown(bdf: Bdf, why: Unread) -> Self {
        Self {
            bdf,
            upstream: Fact::Unknown(why),
            config: Config::unknown(why),
            os: Os::unknown(why),
            raw_config: None,
        }
    }

    /// Vendor and device.
    pub fn id(&self) -> Option<Id> {
        self.config.id.known()
    }

    /// Class code.
    pub fn class(&self) -> Option<ClassCode> {
        self.config.class.known()
    }

    /// Bus numbers and windows, where it is known to be a bridge.
    pub fn bridge(&self) -> Option<&Bridge> {
        match &self.config.bridge {
            Fact::Known(bridge) => bridge.as_ref(),
            Fact::Unknown(_) => None,
        }
    }

    /// Device/Port Type; `None` in a conventional function.
    pub fn port_type(&self) -> Fact<Option<PortType>> {
        self.config
            .express
            .map(|express| express.map(|express| express.port_type))
            .or(self.os.port_type)
    }

    /// The link above it (below it, for a port that faces down).
    pub fn link(&self) -> Fact<Option<Link>> {
        let from_config = match self.config.express {
            Fact::Known(Some(express)) => express.link,
            Fact::Known(None) => Fact::Known(None),
            Fact::Unknown(why) => Fact::Unknown(why),
        };
        from_config.or(self.os.link)
    }

    /// Removes what identifies this one piece of hardware: the serial number, also from the raw
    /// bytes.
    pub fn blank_serial_number(&mut self) {
        if self.config.serial_number != Fact::Known(None) {
            self.config.serial_number = Fact::Unknown(Unread::Blanked);
        }
        if let Some(raw) = &mut self.raw_config {
            Config::blank_serial_number(raw);
        }
    }

    /// Forgets all that was read, since the source contradicts itself about this function.
    pub fn contradict(&mut self) {
        *self = Self::unknown(self.bdf, Unread::Contradictory);
    }
}
