//! The promise that the two judges agree, on as many machines as a test run has time for.

use super::{random, shipped};

#[test]
fn specification_and_simulator_agree_on_every_shipped_machine() {
    let tally = shipped().expect("the machines");
    assert_eq!(tally.different, 0, "{}", tally.differences.join("\n"));
    assert!(tally.delivered > 0 && tally.refused > 0, "{tally}");
}

#[test]
fn specification_and_simulator_agree_on_a_thousand_random_machines() {
    let tally = random(0, 1000, 2);
    assert_eq!(tally.different, 0, "{}", tally.differences.join("\n"));
    // What is compared is what the promise is worth.
    assert!(tally.delivered * 20 > tally.questions, "{tally}");
    assert!(tally.refused * 20 > tally.questions, "{tally}");
    assert!(tally.unknown * 6 < tally.questions, "{tally}");
    assert!(tally.trivial * 3 < tally.questions, "{tally}");
}
