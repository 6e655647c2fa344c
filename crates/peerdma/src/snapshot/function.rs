//! One PCI function, as a source told it.

use crate::addr::{Bdf, BusAddr, PhysAddr, Span};
use crate::fact::{Fact, Unread};
use crate::pci::{BarKind, Bridge, ClassCode, Config, Id, Link, PortType};
use alloc::string::String;
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
        serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "super::function::hex_bytes"
        )
    )]
    pub raw_config: Option<Vec<u8>>,
}

/// What the operating system, or the tool that printed a dump, says of a function.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Os {
    /// Where its BARs lie in the machine's memory map.
    pub resources: Fact<Vec<Resource>>,
    /// The link, as sysfs tells it to everybody.
    pub link: Fact<Option<Link>>,
    /// Device/Port Type, as the names of port services in sysfs tell it to everybody.
    pub port_type: Fact<Option<PortType>>,
    /// NUMA node; `None` where the firmware names none.
    pub numa_node: Fact<Option<u32>>,
    /// IOMMU group; `None` where there is none.
    pub iommu_group: Fact<Option<IommuGroup>>,
    /// Driver; `None` where none is bound.
    pub driver: Fact<Option<String>>,
    /// Kernel names of what the driver made of it: `nvme0`, `mlx5_0`, `eth0`.
    pub names: Vec<String>,
    /// Memory that it offers to peers through the kernel.
    pub p2pmem: Fact<Option<P2pmem>>,
    /// The physical function of a virtual one; `None` for all others.
    pub physical_function: Fact<Option<Bdf>>,
}

/// One BAR as the operating system has placed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Resource {
    /// Number of the BAR, 0 to 5.
    pub index: u8,
    /// Which space it decodes, and how wide it is.
    pub kind: BarKind,
    /// Is the memory free of side effects on reading?
    pub prefetchable: bool,
    /// Where the CPU sees it; unknown where it has a size and no address yet.
    pub span: Fact<Span<PhysAddr>>,
    /// How many bytes it has.
    pub size_bytes: Fact<u64>,
}

/// An IOMMU group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct IommuGroup {
    /// Its number.
    pub number: u32,
    /// The type of its domain in the kernel's words: `DMA`, `DMA-FQ`, `identity`.
    pub domain_type: Fact<String>,
}

/// A function's `p2pmem` folder in sysfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct P2pmem {
    /// All memory that the driver offers.
    pub size_bytes: u64,
    /// What is free of it.
    pub available_bytes: u64,
    /// May other drivers use it?
    pub published: bool,
}

/// All that is known of one BAR: the register, the placement, and the sizes it could have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BarFacts {
    /// Number of the (first) register, 0 to 5.
    pub index: u8,
    /// Which space it decodes, and how wide it is.
    pub kind: BarKind,
    /// Is the memory free of side effects on reading?
    pub prefetchable: bool,
    /// Its address on the bus.
    pub bus_address: Fact<BusAddr>,
    /// Where the CPU sees it.
    pub phys: Fact<Span<PhysAddr>>,
    /// Its size, in bytes.
    pub size_bytes: Fact<u64>,
    /// The sizes it could have, in bytes, ascending; empty where it is not resizable.
    pub possible_bytes: Fact<Vec<u64>>,
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

    /// Its BARs, from registers and placement together, ordered by index.
    pub fn bars(&self) -> Fact<Vec<BarFacts>> {
        let mut bars: Vec<BarFacts> = Vec::new();
        if let Fact::Known(resources) = &self.os.resources {
            bars.extend(resources.iter().map(|resource| BarFacts {
                index: resource.index,
                kind: resource.kind,
                prefetchable: resource.prefetchable,
                bus_address: Fact::NOT_IN_SOURCE,
                phys: resource.span,
                size_bytes: resource.size_bytes,
                possible_bytes: Fact::NOT_IN_SOURCE,
            }));
        }
        match (&self.config.bars, &self.os.resources) {
            (Fact::Unknown(why), Fact::Unknown(_)) => return Fact::Unknown(*why),
            (Fact::Unknown(_), Fact::Known(_)) => {}
            (Fact::Known(registers), _) => {
                for register in registers {
                    match bars.iter_mut().find(|bar| bar.index == register.index) {
                        Some(bar) => bar.bus_address = Fact::Known(register.address),
                        None => bars.push(BarFacts {
                            index: register.index,
                            kind: register.kind,
                            prefetchable: register.prefetchable,
                            bus_address: Fact::Known(register.address),
                            phys: Fact::NOT_IN_SOURCE,
                            size_bytes: Fact::NOT_IN_SOURCE,
                            possible_bytes: Fact::NOT_IN_SOURCE,
                        }),
                    }
                }
            }
        }
        bars.sort_by_key(|bar| bar.index);
        for bar in &mut bars {
            match &self.config.rebar {
                Fact::Unknown(why) => bar.possible_bytes = Fact::Unknown(*why),
                Fact::Known(list) => {
                    let rebar = list.iter().find(|rebar| rebar.bar == bar.index);
                    let possible = rebar.map(|rebar| rebar.possible_bytes().collect());
                    bar.possible_bytes = Fact::Known(possible.unwrap_or_default());
                    if let Some(bytes) = rebar.and_then(|rebar| rebar.current_bytes()) {
                        bar.size_bytes = bar.size_bytes.or(Fact::Known(bytes));
                    }
                }
            }
        }
        Fact::Known(bars)
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

impl Os {
    /// Nothing is known, for this reason.
    pub fn unknown(why: Unread) -> Self {
        Self {
            resources: Fact::Unknown(why),
            link: Fact::Unknown(why),
            port_type: Fact::Unknown(why),
            numa_node: Fact::Unknown(why),
            iommu_group: Fact::Unknown(why),
            driver: Fact::Unknown(why),
            names: Vec::new(),
            p2pmem: Fact::Unknown(why),
            physical_function: Fact::Unknown(why),
        }
    }
}

#[cfg(feature = "serde")]
mod hex_bytes {
    //! Raw configuration space as one string of hexadecimal digits.

    use crate::pci::ConfigView;
    use alloc::borrow::Cow;
    use alloc::string::String;
    use alloc::vec::Vec;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    pub(super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let Some(bytes) = bytes else {
            return serializer.serialize_none();
        };
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            text.push(DIGITS[usize::from(byte >> 4)] as char);
            text.push(DIGITS[usize::from(byte & 15)] as char);
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let Some(text) = <Option<Cow<'de, str>>>::deserialize(deserializer)? else {
            return Ok(None);
        };
        let pairs = text.as_bytes().chunks_exact(2);
        if !pairs.remainder().is_empty() || text.len() > 2 * ConfigView::MAX_BYTES {
            return Err(D::Error::custom(
                "raw_config: expected an even number of hexadecimal digits, at most 8192",
            ));
        }
        let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
        pairs
            .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
            .collect::<Option<Vec<u8>>>()
            .map(Some)
            .ok_or_else(|| D::Error::custom("raw_config: expected hexadecimal digits"))
    }
}
