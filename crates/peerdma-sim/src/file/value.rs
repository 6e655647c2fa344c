//! The values of a machine file: sizes, addresses, links, identities, ACS letters.

use super::error::{MachineError, Wrong};
use super::table::Value;
use super::{Acs, Egress, Slot, Switched};
use peerdma::addr::{Address, PhysAddr, Span};
use peerdma::pci::{AcsFlags, EgressVector, Id, LinkRate, LinkState};

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("ps", 1),
    ("ns", 1_000),
    ("us", 1_000_000),
    ("ms", 1_000_000_000),
];
const SIZES: std::ops::Range<usize> = 0..5;
const TIMES: std::ops::Range<usize> = 5..9;

/// Bytes, at most `most`: `4096`, `"16 GiB"`.
pub(crate) fn size(value: Value<'_, '_>, most: u64) -> Result<u64, MachineError> {
    measure(value, &UNITS[SIZES], most).ok_or_else(|| {
        value.wrong(format!(
            "a number of bytes up to {most}, or a size such as \"64 KiB\", \"256 MiB\", \"16 GiB\""
        ))
    })
}

/// A power of two, of bytes, from `least` to `most`.
pub(super) fn power_of_two(value: Value<'_, '_>, least: u64, most: u64) -> Result<u64, MachineError> {
    let bytes = size(value, most)?;
    if bytes.is_power_of_two() && bytes >= least {
        return Ok(bytes);
    }
    Err(value.wrong(format!(
        "a power of two from {least} to {most} bytes, such as \"64 MiB\""
    )))
}

/// Picoseconds, at most `most`: `250`, `"110 ns"`.
pub(crate) fn time_ps(value: Value<'_, '_>, most: u64, expected: &'static str) -> Result<u64, MachineError> {
    measure(value, &UNITS[TIMES], most).ok_or_else(|| value.wrong(expected))
}

fn measure(value: Value<'_, '_>, units: &[(&str, u64)], most: u64) -> Option<u64> {
    let value = value.value.get_ref();
    let number = match value.as_integer() {
        Some(number) => u64::from_str_radix(number.as_str(), number.radix()).ok()?,
        None => with_unit(value.as_str()?, units)?,
    };
    (number <= most).then_some(number)
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}

/// A difference of addresses: `0x80_0000_0000`, `"-1 TiB"`, `"-0x10000000000"`.
pub(super) fn offset(value: Value<'_, '_>) -> Result<i64, MachineError> {
    let number = match value.value.get_ref().as_integer() {
        Some(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
        None => value.value.get_ref().as_str().and_then(signed),
    };
    let fits = |number: &i64| number.unsigned_abs() < 1 << 52 && number % (1 << 20) == 0;
    number.filter(fits).ok_or_else(|| {
        value.wrong("a whole number of MiB below 2^52, such as 0x8000000000, \"512 GiB\", \"-1 TiB\"")
    })
}

/// TOML has no negative hexadecimal numbers: they come as text.
fn signed(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(&digits.replace('_', ""), 16).ok()?,
        None => with_unit(text, &UNITS[SIZES])?,
    };
    i64::try_from(number).ok().map(|number| sign * number)
}

/// Physical addresses have at most 52 bits on x86 (Intel SDM 3A 4.1.4), and are not wider elsewhere in practice.
const ADDRESSES: u64 = 1 << 52;

/// An address below 2^52.
pub(super) fn address(value: Value<'_, '_>) -> Result<u64, MachineError> {
    value.number(0, ADDRESSES - 1)
}

/// The last address of a range of `len_bytes` from `first` on, of which `size` says the length.
pub(super) fn last_address(first: u64, len_bytes: u64, size: Value<'_, '_>) -> Result<u64, MachineError> {
    let last = first.checked_add(len_bytes.saturating_sub(1));
    let last = last.filter(|last| *last < ADDRESSES && len_bytes > 0);
    last.ok_or_else(|| {
        let most = ADDRESSES.saturating_sub(first);
        size.wrong(format!(
            "a size from 1 to {most:#x} bytes: what starts at {first:#x} ends below 2^52"
        ))
    })
}

/// `{ from = 0, size = "2 GiB" }`.
pub(super) fn range(value: Value<'_, '_>) -> Result<Span<PhysAddr>, MachineError> {
    let mut table = value.table("a range of addresses")?;
    let from = table
        .take("from")
        .ok_or_else(|| table.missing("from", "its first address"))?;
    let first = address(from)?;
    let bytes = table
        .take("size")
        .ok_or_else(|| table.missing("size", "how long it is, such as \"2 GiB\""))?;
    let len = size(bytes, ADDRESSES)?;
    let last = last_address(first, len, bytes)?;
    let span = Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last));
    let span = span.map_err(|_| bytes.wrong("a size above 0"))?;
    table.finish()?;
    Ok(span)
}

/// `"32 GT/s x16"`, or `"gen5 x16"`.
pub(super) fn link(value: Value<'_, '_>) -> Result<LinkState, MachineError> {
    const WIDTHS: [u8; 7] = [1, 2, 4, 8, 12, 16, 32];
    let parsed = value.value.get_ref().as_str().and_then(|text| {
        let (rate, width) = text.rsplit_once('x')?;
        let width = width.parse().ok().filter(|width| WIDTHS.contains(width))?;
        let rate = match rate.trim().strip_prefix("gen") {
            Some(code) => code
                .parse()
                .ok()
                .filter(|code| (1..=6).contains(code))
                .map(LinkRate)?,
            None => LinkRate::from_text(rate)?,
        };
        Some(LinkState { rate, width })
    });
    parsed.ok_or_else(|| {
        value.wrong(
            "a link such as \"gen5 x16\" or \"32 GT/s x16\" (gen1 to gen6; x1, x2, x4, x8, x12, x16, x32)",
        )
    })
}

/// A payload size or a read request size.
pub(super) fn payload(value: Value<'_, '_>) -> Result<u16, MachineError> {
    let bytes = value
        .number(128, 4096)
        .ok()
        .filter(|bytes| bytes.is_power_of_two());
    let bytes = bytes.ok_or_else(|| value.wrong("128, 256, 512, 1024, 2048 or 4096 (bytes)"))?;
    Ok(bytes as u16)
}

/// `"8086:2030"`.
pub(super) fn id(value: Value<'_, '_>) -> Result<Id, MachineError> {
    let parsed = value.value.get_ref().as_str().and_then(|text| {
        let (vendor, device) = text.split_once(':')?;
        let hex = |digits: &str| {
            let is_hex = digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
        };
        let (vendor, device) = (hex(vendor)?, hex(device)?);
        // Linux takes these for an empty slot.
        let is_nobody = vendor == 0xffff || vendor == 0;
        (!is_nobody).then_some(Id { vendor, device })
    });
    parsed.ok_or_else(|| {
        value.wrong("vendor and device in hexadecimal as lspci prints them, such as \"8086:2030\"")
    })
}

/// A name.
pub(crate) fn name(value: Value<'_, '_>) -> Result<String, MachineError> {
    const EXPECTED: &str = "a name that starts with a letter and has up to 64 letters, digits, - and _";
    let text = value.text(EXPECTED)?;
    let is_name = text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    is_name
        .then(|| text.to_owned())
        .ok_or_else(|| value.wrong(EXPECTED))
}

/// `true` or `false`.
pub(super) fn switched(value: Value<'_, '_>) -> Result<Switched, MachineError> {
    value.yes().map(|is_on| match is_on {
        true => Switched::On,
        false => Switched::Off,
    })
}

/// `"5.1"`: device and function.
pub(super) fn slot(value: Value<'_, '_>) -> Result<Slot, MachineError> {
    let parsed = value.value.get_ref().as_str().and_then(|text| {
        let (device, function) = text.split_once('.').unwrap_or((text, "0"));
        let slot = Slot {
            device: device.parse().ok()?,
            function: function.parse().ok()?,
        };
        (slot.device < 32 && slot.function < 8).then_some(slot)
    });
    parsed.ok_or_else(|| value.wrong("device and function number, decimal, such as \"5.1\" (up to 31 and 7)"))
}

/// `"RC"` (capable of these, all on), or a table of what it can do, what is on and whom it forbids.
pub(super) fn acs(value: Value<'_, '_>) -> Result<Acs, MachineError> {
    let at = value.at();
    if value.value.get_ref().is_str() {
        let flags = letters(value)?;
        return Ok(Acs {
            at,
            capable: flags,
            control: flags,
            ..Acs::default()
        });
    }
    let mut table = value
        .table("Access Control Services")
        .map_err(|_| value.wrong(LETTERS))?;
    let can = table.take_some("can", letters)?;
    let on = table.take_some("on", letters)?;
    let egress = match table.take("forbid") {
        Some(value) => value.each().into_iter().map(egress).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let bits = |value: Value<'_, '_>| value.number(1, EgressVector::MOST_BITS.into());
    let egress_bits = table.take_some("forbid-bits", bits)?.map(|bits| bits as u16);
    table.finish()?;
    let (capable, control) = match (can, on) {
        (Some(can), on) => (can, on.unwrap_or_default()),
        (None, Some(on)) => (on, on),
        (None, None) => (AcsFlags::default(), AcsFlags::default()),
    };
    if !capable.contains(AcsFlags::EGRESS_CONTROL) && (!egress.is_empty() || egress_bits.is_some()) {
        let conflict = Wrong::Conflict {
            what: "`forbid` needs egress control".into(),
            instead: "write E among the letters of `can`".into(),
        };
        return Err(conflict.at(at));
    }
    Ok(Acs {
        at,
        capable,
        control,
        egress,
        egress_bits,
    })
}

const LETTERS: &str = "the letters of what is on, such as \"RCU\" (V source validation, B translation blocking, R request \
    redirect, C completion redirect, U upstream forwarding, E egress control, T direct translated), \"-\" for none, or \
    { can = \"VBRCUET\", on = \"RC\" }";

fn letters(value: Value<'_, '_>) -> Result<AcsFlags, MachineError> {
    let text = value.text(LETTERS)?;
    if text == "-" {
        return Ok(AcsFlags::default());
    }
    let mut flags = AcsFlags::default();
    for letter in text.chars() {
        let known = AcsFlags::NAMES.iter().find(|(_, name, _)| *name == letter);
        let (flag, ..) = known.ok_or_else(|| value.wrong(LETTERS))?;
        flags = flags.union(*flag);
    }
    match text.is_empty() {
        true => Err(value.wrong(LETTERS)),
        false => Ok(flags),
    }
}

fn egress(value: Value<'_, '_>) -> Result<Egress, MachineError> {
    match value.value.get_ref().is_str() {
        true => name(value).map(Egress::Name),
        false => value.number(0, 255).map(|number| Egress::Number(number as u8)),
    }
}

/// A number of bytes as text: `4096`, `64 KiB`.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| with_unit(text, &UNITS[SIZES]))
}
