//! Copies of the kernel's block devices by memory that the kernel lends (p2pmem), whose lender goes away.
//!
//! Called by [`super::run`].

use super::content::{self, Holds, OLD_OR_NEW};
use super::controllers::{Controller, until};
use super::run::{Ended, Run, Running};
use super::{FRESH_BYTES, Guest, NOT_PROVEN};
use std::process::{Child, Command};

const BYTES: u64 = 3 << 20;
const KILLED: i32 = 128 + 9;
/// What a program gets that touches memory that is gone.
const BUS_ERROR: i32 = 128 + 7;

pub(super) fn run(guest: &Guest) -> Result<(), String> {
    let [first, second, third, ..] = &guest.controllers;
    for controller in [first, third, second] {
        content::fill(controller)?;
    }
    fresh(guest, (first, third), second)?;
    let told = accident(guest, (first, third), second, |running| {
        running.signal("KILL")?;
        Ok(None)
    });
    let told = told.and_then(|ended| ended.expect(&[KILLED], &[]));
    let told = told.and_then(|()| fresh(guest, (first, third), second));
    guest.tell(
        "KILL",
        told.map(|()| "killed; the next copy takes the same memory".into()),
    );
    let told = lender_gone(guest, (first, third), second);
    guest.tell("lender-unbound", told);
    guest.ranges.send(&[first, third, second])
}

fn copy(
    guest: &Guest,
    name: &str,
    pair: (&Controller, &Controller),
    lender: &Controller,
    bytes: u64,
    holds: Holds,
) -> Result<Run, String> {
    let range = guest.ranges.take(bytes)?;
    guest.ranges.keep(name, pair.0, pair.1, range, holds);
    Ok(Run::copy(&pair.0.block()?, &pair.1.block()?, range).with(&["--via", &lender.address]))
}

fn fresh(guest: &Guest, pair: (&Controller, &Controller), lender: &Controller) -> Result<(), String> {
    let done = copy(guest, "fresh", pair, lender, FRESH_BYTES, Holds::New)?
        .end()?
        .expect(&[0], &[]);
    done.map_err(|why| format!("a copy by {} failed: {why}", lender.address))
}

fn accident(
    guest: &Guest,
    pair: (&Controller, &Controller),
    lender: &Controller,
    happen: impl FnOnce(&Running) -> Result<Option<Child>, String>,
) -> Result<Ended, String> {
    let mut running = copy(guest, "kernel", pair, lender, BYTES, OLD_OR_NEW)?
        .slowly()
        .start()?;
    running.until_it_moves()?;
    let waits = happen(&running)?;
    let ended = running.end()?;
    if let Some(mut child) = waits {
        until("the lender is unbound", || !matches!(child.try_wait(), Ok(None)))?;
    }
    Ok(ended)
}

fn lender_gone(
    guest: &Guest,
    pair: (&Controller, &Controller),
    lender: &Controller,
) -> Result<String, String> {
    let ended = accident(guest, pair, lender, |_| {
        let command = format!(
            "echo {} > {}/driver/unbind",
            lender.address,
            lender.folder().display()
        );
        let child = Command::new("sh").args(["-c", &command]).spawn();
        child.map(Some).map_err(|error| error.to_string())
    })?;
    if ended.code == BUS_ERROR {
        return Err("it was killed by SIGBUS".into());
    }
    ended.expect(&[NOT_PROVEN], &[&lender.address])?;
    lender.give_to("nvme")?;
    until("the lender has memory again", || {
        lender.folder().join("p2pmem/allocate").exists()
    })?;
    fresh(guest, pair, lender)?;
    Ok(format!("ended with {}: {}", ended.code, ended.word()))
}
