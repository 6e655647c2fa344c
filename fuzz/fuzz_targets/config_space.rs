#![no_main]

#[path = "../checks/config_space.rs"]
mod config_space;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| config_space::check(bytes));
