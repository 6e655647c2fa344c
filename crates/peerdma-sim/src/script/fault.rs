//! One fault of a script.

use super::error::{ScriptError, Wrong};
use super::names::Names;
use super::{Said, Script};
use crate::file::table::{Table, Value, shortened};
use crate::file::{At, MachineError, value};
use crate::machine::{Fate, Fault, FaultPlan, Turn};
use crate::time::Time;
use crate::tlp::Access;

/// One `[[fault]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultLine {
    /// Where it stands.
    pub at: At,
    /// What goes wrong.
    pub what: What,
}

/// What goes wrong; devices by name or address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Something that happens to a device at a time.
    Device {
        /// What happens.
        event: Event,
        /// To which.
        device: Said<String>,
        /// When.
        time: Time,
    },
    /// A completion does not arrive as it was sent.
    Completion {
        /// What becomes of it.
        fate: Fate,
        /// Who sent it; nothing for everybody.
        from: Option<Said<String>>,
        /// Who waits for it; nothing for everybody.
        to: Option<Said<String>>,
        /// Which of those.
        turn: Turn,
    },
    /// The IOMMU refuses requests.
    Iommu {
        /// Whose; nothing for everybody's.
        device: Option<Said<String>>,
        /// Reads, writes; nothing for both.
        access: Option<Access>,
        /// Which of those.
        turn: Turn,
    },
    /// Memory cannot come into being when it is first written.
    Allocation {
        /// Which chunk, from 1.
        nth: u64,
    },
}

/// What happens to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It is taken out.
    Removed,
    /// The link above it goes down.
    LinkDown,
    /// It breaks down as its kind does.
    BreaksDown,
}

#[derive(Clone, Copy)]
enum Kind {
    Device(Event),
    Completion(Fate),
    Iommu,
    Allocation,
}

const KINDS: [(&str, Kind); 7] = [
    ("removed", Kind::Device(Event::Removed)),
    ("link-down", Kind::Device(Event::LinkDown)),
    ("breaks-down", Kind::Device(Event::BreaksDown)),
    ("completion-lost", Kind::Completion(Fate::Lost)),
    ("completion-poisoned", Kind::Completion(Fate::Poisoned)),
    ("iommu", Kind::Iommu),
    ("allocation", Kind::Allocation),
];

impl FaultLine {
    pub(super) fn read(mut table: Table<'_, '_>) -> Result<Self, MachineError> {
        const WHAT: &str = "what goes wrong, such as \"link-down\" or \"completion-lost\"";
        let kind = table.take_some("kind", |value| value.word(&KINDS))?;
        let what = match kind.ok_or_else(|| table.missing("kind", WHAT))? {
            Kind::Device(event) => {
                let device = table.take_some("device", device)?;
                What::Device {
                    event,
                    device: device.ok_or_else(|| table.missing("device", "to which device it happens"))?,
                    time: table.take_or("at", Time::ZERO, time)?,
                }
            }
            Kind::Completion(fate) => What::Completion {
                fate,
                from: table.take_some("from", device)?,
                to: table.take_some("to", device)?,
                turn: turn(&mut table)?,
            },
            Kind::Iommu => What::Iommu {
                device: table.take_some("device", device)?,
                access: table.take_some("access", |value| {
                    value.word(&[("read", Access::Read), ("write", Access::Write)])
                })?,
                turn: turn(&mut table)?,
            },
            Kind::Allocation => What::Allocation {
                nth: table.take_or("nth", 1, |value| value.number(1, u64::MAX))?,
            },
        };
        let at = table.at;
        table.finish()?;
        Ok(Self { at, what })
    }
}

fn device(value: Value<'_, '_>) -> Result<Said<String>, MachineError> {
    let text = value.text("the name or address of a device")?;
    Ok(Said {
        at: value.at(),
        value: shortened(text),
    })
}

fn time(value: Value<'_, '_>) -> Result<Time, MachineError> {
    const HOUR_PS: u64 = 3_600_000_000_000_000;
    let expected = "a time up to one hour such as \"110 ns\", \"50 ms\", or picoseconds";
    value::time_ps(value, HOUR_PS, expected).map(Time::from_ps)
}

fn turn(table: &mut Table<'_, '_>) -> Result<Turn, MachineError> {
    let nth = table.take_some("nth", |value| value.number(1, u64::MAX))?;
    let one_in = table.take("one-in");
    match (nth, one_in) {
        (None, None) => Ok(Turn::Every),
        (Some(nth), None) => Ok(Turn::Nth(nth)),
        (None, Some(value)) => Ok(Turn::OneIn(value.number(1, u32::MAX.into())? as u32)),
        (Some(_), Some(value)) => Err(value.wrong("either `nth` or `one-in`, not both")),
    }
}

/// The plan of a script's faults; `seed` decides which ones `one-in` picks.
pub(super) fn plan(script: &Script, names: &Names<'_>, seed: u64) -> Result<FaultPlan, ScriptError> {
    let some = |name: &Option<Said<String>>| name.as_ref().map(|name| names.find_said(name)).transpose();
    let mut faults = Vec::with_capacity(script.faults.len());
    for line in &script.faults {
        faults.push(match &line.what {
            What::Device { event, device, time } => {
                let (device, at) = (names.find_said(device)?, *time);
                match event {
                    Event::Removed => Fault::Removed { device, at },
                    Event::LinkDown => Fault::LinkDown { below: device, at },
                    Event::BreaksDown => Fault::BreaksDown { device, at },
                }
            }
            What::Completion { fate, from, to, turn } => Fault::Completion {
                from: some(from)?,
                to: some(to)?,
                turn: *turn,
                fate: *fate,
            },
            What::Iommu { .. } if !names.has_translating_iommu() => {
                return Err(Wrong::IommuPasses.at(line.at));
            }
            What::Iommu { device, access, turn } => Fault::Iommu {
                requester: some(device)?,
                access: *access,
                first: 0,
                last: u64::MAX,
                turn: *turn,
            },
            What::Allocation { nth } => Fault::Allocation { nth: *nth },
        });
    }
    Ok(FaultPlan { seed, faults })
}
