//! The questions, one function each: `Some` if the core answers as it must.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;
use peerdma::addr::Bdf;
use peerdma::pci::{Config, ConfigView, Extent};
use peerdma::snapshot::{Function, Host, Snapshot, Warnings};

/// A promise, and the question that shows whether the core keeps it.
pub type Step = (&'static str, fn() -> Option<()>);

/// What is tried, in this order; a new part of the core adds a line.
pub const STEPS: &[Step] = &[
    ("an address is read and printed", address),
    ("a snapshot is sorted and searched", snapshot),
    ("a configuration space is read", config),
];

fn address() -> Option<()> {
    let bdf: Bdf = black_box("10000:e1:00.7").parse().ok()?;
    (bdf.to_string() == "10000:e1:00.7").then_some(())
}

fn snapshot() -> Option<()> {
    let (first, second): (Bdf, Bdf) = ("00:01.0".parse().ok()?, "00:02.0".parse().ok()?);
    let functions = vec![Function::new(second), Function::new(first), Function::new(second)];
    let mut warnings = Warnings::default();
    let snapshot = Snapshot::new(Host::default(), black_box(functions), &mut warnings);
    let holds =
        snapshot.functions().len() == 2 && snapshot.position(second) == Some(1) && warnings.list().len() == 1;
    holds.then_some(())
}

fn config() -> Option<()> {
    let mut bytes = [0u8; 256];
    bytes[..4].copy_from_slice(&[0x86, 0x80, 0x43, 0x4c]);
    let mut defects = Vec::new();
    let view = ConfigView::new(black_box(&bytes), Extent::Whole);
    let config = Config::parse(view, &mut defects);
    black_box(config);
    Some(())
}
