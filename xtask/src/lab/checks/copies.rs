//! Does `peerdma copy --via` between the kernel's block devices do what its verdicts promise, and never call wrong data right?
//!
//! All sources, destinations and providers (`lab/guest/src/copies.rs`); the host looks at the disks.

use super::kernel_path::{on_disk, verdicts};
use super::{Check, Plan, Scope};
use crate::chore::Failure;
use crate::lab::boot::{Boot, Taken};
use crate::lab::machine::{Iommu, Machine, Processor};
use crate::lab::report::Line;
use crate::lab::topologies;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

pub(crate) const CHECK: Check = Check {
    name: "copies",
    promise: "a copy from NVMe by way of p2pmem to NVMe arrives where the verdicts say so, is refused where they refuse, and never calls wrong data right",
    needs: &[],
    boots,
};

fn boots(plan: &Plan<'_>) -> Result<Vec<Boot>, Failure> {
    let topologies = match plan.scope {
        Scope::Quick => vec![topologies::switch()],
        Scope::Full => topologies::all()
            .into_iter()
            .filter(|topology| (2..7).contains(&topology.controllers()))
            .collect(),
    };
    let mut boots = Vec::new();
    for topology in topologies {
        for (processor, iommu) in [
            (Processor::SkylakeServer, Iommu::Off),
            (Processor::Epyc, Iommu::Off),
            (Processor::Epyc, Iommu::Passthrough),
            (Processor::Epyc, Iommu::On),
        ] {
            let mut boot = Boot::new(
                Machine::new(topology.clone(), processor, iommu),
                "lab-guest copies",
            );
            boot.limit = Duration::from_secs(900);
            let controllers = topology.controllers();
            let copies = controllers * controllers.saturating_sub(1) * topology.lenders();
            boot.judge = Box::new(move |taken, _| vec![judge(taken, iommu, copies)]);
            boots.push(boot);
        }
    }
    Ok(boots)
}

fn judge(taken: &Taken, iommu: Iommu, copies: usize) -> Line {
    let name = "copies";
    let text = |name: &str| {
        taken
            .files
            .get(name)
            .map(|content| String::from_utf8_lossy(content))
    };
    let (Some(matrix), Some(outcomes)) = (text("matrix"), text("outcomes")) else {
        return Line::failed(name, "the guest did not send what happened");
    };
    let verdicts = verdicts(&matrix);
    let mut sum = Sum::default();
    for line in outcomes.lines() {
        let Some(outcome) = Outcome::read(line) else {
            return Line::failed(name, format!("`{line}` is no outcome"));
        };
        let content = on_disk(taken, &outcome.disk, outcome.offset);
        let judged = content.and_then(|content| sum.count(&outcome, &content, &verdicts, iommu));
        if let Err(why) = judged {
            return Line::failed(name, format!("{outcome}: {why}"));
        }
    }
    match sum.told(copies) {
        Ok(text) => Line::held(name, text),
        Err(why) => Line::failed(name, why),
    }
}

/// A line of the guest's.
#[derive(Debug, Clone)]
struct Outcome {
    source: String,
    destination: String,
    disk: String,
    via: String,
    offset: u64,
    pattern: u32,
    /// None where a signal ended it.
    code: Option<i64>,
    out: String,
    err: String,
}

impl Outcome {
    fn read(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| line[key].as_str().map(str::to_owned);
        Some(Self {
            source: text("source")?,
            destination: text("destination")?,
            disk: text("disk")?,
            via: text("via")?,
            offset: line["offset"].as_u64()?,
            pattern: line["pattern"].as_u64()?.try_into().ok()?,
            code: line["code"].as_i64(),
            out: text("out")?,
            err: text("err")?,
        })
    }

    /// What it answered, as data: where it came so far that it has an answer.
    fn answer(&self) -> Result<Value, String> {
        let answer: Value =
            serde_json::from_str(&self.out).map_err(|error| format!("its answer is no JSON: {error}"))?;
        match answer["schema"] == "peerdma.copy/1" {
            true => Ok(answer),
            false => Err("its answer is none of a copy".into()),
        }
    }

    /// A refusal says which way cannot be taken, and of each way why: as data, and nothing else.
    fn is_refusal(&self) -> Result<(), String> {
        let said: Value = serde_json::from_str(self.err.trim())
            .map_err(|error| format!("it was refused without a reason as data: {error}"))?;
        let has = |key: &str, word: &str| said[key].as_str().is_some_and(|text| text.contains(word));
        let ways = said["rejected"].as_array().map_or(0, Vec::len);
        let is_one =
            said["schema"] == "peerdma.error/1" && has("error", " by way of ") && has("why", &self.via);
        match is_one && ways > 0 && self.out.is_empty() {
            true => Ok(()),
            false => Err(format!("this is no refusal of the way by {}", self.via)),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source,
            destination,
            via,
            code,
            err,
            ..
        } = self;
        let code = code.map_or("a signal".to_owned(), |code| format!("code {code}"));
        let err: String = err.split_whitespace().collect::<Vec<_>>().join(" ");
        let err: String = err.chars().take(SAID).collect();
        write!(
            f,
            "copy of {source} to {destination} by {via} ended with {code} and said `{err}`"
        )
    }
}

/// How much of what a copy said is shown.
const SAID: usize = 300;

/// Exit codes of a copy (`docs/copy.md`).
const DONE: i64 = 0;
const BAD_INPUT: i64 = 2;
const NOT_PROVEN: i64 = 4;

#[derive(Default)]
struct Sum {
    right: usize,
    refused: usize,
    caught: usize,
    /// Source, destination, and whose memory.
    copied: BTreeSet<[String; 3]>,
}

impl Sum {
    /// Counts a copy, after which its place on the disk holds `content`; why it is not as promised.
    fn count(
        &mut self,
        outcome: &Outcome,
        content: &[u8],
        verdicts: &BTreeMap<(&str, &str), &str>,
        iommu: Iommu,
    ) -> Result<(), String> {
        let Outcome {
            source,
            destination,
            via,
            ..
        } = outcome;
        let is_right = content
            .chunks(4)
            .all(|word| word == outcome.pattern.to_be_bytes());
        let is_untouched = content.iter().all(|&byte| byte == 0);
        let verdict = |client: &str| {
            let verdict = verdicts.get(&(via, client)).copied();
            verdict.ok_or_else(|| format!("no verdict is known of {client} and memory of {via}"))
        };
        let way = [(source, verdict(source)?), (destination, verdict(destination)?)];
        let is_refused = way.iter().any(|(_, verdict)| *verdict == "NOT_SUPPORTED");
        // The one case that is QEMU's own: see `kernel_path`.
        let by_bus = |(client, verdict): &(&String, &str)| *verdict == "BUS_ADDR" && *client != via;
        let is_swallowed = iommu == Iommu::On && way.iter().any(by_bus);
        let counter = match (outcome.code, is_refused) {
            (Some(DONE), _) if !is_right => {
                return Err("it was called right, and the disk has other bytes".into());
            }
            (Some(DONE), true) => return Err("the verdict refuses it, and it arrived".into()),
            (Some(DONE), false) => {
                if outcome.answer()?["verified"] != true {
                    return Err("it ended well, and its answer does not say `verified`".into());
                }
                &mut self.right
            }
            (_, true) if !is_untouched => return Err("it was refused, and it wrote".into()),
            (Some(BAD_INPUT), true) => {
                outcome.is_refusal()?;
                &mut self.refused
            }
            (Some(NOT_PROVEN), false) if is_swallowed => {
                let answer = outcome.answer()?;
                if answer["verified"] != false || !answer["mismatch"].is_object() {
                    return Err("it is not proven, and does not say which bytes are wrong".into());
                }
                &mut self.caught
            }
            (_, true) => return Err(format!("a refusal ends with exit code {BAD_INPUT}")),
            _ => return Err("the verdicts promise that it arrives".into()),
        };
        *counter += 1;
        let ends = [source, destination, via].map(Clone::clone);
        match self.copied.insert(ends) {
            true => Ok(()),
            false => Err("it was copied twice".into()),
        }
    }

    /// All that the machine has were tried; on some machines every one of them is to be refused.
    fn told(&self, copies: usize) -> Result<String, String> {
        let Self {
            right,
            refused,
            caught,
            copied,
        } = self;
        if (copied.len(), copies == 0) != (copies, false) {
            return Err(format!(
                "{} copies were tried, and the machine has {copies}",
                copied.len()
            ));
        }
        let caught = match caught {
            0 => String::new(),
            copies => format!("; {copies} that QEMU's IOMMU swallowed were told as not proven"),
        };
        Ok(format!("{right} copies arrived, {refused} were refused{caught}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSAL: &str = r#"{"schema":"peerdma.error/1","error":"a cannot be copied to b by way of c","why":"the memory of c: no","fix":"-","rejected":[{}]}"#;
    const PATTERN: u32 = 0xc0de_0001;

    fn outcome(code: Option<i64>, out: &str, err: &str) -> Outcome {
        Outcome {
            source: "a".into(),
            destination: "b".into(),
            disk: "disk1".into(),
            via: "c".into(),
            offset: 0,
            pattern: PATTERN,
            code,
            out: out.into(),
            err: err.into(),
        }
    }

    fn count(outcome: &Outcome, word: u32, verdict: &str, iommu: Iommu) -> Result<(), String> {
        let verdicts = BTreeMap::from([(("c", "a"), verdict), (("c", "b"), "THRU_HOST_BRIDGE")]);
        let content = word.to_be_bytes().repeat(4);
        Sum::default().count(outcome, &content, &verdicts, iommu)
    }

    #[test]
    fn what_ends_in_any_other_way_than_a_refusal_is_not_one() {
        let refused = |outcome: &Outcome, word| count(outcome, word, "NOT_SUPPORTED", Iommu::Off);
        assert!(refused(&outcome(Some(2), "", REFUSAL), 0).is_ok());
        assert!(refused(&outcome(Some(2), "", REFUSAL), PATTERN).is_err());
        assert!(refused(&outcome(Some(2), "{}", REFUSAL), 0).is_err());
        assert!(refused(&outcome(Some(2), "", ""), 0).is_err());
        let other = REFUSAL.replace("by way of", "with");
        assert!(refused(&outcome(Some(2), "", &other), 0).is_err());
        for code in [None, Some(0), Some(1), Some(3), Some(4), Some(101)] {
            assert!(refused(&outcome(code, "", REFUSAL), 0).is_err(), "{code:?}");
        }
    }

    #[test]
    fn what_is_right_says_so_and_what_is_not_is_excused_only_where_qemu_is_known_to_swallow_it() {
        let right = outcome(Some(0), r#"{"schema":"peerdma.copy/1","verified":true}"#, "");
        assert!(count(&right, PATTERN, "BUS_ADDR", Iommu::Off).is_ok());
        assert!(count(&right, 0, "BUS_ADDR", Iommu::Off).is_err());
        assert!(count(&outcome(Some(0), "", ""), PATTERN, "BUS_ADDR", Iommu::Off).is_err());
        let out = r#"{"schema":"peerdma.copy/1","verified":false,"mismatch":{}}"#;
        let caught = outcome(Some(4), out, "");
        assert!(count(&caught, 0, "BUS_ADDR", Iommu::On).is_ok());
        assert!(count(&caught, 0, "BUS_ADDR", Iommu::Off).is_err());
        assert!(count(&caught, 0, "THRU_HOST_BRIDGE", Iommu::On).is_err());
        assert!(count(&outcome(Some(101), "", ""), 0, "BUS_ADDR", Iommu::On).is_err());
    }

    #[test]
    fn fewer_copies_than_there_are_do_not_hold() {
        let mut sum = Sum::default();
        sum.copied.insert(["a", "b", "c"].map(str::to_owned));
        assert!(sum.told(1).is_ok());
        assert!(sum.told(2).is_err());
        assert!(Sum::default().told(0).is_err());
    }
}
