//! Who a function is: vendor and device, class, command register.

use core::fmt;

/// A vendor and device number (also: of a subsystem).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Id {
    /// Vendor, assigned by the PCI-SIG.
    pub vendor: u16,
    /// Device, assigned by the vendor.
    pub device: u16,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

impl Id {
    /// The number in a register that holds the vendor in its lower half.
    pub(super) const fn from_register(register: u32) -> Self {
        Self {
            vendor: register as u16,
            device: (register >> 16) as u16,
        }
    }

    /// The register that holds it.
    pub(super) const fn to_register(self) -> u32 {
        (self.device as u32) << 16 | self.vendor as u32
    }

    /// Can this be the number of a function? All ones is what nobody answers (and what a virtual
    /// function has in its own header); Linux takes the same four patterns for an empty slot
    /// (`pci_bus_generic_read_dev_vendor_id`, drivers/pci/probe.c), and no vendor has number ffff.
    pub(super) const fn is_assigned(self) -> bool {
        self.vendor != 0xffff && !(self.vendor == 0 && matches!(self.device, 0 | 0xffff))
    }
}

/// Base class, sub-class and programming interface, 24 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct ClassCode(u32);

impl ClassCode {
    /// Base class and sub-class of a host bridge.
    pub const HOST_BRIDGE: u16 = 0x0600;
    /// Base class and sub-class of a PCI-to-PCI bridge (and of every PCIe port).
    pub const PCI_BRIDGE: u16 = 0x0604;
    /// Base class and sub-class of a CardBus bridge.
    pub const CARDBUS_BRIDGE: u16 = 0x0607;
    /// Base class and sub-class of an NVMe (non-volatile memory) controller.
    pub const NVM: u16 = 0x0108;

    /// The class with these 24 bits; higher ones are dropped.
    pub const fn new(bits: u32) -> Self {
        Self(bits & 0x00ff_ffff)
    }

    /// All 24 bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Base class and sub-class, 16 bits, as `lspci -n` prints them.
    pub const fn class(self) -> u16 {
        (self.0 >> 8) as u16
    }

    /// Base class.
    pub const fn base(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// Does it lead to other buses: a PCI-to-PCI, CardBus or semi-transparent bridge?
    pub const fn is_bridge_to_buses(self) -> bool {
        matches!(self.class(), Self::PCI_BRIDGE | Self::CARDBUS_BRIDGE | 0x0609)
    }

    /// Programming interface.
    pub const fn interface(self) -> u8 {
        self.0 as u8
    }
}

/// The command register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Command(pub u16);

impl Command {
    /// Does the function answer at its memory BARs (a bridge: forward downstream)?
    pub const fn memory_enabled(self) -> bool {
        self.0 & 0x2 != 0
    }

    /// May the function issue requests (a bridge: forward upstream)?
    pub const fn bus_master(self) -> bool {
        self.0 & 0x4 != 0
    }

    /// As it is once a driver uses the function, or what is below the bridge: it answers for its memory and may issue requests. Drivers ask for it,
    /// and Linux does it for every bridge above (`pci_enable_bridge` in `drivers/pci/pci.c`).
    #[must_use]
    pub const fn once_driven(self) -> Self {
        Self(self.0 | 0x6)
    }
}
