//! Replays the seeds and the findings of the fuzz targets for readers.

#[path = "../../../fuzz/checks/lspci.rs"]
mod lspci;
#[path = "../../../fuzz/checks/machine.rs"]
mod machine;
#[path = "../../../fuzz/checks/replay.rs"]
mod replay;
#[path = "../../../fuzz/checks/snapshot_json.rs"]
mod snapshot_json;
#[path = "../../../fuzz/checks/source.rs"]
mod source;
#[path = "../../../fuzz/checks/sysfs_archive.rs"]
mod sysfs_archive;

#[test]
fn any_bytes_are_read_as_a_listing_without_a_broken_promise() {
    replay::replay("lspci", lspci::check);
}

#[test]
fn any_bytes_are_read_as_an_archive_without_a_broken_promise() {
    replay::replay("sysfs_archive", sysfs_archive::check);
}

#[test]
fn any_bytes_are_read_as_a_snapshot_without_a_broken_promise() {
    replay::replay("snapshot_json", snapshot_json::check);
}

#[test]
fn any_bytes_are_recognised_and_read_without_a_broken_promise() {
    replay::replay("source", source::check);
}
