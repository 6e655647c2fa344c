//! Copies of the kernel's block devices by memory that the kernel lends (p2pmem): ended by signals, an end unbound, the lender unbound.
//!
//! Called by [`super::run()`].

use super::content::{self, Holds, OLD_OR_NEW, Range};
use super::controllers::{Controller, until};
use super::run::{Ended, Run, Running};
use super::{BAD_INPUT, FRESH_BYTES, Guest, INTERRUPTED, KILLED, NOT_PROVEN};
use std::process::{Child, Command};

const BYTES: u64 = 3 << 20;

/// Two ends, and whose memory is used.
struct Way<'g> {
    guest: &'g Guest,
    ends: [&'g Controller; 2],
    lender: &'g Controller,
}

pub(super) fn run(guest: &Guest) -> Result<(), String> {
    let [first, second, third, ..] = &guest.controllers;
    for controller in [first, second, third] {
        content::fill(controller)?;
    }
    let way = Way {
        guest,
        ends: [first, third],
        lender: second,
    };
    way.fresh()?;
    for (name, code, words) in [
        ("KILL", KILLED, &[][..]),
        ("INT", INTERRUPTED, &["Interrupted"]),
        ("TERM", INTERRUPTED, &["Interrupted"]),
    ] {
        let told = way.accident(name, |running| running.signal(name).map(|()| None));
        let told = told.and_then(|ended| ended.expect(&[code], words).map(|()| ended));
        let told = told.and_then(|ended| way.fresh().map(|()| ended));
        guest.tell(
            name,
            told.map(|ended| format!("ended with {code}: {}", ended.word())),
        );
    }
    guest.tell(
        "source-unbound",
        way.unbound("source-unbound", first, "failed to read"),
    );
    guest.tell(
        "destination-unbound",
        way.unbound("destination-unbound", third, "the device is gone"),
    );
    // SIGBUS would end a program that touches memory that is gone.
    guest.tell(
        "lender-unbound",
        way.unbound("lender-unbound", second, &second.address),
    );
    guest.tell("memory-absent", way.absent(third));
    guest.ranges.send(&[first, second, third])
}

impl Way<'_> {
    fn copy(&self, range: Range) -> Result<Run, String> {
        let [from, to] = self.ends;
        Ok(Run::copy(&from.block()?, &to.block()?, range).with(&["--via", &self.lender.address]))
    }

    /// A copy by the same memory succeeds.
    fn fresh(&self) -> Result<(), String> {
        let range = self.guest.ranges.take(FRESH_BYTES)?;
        let done = self.copy(range)?.end()?.expect(&[0], &[]);
        done.map_err(|why| format!("a copy by {} failed: {why}", self.lender.address))?;
        let [from, to] = self.ends;
        self.guest.ranges.keep("fresh", from, to, range, Holds::New);
        Ok(())
    }

    /// A device without memory cannot lend any.
    fn absent(&self, without: &Controller) -> Result<String, String> {
        let range = self.guest.ranges.take(FRESH_BYTES)?;
        let [from, to] = self.ends;
        self.guest.ranges.keep("absent", from, to, range, Holds::Old);
        let run = Run::copy(&from.block()?, &to.block()?, range).with(&["--via", &without.address]);
        let ended = run.end()?;
        ended.expect(&[BAD_INPUT], &["error:", "why:", "fix:", &without.address])?;
        Ok(format!("refused with {}: {}", ended.code, ended.word()))
    }

    fn accident(
        &self,
        name: &str,
        happen: impl FnOnce(&Running) -> Result<Option<Child>, String>,
    ) -> Result<Ended, String> {
        let [from, to] = self.ends;
        let range = self.guest.ranges.take(BYTES)?;
        self.guest.ranges.keep(name, from, to, range, OLD_OR_NEW);
        let mut running = self.copy(range)?.slowly().start()?;
        running.until_it_moves()?;
        let waits = happen(&running)?;
        let ended = running.end()?;
        let written_bytes = ended.written_bytes();
        let holds = Holds::OldOrNew { written_bytes };
        self.guest.ranges.keep(name, from, to, range, holds);
        if let Some(mut child) = waits {
            until("the device is unbound", || !matches!(child.try_wait(), Ok(None)))?;
        }
        Ok(ended)
    }

    /// Somebody takes a device from the kernel's driver, and gives it back afterwards.
    fn unbound(&self, name: &str, gone: &Controller, word: &str) -> Result<String, String> {
        let ended = self.accident(name, |_| {
            let command = format!(
                "echo {} > {}/driver/unbind",
                gone.address,
                gone.folder().display()
            );
            let child = Command::new("sh").args(["-c", &command]).spawn();
            child.map(Some).map_err(|error| error.to_string())
        })?;
        gone.give_to("nvme")?;
        until("its memory is lent again", || {
            self.lender.folder().join("p2pmem/allocate").exists()
        })?;
        ended.expect(&[NOT_PROVEN], &[word])?;
        self.fresh()?;
        Ok(format!("ended with {}: {}", ended.code, ended.word()))
    }
}
