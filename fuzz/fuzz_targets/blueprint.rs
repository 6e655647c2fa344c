#![no_main]

#[path = "../checks/blueprint.rs"]
mod blueprint;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| blueprint::check(bytes));
