//! How long it takes to read a machine: `cargo run --release --example read_tree -- FOLDER [TIMES]`.

use peerdma::snapshot::Warnings;
use peerdma_linux::KeepConfig;
use peerdma_linux::tree::LiveTree;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments.next().ok_or("name a folder")?;
    let times: usize = match arguments.next() {
        Some(times) => times.to_str().ok_or("TIMES is a number")?.parse()?,
        None => 100,
    };
    let mut micros = Vec::with_capacity(times);
    let mut functions = 0;
    for _ in 0..times {
        let start = Instant::now();
        let tree = LiveTree::open(folder.as_ref()).map_err(|gap| gap.to_string())?;
        let mut warnings = Warnings::default();
        let snapshot = peerdma_linux::sysfs::read(&tree, &mut warnings, KeepConfig::Drop)?;
        micros.push(start.elapsed().as_micros());
        functions = snapshot.functions().len();
    }
    micros.sort_unstable();
    let at = |part: usize| micros.get(micros.len() * part / 100).copied().unwrap_or(0);
    println!(
        "{functions} functions: best {} us, median {} us, first-percentile-from-top {} us",
        at(0),
        at(50),
        at(99)
    );
    Ok(())
}
