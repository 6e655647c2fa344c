//! What the cases came to.

use std::collections::BTreeMap;
use std::fmt;

/// What the cases came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) machines: u64,
    /// Vectors, each for one initiator.
    pub(super) cases: u64,
    /// Of these: mapped, moved, and every byte where it belongs.
    pub(super) mapped: u64,
    /// Of these: with a piece that is not RAM.
    pub(super) with_bars: u64,
    /// Of these: of several kinds.
    pub(super) mixed: u64,
    /// Refused because the judge does not know.
    pub(super) unknown: u64,
    pub(super) bytes: u64,
    /// Refused routes that were forced, in vain.
    pub(super) forced: u64,
    /// Of these: to RAM.
    pub(super) forced_ram: u64,
    /// Transfers after the end of their mapping, which reached nothing.
    pub(super) late: u64,
    /// Regions taken away while in use.
    pub(super) revoked: u64,
    /// Refusals by reason.
    pub(super) refusals: BTreeMap<String, u64>,
    /// Segments by kind.
    pub(super) kinds: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.machines += other.machines;
        self.cases += other.cases;
        self.mapped += other.mapped;
        self.with_bars += other.with_bars;
        self.mixed += other.mixed;
        self.unknown += other.unknown;
        self.bytes += other.bytes;
        self.forced += other.forced;
        self.forced_ram += other.forced_ram;
        self.late += other.late;
        self.revoked += other.revoked;
        for (refusal, count) in other.refusals {
            *self.refusals.entry(refusal).or_default() += count;
        }
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
    }

    /// Do the cases explore enough for the promise to be worth something?
    pub(super) fn check(&self) -> Result<(), String> {
        let share = |part: u64, percent: u64| part * 100 >= self.cases * percent;
        match () {
            () if !share(self.mapped, 40) => Err("less than 40% of the cases are mapped".into()),
            () if share(self.unknown, 10) => Err("more than a tenth is unknown to the judge".into()),
            () if self.forced_ram == 0 => Err("no refusal of RAM was forced".into()),
            () if !share(self.with_bars, 15) => Err("less than 15% are mapped with memory of BARs".into()),
            () if !share(self.mixed, 5) => Err("less than 5% are mapped with several kinds".into()),
            () => Ok(()),
        }
    }

    pub(super) fn refuse(&mut self, why: impl Into<String>) {
        *self.refusals.entry(why.into()).or_default() += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: u64| part as f64 * 100.0 / self.cases.max(1) as f64;
        writeln!(
            f,
            "{} cases on {} machines: {:.1}% mapped and every byte in its place ({:.1}% with memory of BARs, {:.1}% of several kinds), {:.1}% unknown to the judge",
            self.cases,
            self.machines,
            percent(self.mapped),
            percent(self.with_bars),
            percent(self.mixed),
            percent(self.unknown),
        )?;
        writeln!(
            f,
            "{} bytes; {} refused routes ({} to RAM) forced in vain; {} late transfers reached nothing; {} regions taken away in use",
            self.bytes, self.forced, self.forced_ram, self.late, self.revoked
        )?;
        for (kind, count) in &self.kinds {
            writeln!(f, "{count:>9}  segments {kind}")?;
        }
        for (refusal, count) in &self.refusals {
            writeln!(f, "{count:>9}  refused: {refusal}")?;
        }
        Ok(())
    }
}
