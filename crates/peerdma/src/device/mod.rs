//! The seam for hardware: what a driver needs of a machine, whoever provides it (a simulated machine, VFIO, a kernel).
//!
//! All methods take `&self`: several drivers share one host. Whoever implements them brings the interior mutability.

mod error;
mod function;
mod host;

pub use error::DeviceError;
pub use function::{BusMaster, Function, Mmio, Presence};
pub use host::Host;
