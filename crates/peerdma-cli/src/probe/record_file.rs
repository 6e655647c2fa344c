//! The file of `--record` and `--records`: a line of JSON a record.

use super::record::{Line, SCHEMA};
use crate::error::Problem;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

/// What a file may have: some ten thousand records.
const MOST_BYTES: u64 = 32 << 20;
const MOST_LINES: usize = 20_000;

/// A record goes to the end of a regular file, or to a new one.
///
/// # Errors
/// A [`Problem`] where it cannot: told before anything is touched.
pub(super) fn check_appendable(path: &Path) -> Result<(), Problem> {
    let bad = |why: &dyn std::fmt::Display| {
        Problem::new(
            format_args!("what is seen cannot be recorded in {}", path.display()),
            why,
            "name a file in a folder that exists and may be written",
        )
    };
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(bad(&"it is no regular file")),
        Ok(_) => OpenOptions::new()
            .append(true)
            .open(path)
            .map(|_| ())
            .map_err(|error| bad(&error)),
        Err(_) => {
            let folder = path.parent().filter(|folder| *folder != Path::new(""));
            match std::fs::metadata(folder.unwrap_or(Path::new("."))) {
                Ok(folder) if folder.is_dir() => Ok(()),
                Ok(_) => Err(bad(&"what should be its folder is none")),
                Err(error) => Err(bad(&error)),
            }
        }
    }
}

/// Appends a line, in one go.
///
/// # Errors
/// A [`Problem`]
pub(super) fn append(path: &Path, line: &Line) -> Result<(), Problem> {
    let bad = |why: &dyn std::fmt::Display| {
        Problem::new(
            format_args!("what was seen could not be recorded in {}", path.display()),
            why,
            "look at the disk and the permissions of the file",
        )
    };
    let mut text = serde_json::to_string(line).map_err(|error| bad(&error))?;
    text.push('\n');
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| bad(&error))
}

/// Reads the records of a file.
///
/// # Errors
/// A [`Problem`] with the line that is none: no record is taken from a file that is not sound.
pub(crate) fn read(path: &Path) -> Result<Vec<Line>, Problem> {
    let bad = |why: &dyn std::fmt::Display, fix: &str| {
        Problem::new(format_args!("{} holds no records", path.display()), why, fix)
    };
    const CHECK: &str = "check the path and its permissions";
    // Opening a pipe would wait for somebody to write to it.
    let found = std::fs::metadata(path).map_err(|error| bad(&error, CHECK))?;
    if !found.is_file() {
        let why = "it is no regular file";
        return Err(bad(&why, "give a file that `peerdma probe --record` wrote"));
    }
    let file = File::open(path).map_err(|error| bad(&error, CHECK))?;
    let mut text = String::new();
    (file.take(MOST_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| bad(&error, "give a file that `peerdma probe --record` wrote"))?;
    if text.len() as u64 > MOST_BYTES {
        let why = format!("it has more than {MOST_BYTES} bytes");
        return Err(bad(&why, "keep the last of its lines: tail -n 1000"));
    }
    let mut lines = Vec::new();
    for (number, line) in (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
    {
        if lines.len() >= MOST_LINES {
            let why = format!("it has more than {MOST_LINES} records");
            return Err(bad(&why, "keep the last of its lines: tail -n 1000"));
        }
        let wrong = |why: &dyn std::fmt::Display| {
            bad(
                &format_args!("line {number}: {why}"),
                "give a file that `peerdma probe --record` wrote, or take out that line",
            )
        };
        let line: Line = serde_json::from_str(line).map_err(|error| wrong(&error))?;
        if line.schema != SCHEMA {
            return Err(wrong(&format_args!(
                "its schema is {}, not {SCHEMA}",
                line.schema
            )));
        }
        lines.push(line);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::record::End;

    fn line() -> Line {
        let end = |bdf: &str| End {
            bdf: bdf.into(),
            id: Some("1b36:0010".into()),
            host_bridge: None,
            root_port: None,
        };
        Line {
            schema: SCHEMA.into(),
            date: super::super::record::date(0),
            tool: "0".into(),
            machine: "live".into(),
            cpu: None,
            cpu_model: None,
            firmware: None,
            kernel: None,
            iommu: None,
            client: end("0000:01:00.0"),
            provider: end("0000:02:00.0"),
            bar: 2,
            by_kernel: false,
            share_a_port: true,
            ports: Vec::new(),
            directions: Vec::new(),
        }
    }

    #[test]
    fn what_was_recorded_is_read_and_what_is_no_record_is_named_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("probes.jsonl");
        check_appendable(&path).unwrap();
        append(&path, &line()).unwrap();
        append(&path, &line()).unwrap();
        assert_eq!(read(&path).unwrap(), [line(), line()]);
        let sound = std::fs::read_to_string(&path).unwrap();
        for wrong in [
            "{}".to_owned(),
            "[[[[[[".into(),
            "nul\0l".into(),
            sound.lines().next().unwrap().replace("record/1", "record/9"),
            sound.lines().next().unwrap().replace("\"tool\"", "\"fool\""),
            "[".repeat(100_000),
        ] {
            std::fs::write(&path, format!("{sound}{wrong}\n")).unwrap();
            let problem = read(&path).unwrap_err();
            assert!(problem.why.starts_with("line 3: "), "{}", problem.why);
        }
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read(&path).is_err());
        assert!(check_appendable(folder.path()).is_err());
        assert!(check_appendable(&folder.path().join("none/probes.jsonl")).is_err());
    }
}
