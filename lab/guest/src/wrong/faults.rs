//! Every ioctl of a copy, or of a probe, fails once: each run ends in order, and the next one finds the devices as they were.
//!
//! Called by [`super::run()`]. The program is peerdma built with its feature `faults`: it leaves a file where the fault has come.

use super::content::{Holds, OLD_OR_NEW, Range};
use super::controllers::Controller;
use super::run::{Ended, Run};
use super::{BAD_INPUT, Guest, NOT_PROVEN};
use std::collections::BTreeMap;
use std::fs;

/// peerdma with faults.
const PROGRAM: &str = "/payload/peerdma-faults";
const COUNT: &str = "/tmp/ioctls";
const FAILED: &str = "/tmp/failed-ioctl";
/// So many of them fail, evenly spread, where few are to.
const FEW: u64 = 12;
/// So many of a probe's, which maps anew for each of its hundreds of transfers.
const OF_PROBE: u64 = 100;

/// Requests of `include/uapi/linux/vfio.h` and `iommufd.h` whose failure a run may survive with all done that was asked for, and why.
const HARMLESS: &[(u64, &str)] = &[
    (
        0x3b72,
        "VFIO_IOMMU_UNMAP_DMA: what stays mapped goes with the container, and its memory is given to nobody before",
    ),
    (
        0x3b86,
        "IOMMU_IOAS_UNMAP: the same of an address space of iommufd",
    ),
];
/// The same of a probe that has verified as much as one without a fault.
const HARMLESS_AFTER_THE_LAST_CASE: &[(u64, &str)] = &[
    (
        0x3b71,
        "VFIO_IOMMU_MAP_DMA: what was there before is put back at the second try",
    ),
    (0x3b85, "IOMMU_IOAS_MAP: the same of an address space of iommufd"),
];

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A copy by the destination's driver and RAM, of one piece.
    Copy,
    /// A copy of several pieces by the memory of a third controller, which is mapped for both ends.
    Lent,
    /// A probe: it maps one controller's memory for the other, and puts back what it wrote.
    Probe,
}

/// `few`: some ioctls of one copy; `all`: every one of both copies, and a part of a probe's.
pub(super) fn run(guest: &Guest, scope: &str) -> Result<(), String> {
    let (shapes, most) = match scope {
        "few" => (&[Shape::Copy][..], FEW),
        "all" => (&[Shape::Copy, Shape::Lent, Shape::Probe][..], u64::MAX),
        other => return Err(format!("`{other}` is neither few nor all")),
    };
    let [first, second, third, ..] = &guest.controllers;
    // They share a group.
    second.give_to("vfio-pci")?;
    guest.lend(&[first, third])?;
    for shape in shapes {
        let turn = Turn {
            guest,
            shape: *shape,
            ends: [first, third],
            lender: second,
        };
        let most = match shape {
            Shape::Probe => most.min(OF_PROBE),
            Shape::Copy | Shape::Lent => most,
        };
        guest.tell(shape.name(), turn.all(most));
    }
    guest.ranges.send(&[first, third])
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Shape::Copy => "ioctls",
            Shape::Lent => "ioctls-lent",
            Shape::Probe => "ioctls-probe",
        }
    }

    fn len_bytes(self) -> u64 {
        match self {
            Shape::Copy => 16 << 10,
            Shape::Lent | Shape::Probe => 256 << 10,
        }
    }
}

/// A run without a fault.
struct Whole {
    /// How many ioctls it takes.
    count: u64,
    /// What a probe says that it has verified.
    verified: Vec<String>,
}

/// All runs of one shape.
struct Turn<'g> {
    guest: &'g Guest,
    shape: Shape,
    ends: [&'g Controller; 2],
    lender: &'g Controller,
}

impl Turn<'_> {
    fn all(&self, most: u64) -> Result<String, String> {
        let [first, third] = self.ends;
        let (run, range) = self.next()?;
        let ended = run.told("PEERDMA_COUNT_IOCTLS", COUNT).end()?;
        ended.expect(&[0], &[])?;
        self.keep(range, Holds::New);
        let count = fs::read_to_string(COUNT).map_err(|error| format!("{COUNT}: {error}"))?;
        let count: u64 = count
            .trim()
            .parse()
            .map_err(|_| format!("`{count}` is no number"))?;
        let whole = Whole {
            count,
            verified: ended.verified(),
        };
        if self.shape == Shape::Probe && whole.verified.is_empty() {
            return Err("a probe without a fault says nothing of what it has verified".into());
        }
        let step = count.div_ceil(most.max(1)).max(1);
        let mut codes: BTreeMap<i32, u32> = BTreeMap::new();
        let mut wrong = 0;
        // Past the last there is none to fail.
        for number in (1..=count).step_by(step as usize).chain([count + 1]) {
            let told = self.one(number, &whole);
            let told = told.and_then(|code| self.guest.fresh(first, third).map(|()| code));
            match told {
                Ok(code) => *codes.entry(code).or_default() += 1,
                Err(why) => {
                    wrong += 1;
                    let name = format!("{}-{number}", self.shape.name());
                    self.guest.tell(&name, Err(why));
                }
            }
        }
        if wrong > 0 {
            return Err(format!("{wrong} of {count} ended otherwise"));
        }
        let codes: Vec<String> = codes
            .iter()
            .map(|(code, runs)| format!("{runs} with {code}"))
            .collect();
        Ok(format!(
            "each {step}. of {count} failed once: runs ended {}, and a copy after each succeeded",
            codes.join(", ")
        ))
    }

    /// One run whose ioctl of this number fails; its exit code.
    fn one(&self, number: u64, whole: &Whole) -> Result<i32, String> {
        let count = whole.count;
        let _ = fs::remove_file(FAILED);
        let (run, range) = self.next()?;
        self.keep(range, OLD_OR_NEW);
        let ended = run
            .told("PEERDMA_FAIL_IOCTL", &number.to_string())
            .told("PEERDMA_FAILED_IOCTL", FAILED)
            .end()?;
        let failed: Option<u64> = fs::read_to_string(FAILED)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        match failed {
            None if number <= count => {
                return Err(format!(
                    "its ioctl {number} of {count} did not fail: no fault came"
                ));
            }
            None => {
                ended.expect(&[0], &[])?;
                self.keep(range, Holds::New);
                return Ok(0);
            }
            Some(request) => self.is_in_order(&ended, request, range, whole)?,
        }
        Ok(ended.code)
    }

    /// Did it end as it may where this request has failed? What the destination then holds is kept for the host.
    fn is_in_order(
        &self,
        ended: &Ended,
        request: u64,
        range: Option<Range>,
        whole: &Whole,
    ) -> Result<(), String> {
        let named = |why: String| format!("request {request:#x} failed: {why}");
        let is_of = |list: &[(u64, &str)]| list.iter().any(|(harmless, _)| *harmless == request);
        let is_last = self.shape == Shape::Probe && is_of(HARMLESS_AFTER_THE_LAST_CASE);
        let words: &[&str] = match ended.code {
            // Nothing was written: that is promised.
            BAD_INPUT => {
                self.keep(range, Holds::Old);
                &["error:", "why:", "fix:"]
            }
            NOT_PROVEN => {
                let written_bytes = ended.written_bytes();
                self.keep(range, Holds::OldOrNew { written_bytes });
                &["error"]
            }
            0 if !is_of(HARMLESS) && !is_last => {
                return Err(named("it says that all is well".into()));
            }
            0 if ended.verified() != whole.verified => {
                return Err(named(format!("it verified only {:?}", ended.verified())));
            }
            0 => {
                self.keep(range, Holds::New);
                &[]
            }
            _ => &[],
        };
        ended.expect(&[0, BAD_INPUT, NOT_PROVEN], words).map_err(named)
    }

    /// A run, and what it copies.
    fn next(&self) -> Result<(Run, Option<Range>), String> {
        let [first, third] = self.ends;
        let api = &self.guest.api;
        let range = match self.shape {
            Shape::Probe => None,
            Shape::Copy | Shape::Lent => Some(self.guest.ranges.take(self.shape.len_bytes())?),
        };
        let run = match range {
            Some(range) => Run::ours(api, first, third, range),
            // What lies on the disk is written back: none of it is a copy's.
            None => Run::new(&["probe", &third.address, &first.address, "--yes", "--no-figures"])
                .with(&["--bytes", "16KiB", "--vfio", api]),
        };
        let run = match self.shape {
            Shape::Lent => run.with(&["--via", &self.lender.address, "--chunk", "64KiB"]),
            Shape::Copy | Shape::Probe => run,
        };
        Ok((run.by(PROGRAM), range))
    }

    fn keep(&self, range: Option<Range>, holds: Holds) {
        let [first, third] = self.ends;
        if let Some(range) = range {
            self.guest
                .ranges
                .keep(self.shape.name(), first, third, range, holds);
        }
    }
}
