//! Replays the seeds and the findings of the fuzz target for configuration space.

#[path = "../../../fuzz/checks/config_space.rs"]
mod config_space;
#[path = "../../../fuzz/checks/replay.rs"]
mod replay;

#[test]
fn any_bytes_are_read_as_configuration_space_without_a_broken_promise() {
    replay::replay("config_space", config_space::check);
}
