//! Reading a TOML table key by key: whoever asks for a key knows it, and what nobody asked for is an error that names
//! the most similar key.

use super::error::{At, MachineError, Wrong, distance, is_similar};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Text of a file, to find lines and columns in.
#[derive(Debug)]
pub(crate) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Where a parser's error is. It names no place where keys have too many parts: then it is where most of them are.
    pub(crate) fn at_error(&self, span: Option<Range<usize>>) -> At {
        let dots = |line: &str| line.bytes().filter(|byte| *byte == b'.').count();
        let start = match span {
            Some(span) => span.start,
            None => {
                // Of several the first.
                let lines = self.starts.iter().zip(self.text.split('\n'));
                let longest = lines.min_by_key(|(_, line)| std::cmp::Reverse(dots(line)));
                longest.map_or(0, |(start, _)| *start)
            }
        };
        self.at(&(start..start))
    }

    /// Where something that is missing would be added.
    pub(crate) fn end(&self) -> At {
        let end = self.text.trim_end().len();
        let line = self.at(&(end..end)).line;
        At { line, column: 1 }
    }

    pub(crate) fn at(&self, span: &Range<usize>) -> At {
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
pub(crate) struct Table<'a, 't> {
    /// What it describes, for errors: `a port`.
    pub(crate) what: &'static str,
    pub(crate) at: At,
    entries: &'a DeTable<'t>,
    pub(crate) lines: &'a Lines<'t>,
    asked: Vec<&'static str>,
}

/// A value, where it stands and under which key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a, 't> {
    pub(crate) key: &'static str,
    pub(crate) value: &'a Spanned<DeValue<'t>>,
    pub(crate) lines: &'a Lines<'t>,
}

impl<'a, 't> Table<'a, 't> {
    pub(crate) fn new(what: &'static str, at: At, entries: &'a DeTable<'t>, lines: &'a Lines<'t>) -> Self {
        Self {
            what,
            at,
            entries,
            lines,
            asked: Vec::new(),
        }
    }

    /// The value of `key`, if there is one.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value<'a, 't>> {
        self.asked.push(key);
        let value = self.entries.get(key)?;
        Some(Value {
            key,
            value,
            lines: self.lines,
        })
    }

    /// What `read` makes of the value of `key`, or `default`.
    pub(crate) fn take_or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(Value<'a, 't>) -> Result<T, MachineError>,
    ) -> Result<T, MachineError> {
        self.take(key).map_or(Ok(default), read)
    }

    /// What `read` makes of the value of `key`, if there is one.
    pub(crate) fn take_some<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Value<'a, 't>) -> Result<T, MachineError>,
    ) -> Result<Option<T>, MachineError> {
        self.take(key).map(read).transpose()
    }

    /// The error for a key that has to be there; one that looks like it is taken for a misspelt one.
    pub(crate) fn missing(&self, key: &'static str, expected: &'static str) -> MachineError {
        let table = self.what;
        let misspelt = self.unknown().filter(|(found, _)| is_similar(found, key));
        match misspelt.min_by_key(|(found, at)| (distance(found, key), at.line, at.column)) {
            Some((found, at)) => {
                let (key, known) = (shortened(found), vec![key]);
                Wrong::UnknownKey { key, table, known }.at(at)
            }
            None => Wrong::MissingKey { key, table, expected }.at(self.at),
        }
    }

    /// Keys that nobody has asked for, and where they are.
    fn unknown(&self) -> impl Iterator<Item = (&str, At)> {
        let unknown = self.entries.iter().filter(|(key, _)| {
            let key: &str = key.get_ref();
            !self.asked.contains(&key)
        });
        unknown.map(|(key, _)| {
            let name: &str = key.get_ref();
            (name, self.lines.at(&key.span()))
        })
    }

    /// Were all keys asked for?
    pub(crate) fn finish(&self) -> Result<(), MachineError> {
        let first = self.unknown().min_by_key(|(_, at)| (at.line, at.column));
        let Some((name, at)) = first else {
            return Ok(());
        };
        let mut known = self.asked.clone();
        known.sort_unstable();
        known.dedup();
        let nearest = (0..known.len()).min_by_key(|index| distance(name, known[*index]));
        if let Some(nearest) = nearest.filter(|index| is_similar(name, known[*index])) {
            known[..=nearest].rotate_right(1);
        }
        let wrong = Wrong::UnknownKey {
            key: shortened(name),
            table: self.what,
            known,
        };
        Err(wrong.at(at))
    }
}

impl<'a, 't> Value<'a, 't> {
    pub(crate) fn at(&self) -> At {
        self.lines.at(&self.value.span())
    }

    /// The error for a value that does not say what it should.
    pub(crate) fn wrong(&self, expected: impl Into<String>) -> MachineError {
        let found = match self.value.get_ref() {
            DeValue::String(text) => format!("\"{}\"", shortened(text)),
            DeValue::Integer(number) => shortened(&number.to_string()),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Float(number) => shortened(number.as_str()),
            DeValue::Array(array) if array.is_empty() => "an empty list".into(),
            other => format!("of type {}", other.type_str()),
        };
        let wrong = Wrong::Value {
            key: self.key.into(),
            found,
            expected: expected.into(),
        };
        wrong.at(self.at())
    }

    pub(crate) fn text(&self, expected: &str) -> Result<&'a str, MachineError> {
        self.value.get_ref().as_str().ok_or_else(|| self.wrong(expected))
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn number(&self, least: u64, most: u64) -> Result<u64, MachineError> {
        let number = self.value.get_ref().as_integer();
        number
            .and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok())
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.wrong(format!("a whole number from {least} to {most}")))
    }

    pub(crate) fn yes(&self) -> Result<bool, MachineError> {
        let value = self.value.get_ref().as_bool();
        value.ok_or_else(|| self.wrong("true or false"))
    }

    /// The one of `words` that stands here.
    pub(crate) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Result<T, MachineError> {
        let text = self.value.get_ref().as_str();
        let found = words.iter().find(|(word, _)| Some(*word) == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.wrong(words.join(" or "))
        })
    }

    /// The one of `numbers` that stands here.
    pub(crate) fn one_of(&self, numbers: &[u32]) -> Result<u32, MachineError> {
        let found = self.number(0, u32::MAX.into()).ok();
        let found = numbers.iter().find(|number| Some(u64::from(**number)) == found);
        found.copied().ok_or_else(|| {
            let numbers: Vec<_> = numbers.iter().map(u32::to_string).collect();
            self.wrong(numbers.join(" or "))
        })
    }

    pub(crate) fn table(&self, what: &'static str) -> Result<Table<'a, 't>, MachineError> {
        let entries = self.value.get_ref().as_table();
        let entries = entries.ok_or_else(|| self.wrong(format!("a table: {what}")))?;
        Ok(Table::new(what, self.at(), entries, self.lines))
    }

    /// [`Self::each`], of which there may be so many.
    pub(crate) fn each_of(self, what: &'static str, most: usize) -> Result<Vec<Self>, MachineError> {
        let values = self.each();
        match values.get(most) {
            Some(first_too_many) => Err(Wrong::TooMany { what, most }.at(first_too_many.at())),
            None => Ok(values),
        }
    }

    /// The values of an array; a value that is no array stands for an array of itself.
    pub(crate) fn each(self) -> Vec<Self> {
        match self.value.get_ref().as_array() {
            Some(array) => array.iter().map(|value| Self { value, ..self }).collect(),
            None => vec![self],
        }
    }
}

/// What a parser finds wrong with the text itself.
pub(crate) fn of_parser(error: &toml::de::Error, lines: &Lines<'_>) -> MachineError {
    let message = error.message();
    let wrong = match message.contains("recurs") {
        true => Wrong::Nested,
        false => Wrong::Toml {
            message: shortened_to(message, 200),
        },
    };
    wrong.at(lines.at_error(error.span()))
}

/// What of a foreign text is repeated in an error.
pub(crate) fn shortened(text: &str) -> String {
    shortened_to(text, 40)
}

/// The first `most` characters.
pub(crate) fn shortened_to(text: &str, most: usize) -> String {
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(most).collect();
    if text.chars().count() > most {
        short.push('…');
    }
    short
}
