#![no_main]

#[path = "../checks/lspci.rs"]
mod lspci;
#[path = "../checks/machine.rs"]
mod machine;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lspci::check(bytes));
