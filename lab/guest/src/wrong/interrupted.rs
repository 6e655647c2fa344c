//! Copies to which something happens while data moves.
//!
//! Called by [`super::run()`].

use super::content::{Holds, OLD_OR_NEW};
use super::controllers::{Controller, until};
use super::run::{Ended, Run, Running};
use super::{Guest, INTERRUPTED, KILLED};
use std::process::{Child, Command};
use std::time::Duration;

/// Moved slowly, far more than there is time for.
const BYTES: u64 = 3 << 20;
/// Linux waits 5 s after a button was pressed before it lets a device go.
const BUTTON: Duration = Duration::from_secs(9);

pub(super) fn run(guest: &Guest) -> Result<(), String> {
    let [first, second, third, ..] = &guest.controllers;
    guest.lend(&[first, second, third])?;
    guest.fresh(first, third)?;
    for (name, code, words) in [
        ("KILL", KILLED, &[][..]),
        ("INT", INTERRUPTED, &["Interrupted"]),
        ("TERM", INTERRUPTED, &["Interrupted"]),
    ] {
        let told = accident(guest, name, (first, third), &[], |running| {
            running.signal(name)?;
            Ok(None)
        });
        let told = told.and_then(|ended| ended.expect(&[code], words).map(|()| ended));
        let told = told.and_then(|ended| guest.fresh(first, third).map(|()| ended));
        guest.tell(
            name,
            told.map(|ended| format!("ended with {code}: {}", ended.word())),
        );
    }
    for (name, pair, gone, file) in [
        ("source-unbound", (first, third), first, "driver/unbind"),
        ("destination-unbound", (first, second), second, "driver/unbind"),
        ("lender-unbound", (first, third), second, "driver/unbind"),
        ("source-removed", (first, third), first, "remove"),
        ("destination-removed", (second, third), third, "remove"),
    ] {
        let words: &[&str] = match name {
            "lender-unbound" => &["--via", &gone.address],
            _ => &[],
        };
        let told = taken_away(guest, name, pair, words, gone, file);
        guest.tell(name, told);
    }
    let told = pulled_out(guest, (second, third), third);
    let told = told.and_then(|word| guest.fresh(first, second).map(|()| word));
    guest.tell("device_del", told);
    guest.ranges.send(&[first, second, third])
}

/// A slow copy, in the middle of which something happens; what happens may wait for the copy's end.
fn accident(
    guest: &Guest,
    name: &str,
    (from, to): (&Controller, &Controller),
    words: &[&str],
    happen: impl FnOnce(&Running) -> Result<Option<Child>, String>,
) -> Result<Ended, String> {
    let range = guest.ranges.take(BYTES)?;
    guest.ranges.keep(name, from, to, range, OLD_OR_NEW);
    let mut running = Run::ours(&guest.api, from, to, range)
        .slowly()
        .with(words)
        .start()?;
    running.until_it_moves()?;
    let waits = happen(&running)?;
    let ended = running.end()?;
    let written_bytes = ended.written_bytes();
    guest
        .ranges
        .keep(name, from, to, range, Holds::OldOrNew { written_bytes });
    if let Some(mut child) = waits {
        until("whoever took the device away is done", || {
            !matches!(child.try_wait(), Ok(None))
        })?;
    }
    Ok(ended)
}

/// Somebody takes a device back by sysfs, and gives it again afterwards.
fn taken_away(
    guest: &Guest,
    name: &str,
    pair: (&Controller, &Controller),
    words: &[&str],
    gone: &Controller,
    file: &str,
) -> Result<String, String> {
    let path = gone.folder().join(file);
    let text = match file {
        "remove" => "1",
        _ => &gone.address,
    };
    let ended = accident(guest, name, pair, words, |_| {
        // It waits until nobody has the device open.
        let command = format!("echo {text} > {}", path.display());
        let child = Command::new("sh").args(["-c", &command]).spawn();
        child
            .map(Some)
            .map_err(|error| format!("{}: {error}", path.display()))
    })?;
    ended.expect(
        &[INTERRUPTED],
        &[&format!("the kernel wants {} back", gone.address)],
    )?;
    if gone.driver().is_some() {
        return Err("the device was not given back".into());
    }
    if file == "remove" {
        std::fs::write("/sys/bus/pci/rescan", "1").map_err(|error| format!("rescan: {error}"))?;
    }
    gone.give_to("vfio-pci")?;
    guest.fresh(pair.0, pair.1)?;
    Ok(format!("ended with {}: {}", ended.code, ended.word()))
}

/// Somebody presses the button of its slot and pulls it.
fn pulled_out(guest: &Guest, pair: (&Controller, &Controller), gone: &Controller) -> Result<String, String> {
    let ended = accident(guest, "device_del", pair, &[], |running| {
        // The copy would be over before the button's time is.
        running.signal("STOP")?;
        let id = format!("nvme-disk{}", gone.number);
        println!("LAB|qemu||{{\"execute\":\"device_del\",\"arguments\":{{\"id\":\"{id}\"}}}}");
        std::thread::sleep(BUTTON);
        running.signal("CONT")?;
        Ok(None)
    })?;
    ended.expect(
        &[INTERRUPTED],
        &[&format!("the kernel wants {} back", gone.address)],
    )?;
    until(&format!("{} is gone", gone.address), || !gone.folder().exists())?;
    Ok(format!("ended with {}: {}", ended.code, ended.word()))
}
