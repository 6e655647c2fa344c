//! Reading a TOML table key by key: whoever asks for a key knows it, and what nobody asked for is an error that names
//! the most similar key.

use super::error::{At, MachineError, Wrong, distance};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Text of a file, to find lines and columns in.
#[derive(Debug)]
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    pub(super) fn at(&self, span: &Range<usize>) -> At {
        let line = self.starts.partition_point(|&start| start <= span.start).max(1);
        let start = self.starts[line - 1];
        let before = self.text.get(start..span.start).unwrap_or("");
        At {
            line: line as u32,
            column: before.chars().count() as u32 + 1,
        }
    }
}

/// A table of which keys are taken one by one.
#[derive(Debug)]
pub(super) struct Table<'a, 't> {
    /// What it describes, for errors: `a port`.
    pub(super) what: &'static str,
    pub(super) at: At,
    entries: &'a DeTable<'t>,
    pub(super) lines: &'a Lines<'t>,
    asked: Vec<&'static str>,
}

/// A value, where it stands and under which key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a, 't> {
    pub(super) key: &'static str,
    pub(super) value: &'a Spanned<DeValue<'t>>,
    pub(super) lines: &'a Lines<'t>,
}

impl<'a, 't> Table<'a, 't> {
    pub(super) fn new(what: &'static str, at: At, entries: &'a DeTable<'t>, lines: &'a Lines<'t>) -> Self {
        Self {
            what,
            at,
            entries,
            lines,
            asked: Vec::new(),
        }
    }

    /// The value of `key`, if there is one.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'a, 't>> {
        self.asked.push(key);
        let value = self.entries.get(key)?;
        Some(Value {
            key,
            value,
            lines: self.lines,
        })
    }

    /// What `read` makes of the value of `key`, or `default`.
    pub(super) fn take_or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(Value<'a, 't>) -> Result<T, MachineError>,
    ) -> Result<T, MachineError> {
        self.take(key).map_or(Ok(default), read)
    }

    /// What `read` makes of the value of `key`, if there is one.
    pub(super) fn take_some<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Value<'a, 't>) -> Result<T, MachineError>,
    ) -> Result<Option<T>, MachineError> {
        self.take(key).map(read).transpose()
    }

    pub(super) fn missing(&self, key: &'static str, expected: &'static str) -> MachineError {
        let table = self.what;
        Wrong::MissingKey { key, table, expected }.at(self.at)
    }

    /// All keys were asked for.
    pub(super) fn finish(self) -> Result<(), MachineError> {
        let unknown = self.entries.iter().filter(|(key, _)| {
            let key: &str = key.get_ref();
            !self.asked.contains(&key)
        });
        let Some((key, _)) = unknown.min_by_key(|(key, _)| key.span().start) else {
            return Ok(());
        };
        let name: &str = key.get_ref();
        let mut known = self.asked;
        known.sort_by_key(|candidate| distance(name, candidate));
        known.dedup();
        let wrong = Wrong::UnknownKey {
            key: shortened(name),
            table: self.what,
            known,
        };
        Err(wrong.at(self.lines.at(&key.span())))
    }
}

impl<'a, 't> Value<'a, 't> {
    pub(super) fn at(&self) -> At {
        self.lines.at(&self.value.span())
    }

    /// The error for a value that does not say what it should.
    pub(super) fn wrong(&self, expected: impl Into<String>) -> MachineError {
        let found = match self.value.get_ref() {
            DeValue::String(text) => format!("\"{}\"", shortened(text)),
            DeValue::Integer(number) => shortened(&number.to_string()),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Float(number) => shortened(number.as_str()),
            other => format!("of type {}", other.type_str()),
        };
        let wrong = Wrong::Value {
            key: self.key.into(),
            found,
            expected: expected.into(),
        };
        wrong.at(self.at())
    }

    pub(super) fn text(&self, expected: &str) -> Result<&'a str, MachineError> {
        self.value.get_ref().as_str().ok_or_else(|| self.wrong(expected))
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(&self, least: u64, most: u64) -> Result<u64, MachineError> {
        let number = self.value.get_ref().as_integer();
        number
            .and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok())
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.wrong(format!("a whole number from {least} to {most}")))
    }

    pub(super) fn yes(&self) -> Result<bool, MachineError> {
        let value = self.value.get_ref().as_bool();
        value.ok_or_else(|| self.wrong("true or false"))
    }

    /// The one of `words` that stands here.
    pub(super) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Result<T, MachineError> {
        let text = self.value.get_ref().as_str();
        let found = words.iter().find(|(word, _)| Some(*word) == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.wrong(words.join(" or "))
        })
    }

    /// The one of `numbers` that stands here.
    pub(super) fn one_of(&self, numbers: &[u32]) -> Result<u32, MachineError> {
        let found = self.number(0, u32::MAX.into()).ok();
        let found = numbers.iter().find(|number| Some(u64::from(**number)) == found);
        found.copied().ok_or_else(|| {
            let numbers: Vec<_> = numbers.iter().map(u32::to_string).collect();
            self.wrong(numbers.join(" or "))
        })
    }

    pub(super) fn table(&self, what: &'static str) -> Result<Table<'a, 't>, MachineError> {
        let entries = self.value.get_ref().as_table();
        let entries = entries.ok_or_else(|| self.wrong(format!("a table: {what}")))?;
        Ok(Table::new(what, self.at(), entries, self.lines))
    }

    /// The values of an array; a value that is no array stands for an array of itself.
    pub(super) fn each(self) -> Vec<Self> {
        match self.value.get_ref().as_array() {
            Some(array) => array.iter().map(|value| Self { value, ..self }).collect(),
            None => vec![self],
        }
    }
}

/// What of a foreign text is repeated in an error.
pub(super) fn shortened(text: &str) -> String {
    shortened_to(text, 40)
}

/// The first `most` characters.
pub(super) fn shortened_to(text: &str, most: usize) -> String {
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(most).collect();
    if text.chars().count() > most {
        short.push('…');
    }
    short
}
