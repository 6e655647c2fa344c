#![no_main]

#[path = "../checks/machine.rs"]
mod machine;
#[path = "../checks/sysfs_archive.rs"]
mod sysfs_archive;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sysfs_archive::check(bytes));
