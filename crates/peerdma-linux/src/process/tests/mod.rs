//! The process over address spaces that only remember what they were told.

#[cfg(not(loom))]
mod driven;
mod fake;
#[cfg(not(loom))]
mod machine;
#[cfg(not(loom))]
mod mappings;
#[cfg(loom)]
mod threads;
