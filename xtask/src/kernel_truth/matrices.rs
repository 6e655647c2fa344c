//! Two matrices of verdicts, compared pair by pair.
//!
//! A line is `provider client distance map_type raw_distance`; blanks or tabs and a heading do not count,
//! everything else does, the order of lines too: providers, and for each its clients.

use std::cmp::Ordering;
use std::fmt;

const COLUMNS: usize = 5;

/// One line, by columns.
type Row<'a> = [&'a str; COLUMNS];

/// What comparing two matrices yielded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Pairs in the true matrix.
    pub(crate) pairs: usize,
    /// Pairs that are missing, that should not be there, or whose answer is another.
    pub(crate) differing: usize,
    /// The first of them.
    pub(crate) shown: Vec<Difference>,
    /// The first line that stands elsewhere than in the true matrix, if the pairs are the same.
    pub(crate) misplaced: Option<Misplaced>,
}

/// A line that does not stand where the true matrix has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misplaced {
    line: usize,
    expected: String,
    found: String,
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            expected,
            found,
        } = self;
        write!(
            f,
            "the lines are in another order: line {line} is about {found}, the kernel's about {expected}"
        )
    }
}

/// One pair that differs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pair: String,
    truth: Option<String>,
    said: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_nothing = |answer: &Option<String>| answer.clone().unwrap_or_else(|| "nothing".into());
        write!(
            f,
            "{}: the kernel says {}, peerdma says {}",
            self.pair,
            or_nothing(&self.truth),
            or_nothing(&self.said)
        )
    }
}

/// Compares what was `said` with the `truth`; keeps at most `most` differences.
///
/// Fails on a line without five columns, on a pair that comes twice, and on an empty truth.
pub(crate) fn compare(truth: &str, said: &str, most: usize) -> Result<Comparison, String> {
    let (mut truth, _) = rows(truth).map_err(|why| format!("the kernel's matrix, {why}"))?;
    let (mut said, said_lines) = rows(said).map_err(|why| format!("peerdma's matrix, {why}"))?;
    if truth.is_empty() {
        return Err("the kernel's matrix is empty".into());
    }
    let mut comparison = Comparison {
        pairs: truth.len(),
        differing: 0,
        shown: Vec::new(),
        misplaced: misplaced(&truth, &said, &said_lines),
    };
    for (rows, name) in [(&mut truth, "the kernel's"), (&mut said, "peerdma's")] {
        sort(rows).map_err(|why| format!("{name} matrix, {why}"))?;
    }
    let mut differs = |truth: Option<&Row<'_>>, said: Option<&Row<'_>>| {
        comparison.differing += 1;
        if comparison.shown.len() < most
            && let Some(row) = truth.or(said)
        {
            comparison.shown.push(Difference {
                pair: pair(row).join(" "),
                truth: truth.map(|row| row[2..].join(" ")),
                said: said.map(|row| row[2..].join(" ")),
            });
        }
    };
    let (mut left, mut right) = (truth.iter().peekable(), said.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(truth), Some(said)) => pair(truth).cmp(pair(said)),
        };
        match order {
            Ordering::Less => differs(left.next(), None),
            Ordering::Greater => differs(None, right.next()),
            Ordering::Equal => {
                let (truth, said) = (left.next(), right.next());
                if truth != said {
                    differs(truth, said);
                }
            }
        }
    }
    Ok(comparison)
}

/// Provider and client.
fn pair<'a, 'b>(row: &'b Row<'a>) -> &'b [&'a str] {
    &row[..2]
}

/// The first row that is not about the pair that the truth has in its place; none where one of the two
/// has more rows, which is a difference of another kind.
fn misplaced(truth: &[Row<'_>], said: &[Row<'_>], lines: &[usize]) -> Option<Misplaced> {
    if truth.len() != said.len() {
        return None;
    }
    let mut rows = truth.iter().zip(said).zip(lines);
    rows.find(|((truth, said), _)| pair(truth) != pair(said))
        .map(|((truth, said), &line)| Misplaced {
            line,
            expected: pair(truth).join(" "),
            found: pair(said).join(" "),
        })
}

/// The rows of a matrix without heading and empty lines, and the number of the line of each.
fn rows(text: &str) -> Result<(Vec<Row<'_>>, Vec<usize>), String> {
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || (rows.is_empty() && line.starts_with("provider")) {
            continue;
        }
        let mut columns = line.split_ascii_whitespace();
        let mut row = [""; COLUMNS];
        for column in &mut row {
            *column = columns.next().ok_or_else(|| malformed(index, line))?;
        }
        if columns.next().is_some() {
            return Err(malformed(index, line));
        }
        rows.push(row);
        lines.push(index + 1);
    }
    Ok((rows, lines))
}

/// Sorts rows by pair; no pair may come twice.
fn sort(rows: &mut [Row<'_>]) -> Result<(), String> {
    rows.sort_unstable();
    match rows.windows(2).find(|two| pair(&two[0]) == pair(&two[1])) {
        Some(two) => Err(format!("the pair {} comes twice", pair(&two[0]).join(" "))),
        None => Ok(()),
    }
}

fn malformed(index: usize, line: &str) -> String {
    format!(
        "line {}: expected `provider client distance map_type raw_distance`, found `{}`",
        index + 1,
        line.chars().take(120).collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: &str = "\
0000:00:00.0 0000:00:00.0 0 BUS_ADDR 0
0000:00:00.0 0000:00:01.0 -1 NOT_SUPPORTED 2
0000:00:01.0 0000:00:00.0 2 THRU_HOST_BRIDGE 2
";

    #[test]
    fn heading_and_tabs_do_not_count() {
        let said = format!(
            "provider\tclient\tdistance\tmap_type\traw_distance\n{}",
            TRUTH.replace(' ', "\t")
        );
        let compared = compare(TRUTH, &said, 5).unwrap();
        assert_eq!((compared.pairs, compared.differing), (3, 0));
        assert_eq!(compared.misplaced, None);
    }

    #[test]
    fn another_order_of_lines_is_an_error_of_its_own() {
        let mut lines: Vec<&str> = TRUTH.lines().collect();
        lines.swap(0, 1);
        let compared = compare(TRUTH, &format!("\n{}", lines.join("\n")), 5).unwrap();
        assert_eq!(compared.differing, 0);
        assert_eq!(
            compared.misplaced.unwrap().to_string(),
            "the lines are in another order: line 2 is about 0000:00:00.0 0000:00:01.0, the kernel's about \
             0000:00:00.0 0000:00:00.0"
        );
        let compared = compare(TRUTH, lines[0], 5).unwrap();
        assert_eq!((compared.differing, compared.misplaced), (2, None));
    }

    #[test]
    fn every_column_counts() {
        for (from, to) in [
            ("0 BUS_ADDR 0", "0 BUS_ADDR 1"),
            ("0 BUS_ADDR 0", "4 BUS_ADDR 0"),
            ("NOT_SUPPORTED", "UNKNOWN"),
        ] {
            let compared = compare(TRUTH, &TRUTH.replace(from, to), 5).unwrap();
            assert_eq!(compared.differing, 1, "{from} -> {to}");
        }
    }

    #[test]
    fn missing_and_additional_pairs_are_differences() {
        let first_line = TRUTH.lines().next().unwrap();
        let compared = compare(TRUTH, first_line, 1).unwrap();
        assert_eq!((compared.differing, compared.shown.len()), (2, 1));
        assert_eq!(
            compared.shown[0].to_string(),
            "0000:00:00.0 0000:00:01.0: the kernel says -1 NOT_SUPPORTED 2, peerdma says nothing"
        );
        let compared = compare(first_line, TRUTH, 5).unwrap();
        assert_eq!((compared.pairs, compared.differing), (1, 2));
        assert_eq!(compare(TRUTH, "", 5).unwrap().differing, 3);
    }

    #[test]
    fn what_is_no_matrix_is_refused_with_its_line() {
        let why = compare(TRUTH, "0000:00:00.0 0000:00:00.0 0 BUS_ADDR\n", 5).unwrap_err();
        assert!(why.starts_with("peerdma's matrix, line 1"), "{why}");
        let why = compare(&format!("{TRUTH}{TRUTH}"), TRUTH, 5).unwrap_err();
        assert!(why.contains("comes twice"), "{why}");
        assert!(compare("", "", 5).is_err());
        assert!(compare(TRUTH, &format!("{TRUTH}a b c d e f\n"), 5).is_err());
    }
}
