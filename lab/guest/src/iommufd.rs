//! `iommufd few|all`: copies between controllers that iommufd lends, through the memory of every controller; and type 1 on the same kernel.
//!
//! ```text
//! the kernel's driver writes
//! peerdma bind
//!   peerdma copy: which interface it takes by itself, and when told; through every controller's memory; while a controller is reset
//! peerdma unbind
//! the kernel's driver reads
//! ```
//!
//! Memory of another controller is mapped there as a dma-buf of VFIO's, which the reset of its controller takes away. What a copy then does is its own affair,
//! but it may not call wrong data right.

use crate::kernel_path::{self, Controller};
use crate::ours::{compare, pattern};
use crate::say;
use crate::user_path::blocks;
use crate::verdicts::peerdma;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const BLOCK_BYTES: u64 = 512;
/// What is copied, of every controller; each copy takes its own part.
const SOURCE_BYTES: u64 = 32 << 20;
const BYTES: u64 = 256 << 10;
/// Where copies lie on their destinations, each in its own place.
const DESTINATION_BYTE: u64 = 64 << 20;
/// And copies during which a controller is reset.
const RESET_BYTE: u64 = 96 << 20;
const RESET_BYTES: u64 = 4 << 20;
/// When a copy's controller is reset, in sixteenths of the time that the copy takes: before it moves anything, while it does, while it reads back.
const RESET_AFTER: [u32; 6] = [3, 6, 8, 10, 12, 14];

/// Of x86-64.
const SIGBUS: i32 = 7;

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
    /// Every pair by every lender, and resets.
    All,
}

pub(crate) fn run(scope: &str) -> Result<(), String> {
    let scope = match scope {
        "few" => Scope::Few,
        "all" => Scope::All,
        other => return Err(format!("`{other}` is neither few nor all")),
    };
    let controllers = kernel_path::controllers()?;
    for controller in &controllers {
        write(controller, 0, &content(controller))?;
    }
    let named: Vec<&str> = controllers.iter().map(|one| one.address.as_str()).collect();
    peerdma(&[&["bind", "--yes"], &named[..]].concat())?;
    let mut copied = Vec::new();
    interfaces(&controllers, &mut copied)?;
    lenders(&controllers, scope, &mut copied)?;
    if scope == Scope::All {
        resets(&controllers, &mut copied)?;
    }
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

/// A controller is reset by somebody else while it copies, at several times: its memory is taken from those that map it.
fn resets<'c>(controllers: &'c [Controller], copied: &mut Vec<Copied<'c>>) -> Result<(), String> {
    let (mut right, mut over) = (0, 0);
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    let ([first, second, ..], Some(last)) = (controllers, controllers.last()) else {
        return Err("there are no two controllers".into());
    };
    // Who is reset: the destination whose memory is used; the source; a third one that lends its memory.
    for (number, (source, destination, lender)) in [
        (first, last, last),
        (first, last, first),
        (first, last, second),
        (first, second, second),
    ]
    .into_iter()
    .enumerate()
    {
        // Each in the place of the one before: with other bytes.
        let copy = |turn: usize| Copied {
            source,
            from_byte: turn as u64 * RESET_BYTES,
            destination,
            to_byte: RESET_BYTE + number as u64 * RESET_BYTES,
            len_bytes: RESET_BYTES,
        };
        let options = ["--via", &lender.address, "--require-p2p"];
        let begun = Instant::now();
        copy(RESET_AFTER.len()).copy(&options)?;
        let takes = begun.elapsed();
        for (turn, after) in RESET_AFTER.into_iter().enumerate() {
            let one = copy(turn);
            let mut child = one.start(&options)?;
            std::thread::sleep(takes * after / 16);
            let is_over = matches!(child.try_wait(), Ok(Some(_)));
            let path = format!("/sys/bus/pci/devices/{}/reset", lender.address);
            fs::write(&path, "1").map_err(|error| format!("{path}: {error}"))?;
            let output = child.wait_with_output().map_err(|error| error.to_string())?;
            // What is not proven is an answer; what failed is an error.
            let said = [output.stderr, output.stdout].concat();
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            copied.retain(|known| !known.is_overwritten_by(&one));
            match (output.status.code(), output.status.signal()) {
                (Some(0), _) if is_over => over += 1,
                (Some(0), _) => right += 1,
                // VFIO's answer to who touches a BAR for the first time while its device is being reset.
                (None, Some(SIGBUS)) => {
                    *told.entry("killed by SIGBUS".into()).or_default() += 1;
                }
                (Some(code @ 1..=4), _) if !said.is_empty() => {
                    let why = said.lines().next().unwrap_or_default();
                    let why: String = why.chars().take(120).collect();
                    *told.entry(format!("exit code {code}, {why}")).or_default() += 1;
                }
                _ => {
                    return Err(format!(
                        "a reset of {} after {after}/16 of a copy: it ended with {}: {said}",
                        lender.address, output.status
                    ));
                }
            }
            if output.status.success() {
                copied.push(one);
            }
        }
    }
    // As if nothing had been.
    let one = Copied::next(copied, first, last);
    one.copy(&["--via", &second.address, "--require-p2p"])?;
    copied.push(one);
    let unproven: usize = told.values().sum();
    let told: Vec<String> = told
        .iter()
        .map(|(what, times)| format!("{times} x {what}"))
        .collect();
    let text = format!(
        "{} copies during which the controller was reset that lent its memory: {right} proven, {unproven} told as failed or not proven ({}), \
         {over} were over before; the next copy is right",
        right + unproven,
        told.join("; ")
    );
    match right + unproven {
        0 => say::failed("resets", &text),
        _ => say::held("resets", &text),
    }
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

    fn is_overwritten_by(&self, other: &Self) -> bool {
        self.destination.address == other.destination.address && self.to_byte == other.to_byte
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

fn write(controller: &Controller, at: u64, bytes: &[u8]) -> Result<(), String> {
    let failed = |error| format!("{}: {error}", controller.block);
    let disk: File = OpenOptions::new()
        .write(true)
        .open(&controller.block)
        .map_err(failed)?;
    disk.write_all_at(bytes, at).map_err(failed)?;
    disk.sync_all().map_err(failed)
}
