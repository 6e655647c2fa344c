//! Access Control Services (PCIe Base 6.12 and 7.7.11).

use super::emit::{Image, required};
use super::{ConfigView, EgressVector, EmitError};
use crate::fact::Fact;
use core::fmt;

/// The ACS extended capability of one function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Acs {
    /// What the function can do (ACS Capability register, bits 0 to 6).
    pub capable: AcsFlags,
    /// What is switched on (ACS Control register, bits 0 to 6).
    pub control: AcsFlags,
    /// Where peers may not be sent to directly (Egress Control Vector); nothing in a function that is not
    /// capable of egress control.
    #[cfg_attr(feature = "serde", serde(default))]
    pub egress: Fact<Option<EgressVector>>,
}

impl Acs {
    /// Extended capability number.
    pub(super) const CAPABILITY: u16 = 0x000d;
    const CAPABLE: u16 = 4;
    const CONTROL: u16 = 6;

    /// Size of the capability without an egress control vector, which follows it.
    const BYTES: u16 = 8;

    /// The capability as a source tells it that never carries the vector.
    pub fn without_vector(capable: AcsFlags, control: AcsFlags) -> Self {
        let egress = match capable.contains(AcsFlags::EGRESS_CONTROL) {
            true => Fact::NOT_IN_SOURCE,
            false => Fact::Known(None),
        };
        Self {
            capable,
            control,
            egress,
        }
    }

    /// The capability at `offset`. The control register is taken as it reads, also where it has
    /// bits that the function is not capable of: Linux (`pci_bridge_has_acs_redir`,
    /// drivers/pci/p2pdma.c) does not compare the two.
    pub(super) fn parse(view: ConfigView<'_>, offset: u16) -> Option<Self> {
        let capable = view.u16(offset + Self::CAPABLE)?;
        let control = AcsFlags::from_register(view.u16(offset + Self::CONTROL)?);
        let size_code = (capable >> 8) as u8;
        let capable = AcsFlags::from_register(capable);
        let egress = match capable.contains(AcsFlags::EGRESS_CONTROL) {
            true => view
                .fact(EgressVector::parse(view, offset + Self::BYTES, size_code))
                .map(Some),
            false => Fact::Known(None),
        };
        Some(Self {
            capable,
            control,
            egress,
        })
    }

    /// Appends the capability.
    pub(super) fn emit(&self, image: &mut Image) -> Result<(), EmitError> {
        const FACT: &str = "the egress control vector";
        let egress = *required(&self.egress, FACT)?;
        if egress.is_some() != self.capable.contains(AcsFlags::EGRESS_CONTROL) {
            let value = self.capable.bits().into();
            return Err(EmitError::Unwritable { fact: FACT, value });
        }
        let vector_bytes = egress.map_or(0, EgressVector::len_bytes);
        let offset = image.append_extended(Self::CAPABILITY, Self::BYTES + vector_bytes);
        let size_code = u16::from(egress.map_or(0, EgressVector::size_code));
        image.put_u16(offset + Self::CAPABLE, self.capable.bits() | size_code << 8);
        image.put_u16(offset + Self::CONTROL, self.control.bits());
        if let Some(egress) = egress {
            egress.emit(image, offset + Self::BYTES);
        }
        Ok(())
    }
}

/// The seven ACS bits, as in the capability and in the control register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct AcsFlags(u16);

impl AcsFlags {
    /// V: source validation.
    pub const SOURCE_VALIDATION: Self = Self(0x01);
    /// B: translation blocking.
    pub const TRANSLATION_BLOCKING: Self = Self(0x02);
    /// R: peer-to-peer request redirect.
    pub const REQUEST_REDIRECT: Self = Self(0x04);
    /// C: peer-to-peer completion redirect.
    pub const COMPLETION_REDIRECT: Self = Self(0x08);
    /// U: upstream forwarding.
    pub const UPSTREAM_FORWARDING: Self = Self(0x10);
    /// E: peer-to-peer egress control.
    pub const EGRESS_CONTROL: Self = Self(0x20);
    /// T: direct translated peer-to-peer.
    pub const DIRECT_TRANSLATED: Self = Self(0x40);

    /// Bit, the letter of the specification, and the name that `lspci` prints, lowest bit first.
    pub const NAMES: [(Self, char, &'static str); 7] = [
        (Self::SOURCE_VALIDATION, 'V', "SrcValid"),
        (Self::TRANSLATION_BLOCKING, 'B', "TransBlk"),
        (Self::REQUEST_REDIRECT, 'R', "ReqRedir"),
        (Self::COMPLETION_REDIRECT, 'C', "CmpltRedir"),
        (Self::UPSTREAM_FORWARDING, 'U', "UpstreamFwd"),
        (Self::EGRESS_CONTROL, 'E', "EgressCtrl"),
        (Self::DIRECT_TRANSLATED, 'T', "DirectTrans"),
    ];

    /// The flags in the low seven bits of a register; the rest is dropped.
    pub const fn from_register(register: u16) -> Self {
        Self(register & 0x7f)
    }

    /// The flags as register bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Are all of `flags` set?
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Is any of `flags` set?
    pub const fn intersects(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// These flags and those of `other`.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The flags that are in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Display for AcsFlags {
    /// The letters of the set bits, `-` for none: `VRCU`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("-");
        }
        for (flag, letter, _) in Self::NAMES {
            if self.contains(flag) {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}
