//! The engine's promises, over volumes that do all that a device may.

mod failures;
mod fake;
mod mapped;
mod properties;
mod rig;
mod verify;
