//! The questions, one function each: `Some` if the core answers as it must.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;
use peerdma::addr::Bdf;
use peerdma::pci::{AcsFlags, Config, ConfigView, Extent, Id};
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
    // A switch port that redirects requests (ACS control 0x1d, at 0x100).
    let mut bytes = [0u8; 0x108];
    let mut write = |at: usize, word: u32| {
        let register = bytes.get_mut(at..at + 4)?;
        register.copy_from_slice(&word.to_le_bytes());
        Some(())
    };
    write(0x00, 0x8764_10b5)?;
    write(0x04, 0x0010_0006)?;
    write(0x08, 0x0604_0001)?;
    write(0x0c, 0x0001_0000)?;
    write(0x18, 0x0003_0201)?;
    write(0x34, 0x40)?;
    write(0x40, 0x0062_0010)?;
    write(0x100, 0x0001_000d)?;
    write(0x104, 0x001d_001f)?;
    let mut defects = Vec::new();
    let view = ConfigView::new(black_box(&bytes), Extent::Whole);
    let config = Config::parse(view, &mut defects);
    let acs = config.acs.known()??;
    let holds = defects.is_empty()
        && config.id.known()?
            == Id {
                vendor: 0x10b5,
                device: 0x8764,
            }
        && config.bridge.known()?.is_some()
        && acs.control.contains(AcsFlags::REQUEST_REDIRECT);
    holds.then_some(())
}
