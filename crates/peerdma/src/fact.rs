//! A fact about a machine that the source told, or the reason why it did not.
//!
//! Every reader yields [`Fact`]s, every judge consumes them, and nobody fills a gap with a guess:
//! what depends on an unknown fact is itself unknown (DESIGN, invariant 11).

use core::fmt;

/// Something that is known, or the reason why it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Fact<T> {
    /// The source told it.
    Known(T),
    /// The source did not tell it.
    Unknown(Unread),
}

/// Why a fact is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Unread {
    /// This kind of source never carries it.
    NotInSource,
    /// Configuration space ends after this many bytes (64 for an unprivileged reader, 256
    /// without the extended space).
    ConfigCut {
        /// Bytes that could be read.
        bytes: u16,
    },
    /// The source says that permission was missing.
    AccessDenied,
    /// The operating system itself could not read it: the function does not answer.
    Unreadable,
    /// The operating system found no way to it: whatever forwards accesses to configuration space lets none
    /// through beyond 256 bytes.
    OutOfReach,
    /// The source contradicts itself about it, or holds an impossible value.
    Contradictory,
    /// It was there and was removed on purpose (a blanked serial number).
    Blanked,
}

impl<T> Fact<T> {
    /// The fact for a source that never carries it.
    pub const NOT_IN_SOURCE: Self = Fact::Unknown(Unread::NotInSource);

    /// The value, if known.
    pub fn known(self) -> Option<T> {
        match self {
            Fact::Known(value) => Some(value),
            Fact::Unknown(_) => None,
        }
    }

    /// The same fact, borrowed.
    pub fn as_ref(&self) -> Fact<&T> {
        match self {
            Fact::Known(value) => Fact::Known(value),
            Fact::Unknown(why) => Fact::Unknown(*why),
        }
    }

    /// Is the value known?
    pub fn is_known(&self) -> bool {
        matches!(self, Fact::Known(_))
    }

    /// The fact with its value, if known, passed through `f`.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Fact<U> {
        match self {
            Fact::Known(value) => Fact::Known(f(value)),
            Fact::Unknown(why) => Fact::Unknown(why),
        }
    }

    /// This fact if it is known, else `other`.
    #[must_use]
    pub fn or(self, other: Fact<T>) -> Fact<T> {
        match self {
            Fact::Known(_) => self,
            Fact::Unknown(_) => match other {
                Fact::Known(_) => other,
                Fact::Unknown(_) => self,
            },
        }
    }
}

impl<T> Default for Fact<T> {
    fn default() -> Self {
        Self::NOT_IN_SOURCE
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::NotInSource => f.write_str("the source does not carry it"),
            Unread::ConfigCut { bytes } => {
                write!(f, "configuration space was read only up to {bytes} bytes")
            }
            Unread::AccessDenied => f.write_str("reading it needs more privilege"),
            Unread::Unreadable => f.write_str("the function does not answer"),
            Unread::OutOfReach => f.write_str("extended configuration space is out of reach"),
            Unread::Contradictory => f.write_str("the source contradicts itself"),
            Unread::Blanked => f.write_str("it was blanked on purpose"),
        }
    }
}
