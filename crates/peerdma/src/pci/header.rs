//! The kinds of header at the start of a configuration space (PCIe Base 7.5.1).

use super::emit::Image;
use super::{ConfigDefect, ConfigView, EmitError, Id};
use crate::fact::Fact;

/// The layout of the first 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// Type 0: a function that is no bridge.
    Function,
    /// Type 1: a PCI-to-PCI bridge, every PCIe port among them.
    Bridge,
    /// Type 2: a CardBus bridge.
    CardBus,
}

impl Header {
    pub(super) const TYPE: u16 = 0x0e;
    /// The highest bit of the type register says that there are further functions.
    const TYPE_MASK: u8 = 0x7f;
    const BYTES: usize = 64;
    /// Capability number of the subsystem of a bridge.
    pub(super) const SUBSYSTEM_CAPABILITY: u16 = 0x0d;

    /// Which layout it is; nothing where the bytes end before they tell.
    ///
    /// # Errors
    /// [`ConfigDefect`] where no function answers there: the layout does not exist (all ones: the
    /// function fell off the bus) or everything is 0.
    pub(super) fn parse(view: ConfigView<'_>) -> Result<Option<Self>, ConfigDefect> {
        let Some(register) = view.u8(Self::TYPE) else {
            return Ok(None);
        };
        let bytes = view.bytes();
        if bytes.iter().take(Self::BYTES).all(|&byte| byte == 0) {
            return Err(ConfigDefect::EmptyHeader);
        }
        match register & Self::TYPE_MASK {
            0 => Ok(Some(Self::Function)),
            1 => Ok(Some(Self::Bridge)),
            2 => Ok(Some(Self::CardBus)),
            header_type => Err(ConfigDefect::UnknownHeader { header_type }),
        }
    }

    /// The type register.
    pub(super) const fn register(self) -> u8 {
        match self {
            Self::Function => 0,
            Self::Bridge => 1,
            Self::CardBus => 2,
        }
    }

    /// How many base address registers it has.
    pub(super) const fn bar_count(self) -> u8 {
        match self {
            Self::Function => 6,
            Self::Bridge => 2,
            Self::CardBus => 1,
        }
    }

    /// Where the pointer to the first capability is.
    pub(super) const fn capability_pointer(self) -> u16 {
        match self {
            Self::Function | Self::Bridge => 0x34,
            Self::CardBus => 0x14,
        }
    }

    /// Where the subsystem is; nothing in a bridge, which has a capability for it.
    pub(super) const fn subsystem_offset(self) -> Option<u16> {
        match self {
            Self::Function => Some(0x2c),
            Self::Bridge => None,
            Self::CardBus => Some(0x40),
        }
    }

    /// The subsystem; numbers that are both 0 are none.
    pub(super) fn subsystem(self, view: ConfigView<'_>, capability: Fact<Option<u16>>) -> Fact<Option<Id>> {
        let register = match self.subsystem_offset() {
            Some(offset) => view.fact(view.u32(offset)).map(Some),
            None => view.within(capability, |offset| view.u32(offset + 4)),
        };
        register.map(|register| register.filter(|&bits| bits != 0).map(Id::from_register))
    }

    /// Writes the subsystem.
    pub(super) fn emit_subsystem(self, subsystem: Option<Id>, image: &mut Image) -> Result<(), EmitError> {
        const BYTES: u16 = 8;
        let register = match subsystem.map(Id::to_register) {
            None => return Ok(()),
            Some(0) => {
                return Err(EmitError::Unwritable {
                    fact: "the subsystem",
                    value: 0,
                });
            }
            Some(register) => register,
        };
        let offset = match self.subsystem_offset() {
            Some(offset) => offset,
            None => image.append(Self::SUBSYSTEM_CAPABILITY, BYTES) + 4,
        };
        image.put_u32(offset, register);
        Ok(())
    }
}
