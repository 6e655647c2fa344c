//! The same tests as in `nvme_conformance`, with the controller behind a switch of a simulated machine: its registers are
//! reached by loads and stores of the processor, its requests take the fabric's ways.

#[path = "../nvme_conformance/admin.rs"]
mod admin;
#[path = "../nvme_conformance/bench.rs"]
mod bench;
#[path = "../nvme_conformance/buffer.rs"]
mod buffer;
#[path = "../nvme_conformance/command.rs"]
mod command;
#[path = "../nvme_conformance/doorbells.rs"]
mod doorbells;
#[path = "../nvme_conformance/driver.rs"]
mod driver;
#[path = "../nvme_conformance/enabling.rs"]
mod enabling;
#[path = "../nvme_conformance/golden.rs"]
mod golden;
#[path = "../nvme_conformance/hostile.rs"]
mod hostile;
#[path = "../nvme_conformance/io.rs"]
mod io;
#[path = "../nvme_conformance/namespaces.rs"]
mod namespaces;
#[path = "../nvme_conformance/old_buffer.rs"]
mod old_buffer;
#[path = "../nvme_conformance/property.rs"]
mod property;
#[path = "../nvme_conformance/prp.rs"]
mod prp;
#[path = "../nvme_conformance/queues.rs"]
mod queues;
#[path = "../nvme_conformance/sgl.rs"]
mod sgl;

mod peers;
mod rig;
