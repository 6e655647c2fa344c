#![no_main]

#[path = "../checks/lspci.rs"]
mod lspci;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lspci::check(bytes));
