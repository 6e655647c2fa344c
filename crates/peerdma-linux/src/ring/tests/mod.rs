//! Volumes of plain files and loop devices, judged by vectors in memory; and kernels that fail.

mod faults;
mod faulty;
mod handover;
mod model;
mod names;
mod peers;
mod rig;
