//! The words of an answer.

use core::fmt;

/// How memory of a peer is mapped, in Linux's words (`enum pci_p2pdma_map_type` in
/// include/linux/pci-p2pdma.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "SCREAMING_SNAKE_CASE"))]
pub enum MapType {
    /// Refused.
    NotSupported,
    /// The request turns around at a switch: it carries the peer's bus address.
    BusAddr,
    /// The request goes up to the root complex, which forwards it: it is mapped as host memory is.
    ThruHostBridge,
}

impl MapType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NotSupported, Self::BusAddr, Self::ThruHostBridge];

    /// The name that the kernel's sources use, without their prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotSupported => "NOT_SUPPORTED",
            Self::BusAddr => "BUS_ADDR",
            Self::ThruHostBridge => "THRU_HOST_BRIDGE",
        }
    }
}

impl fmt::Display for MapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The map types that are possible given what is known: one, and the answer is known; several, and it
/// is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Answer(u8);

impl Answer {
    /// Nothing is known.
    pub const ANY: Self = Self(0b111);

    /// Nothing is possible: only a start for [`Self::or`].
    pub(crate) const NONE: Self = Self(0);

    /// A known answer.
    pub const fn known(map_type: MapType) -> Self {
        Self(1 << map_type as u8)
    }

    /// What either allows.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Is `map_type` possible?
    pub const fn allows(self, map_type: MapType) -> bool {
        self.0 & (1 << map_type as u8) != 0
    }

    /// The answer, if it is known.
    pub const fn map_type(self) -> Option<MapType> {
        match self.0 {
            0b001 => Some(MapType::NotSupported),
            0b010 => Some(MapType::BusAddr),
            0b100 => Some(MapType::ThruHostBridge),
            _ => None,
        }
    }

    /// The possible map types.
    pub fn possible(self) -> impl Iterator<Item = MapType> {
        MapType::ALL
            .into_iter()
            .filter(move |&map_type| self.allows(map_type))
    }

    /// Is the peer reached whatever the unknown facts are?
    pub const fn surely_reached(self) -> bool {
        !self.allows(MapType::NotSupported)
    }

    /// Is the peer refused whatever the unknown facts are?
    pub const fn surely_refused(self) -> bool {
        matches!(self.map_type(), Some(MapType::NotSupported))
    }
}

impl fmt::Display for Answer {
    /// The map type, or `UNKNOWN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.map_type().map_or("UNKNOWN", MapType::name))
    }
}

/// What the client does to the provider's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Access {
    /// The client reads it: a request goes there, completions come back.
    Read,
    /// The client writes it: posted requests, nothing comes back.
    Write,
}

impl Access {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Read, Self::Write];
}

/// The kind of packets: Linux's posted rewrite tells four classes apart (KERNEL-FACTS, A7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum TlpClass {
    /// Untranslated requests, completions in order: what a device without special settings sends.
    Strict,
    /// Untranslated requests, completions with the relaxed-ordering attribute.
    Relaxed,
    /// Requests with an address that the device translated before (ATS), completions in order.
    Translated,
    /// Both.
    TranslatedRelaxed,
}

impl TlpClass {
    /// All four.
    pub const ALL: [Self; 4] = [
        Self::Strict,
        Self::Relaxed,
        Self::Translated,
        Self::TranslatedRelaxed,
    ];

    /// Do requests carry translated addresses?
    pub const fn is_translated(self) -> bool {
        matches!(self, Self::Translated | Self::TranslatedRelaxed)
    }

    /// Do completions carry the relaxed-ordering attribute?
    pub const fn is_relaxed(self) -> bool {
        matches!(self, Self::Relaxed | Self::TranslatedRelaxed)
    }

    /// Its name in output and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Relaxed => "relaxed",
            Self::Translated => "translated",
            Self::TranslatedRelaxed => "translated-relaxed",
        }
    }
}

/// The answers for one provider and one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    answers: [[Answer; 4]; 2],
    raw_distance: Option<u32>,
}

impl Verdict {
    /// The same answer for reading and writing, in each of the four classes.
    pub(crate) const fn per_class(answers: [Answer; 4], raw_distance: Option<u32>) -> Self {
        Self {
            answers: [answers, answers],
            raw_distance,
        }
    }

    /// Answers that differ between reading and writing, in the order of [`Access::ALL`].
    pub(crate) const fn per_access(answers: [[Answer; 4]; 2], raw_distance: Option<u32>) -> Self {
        Self {
            answers,
            raw_distance,
        }
    }

    /// The answer for one kind of access and packets.
    pub const fn answer(&self, access: Access, class: TlpClass) -> Answer {
        self.answers[access as usize][class as usize]
    }

    /// Functions from provider to client, the common ancestor once and both ends less one; without a
    /// common ancestor all functions up to both root buses. Nothing where the place of one is unknown.
    pub const fn raw_distance(&self) -> Option<u32> {
        self.raw_distance
    }

    /// What `pci_p2pdma_distance_many` would return: the distance, or -1 where the answer is a refusal;
    /// nothing where that is unknown. `answer` is one of this verdict's.
    pub fn distance(&self, answer: Answer) -> Option<i64> {
        if answer.surely_refused() {
            Some(-1)
        } else if answer.surely_reached() {
            self.raw_distance.map(i64::from)
        } else {
            None
        }
    }
}
