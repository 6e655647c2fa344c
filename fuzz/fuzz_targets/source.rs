#![no_main]

#[path = "../checks/machine.rs"]
mod machine;
#[path = "../checks/source.rs"]
mod source;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| source::check(bytes));
