//! `iommufd few|all CONTROLLERS`: copies between controllers that iommufd lends, through the memory of every controller; and type 1 on the same kernel.
//!
//! ```text
//! the kernel's driver writes
//! peerdma bind
//!   peerdma copy: which interface it takes by itself, and when told; through every controller's memory
//! peerdma unbind
//! the kernel's driver reads
//! ```
//!
//! Memory of another controller is mapped there as a dma-buf of VFIO's.

use crate::kernel_path::{self, Controller};
use crate::ours::{compare, pattern};
use crate::say;
use crate::user_path::blocks;
use crate::verdicts::peerdma;
use serde_json::Value;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

const BLOCK_BYTES: u64 = 512;
/// What is copied, of every controller; each copy takes its own part.
const SOURCE_BYTES: u64 = 32 << 20;
const BYTES: u64 = 256 << 10;
/// Where copies lie on their destinations, each in its own place.
const DESTINATION_BYTE: u64 = 64 << 20;

/// A copy that the command called proven.
struct Copied<'c> {
    source: &'c Controller,
    from_byte: u64,
    destination: &'c Controller,
    to_byte: u64,
    len_bytes: u64,
}

/// How much is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Every pair, some lenders.
    Few,
    /// Every pair by every lender.
    All,
}

pub(crate) fn run(scope: &str, expected: &str) -> Result<(), String> {
    let scope = match scope {
        "few" => Scope::Few,
        "all" => Scope::All,
        other => return Err(format!("`{other}` is neither few nor all")),
    };
    let controllers = kernel_path::controllers()?;
    kernel_path::are_so_many("controllers", controllers.len(), expected)?;
    for controller in &controllers {
        blocks::write(controller, 0, &content(controller))?;
    }
    let named: Vec<&str> = controllers.iter().map(|one| one.address.as_str()).collect();
    peerdma(&[&["bind", "--yes"], &named[..]].concat())?;
    let mut copied = Vec::new();
    interfaces(&controllers, &mut copied)?;
    lenders(&controllers, scope, &mut copied)?;
    peerdma(&[&["unbind", "--yes"], &named[..]].concat())?;
    let after = blocks::after(&controllers)?;
    for one in &copied {
        one.check(&after)?;
    }
    say::held(
        "kernel",
        &format!(
            "the kernel's driver reads what all {} proven copies wrote",
            copied.len()
        ),
    );
    Ok(())
}

/// What a copy takes by itself, and when told.
fn interfaces<'c>(controllers: &'c [Controller], copied: &mut Vec<Copied<'c>>) -> Result<(), String> {
    let [source, destination, ..] = controllers else {
        return Err("there are no two controllers".into());
    };
    for (options, expected) in [
        (&[][..], "iommufd"),
        (&["--vfio", "iommufd"], "iommufd"),
        (&["--vfio", "type1"], "type1"),
    ] {
        let one = Copied::next(copied, source, destination);
        let taken = one.copy(options)?;
        if taken != expected {
            return Err(format!("with {options:?} it took {taken}"));
        }
        copied.push(one);
    }
    say::held(
        "interfaces",
        "by itself a copy takes iommufd; --vfio type1 and --vfio iommufd are what they say",
    );
    Ok(())
}

/// Every pair, through the memory of every controller: an end's, or a third one's.
fn lenders<'c>(
    controllers: &'c [Controller],
    scope: Scope,
    copied: &mut Vec<Copied<'c>>,
) -> Result<(), String> {
    let (mut by_end, mut by_third) = (0, 0);
    for (from, source) in controllers.iter().enumerate() {
        for (to, destination) in controllers.iter().enumerate().filter(|(to, _)| *to != from) {
            for (place, lender) in controllers.iter().enumerate() {
                let is_end = place == from || place == to;
                // Each pair by its destination's memory, and by one third one's.
                let third = (0..controllers.len()).find(|place| *place != from && *place != to);
                if scope == Scope::Few && place != to && Some(place) != third {
                    continue;
                }
                let one = Copied::next(copied, source, destination);
                one.copy(&["--via", &lender.address, "--require-p2p"])?;
                copied.push(one);
                match is_end {
                    true => by_end += 1,
                    false => by_third += 1,
                }
            }
        }
    }
    say::held(
        "copies",
        &format!(
            "{} controllers, every ordered pair: {by_end} copies by the memory of an end, {by_third} by that of a third controller, proven",
            controllers.len()
        ),
    );
    Ok(())
}

impl<'c> Copied<'c> {
    /// One that has a place of its own on both sides.
    fn next(before: &[Copied<'_>], source: &'c Controller, destination: &'c Controller) -> Self {
        let place = before.len() as u64 * BYTES;
        Self {
            source,
            from_byte: place % (SOURCE_BYTES - BYTES),
            destination,
            to_byte: DESTINATION_BYTE + place,
            len_bytes: BYTES,
        }
    }

    fn start(&self, options: &[&str]) -> Result<Child, String> {
        let (first, blocks) = (self.from_byte / BLOCK_BYTES, self.len_bytes / BLOCK_BYTES);
        Command::new("peerdma")
            .args(["copy", &self.source.address, &self.destination.address])
            .args(["--yes", "--json", "--chunk", "64KiB"])
            .args(["--lba", &format!("{first}+{blocks}")])
            .args(["--to-lba", &(self.to_byte / BLOCK_BYTES).to_string()])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("peerdma copy: {error}"))
    }

    /// Copies; by which interface.
    fn copy(&self, options: &[&str]) -> Result<&'static str, String> {
        let output = self.start(options)?.wait_with_output();
        let output = output.map_err(|error| error.to_string())?;
        let what = format!(
            "copy of {} to {}, {options:?}",
            self.source.address, self.destination.address
        );
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{what}: {}, {}", output.status, said.trim()));
        }
        let answer: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| format!("{what}: {error}"))?;
        let notes = answer.get("notes").and_then(Value::as_array);
        let mut notes = notes.into_iter().flatten().filter_map(Value::as_str);
        let is_verified = answer.get("verified").and_then(Value::as_bool) == Some(true);
        let taken = notes.find_map(|note| note.strip_prefix("controllers are had by VFIO's "));
        match taken {
            _ if !is_verified => Err(format!("{what}: it is not verified")),
            Some("iommufd") => Ok("iommufd"),
            Some("type1") => Ok("type1"),
            other => Err(format!("{what}: by {other:?}?")),
        }
    }

    /// Reads by the kernel's driver what was copied.
    fn check(&self, now: &[Controller]) -> Result<(), String> {
        let place = now
            .iter()
            .find(|one| one.address == self.destination.address)
            .ok_or_else(|| format!("{} is not the kernel's again", self.destination.address))?;
        let failed = |error| format!("{}: {error}", place.block);
        let mut seen = vec![0; self.len_bytes as usize];
        let disk = File::open(&place.block).map_err(failed)?;
        disk.read_exact_at(&mut seen, self.to_byte).map_err(failed)?;
        let all = content(self.source);
        let from = self.from_byte as usize;
        let expected = all
            .get(from..from + self.len_bytes as usize)
            .ok_or("outside of what was written")?;
        let what = format!(
            "copy of {} to {} at {:#x}",
            self.source.address, self.destination.address, self.to_byte
        );
        compare(&what, expected, &seen)
    }
}

/// What a controller holds.
fn content(controller: &Controller) -> Vec<u8> {
    let seed = controller
        .disk
        .bytes()
        .fold(7, |all: u64, byte| all << 8 | u64::from(byte));
    pattern(seed, SOURCE_BYTES)
}
