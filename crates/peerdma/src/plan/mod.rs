//! Who moves what: for a copy from one volume to another, every way that there is, which one is taken, and why not the others.
//!
//! ```text
//! Situation (both ends, memory, routes, links, demands)
//!     -> candidates        store, load, internal, third-party, via RAM: possible, or refused with a Reason
//!     -> layout            slots and completion queue in the memory of each; too little of it is a Reason too
//!     -> cost              how long the links are busy with a byte, both crossings together
//!     -> CopyPlan          the one that is taken, with all others and why not
//! ```
//!
//! A plan is a value: nothing is reserved, mapped or begun. [`crate::engine`] carries it out.

mod candidate;
mod choose;
mod copy_plan;
mod cost;
mod layout;
mod reason;
mod situation;

pub use candidate::as_if;
pub use choose::choose;
pub use copy_plan::{CopyPlan, Crossing, Kind, Method, Proof, Reach};
pub use cost::Cost;
pub use layout::Layout;
pub use reason::{NoPlan, Reason, Rejected, Unfit};
pub use situation::{
    Arrival, Demands, DeviceMemory, End, Force, OwnData, QueueNeeds, RamUse, Shape, Situation,
};
