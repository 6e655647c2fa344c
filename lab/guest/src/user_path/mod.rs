//! `user-path type1|iommufd CONTROLLERS MEMORIES`: our driver, over VFIO, moves data between every controller and the memory of every function that lends some.
//!
//! ```text
//! the kernel's driver writes                              (`blocks`)
//! peerdma bind
//!   our driver reads that, writes, and tries every shape  (`exercise`, `shapes`), by the judge's ways and all through the host bridge
//!   peerdma copy, every ordered pair
//! peerdma unbind
//! the kernel's driver reads what both wrote               (`blocks`)
//! ```
//!
//! Every byte is compared in here.

pub(crate) mod blocks;
mod exercise;
mod shapes;

use crate::kernel_path::{self, Controller};
use crate::ours::{Ours, Way};
use crate::say;
use crate::verdicts::peerdma;
use exercise::Sum;
use peerdma::addr::Bdf;
use peerdma_linux::vfio::Api;
use std::fs;

const RAM_BYTES: u64 = 32 << 20;
/// QEMU's function whose BAR is plain memory (ivshmem).
const PLAIN_MEMORY: (&str, &str) = ("0x1af4", "0x1110");

pub(crate) fn run(api: &str, controllers_there: &str, memories_there: &str) -> Result<(), String> {
    let (word, api) = match api {
        "type1" => (api, Api::Type1),
        "iommufd" => (api, Api::Iommufd),
        other => return Err(format!("`{other}` is neither type1 nor iommufd")),
    };
    let controllers = kernel_path::controllers()?;
    let memory = plain_memory()?;
    kernel_path::are_so_many("controllers", controllers.len(), controllers_there)?;
    kernel_path::are_so_many("functions that are memory", memory.len(), memories_there)?;
    for controller in &controllers {
        blocks::prepare(controller)?;
    }
    let mut named: Vec<&str> = controllers.iter().map(|one| one.address.as_str()).collect();
    named.extend(memory.iter().map(String::as_str));
    peerdma(&[&["bind", "--yes"], &named[..]].concat())?;
    let functions = named
        .iter()
        .map(|one| one.parse::<Bdf>().map_err(|error| format!("{one}: {error}")))
        .collect::<Result<Vec<_>, _>>()?;
    for way in [Way::Judged, Way::HostBridge] {
        let sum = drive(&controllers, &functions, api, way)?;
        let name = match way {
            Way::Judged => "as-judged",
            Way::HostBridge => "by-host-bridge",
        };
        let Sum {
            moved,
            refused,
            own,
            by_bus,
            by_host_bridge,
            longest_bytes,
        } = sum;
        if way == Way::HostBridge && by_bus != 0 {
            return Err(format!(
                "{by_bus} pairs by bus address though all were to take the host bridge"
            ));
        }
        // Every controller with its own memory, and with that of every other function.
        let (all, pairs) = (controllers.len(), own + by_bus + by_host_bridge);
        if (own, pairs) != (all, all * functions.len()) || moved == 0 || refused == 0 {
            return Err(format!(
                "{name}: {own} pairs with their own memory and {pairs} in all, of {all} controllers and {} functions; {moved} shapes moved, {refused} refused",
                functions.len()
            ));
        }
        say::held(
            name,
            &format!(
                "{} controllers identified by serial; {by_bus} pairs by bus address, {by_host_bridge} through the host bridge, {own} with their own memory; \
                 {moved} shapes of up to {longest_bytes} bytes written and read, every byte compared; {refused} refused as they must be",
                controllers.len()
            ),
        );
    }
    let mut copies = 0;
    for (from, source) in controllers.iter().enumerate() {
        for (to, destination) in controllers.iter().enumerate().filter(|(to, _)| *to != from) {
            blocks::copy(word, source, destination, from, to, None)?;
            copies += 1;
        }
    }
    if let ([source, .., destination], Some(lender)) = (&controllers[..], memory.first()) {
        blocks::copy(
            word,
            source,
            destination,
            blocks::BY_LENDER,
            blocks::BY_LENDER,
            Some(lender),
        )?;
        copies += 1;
    }
    peerdma(&[&["unbind", "--yes"], &named[..]].concat())?;
    let after = blocks::after(&controllers)?;
    for controller in &after {
        blocks::check_ours(controller)?;
    }
    for (from, source) in after.iter().enumerate() {
        for (to, destination) in after.iter().enumerate().filter(|(to, _)| *to != from) {
            blocks::check_copy(source, destination, from, to)?;
        }
    }
    if let ([source, .., destination], Some(_)) = (&after[..], memory.first()) {
        blocks::check_copy(source, destination, blocks::BY_LENDER, blocks::BY_LENDER)?;
    }
    say::held(
        "kernel",
        &format!(
            "what the kernel's driver wrote, ours read; what ours wrote to {} controllers and what {copies} copies of peerdma wrote, the kernel's read after unbind",
            after.len()
        ),
    );
    Ok(())
}

/// Everything that our driver does itself.
fn drive(controllers: &[Controller], functions: &[Bdf], api: Api, way: Way) -> Result<Sum, String> {
    let ours = Ours::open(functions, api, way, RAM_BYTES)?;
    let mut sum = Sum::default();
    for controller in controllers {
        let bdf: Bdf = controller
            .address
            .parse()
            .map_err(|error| format!("{}: {error}", controller.address))?;
        let driven = ours.controllers.get(&bdf).ok_or("it was not started")?;
        let info = driven.info();
        if info.serial != controller.disk || driven.namespaces().len() != 1 {
            return Err(format!(
                "{bdf} says that it is {} with {} namespaces, and is {}",
                info.serial,
                driven.namespaces().len(),
                controller.disk
            ));
        }
        blocks::read_kernels(&ours, bdf, controller)?;
        exercise::controller(&ours, bdf, functions, &mut sum)
            .map_err(|why| format!("{bdf}, {way:?}: {why}"))?;
        blocks::write_ours(&ours, bdf, controller)?;
    }
    ours.close()?;
    Ok(sum)
}

fn plain_memory() -> Result<Vec<String>, String> {
    const DEVICES: &str = "/sys/bus/pci/devices";
    let is = |address: &str, file: &str, expected: &str| {
        let value = fs::read_to_string(format!("{DEVICES}/{address}/{file}"));
        value.is_ok_and(|value| value.trim() == expected)
    };
    let entries = fs::read_dir(DEVICES).map_err(|error| format!("{DEVICES}: {error}"))?;
    let addresses = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let (vendor, device) = PLAIN_MEMORY;
    Ok(addresses
        .filter(|one| is(one, "vendor", vendor) && is(one, "device", device))
        .collect())
}
