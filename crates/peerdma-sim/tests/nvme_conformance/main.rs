//! Does the NVMe controller do what NVM Express Base 2.0 and NVM Command Set 1.0 say, where a driver would notice?
//!
//! Written from the specification. Each test names the section that it is about; numbers are written out here, none is
//! taken from the controller's code.

mod admin;
mod bench;
mod buffer;
mod command;
mod doorbells;
mod driver;
mod enabling;
mod golden;
mod hostile;
mod io;
mod namespaces;
mod old_buffer;
mod property;
mod prp;
mod queues;
mod rig;
mod sgl;
