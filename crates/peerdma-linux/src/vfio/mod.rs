//! Devices that the kernel leaves to this process: VFIO.
//!
//! [`open`] gives [`Device`]s and the I/O address spaces ([`Backend`]) that they live in; [`Function`] is what a driver takes. Both interfaces of the kernel are
//! behind them: groups and containers (`type1`), device files and iommufd (`iommufd`). `place` reads what sysfs says, `uapi` has the numbers, `file`
//! opens and asks, `chain` and `info` read answers, `config`, `bar`, `interrupt` and `recall` are parts of a device. [`VfioError`] says what, why, and what to do.
//!
//! Needed of the system: an IOMMU; the device bound to vfio-pci; the files below `/dev/vfio` (and `/dev/iommu`) given to the user; as much locked memory
//! allowed as is mapped for devices. No capability.

pub mod backend;
mod bar;
mod chain;
mod config;
mod device;
mod error;
mod file;
mod function;
mod info;
mod interrupt;
mod iommufd;
mod lost_bars;
mod memlock;
mod open;
mod place;
mod recall;
mod space;
mod type1;
mod uapi;

pub use backend::{Api, Backend, Source};
pub use bar::{Area, BarInfo, BarMapping};
pub use device::Device;
pub use error::VfioError;
pub use function::{Function, Registers};
pub use interrupt::Interrupt;
pub use memlock::Memlock;
pub use open::{Opened, open, open_beside};
pub use place::Member;
