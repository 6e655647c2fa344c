//! Reading a script.

use super::error::{ScriptError, Wrong};
use super::transfer::Start;
use super::{
    FaultLine, MOST_BYTES, MOST_BYTES_IN_ALL, MOST_FAULTS, MOST_FILE_BYTES, MOST_TRANSFERS, Script,
    TransferLine,
};
use crate::file::At;
use crate::file::table::{Lines, Table, Value, of_parser};
use toml::de::DeTable;

/// Reads a script.
///
/// # Errors
/// [`ScriptError`] where the text is no script.
pub fn read(text: &str) -> Result<Script, ScriptError> {
    if text.len() > MOST_FILE_BYTES {
        return Err(Wrong::FileTooLarge.at(At::default()));
    }
    let lines = Lines::new(text);
    let entries = DeTable::parse(text).map_err(|error| of_parser(&error, &lines))?;
    let mut table = Table::new("a script", lines.end(), entries.get_ref(), &lines);
    let seed = table.take_some("seed", |value| value.number(0, u64::MAX))?;
    let transfers = table.take("transfer");
    let nothing_at = transfers.map_or(lines.end(), |value| value.at());
    let transfers = several(transfers, "transfers", MOST_TRANSFERS)?;
    let faults = several(table.take("fault"), "faults", MOST_FAULTS)?;
    table.finish()?;
    let script = Script {
        seed,
        transfers: (transfers.iter().enumerate())
            .map(|(index, value)| TransferLine::read(value.table("a transfer")?, index))
            .collect::<Result<_, _>>()?,
        faults: (faults.iter())
            .map(|value| FaultLine::read(value.table("a fault")?))
            .collect::<Result<_, _>>()?,
    };
    if script.transfers.is_empty() {
        return Err(Wrong::Nothing.at(nothing_at));
    }
    check_sizes(&script)?;
    Ok(script)
}

/// What starts together may not be more than a machine can hold, and all not more than ends in a time that somebody waits.
fn check_sizes(script: &Script) -> Result<(), ScriptError> {
    let mut together: u64 = 0;
    let mut all: u64 = 0;
    for line in &script.transfers {
        if line.start == Start::After {
            together = 0;
        }
        together += line.bytes;
        if together > MOST_BYTES {
            return Err(Wrong::TooMuch.at(line.at));
        }
        all += line.bytes;
        if all > MOST_BYTES_IN_ALL {
            return Err(Wrong::TooMuchInAll.at(line.at));
        }
    }
    Ok(())
}

fn several<'a, 't>(
    value: Option<Value<'a, 't>>,
    what: &'static str,
    most: usize,
) -> Result<Vec<Value<'a, 't>>, ScriptError> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let values = value.each();
    match values.get(most) {
        Some(first_too_many) => Err(Wrong::TooMany { what, most }.at(first_too_many.at())),
        None => Ok(values),
    }
}
