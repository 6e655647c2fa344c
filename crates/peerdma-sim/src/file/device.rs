//! Devices in a machine file.

use super::error::{MachineError, Wrong};
use super::table::{Table, Value};
use super::value;
use super::{At, Bar, BarWidth, Cmb, Device, Kind, Prefetchable, Reach, port};
use crate::blueprint::{AcceleratorKind, CmbAbilities, CmbStyle, NamespaceKind, OnFailure, Protection};
use std::path::PathBuf;

const LEAST_BAR_BYTES: u64 = 16;
/// The largest BAR.
pub(crate) const MOST_BAR_BYTES: u64 = 1 << 43;
const MOST_NAMESPACE_BYTES: u64 = 1 << 50;
const MOST_NAMESPACES: usize = 64;

/// The functions under `device`.
pub(super) fn devices(table: &mut Table<'_, '_>) -> Result<Vec<Device>, MachineError> {
    match table.take("device") {
        Some(value) => value.each().into_iter().map(device).collect(),
        None => Ok(Vec::new()),
    }
}

/// Reads what only one kind of device has.
type ReadKind = fn(&mut Table<'_, '_>) -> Result<Kind, MachineError>;

fn device(value: Value<'_, '_>) -> Result<Device, MachineError> {
    let mut table = value.table("a device")?;
    let common = port::common(&mut table)?;
    let slot = table.take_some("slot", value::slot)?;
    let link = table.take_some("link", value::link)?;
    let ats = table.take_some("ats", value::switched)?;
    let kinds: [(&'static str, ReadKind); 3] = [("nvme", nvme), ("accelerator", accelerator), ("card", card)];
    let expected = "\"nvme\", \"accelerator\" or \"card\"";
    let kind = table
        .take("kind")
        .ok_or_else(|| table.missing("kind", expected))?;
    let kind = kind.word(&kinds)?(&mut table)?;
    table.finish()?;
    Ok(Device {
        common,
        slot,
        link,
        ats,
        kind,
    })
}

fn nvme(table: &mut Table<'_, '_>) -> Result<Kind, MachineError> {
    let namespaces = match table.take("namespace") {
        Some(value) => value
            .each_of("namespaces of a controller", MOST_NAMESPACES)?
            .into_iter()
            .map(namespace)
            .collect::<Result<_, _>>()?,
        None => vec![NamespaceKind::default()],
    };
    let cmb = table.take_some("cmb", cmb)?;
    Ok(Kind::Nvme { namespaces, cmb })
}

fn namespace(value: Value<'_, '_>) -> Result<NamespaceKind, MachineError> {
    let mut table = value.table("a namespace")?;
    let usual = NamespaceKind::default();
    let block_bytes = table.take_or("block-size", usual.block_bytes, |value| {
        value.one_of(&[512, 4096])
    })?;
    let size = table.take_or("size", usual.blocks * u64::from(usual.block_bytes), |value| {
        let bytes = value::size(value, MOST_NAMESPACE_BYTES)?;
        match bytes > 0 && bytes.is_multiple_of(block_bytes.into()) {
            true => Ok(bytes),
            false => Err(value.wrong(format!("a multiple of its blocks of {block_bytes} bytes"))),
        }
    })?;
    let file = table.take_some("file", |value| {
        const EXPECTED: &str = "the path of a file, such as \"ssd.img\"";
        let path = value.text(EXPECTED)?;
        match path.is_empty() || path.contains('\0') {
            true => Err(value.wrong(EXPECTED)),
            false => Ok(PathBuf::from(path)),
        }
    })?;
    table.finish()?;
    Ok(NamespaceKind {
        block_bytes,
        blocks: size / u64::from(block_bytes),
        file,
        protection: Protection::None,
    })
}

/// What a controller memory buffer may be used for: the word, the bit of CMBSZ, the bit of CMBLOC.
const ABILITIES: [(&str, (u8, u16)); 11] = [
    ("sqs", (1 << 0, 0)),
    ("cqs", (1 << 1, 0)),
    ("lists", (1 << 2, 0)),
    ("rds", (1 << 3, 0)),
    ("wds", (1 << 4, 0)),
    ("cqmms", (0, 1 << 3)),
    ("cqpds", (0, 1 << 4)),
    ("cdpmls", (0, 1 << 5)),
    ("cdpcils", (0, 1 << 6)),
    ("cdmmms", (0, 1 << 7)),
    ("cqda", (0, 1 << 8)),
];

fn cmb(value: Value<'_, '_>) -> Result<Cmb, MachineError> {
    let mut table = value.table("a controller memory buffer")?;
    let index = table.take_or("bar", 4, |value| value.number(2, 4))? as u8;
    let size_bytes = size(&mut table, 4096)?;
    let reach = reach(&mut table)?;
    let style = table.take_or("style", CmbStyle::default(), |value| {
        value.word(&[("1.2", CmbStyle::V1_2), ("1.4", CmbStyle::V1_4)])
    })?;
    let mut abilities = CmbAbilities {
        size_bits: 0x1f,
        location_bits: match style {
            CmbStyle::V1_2 => 0,
            CmbStyle::V1_4 => 0x1f8,
        },
    };
    if let Some(can) = table.take("can") {
        abilities.size_bits = 0;
        abilities.location_bits = 0;
        for word in can.each() {
            let (size_bit, location_bit) = word.word(&ABILITIES)?;
            if location_bit != 0 && style == CmbStyle::V1_2 {
                return Err(word.wrong("what a buffer of style 1.2 can have: sqs, cqs, lists, rds, wds"));
            }
            abilities.size_bits |= size_bit;
            abilities.location_bits |= location_bit;
        }
    }
    let at = table.at;
    table.finish()?;
    let bar = Bar {
        reach,
        ..Bar::memory(index, size_bytes, at)
    };
    Ok(Cmb {
        bar,
        abilities,
        style,
    })
}

fn accelerator(table: &mut Table<'_, '_>) -> Result<Kind, MachineError> {
    const MIB: u64 = 1 << 20;
    let size_bytes = table.take_or("memory", 1 << 30, |value| {
        value::power_of_two(value, MIB, MOST_BAR_BYTES)
    })?;
    let smallest_bytes = resizable(table, size_bytes)?;
    let reach = reach(table)?;
    let usual = AcceleratorKind::default();
    let outstanding_bytes = table.take_or("outstanding", u64::from(usual.outstanding_bytes), |value| {
        value::power_of_two(value, 4096, 1 << 30)
    })? as u32;
    let on_failure = table.take_or("on-failure", usual.on_failure, |value| {
        value.word(&[("report", OnFailure::Report), ("all-ones", OnFailure::AllOnes)])
    })?;
    Ok(Kind::Accelerator {
        memory: Bar {
            smallest_bytes,
            reach,
            ..Bar::memory(2, size_bytes, table.at)
        },
        kind: AcceleratorKind {
            outstanding_bytes,
            on_failure,
        },
    })
}

fn card(table: &mut Table<'_, '_>) -> Result<Kind, MachineError> {
    let Some(value) = table.take("bar") else {
        return Ok(Kind::Card {
            bars: vec![Bar::memory(0, 64 << 20, table.at)],
        });
    };
    let mut bars: Vec<Bar> = Vec::new();
    for value in value.each() {
        let next = bars.last().map_or(0, |bar| bar.index + bar.registers());
        let bar = bar(value, next)?;
        if bar.index < next || bar.index + bar.registers() > 6 {
            let conflict = Wrong::Conflict {
                what: format!(
                    "BAR {} is not free: the BARs before it take {next} of six registers",
                    bar.index
                ),
                instead: "name BARs in ascending order; one of 64 bits takes two".into(),
            };
            return Err(conflict.at(bar.at));
        }
        bars.push(bar);
    }
    Ok(Kind::Card { bars })
}

fn bar(value: Value<'_, '_>, next: u8) -> Result<Bar, MachineError> {
    let mut table = value.table("a BAR")?;
    let index = table.take_or("index", next.into(), |value| value.number(0, 5))? as u8;
    let width = table.take_or("bits", BarWidth::Wide, |value| {
        Ok(match value.one_of(&[32, 64])? {
            32 => BarWidth::Narrow,
            _ => BarWidth::Wide,
        })
    })?;
    let by_width = match width {
        BarWidth::Wide => Prefetchable::Yes,
        BarWidth::Narrow => Prefetchable::No,
    };
    let prefetchable = table.take_or("prefetchable", by_width, |value| {
        Ok(match value.yes()? {
            true => Prefetchable::Yes,
            false => Prefetchable::No,
        })
    })?;
    let at = table.at;
    let size_bytes = size(&mut table, LEAST_BAR_BYTES)?;
    if width == BarWidth::Narrow && size_bytes > 1 << 31 {
        let conflict = Wrong::Conflict {
            what: "a BAR of 32 bits has at most 2 GiB".into(),
            instead: "write `bits = 64`".into(),
        };
        return Err(conflict.at(at));
    }
    let smallest_bytes = resizable(&mut table, size_bytes)?;
    let reach = reach(&mut table)?;
    table.finish()?;
    Ok(Bar {
        at,
        index,
        size_bytes,
        width,
        prefetchable,
        smallest_bytes,
        reach,
    })
}

fn size(table: &mut Table<'_, '_>, least: u64) -> Result<u64, MachineError> {
    let value = table
        .take("size")
        .ok_or_else(|| table.missing("size", "a power of two such as \"64 MiB\""))?;
    value::power_of_two(value, least, MOST_BAR_BYTES)
}

/// The smallest size of a resizable BAR.
fn resizable(table: &mut Table<'_, '_>, size_bytes: u64) -> Result<Option<u64>, MachineError> {
    table.take_some("resizable-from", |value| {
        value::power_of_two(value, 1 << 20, size_bytes)
            .map_err(|_| value.wrong("a power of two from 1 MiB up to the size of the BAR"))
    })
}

fn reach(table: &mut Table<'_, '_>) -> Result<Reach, MachineError> {
    table.take_or("reach", Reach::Cpu, |value| {
        value.word(&[
            ("cpu", Reach::Cpu),
            ("peers-only", Reach::PeersOnly),
            ("unassigned", Reach::Unassigned),
        ])
    })
}

impl Bar {
    /// Prefetchable memory with a 64-bit address.
    pub fn memory(index: u8, size_bytes: u64, at: At) -> Self {
        Self {
            at,
            index,
            size_bytes,
            width: BarWidth::Wide,
            prefetchable: Prefetchable::Yes,
            smallest_bytes: None,
            reach: Reach::Cpu,
        }
    }

    /// Registers behind a 64-bit address.
    pub fn registers_of(index: u8, size_bytes: u64) -> Self {
        Self {
            prefetchable: Prefetchable::No,
            ..Self::memory(index, size_bytes, At::default())
        }
    }

    /// How many base address registers it takes.
    pub fn registers(&self) -> u8 {
        match self.width {
            BarWidth::Narrow => 1,
            BarWidth::Wide => 2,
        }
    }
}

impl Device {
    /// Its BARs, by index.
    pub fn bars(&self) -> Vec<Bar> {
        const NVME_REGISTERS_BYTES: u64 = 16 << 10;
        const ACCELERATOR_REGISTERS_BYTES: u64 = 64 << 10;
        match &self.kind {
            Kind::Card { bars } => bars.clone(),
            Kind::Nvme { cmb, .. } => {
                let registers = Bar::registers_of(0, NVME_REGISTERS_BYTES);
                std::iter::once(registers)
                    .chain(cmb.as_ref().map(|cmb| cmb.bar))
                    .collect()
            }
            Kind::Accelerator { memory, .. } => {
                vec![Bar::registers_of(0, ACCELERATOR_REGISTERS_BYTES), *memory]
            }
        }
    }
}
