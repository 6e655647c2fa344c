//! The last word on a copy.

use super::Report;
use super::account::Ended;
use crate::ground::{Place, Sort, mend};
use crate::layout::bytes;
use crate::style::Tone;
use peerdma::block::SubmitError;
use peerdma::engine::{Check, Failure, Mismatch, Trouble};
use std::fmt::Write as _;

/// Whether the copy is proven, and what is to be known of it if not.
pub(super) fn verdict(report: &Report<'_>) -> (Tone, String) {
    let Report { account, request, .. } = report;
    let name = &request.destination.name;
    let mut said = match (&account.ended, &account.check) {
        (Ended::Whole, Some(Check::Equal)) => {
            let said = format!(
                "Verified: {} of {name} were read back{} and equal {}.",
                bytes(request.len_bytes),
                match request.destination.place {
                    Place::Namespace(_) => " through its driver",
                    Place::Own(_) => "",
                },
                request.source.name
            );
            return (Tone::Good, said);
        }
        (Ended::Whole, Some(Check::Cancelled)) => {
            let said = format!(
                "Interrupted: all of {name} is written and flushed, but was not read back to the end: it is not proven."
            );
            return (Tone::Doubt, said);
        }
        (Ended::Interrupted, _) => {
            let done = account.counts.durable_bytes;
            let next = match (&report.args.resume, report.not_kept) {
                (Some(_), Some(why)) => format!("{why}, so that a copy begins anew"),
                _ if !account.disturbed.is_empty() => {
                    "a device was disturbed meanwhile, so that a copy begins anew".into()
                }
                (Some(path), None) => format!("run it again with --resume {} to go on", path.display()),
                (None, _) => "with --resume FILE it could go on from there".into(),
            };
            return (
                Tone::Doubt,
                format!(
                    "Interrupted: the first {done} of {} bytes are written and flushed, not yet read back; {next}.",
                    request.len_bytes
                ),
            );
        }
        (Ended::Failed(failure), _) => format!(
            "NOT PROVEN: {failure}{}. The first {} bytes are written and flushed.",
            mended(failure, report.sort),
            account.counts.durable_bytes
        ),
        (Ended::Whole, Some(Check::Failed(failure))) => {
            let said = format!(
                "NOT PROVEN: the devices reported success, but {name} could not be read back: {failure}{}.",
                mended(failure, report.sort)
            );
            return (Tone::Bad, said);
        }
        (Ended::Whole, _) => format!(
            "NOT PROVEN: the devices reported success, but {name} does not hold what {} holds.",
            request.source.name
        ),
    };
    match &account.check {
        Some(Check::Differs(mismatch)) => said.push_str(&differs(mismatch)),
        Some(Check::Failed(failure)) => {
            let _ = write!(said, " It could not be read back: {failure}.");
        }
        Some(Check::Equal) => said.push_str(" What it holds equals the source all the same."),
        Some(Check::UnderWay { .. } | Check::Cancelled) | None => {}
    }
    (Tone::Bad, said)
}

/// What to do about memory that was not mapped.
fn mended(failure: &Failure, sort: Sort) -> String {
    let Trouble::Submit(SubmitError::Map(error)) = &failure.trouble else {
        return String::new();
    };
    mend::of_map(error, sort).map_or_else(String::new, |fix| format!(": {fix}"))
}

fn differs(mismatch: &Mismatch) -> String {
    let (expected, found) = samples(mismatch);
    format!(
        " First bad byte at offset {:#x} (block {}): expected {expected}, found {found}.",
        mismatch.offset_bytes, mismatch.lba
    )
}

/// What was expected and what was found, in hexadecimal digits.
pub(super) fn samples(mismatch: &Mismatch) -> (String, String) {
    let hex = |bytes: &[u8; 16]| {
        let shown = bytes.get(..usize::from(mismatch.len)).unwrap_or(bytes);
        shown.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    (hex(&mismatch.expected), hex(&mismatch.found))
}
