//! Replays the seeds and the findings of the fuzz targets for readers.

#[path = "../../../fuzz/checks/lspci.rs"]
mod lspci;
#[path = "../../../fuzz/checks/replay.rs"]
mod replay;

#[test]
fn any_bytes_are_read_as_a_listing_without_a_broken_promise() {
    replay::replay("lspci", lspci::check);
}
