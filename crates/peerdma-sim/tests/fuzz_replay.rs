//! Replays the seeds and the findings of the fuzz targets for machines.

#[path = "../../../fuzz/checks/blueprint.rs"]
mod blueprint;
#[path = "../../../fuzz/checks/machine_file.rs"]
mod machine_file;
#[path = "../../../fuzz/checks/replay.rs"]
mod replay;

#[test]
fn any_text_is_read_as_a_machine_file_without_a_broken_promise() {
    replay::replay("machine_file", machine_file::check);
}

#[test]
fn any_snapshot_is_simulated_without_a_broken_promise() {
    replay::replay("blueprint", blueprint::check);
    replay::replay("snapshot_json", blueprint::check);
}
