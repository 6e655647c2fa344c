//! An NVMe driver, written from the NVM Express specification over the seam of [`peerdma::device`]: it cannot tell a simulated
//! machine from hardware. It gives [`peerdma::block::Volume`]s whose data may lie in RAM, in the controller's own memory, or in the memory
//! of any device that the controller reaches.
//!
//! ```text
//! Controller::open     stop, start, identify, find the controller memory buffer      (`control`, `buffer`, `identify`)
//!   .volume()          a queue pair and a Volume on it                               (`queue`)
//!      submit          Bio -> Mapping -> PRP entries or SGL descriptors -> entry     (`pointer`, `prp`, `sgl`, `command`)
//!      poll            one acquiring load each completion; deadlines, resets         (`ring`, `slots`, `admin`)
//! ```
//!
//! What a device says is hostile: a completion for a command that is not under way, a head that passes the tail, a page of identify data that
//! cannot be, a register that never changes. Each ends in a typed error after a bounded wait, and never in memory that is given back while the
//! device may still reach it.
//!
//! References are to NVM Express Base 2.0, NVM Command Set 1.0 and NVMe over PCIe Transport 1.0.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod admin;
mod buffer;
mod command;
mod control;
mod controller;
mod entry;
mod error;
mod identify;
mod memory;
mod options;
mod pairs;
mod phase;
mod pointer;
mod prp;
mod queue;
mod register;
mod ring;
mod sgl;
mod slots;

pub use buffer::{Abilities, Buffer, BufferControl};
pub use controller::Controller;
pub use error::{Cause, Error};
pub use identify::{Info, Namespace, SglSupport, Unusable, WriteCache};
pub use options::{BufferUse, Options, QueueOptions, QueuePlace};
pub use pointer::{Built, Forms, ListArea, Pointer, PointerError, build};
pub use queue::Queue;
