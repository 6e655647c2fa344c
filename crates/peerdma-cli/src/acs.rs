//! ACS in an operator's words.

use peerdma::pci::AcsFlags;

/// What set redirect bits do: `sends requests (R) and completions (C) up to the root complex`.
pub(crate) fn effect(flags: AcsFlags) -> String {
    let mut sent = Vec::new();
    if flags.contains(AcsFlags::REQUEST_REDIRECT) {
        sent.push("requests (R)");
    }
    if flags.contains(AcsFlags::COMPLETION_REDIRECT) {
        sent.push("completions (C)");
    }
    if flags.contains(AcsFlags::EGRESS_CONTROL) {
        sent.push("what egress control (E) names");
    }
    format!("sends {} up to the root complex", sent.join(" and "))
}
