//! The simulated machine behind the traits that drivers use.

mod devices;
mod driver;
mod media;
mod memory;
mod spaces;

use driver::{Driver, Reach};
use peerdma::addr::Bdf;
use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::file;
use peerdma_sim::host::{Computer, PciFunction};
use peerdma_sim::machine::Options;
use std::fs;
use std::path::Path;

const SHIPPED: [&str; 10] = [
    "two-ssds",
    "two-sockets",
    "gpu-box",
    "offset-bridge",
    "two-offset-bridges",
    "store-only",
    "no-forward",
    "redirect",
    "shared-group",
    "conventional",
];

fn blueprint(name: &str) -> Blueprint {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../machines");
    let text = fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
    file::load(&text).unwrap()
}

fn shipped(name: &str) -> Computer {
    Computer::new(&blueprint(name), Options::default()).unwrap()
}

fn machine(text: &str) -> Computer {
    Computer::new(&file::load(text).unwrap(), Options::default()).unwrap()
}

fn bdf(computer: &Computer, name: &str) -> Bdf {
    computer.find(name).unwrap().bdf
}

/// How a function reaches RAM.
fn reach(computer: &Computer, bdf: Bdf) -> Reach {
    match computer.io_space(&[bdf]).unwrap() {
        Some(space) => Reach::Translated(Box::new(space)),
        None => Reach::Direct {
            inbound_offset: computer.initiator(bdf).unwrap().inbound_offset,
        },
    }
}

fn open(computer: &Computer, name: &str) -> Driver<PciFunction, Computer> {
    let bdf = bdf(computer, name);
    let function = computer.function(bdf).unwrap();
    Driver::open(function, computer.clone(), reach(computer, bdf)).unwrap()
}
