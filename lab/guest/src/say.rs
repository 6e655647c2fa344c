//! Lines of the report, said on the console.

/// Something was done, and what was seen is what was promised.
pub(crate) fn held(name: &str, text: &str) {
    line("ok", name, text);
}

/// Something was done, and something else was seen.
pub(crate) fn failed(name: &str, text: &str) {
    line("FAIL", name, text);
}

/// One line, whatever `text` holds: the console's protocol knows no other.
fn line(outcome: &str, name: &str, text: &str) {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    println!("LAB|{outcome}|{name}|{text}");
}
