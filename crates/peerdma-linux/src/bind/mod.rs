//! Lending a function to a driver in this process: taken from its kernel driver, bound to vfio-pci, and put back.
//!
//! Called by `peerdma bind` and `unbind`. A binding is planned ([`plan`]: everything is looked at, nothing is touched), then
//! carried out ([`Plan::carry_out`]); [`returns`] plans the way back from what was written down. What may not be taken
//! is refused with the reason ([`Obstacle`]); there is no way to force it.
//!
//! ```text
//! system     the tree that is read (sys, proc, dev of this machine or a copy)     hands     everything that is written
//! present    a function as it stands: driver, override, group                     nodes     what its driver made of it
//! in_use     who uses that                                                        obstacle  why it may not be taken
//! open       programs that have it open                                           nvmet     what the machine exports
//! gpu        nodes that sysfs does not show below a GPU
//! plan       what is to be done                                                   record    what was there before
//! carry      the steps, and the way back                                          error     what went wrong
//! ```

mod carry;
mod error;
mod gpu;
mod hands;
mod in_use;
mod nodes;
mod nvmet;
mod obstacle;
mod open;
mod plan;
mod present;
mod record;
mod system;
#[cfg(test)]
mod tests;

pub use error::{BindError, Undone};
pub use hands::{Hands, Live};
pub use obstacle::{Obstacle, Refusal};
pub use plan::{GroupWish, Plan, Step, Taken, plan, returns};
pub use record::{DEFAULT_STATE, Record};
pub use system::System;

/// The driver that lends functions to processes.
pub const VFIO: &str = "vfio-pci";
