//! What the guest wrote: for each machine a line `machine NAME functions N found M` and the kernel's matrix, at the end
//! a line `end`. What follows it (a disk is longer than what was written on it) does not count.

use std::collections::BTreeMap;

/// What the kernel said of one machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    /// Functions that enumeration reached.
    pub(super) found: usize,
    /// Lines `provider client distance map_type raw_distance`.
    pub(super) matrix: &'a str,
}

/// All answers by name of machine.
///
/// Fails where the text is cut off, names a machine twice, or is no such text.
pub(super) fn parse(text: &str) -> Result<BTreeMap<&str, Answer<'_>>, String> {
    let mut answers = BTreeMap::new();
    let mut rest = text;
    loop {
        let (line, after) = rest
            .split_once('\n')
            .ok_or("it is cut off: there is no line `end`")?;
        if line == "end" {
            return Ok(answers);
        }
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (name, found) = match words[..] {
            ["machine", name, "functions", _, "found", found] => (name, found.parse().ok()),
            _ => {
                return Err(format!(
                    "expected `machine NAME functions N found M`, found `{line}`"
                ));
            }
        };
        let found = found.ok_or_else(|| format!("`{line}` ends with no number"))?;
        let end = heading(after).ok_or_else(|| format!("the matrix of {name} is cut off"))?;
        let matrix = &after[..end];
        if answers.insert(name, Answer { found, matrix }).is_some() {
            return Err(format!("{name} comes twice"));
        }
        rest = &after[end..];
    }
}

/// Where the next line begins that belongs to no matrix.
fn heading(text: &str) -> Option<usize> {
    let is_heading = |start: usize| {
        let line = text[start..].split('\n').next().unwrap_or_default();
        line == "end" || line.starts_with("machine ")
    };
    let starts = text.match_indices('\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(starts).find(|&start| is_heading(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_machine_has_its_matrix_and_what_follows_the_end_does_not_count() {
        let text = "machine a functions 2 found 1\nx y\nz\nmachine b functions 0 found 0\nend\n\0\0\0";
        let answers = parse(text).unwrap();
        let answer = |found, matrix| Answer { found, matrix };
        assert_eq!(answers["a"], answer(1, "x y\nz\n"));
        assert_eq!(answers["b"], answer(0, ""));
        assert_eq!(answers.len(), 2);
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let text = "machine a functions 2 found 2\nx y\nmachine b functions 1 found 1\nz\nend\n";
        for end in 0..text.len() {
            assert!(parse(&text[..end]).is_err(), "{end}");
        }
        assert!(parse(text).is_ok());
        assert!(parse("machine a functions 1 found 1\nmachine a functions 1 found 1\nend\n").is_err());
        assert!(parse("machine a found 1\nend\n").is_err());
    }
}
