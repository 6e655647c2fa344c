//! Configuration spaces as software sees them.

/// How much is read or written at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Word,
    /// 32 bits.
    Dword,
}

impl Width {
    /// How many bytes.
    pub const fn bytes(self) -> u16 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Dword => 4,
        }
    }
}

/// What a write to a configuration space brought about beside the new contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ConfigEffect {
    /// The function was reset (Initiate Function Level Reset); its registers already are what they are after a reset.
    pub function_reset: bool,
    /// All below a bridge was reset (Secondary Bus Reset was cleared again); their registers already are what they are
    /// after a reset.
    pub bus_reset: bool,
    /// Memory enable or bus-master enable changed.
    pub command_changed: bool,
    /// An address of a BAR changed.
    pub bars_changed: bool,
    /// Bus numbers or windows of a bridge changed.
    pub bridge_changed: bool,
    /// Payload sizes, ACS or ATS changed.
    pub express_changed: bool,
}

impl ConfigEffect {
    /// May routes differ from what they were?
    pub const fn routes_changed(self) -> bool {
        self.function_reset
            || self.bus_reset
            || self.command_changed
            || self.bars_changed
            || self.bridge_changed
            || self.express_changed
    }
}
