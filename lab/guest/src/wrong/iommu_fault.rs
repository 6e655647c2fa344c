//! PLACEHOLDER
use super::Guest;
pub(super) fn run(_: &Guest) -> Result<(), String> {
    Err("not yet".into())
}
