//! Configuration space: bytes in, meaning out, and back.
//!
//! [`ConfigView`] is a window on bytes that may end early; [`Config`] is what they mean, each piece
//! a [`Fact`](crate::fact::Fact). [`Config::parse`] never panics and never loops, whatever the bytes;
//! [`Config::emit`] writes a configuration space that parses to the same meaning. One file holds one
//! structure of the specification.

mod acs;
mod ats;
mod bar;
mod bridge;
mod capability;
mod config;
mod defect;
mod egress;
mod emit;
mod express;
mod footprint;
mod header;
mod id;
mod link;
mod rebar;
mod serial;
mod sriov;
mod view;

pub use acs::{Acs, AcsFlags};
pub use ats::Ats;
pub use bar::{Bar, BarKind};
pub use bridge::{Bridge, BridgeKind, Windows};
pub use config::Config;
pub use defect::ConfigDefect;
pub use egress::EgressVector;
pub use emit::EmitError;
pub use express::{Express, Payload, PortType};
pub use footprint::fetch_needed;
use header::Header;
pub use id::{ClassCode, Command, Id};
pub use link::{Link, LinkRate, LinkState};
pub use rebar::Rebar;
pub use sriov::Sriov;
pub use view::{ConfigView, Extent};

#[cfg(test)]
mod judge;
#[cfg(test)]
mod strategy;
#[cfg(test)]
mod tests;
