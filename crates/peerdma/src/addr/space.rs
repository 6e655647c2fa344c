//! The three address spaces.

use core::fmt;

/// An address in one of the three spaces: a number that only moves by checked steps.
pub trait Address: Copy + Ord + fmt::Debug + fmt::Display {
    /// The address with this number.
    fn from_u64(number: u64) -> Self;

    /// The number of this address.
    fn to_u64(self) -> u64;

    /// The address `bytes` further on, or nothing past the end of the space.
    fn checked_add(self, bytes: u64) -> Option<Self> {
        self.to_u64().checked_add(bytes).map(Self::from_u64)
    }
}

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "serde", serde(transparent))]
        pub struct $name(u64);

        impl Address for $name {
            fn from_u64(number: u64) -> Self {
                Self(number)
            }

            fn to_u64(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address! {
    /// An address in the machine's memory map, as its CPU names a byte.
    PhysAddr
}

address! {
    /// An address as it travels in a TLP; for a BAR, the value in the BAR register.
    BusAddr
}

address! {
    /// An address that a device issues and an IOMMU translates.
    Iova
}
