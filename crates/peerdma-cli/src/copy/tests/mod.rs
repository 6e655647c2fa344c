//! Copies on machines in which one thing after the other goes wrong, and copies in many orders of arrival.
//!
//! ```text
//! rig        a machine, what is copied on it how, and what must hold afterwards whatever happens
//! refusals   the host refuses a step: RAM, mapping, unmapping, reset; the first, the second, ... until none is refused
//! accidents  devices removed, links down, controllers broken down, completions lost or bad, at every moment
//! seeds      no fault; many orders of arrival
//! ```
//!
//! `cargo test` tries a part. `PEERDMA_FAULTS=all cargo test --release -p peerdma-cli copy::tests` tries everything: every machine with its IOMMU off and on, every
//! way, every step and moment, 1,000 seeds on each machine.

mod accidents;
mod refusals;
mod rig;
mod seeds;
