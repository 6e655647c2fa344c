//! The promise, on as many cases as a test run has time for.

use super::transfers;

#[test]
fn what_is_mapped_moves_exactly_its_bytes_and_what_is_refused_would_not_have_arrived() {
    let tally = transfers(0, 10_000, 2, &|_| ()).unwrap_or_else(|story| panic!("{story}"));
    tally.check().unwrap_or_else(|why| panic!("{why}\n{tally}"));
}
