//! Figures in reports of what was simulated: tables, times, rates.

use crate::layout::columns;
use crate::report::Out;
use crate::style::Tone;

/// A cell of a table and how it looks.
pub(crate) type Cell = (String, Option<Tone>);

/// Aligned columns; those in which every row is empty are left out.
pub(crate) fn table<const N: usize>(titles: &[&str; N], rows: &[[Cell; N]], out: &Out) -> String {
    let shown: Vec<usize> = (0..N)
        .filter(|column| rows.iter().any(|row| !row[*column].0.is_empty()))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| columns(&row[column].0));
        cells.max().unwrap_or(0).max(columns(titles[column]))
    };
    let widths: Vec<usize> = shown.iter().map(|column| width(*column)).collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = (String, Option<Tone>)>| {
        let mut ended = String::new();
        let mut pending = String::new();
        for ((cell, tone), width) in cells.zip(&widths) {
            ended.push_str(&pending);
            pending = " ".repeat(width - columns(&cell) + 2);
            ended.push_str(&tone.map_or(cell.clone(), |tone| out.palette.paint(tone, &cell)));
        }
        text.push_str(ended.trim_end());
        text.push('\n');
    };
    line(
        &mut shown
            .iter()
            .map(|column| (titles[*column].to_owned(), Some(Tone::Faint))),
    );
    for row in rows {
        line(&mut shown.iter().map(|column| row[*column].clone()));
    }
    text
}

/// Simulated time in the unit that suits it.
pub(crate) fn duration(ps: u64) -> String {
    let (unit_ps, unit) = match ps {
        0..1_000 => return format!("{ps} ps"),
        1_000..1_000_000 => (1_000, "ns"),
        1_000_000..1_000_000_000 => (1_000_000, "us"),
        1_000_000_000..1_000_000_000_000 => (1_000_000_000, "ms"),
        _ => (1_000_000_000_000, "s"),
    };
    format!("{}.{} {unit}", ps / unit_ps, ps % unit_ps * 10 / unit_ps)
}

/// Bytes a second in units of 10^9, with two digits after the point.
pub(crate) fn gigabytes(bytes_per_second: u64) -> String {
    format!(
        "{}.{:02}",
        bytes_per_second / 1_000_000_000,
        bytes_per_second % 1_000_000_000 / 10_000_000
    )
}
