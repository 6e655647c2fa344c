//! Copies that cannot be: they are refused before a byte moves, and say why.
//!
//! Called by [`super::run()`].

use super::content::{Holds, OLD_OR_NEW, Range};
use super::controllers::Controller;
use super::run::{Run, USER};
use super::{BAD_INPUT, FRESH_BYTES, Guest, ONLY_RAM};
use std::os::unix::fs::chown;
use std::path::Path;

/// Less than two controllers' queues and a staging area take.
const FEW_KIB: u64 = 64;
/// More than one piece of any size.
const REFUSED_BYTES: u64 = 4 << 20;
/// Less than a copy takes that nobody told how much, and enough for a smaller one.
const FITTED_KIB: u64 = 512;
const MANY_KIB: u64 = 512 << 10;

pub(super) fn run(guest: &Guest) -> Result<(), String> {
    let [first, second, third, fourth, fifth, sixth] = &guest.controllers;
    super::content::fill(sixth)?;
    // It shares the first one's group.
    second.give_to("vfio-pci")?;
    guest.lend(&[first, third, fourth, fifth])?;
    let told = group(guest, (fifth, first), sixth);
    guest.tell("group", told);
    guest.tell("not-bound", not_bound(guest, (first, sixth)));
    sixth.give_to("vfio-pci")?;
    guest.tell("memory-absent", absent(guest, (third, fifth)));
    guest.tell("memory-too-small", too_small(guest, (first, third), fourth));
    guest.tell("memlock", memlock(guest, (first, third)));
    guest.ranges.send(&[first, third, fourth, fifth, sixth])
}

/// A copy that is refused: nothing of the destination changes.
fn refused(
    guest: &Guest,
    (from, to): (&Controller, &Controller),
    codes: &[i32],
    words: &[&str],
    change: impl FnOnce(Run) -> Run,
) -> Result<String, String> {
    let range = guest.ranges.take(REFUSED_BYTES)?;
    guest.ranges.keep("refused", from, to, range, Holds::Old);
    let ended = change(Run::ours(&guest.api, from, to, range)).end()?;
    ended.expect(codes, &[&["error:", "why:", "fix:"], words].concat())?;
    Ok(format!("refused with {}: {}", ended.code, ended.word()))
}

fn part(guest: &Guest, name: &str, pair: (&Controller, &Controller), holds: Holds) -> Result<Range, String> {
    let range = guest.ranges.take(FRESH_BYTES)?;
    guest.ranges.keep(name, pair.0, pair.1, range, holds);
    Ok(range)
}

/// The kernel has another device of the group.
fn group(guest: &Guest, pair: (&Controller, &Controller), other: &Controller) -> Result<String, String> {
    if pair.0.group_file()? != other.group_file()? {
        return Err("the functions of one device are in different groups".into());
    }
    let words = [other.address.as_str(), "nvme", "group"];
    let told = refused(guest, pair, &[BAD_INPUT], &words, |run| run)?;
    other.give_to("vfio-pci")?;
    guest.fresh(pair.0, pair.1)?;
    other.give_to("nvme")?;
    Ok(told)
}

/// The kernel has the device itself.
fn not_bound(guest: &Guest, pair: (&Controller, &Controller)) -> Result<String, String> {
    refused(
        guest,
        pair,
        &[BAD_INPUT],
        &[&pair.1.address, "nvme", "bind"],
        |run| run,
    )
}

/// No end has memory, and RAM is forbidden; where it is not, it is taken.
fn absent(guest: &Guest, pair: (&Controller, &Controller)) -> Result<String, String> {
    let told = refused(guest, pair, &[ONLY_RAM], &[], |run| run.with(&["--require-p2p"]))?;
    let via = refused(guest, pair, &[BAD_INPUT, ONLY_RAM], &[&pair.0.address], |run| {
        run.with(&["--via", &pair.0.address])
    })?;
    guest.fresh(pair.0, pair.1)?;
    Ok(format!(
        "{told}; by its own memory {via}; without a demand it goes through RAM"
    ))
}

/// A device's memory is smaller than what is to be under way: less is under way at once, and nothing goes another way.
fn too_small(guest: &Guest, pair: (&Controller, &Controller), lender: &Controller) -> Result<String, String> {
    let range = guest.ranges.take(REFUSED_BYTES)?;
    let run = Run::ours(&guest.api, pair.0, pair.1, range);
    let run = run.with(&[
        "--via",
        &lender.address,
        "--chunk",
        "512KiB",
        "--queue-depth",
        "32",
    ]);
    let through = format!("through the memory of {}", lender.address);
    run.end()?.expect(&[0], &[&through])?;
    guest.ranges.keep("too-small", pair.0, pair.1, range, Holds::New);
    Ok("16 MiB were to be under way in 1 MiB: less was, all of it through that memory".into())
}

/// A user who may lock little, then enough; killed, and then again: what was locked is theirs again.
fn memlock(guest: &Guest, pair: (&Controller, &Controller)) -> Result<String, String> {
    for controller in [pair.0, pair.1] {
        let files = [Some(controller.group_file()?), controller.device_file()];
        let files = files
            .into_iter()
            .flatten()
            .chain(["/dev/iommu".into(), "/dev/vfio/vfio".into()]);
        for file in files.filter(|file| Path::new(file).exists()) {
            chown(&file, Some(USER), Some(USER)).map_err(|error| format!("{file}: {error}"))?;
        }
    }
    let by_ram = |run: Run, kib: u64| run.with(&["--via-ram"]).of_user(kib);
    let told = refused(
        guest,
        pair,
        &[BAD_INPUT],
        &["ulimit -l", "KiB of memory that this user may lock"],
        |run| by_ram(run, FEW_KIB).with(&["--chunk", "64KiB"]),
    )?;
    let copied = |name: &str, kib: u64, says: &[&str]| {
        let range = part(guest, name, pair, Holds::New)?;
        let ended = by_ram(Run::ours(&guest.api, pair.0, pair.1, range), kib).end()?;
        ended.expect(&[0], says)
    };
    copied("user-fitted", FITTED_KIB, &["sizes:"])?;
    let enough = |name: &str| copied(name, MANY_KIB, &[]);
    enough("user")?;
    let range = guest.ranges.take(1 << 20)?;
    guest
        .ranges
        .keep("user-killed", pair.0, pair.1, range, OLD_OR_NEW);
    let mut running = by_ram(Run::ours(&guest.api, pair.0, pair.1, range).slowly(), MANY_KIB).start()?;
    running.until_it_moves()?;
    running.signal("KILL")?;
    running.end()?;
    enough("user-again")?;
    Ok(format!(
        "{told}; a copy that chooses its own sizes works, with more any, and after SIGKILL again"
    ))
}
