//! What wrong bytes look like.

use super::Case;
use alloc::vec::Vec;
use core::fmt;

/// The first wrong byte of a transfer that was said to have succeeded, and what all wrong bytes look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corruption {
    /// What was moved.
    pub case: Case,
    /// The first wrong byte, from the beginning of the transfer: below 0 in the guard before it, from its length on in the one behind.
    pub within_bytes: i64,
    /// The same from the beginning of the memory.
    pub offset_bytes: u64,
    /// How many of the two arrays count.
    pub len: u8,
    /// What should be there.
    pub expected: [u8; 16],
    /// What is there.
    pub found: [u8; 16],
    /// How many bytes are wrong in the transfer.
    pub wrong_bytes: u64,
    /// How many bytes around it were changed.
    pub guard_bytes: u64,
    /// What they look like.
    pub looks: Looks,
}

/// What wrong bytes look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Looks {
    /// What was laid there before to be overwritten: nothing arrived at them.
    NeverArrived,
    /// All ones, which the fabric makes up for reads that nobody answers.
    AllOnes,
    /// All zeros.
    AllZeros,
    /// What lay there before this transfer was prepared.
    Stale,
    /// The right bytes, so far from where they belong.
    Elsewhere {
        /// In bytes; below 0 for towards the beginning.
        shift_bytes: i64,
    },
    /// The transfer is right, and bytes around it were changed.
    GuardOnly,
    /// Nothing of these.
    Other,
}

/// What a comparison is made of: a window with the transfer in its middle.
pub(super) struct Seen<'s> {
    /// What should be there.
    pub(super) expected: &'s [u8],
    pub(super) found: &'s [u8],
    /// What was laid there to be overwritten.
    pub(super) poison: &'s [u8],
    /// What was there before that; empty where nobody knows.
    pub(super) before: &'s [u8],
    /// Where the transfer begins in the window, and how long it is.
    pub(super) start: usize,
    pub(super) len: usize,
    /// Where the window begins in the memory.
    pub(super) window_bytes: u64,
}

impl Corruption {
    /// Nothing where all is as it should be.
    pub(super) fn find(case: &Case, seen: &Seen<'_>) -> Option<Self> {
        let pairs = || seen.expected.iter().zip(seen.found).enumerate();
        let wrong: Vec<usize> = pairs()
            .filter(|(_, (expected, found))| expected != found)
            .map(|(index, _)| index)
            .collect();
        let inside = seen.start..seen.start + seen.len;
        // What is wrong in the transfer tells more than what is wrong around it.
        let first = (wrong.iter().copied()).find(|index| inside.contains(index));
        let first = first.or(wrong.first().copied())?;
        let wrong_bytes = wrong.iter().filter(|index| inside.contains(index)).count() as u64;
        let bytes = |of: &[u8]| {
            let mut bytes = [0; 16];
            for (byte, of) in bytes.iter_mut().zip(of.iter().skip(first)) {
                *byte = *of;
            }
            bytes
        };
        let until = if inside.contains(&first) {
            inside.end
        } else {
            seen.found.len()
        };
        Some(Self {
            case: *case,
            within_bytes: first as i64 - seen.start as i64,
            offset_bytes: seen.window_bytes + first as u64,
            len: (until - first).min(16) as u8,
            expected: bytes(seen.expected),
            found: bytes(seen.found),
            wrong_bytes,
            guard_bytes: wrong.len() as u64 - wrong_bytes,
            looks: looks(seen, &wrong),
        })
    }
}

fn looks(seen: &Seen<'_>, wrong: &[usize]) -> Looks {
    let inside = seen.start..seen.start + seen.len;
    let in_transfer: Vec<usize> = (wrong.iter().copied()).filter(|at| inside.contains(at)).collect();
    let all = |of: &[u8]| {
        let is_same = |at: &usize| of.get(*at).is_some_and(|byte| seen.found.get(*at) == Some(byte));
        !of.is_empty() && in_transfer.iter().all(is_same)
    };
    let all_are = |byte: u8| in_transfer.iter().all(|at| seen.found.get(*at) == Some(&byte));
    if let Some(shift_bytes) = shift(seen) {
        return Looks::Elsewhere { shift_bytes };
    }
    if in_transfer.is_empty() {
        Looks::GuardOnly
    } else if all(seen.poison) {
        Looks::NeverArrived
    } else if all_are(0xff) {
        Looks::AllOnes
    } else if all_are(0) {
        Looks::AllZeros
    } else if all(seen.before) {
        Looks::Stale
    } else {
        Looks::Other
    }
}

/// Bytes that are compared to find out whether something arrived elsewhere: few enough to fit the smallest transfer, many enough not to be chance.
const NEEDLE_BYTES: usize = 32;

/// How far from where it belongs the beginning of the transfer lies, or what lies at its beginning.
fn shift(seen: &Seen<'_>) -> Option<i64> {
    let start = seen.start;
    let beginning = |of: &'_ [u8]| -> Option<Vec<u8>> {
        let needle = of.get(start..start + NEEDLE_BYTES.min(seen.len))?;
        let is_plain = needle.iter().all(|byte| Some(byte) == needle.first());
        (needle.len() == NEEDLE_BYTES && !is_plain).then(|| needle.to_vec())
    };
    if let Some(at) = only(&beginning(seen.expected)?, seen.found)
        && only(&beginning(seen.expected)?, seen.expected).is_some()
    {
        return (at != start).then_some(at as i64 - start as i64);
    }
    // What is there may come from further on.
    let at = only(&beginning(seen.found)?, seen.expected)?;
    (at != start).then_some(start as i64 - at as i64)
}

/// Where some bytes are, if in one place alone: what repeats itself is found everywhere.
fn only(needle: &[u8], hay: &[u8]) -> Option<usize> {
    let mut found = (hay.windows(NEEDLE_BYTES).enumerate()).filter(|(_, window)| *window == needle);
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Some(at),
        _ => None,
    }
}

impl fmt::Display for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverArrived => f.write_str("what was to be overwritten is still there: it never arrived"),
            Self::AllOnes => f.write_str("all ones: a read that nobody answered"),
            Self::AllZeros => f.write_str("all zeros"),
            Self::Stale => f.write_str("what lay there before: it is stale"),
            Self::Elsewhere { shift_bytes } => match shift_bytes {
                0.. => write!(
                    f,
                    "the right bytes, {shift_bytes:#x} bytes too far: they arrived elsewhere"
                ),
                _ => write!(
                    f,
                    "the right bytes, {:#x} bytes too early: they arrived elsewhere",
                    shift_bytes.unsigned_abs()
                ),
            },
            Self::GuardOnly => f.write_str("the transfer is right, but bytes around it were changed"),
            Self::Other => f.write_str("nothing that was laid out"),
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |bytes: &[u8; 16], f: &mut fmt::Formatter<'_>| {
            let mut bytes = bytes.iter().take(self.len.into());
            bytes.try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        write!(
            f,
            "first wrong byte at {:#x} of the memory ({} of {} bytes, pattern {}): should be ",
            self.offset_bytes,
            self.within_bytes,
            self.case.total_bytes(),
            self.case.pattern
        )?;
        of(&self.expected, f)?;
        f.write_str(" and is ")?;
        of(&self.found, f)?;
        write!(
            f,
            "; {} bytes wrong, {} around them; {}",
            self.wrong_bytes, self.guard_bytes, self.looks
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Pattern;
    use crate::route::Access;
    use std::vec;

    const START: usize = 512;
    const LEN: usize = 1024;

    fn laid_out(pattern: Pattern) -> (Vec<u8>, Vec<u8>) {
        let mut expected = vec![0; 2 * START + LEN];
        Pattern::Addressed.fill(99, 0, &mut expected);
        let mut poison = expected.clone();
        pattern.fill(7, START as u64, &mut expected[START..START + LEN]);
        for (poison, expected) in poison[START..START + LEN].iter_mut().zip(&expected[START..]) {
            *poison = !expected;
        }
        (expected, poison)
    }

    fn find(pattern: Pattern, found: impl FnOnce(&[u8], &[u8]) -> Vec<u8>) -> Option<Corruption> {
        let (expected, poison) = laid_out(pattern);
        let found = found(&expected, &poison);
        let case = Case {
            access: Access::Write,
            pattern,
            offset_bytes: START as u64,
            len_bytes: LEN as u32,
            operations: 1,
        };
        let before = vec![0x33; expected.len()];
        let seen = Seen {
            expected: &expected,
            found: &found,
            poison: &poison,
            before: &before,
            start: START,
            len: LEN,
            window_bytes: 0,
        };
        Corruption::find(&case, &seen)
    }

    #[test]
    fn each_kind_of_wrong_bytes_is_told_from_the_others() {
        for pattern in Pattern::ALL {
            assert_eq!(find(pattern, |expected, _| expected.to_vec()), None);
            let never = find(pattern, |_, poison| poison.to_vec()).unwrap();
            assert_eq!((never.looks, never.within_bytes), (Looks::NeverArrived, 0));
            assert_eq!((never.wrong_bytes, never.guard_bytes), (LEN as u64, 0));
        }
        let with = |change: &dyn Fn(&mut [u8], &[u8])| {
            find(Pattern::Addressed, |expected, _| {
                let mut found = expected.to_vec();
                change(&mut found, expected);
                found
            })
            .unwrap()
        };
        let ones = with(&|found, _| found[START + 100..START + 164].fill(0xff));
        assert_eq!(ones.looks, Looks::AllOnes);
        assert!((100..104).contains(&ones.within_bytes));
        assert_eq!(
            with(&|found, _| found[START..START + 64].fill(0)).looks,
            Looks::AllZeros
        );
        assert_eq!(
            with(&|found, _| found[START..START + LEN].fill(0x33)).looks,
            Looks::Stale
        );
        assert_eq!(with(&|found, _| found[START + 3] ^= 1).looks, Looks::Other);
        let guard = with(&|found, _| found[START + LEN] ^= 1);
        assert_eq!((guard.looks, guard.within_bytes), (Looks::GuardOnly, LEN as i64));
        let moved = find(Pattern::Addressed, |expected, poison| {
            let mut found = poison.to_vec();
            found[START + 64..START + 64 + LEN].copy_from_slice(&expected[START..START + LEN]);
            found
        });
        assert_eq!(moved.unwrap().looks, Looks::Elsewhere { shift_bytes: 64 });
    }
}
