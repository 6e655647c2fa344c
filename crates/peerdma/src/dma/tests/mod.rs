//! Tests of mapping against a model that knows no spans: every page by itself, every byte looked up.

mod copies;
mod edges;
mod faults;
mod interleaving;
mod kinds;
mod model;
mod properties;
mod ram;
mod revocation;
