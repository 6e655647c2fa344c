//! Where peerdma meets Linux.

mod keep;
pub mod lspci;
pub mod sysfs;
pub mod tree;

pub use keep::KeepConfig;
