//! Why no fabric can be built from a blueprint.

use peerdma::addr::Bdf;
use peerdma::fact::Unread;
use peerdma::pci::EmitError;

/// Why no fabric can be built from a blueprint.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A fact about a function is unknown.
    #[error("{function}: {fact} is unknown: {why}; a simulated machine needs it: add it to its description")]
    UnknownFact {
        /// The function.
        function: Bdf,
        /// Which fact.
        fact: &'static str,
        /// Why.
        why: Unread,
    },
    /// A fact about the host is unknown.
    #[error("{fact} is unknown: {why}; a simulated machine needs it: add it to its description")]
    UnknownHostFact {
        /// Which fact.
        fact: &'static str,
        /// Why.
        why: Unread,
    },
    /// No configuration space can be written for a function.
    #[error("{function}: {source}")]
    Config {
        /// The function.
        function: Bdf,
        /// What cannot be written.
        source: EmitError,
    },
    /// A base address register cannot be simulated.
    #[error(
        "{function}: BAR {bar} of {size_bytes:#x} bytes at {address:#x} leaves its address space; give it another place"
    )]
    BarPlace {
        /// The function.
        function: Bdf,
        /// Its number.
        bar: u8,
        /// Its address on the bus.
        address: u64,
        /// Its size.
        size_bytes: u64,
    },
    /// The bridge above a function is not in the description.
    #[error("{function}: the bridge {bridge} above it is missing; describe it, or leave out what is below")]
    MissingBridge {
        /// The function.
        function: Bdf,
        /// The bridge.
        bridge: Bdf,
    },
    /// The function above another is no bridge.
    #[error("{function}: {bridge}, which is said to be above it, is no bridge")]
    NotABridge {
        /// The function.
        function: Bdf,
        /// What is said to be the bridge.
        bridge: Bdf,
    },
    /// Two bridges lead to one bus.
    #[error("{first} and {second} both lead to bus {domain:04x}:{bus:02x}; renumber one of them")]
    SharedBus {
        /// A bridge.
        first: Bdf,
        /// Another.
        second: Bdf,
        /// PCI domain.
        domain: u32,
        /// The bus.
        bus: u8,
    },
    /// The physical function of a virtual one is not in the description.
    #[error(
        "{function}: its physical function {physical} is missing; describe it, or leave out the virtual one"
    )]
    MissingPhysicalFunction {
        /// The virtual function.
        function: Bdf,
        /// Its physical function.
        physical: Bdf,
    },
    /// A function is above itself.
    #[error("{function}: following the bridges above it never reaches a root bus")]
    Loop {
        /// The function.
        function: Bdf,
    },
    /// Too many bridges lie above each other.
    #[error("{function}: more than {most} bridges lie above it")]
    TooDeep {
        /// The function.
        function: Bdf,
        /// How many may.
        most: u32,
    },
    /// Too many functions.
    #[error("{count} functions are more than the {most} that a simulated machine may have")]
    TooManyFunctions {
        /// How many there are.
        count: usize,
        /// How many may be.
        most: usize,
    },
    /// Nobody describes the host bridge of a root bus.
    #[error("{function}: the host bridge of its root bus {domain:04x}:{bus:02x} is not described")]
    NoHostBridge {
        /// A function on it.
        function: Bdf,
        /// PCI domain.
        domain: u32,
        /// The root bus.
        bus: u8,
    },
    /// Two host bridges have one root bus.
    #[error("two host bridges are described for the root bus {domain:04x}:{bus:02x}; leave one out")]
    SharedRoot {
        /// PCI domain.
        domain: u32,
        /// The root bus.
        bus: u8,
    },
    /// A range of the host leaves the address space.
    #[error(
        "a window of the host bridge {domain:04x}:{bus:02x} leaves the address space: its last byte would have no physical address"
    )]
    WindowPlace {
        /// PCI domain.
        domain: u32,
        /// The root bus.
        bus: u8,
    },
}
