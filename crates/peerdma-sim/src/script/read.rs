//! Reading a script.

use super::error::{ScriptError, Wrong};
use super::transfer::Start;
use super::{FaultLine, MOST_BYTES, MOST_FAULTS, MOST_FILE_BYTES, MOST_TRANSFERS, Script, TransferLine};
use crate::file::At;
use crate::file::table::{Lines, Table, Value, shortened_to};
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
    let entries = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(At::default(), |span| lines.at(&span));
        let message = shortened_to(error.message(), 200);
        Wrong::Text(crate::file::Wrong::Toml { message }).at(at)
    })?;
    let start = At { line: 1, column: 1 };
    let mut table = Table::new("a script", start, entries.get_ref(), &lines);
    let seed = table.take_some("seed", |value| value.number(0, u64::MAX))?;
    let transfers = several(table.take("transfer"), "transfers", MOST_TRANSFERS)?;
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
        return Err(Wrong::Nothing.at(start));
    }
    check_groups(&script)?;
    Ok(script)
}

/// What starts together may not be more than a machine can hold.
fn check_groups(script: &Script) -> Result<(), ScriptError> {
    let mut together: u64 = 0;
    for line in &script.transfers {
        if line.start == Start::After {
            together = 0;
        }
        together += line.bytes;
        if together > MOST_BYTES {
            return Err(Wrong::TooMuch.at(line.at));
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
    let at = value.at();
    let values = value.each();
    match values.len() > most {
        true => Err(Wrong::TooMany { what, most }.at(at)),
        false => Ok(values),
    }
}
