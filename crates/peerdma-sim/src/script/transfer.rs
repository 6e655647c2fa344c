//! One transfer of a script.

use super::place::Spot;
use super::{MOST_BYTES, Said};
use crate::file::table::Table;
use crate::file::{At, MachineError, value};
use crate::tlp::{AddressType, Ordering};

/// One `[[transfer]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferLine {
    /// Where it stands.
    pub at: At,
    /// What it is called in answers.
    pub name: Option<String>,
    /// Where bytes come from.
    pub from: Said<Spot>,
    /// Where they go.
    pub to: Said<Spot>,
    /// How many.
    pub bytes: u64,
    /// The name or address of the device that moves them; nothing where only one can.
    pub by: Option<Said<String>>,
    /// What kind of requests it issues.
    pub class: Class,
    /// What kind of address it is given; nothing for the machine's usual one.
    pub form: Option<Form>,
    /// Decides what bytes the source is filled with before.
    pub fill: u64,
    /// Does it start together with the one before it?
    pub start: Start,
    /// What shall become of it.
    pub expected: Option<Expected>,
}

/// When a transfer starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// When all before have ended.
    After,
    /// With the one before it.
    Together,
}

/// What kind of requests are issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Class {
    /// Untranslated requests in order.
    #[default]
    Strict,
    /// With the relaxed-ordering attribute.
    Relaxed,
    /// With addresses that were translated before (ATS).
    Translated,
    /// Both.
    TranslatedRelaxed,
}

/// What kind of address an initiator is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// The address that the provider's register holds.
    Bus,
    /// The one that the root complex makes the provider's physical address of.
    Host,
}

/// What shall become of the bytes of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expected {
    /// All arrive.
    Intact,
    /// None arrives: what was there before is still there.
    Lost,
    /// All ones are there instead.
    AllOnes,
    /// Something else is there.
    Wrong,
    /// Not the same became of all.
    Mixed,
}

impl Expected {
    /// All, as scripts write them.
    pub const WORDS: [(&str, Self); 5] = [
        ("intact", Self::Intact),
        ("lost", Self::Lost),
        ("all-ones", Self::AllOnes),
        ("wrong", Self::Wrong),
        ("mixed", Self::Mixed),
    ];

    /// As scripts write it.
    pub fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, expected)| *expected == self);
        found.map_or("", |(word, _)| word)
    }
}

impl Class {
    /// All, as scripts write them.
    pub const WORDS: [(&str, Self); 4] = [
        ("strict", Self::Strict),
        ("relaxed", Self::Relaxed),
        ("translated", Self::Translated),
        ("translated-relaxed", Self::TranslatedRelaxed),
    ];

    /// As scripts write it.
    pub fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, class)| *class == self);
        found.map_or("", |(word, _)| word)
    }

    /// What kind of address its requests carry.
    pub fn address_type(self) -> AddressType {
        match self {
            Self::Strict | Self::Relaxed => AddressType::Untranslated,
            Self::Translated | Self::TranslatedRelaxed => AddressType::Translated,
        }
    }

    /// Their relaxed-ordering attribute.
    pub fn ordering(self) -> Ordering {
        match self {
            Self::Strict | Self::Translated => Ordering::Strict,
            Self::Relaxed | Self::TranslatedRelaxed => Ordering::Relaxed,
        }
    }
}

impl TransferLine {
    /// Reads the `index`th transfer.
    pub(super) fn read(mut table: Table<'_, '_>, index: usize) -> Result<Self, MachineError> {
        let from = table.take_some("from", Spot::of)?;
        let from =
            from.ok_or_else(|| table.missing("from", "where bytes come from, such as \"nvme0:cmb\""))?;
        let to = table.take_some("to", Spot::of)?;
        let to = to.ok_or_else(|| table.missing("to", "where bytes go, such as \"gpu0:bar2+0x1000\""))?;
        let bytes = table.take("bytes");
        let bytes = bytes.ok_or_else(|| table.missing("bytes", "how many, such as \"1 MiB\""))?;
        let count = value::size(bytes, MOST_BYTES)?;
        if count == 0 {
            return Err(bytes.wrong("at least 1"));
        }
        let by = table.take_some("by", |value| {
            let text =
                value.text("the name or address of the device that moves the bytes, such as \"gpu0\"")?;
            Ok(Said {
                at: value.at(),
                value: crate::file::table::shortened(text),
            })
        })?;
        let line = Self {
            at: table.at,
            name: table.take_some("name", value::name)?,
            from,
            to,
            bytes: count,
            by,
            class: table.take_or("class", Class::default(), |value| value.word(&Class::WORDS))?,
            form: table.take_some("address", |value| {
                value.word(&[("bus", Form::Bus), ("host", Form::Host)])
            })?,
            fill: table.take_or("fill", index as u64 + 1, |value| value.number(0, u64::MAX))?,
            start: match table.take_or("together", false, |value| value.yes())? {
                true => Start::Together,
                false => Start::After,
            },
            expected: table.take_some("expect", |value| value.word(&Expected::WORDS))?,
        };
        table.finish()?;
        Ok(line)
    }
}
