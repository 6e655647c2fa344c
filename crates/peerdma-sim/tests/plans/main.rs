//! How the shipped machines would copy from one SSD to another: a table derived by hand from the machine files.

mod cost;
mod rig;
mod table;
