#![no_main]

#[path = "../checks/machine.rs"]
mod machine;
#[path = "../checks/snapshot_json.rs"]
mod snapshot_json;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| snapshot_json::check(bytes));
