//! BAR registers of a function as they are now, from its folder in sysfs: the first 64 bytes of configuration space, which the kernel shows to everybody.
//!
//! Asked by [`crate::vfio`] and [`crate::process`], which look again at a machine that was read before. PCI Local Bus 3.0, 6.1.

use peerdma::pci::{Bar, Config, ConfigView, Extent};
use std::fs::File;
use std::io::Read;
use std::path::Path;

const HEADER_BYTES: usize = 64;

/// What they hold; none where they cannot be read.
pub(crate) fn bars(function: &Path) -> Vec<Bar> {
    let mut header = [0; HEADER_BYTES];
    let read = File::open(function.join("config")).and_then(|mut file| file.read_exact(&mut header));
    if read.is_err() {
        return Vec::new();
    }
    let config = Config::parse(ConfigView::new(&header, Extent::MayGoOn), &mut Vec::new());
    config.bars.known().unwrap_or_default()
}
