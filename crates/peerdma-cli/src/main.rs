//! The command line of peerdma.
fn main() {}
