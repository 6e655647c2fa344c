//! Probes of simulated machines: what is seen is what the verdict promises, and what is broken on purpose is found.

mod broken;
mod random;
mod refused;
mod rig;
mod shipped;
