//! What scripts call devices, and what memory those have.

use super::error::{ScriptError, Wrong};
use super::{Area, Said, Spot};
use crate::blueprint::{Blueprint, DeviceKind};
use crate::device::Region;
use crate::file::At;
use crate::machine::Machine;
use crate::memory::Place;
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::snapshot::IommuMode;
use std::collections::BTreeMap;

/// The devices of a machine by name.
#[derive(Debug)]
pub(super) struct Names<'b> {
    blueprint: &'b Blueprint,
    /// Nothing where several have the name.
    by_name: BTreeMap<&'b str, Option<Bdf>>,
}

/// A place on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Side {
    /// Whose memory it is, and in which of its BARs; nothing for host RAM.
    pub(super) owner: Option<(Bdf, u8)>,
    /// Bytes from the start of the BAR; a physical address in host RAM.
    pub(super) offset: u64,
    /// Where it is in the simulator's memory.
    pub(super) place: Place,
}

impl<'b> Names<'b> {
    pub(super) fn new(blueprint: &'b Blueprint) -> Self {
        let mut by_name = BTreeMap::new();
        for function in blueprint.snapshot.functions() {
            for name in &function.os.names {
                let found: &mut Option<Bdf> = by_name.entry(name.as_str()).or_insert(Some(function.bdf));
                if *found != Some(function.bdf) {
                    *found = None;
                }
            }
        }
        Self { blueprint, by_name }
    }

    /// The function of this name or address.
    pub(super) fn find(&self, name: &str, at: At) -> Result<Bdf, ScriptError> {
        if let Some(found) = self.by_name.get(name) {
            return found.ok_or_else(|| Wrong::Ambiguous { name: name.into() }.at(at));
        }
        let address = name.parse().ok();
        let address = address.filter(|bdf| self.blueprint.snapshot.position(*bdf).is_some());
        address.ok_or_else(|| {
            let wrong = Wrong::NoSuchDevice {
                name: name.into(),
                instead: self.known(),
            };
            wrong.at(at)
        })
    }

    pub(super) fn find_said(&self, name: &Said<String>) -> Result<Bdf, ScriptError> {
        self.find(&name.value, name.at)
    }

    /// What people call a function.
    pub(super) fn call(&self, bdf: Bdf) -> String {
        let position = self.blueprint.snapshot.position(bdf);
        let function = position.and_then(|index| self.blueprint.snapshot.functions().get(index));
        let name = function.and_then(|function| function.os.names.first());
        name.cloned().unwrap_or_else(|| bdf.to_string())
    }

    /// Does the function have an engine that scripts drive?
    pub(super) fn has_engine(&self, bdf: Bdf) -> bool {
        matches!(self.blueprint.devices.get(&bdf), Some(DeviceKind::Accelerator(_)))
    }

    /// Does the machine's IOMMU translate?
    pub(super) fn has_translating_iommu(&self) -> bool {
        self.blueprint.snapshot.host.iommu == Fact::Known(IommuMode::Translating)
    }

    /// The place that a spot means, of which `len_bytes` are used.
    pub(super) fn side(
        &self,
        machine: &mut Machine,
        spot: &Said<Spot>,
        len_bytes: u64,
    ) -> Result<Side, ScriptError> {
        let (name, area, offset) = match &spot.value {
            Spot::Ram { phys } => return ram(machine, *phys, len_bytes, spot),
            Spot::Device { name, area, offset } => (name, *area, *offset),
        };
        let bdf = self.find(name, spot.at)?;
        let bars = bars(machine, bdf);
        let lacks = |place: String| {
            let wrong = Wrong::NoSuchMemory {
                device: self.call(bdf),
                place,
                instead: self.has(&bars, bdf),
            };
            wrong.at(spot.at)
        };
        let bar = match area {
            Area::Bar(bar) => Some(bar),
            Area::Cmb => self.cmb(bdf),
            Area::Largest => bars
                .iter()
                .max_by_key(|(_, size_bytes)| *size_bytes)
                .map(|(bar, _)| *bar),
        };
        let bar = bar.ok_or_else(|| lacks(area.to_string()))?;
        let size_bytes = bars
            .iter()
            .find(|(number, _)| *number == bar)
            .map_or(0, |(_, size_bytes)| *size_bytes);
        if offset.checked_add(len_bytes).is_none_or(|end| end > size_bytes) {
            return Err(lacks(format!("{len_bytes:#x} bytes from {area}+{offset:#x} on")));
        }
        let region = machine.with_device(bdf, |device, _| device.decode(bar, offset));
        match region {
            Some(Region::Memory {
                place,
                len_bytes: follow_bytes,
            }) if follow_bytes >= len_bytes => Ok(Side {
                owner: Some((bdf, bar)),
                offset,
                place,
            }),
            _ => Err(lacks(format!(
                "{area}+{offset:#x} (there are registers, or nothing)"
            ))),
        }
    }

    fn cmb(&self, bdf: Bdf) -> Option<u8> {
        match self.blueprint.devices.get(&bdf) {
            Some(DeviceKind::Nvme(nvme)) => nvme.cmb.map(|cmb| cmb.bar),
            _ => None,
        }
    }

    /// What memory a device has, in words.
    fn has(&self, bars: &[(u8, u64)], bdf: Bdf) -> String {
        let mut list: Vec<String> = bars
            .iter()
            .map(|(bar, size_bytes)| format!("bar{bar} of {size_bytes:#x} bytes"))
            .collect();
        if let Some(bar) = self.cmb(bdf) {
            list.push(format!("cmb, which is bar{bar}"));
        }
        match list.is_empty() {
            true => "it has no memory".into(),
            false => format!("it has {}", list.join(", ")),
        }
    }

    /// What devices there are, in words.
    fn known(&self) -> String {
        const SHOWN: usize = 12;
        let endpoints = (self.blueprint.devices.keys()).map(|bdf| self.call(*bdf));
        let mut known: Vec<String> = endpoints.take(SHOWN).collect();
        if known.is_empty() {
            known.extend(self.by_name.keys().take(SHOWN).map(|name| (*name).to_owned()));
        }
        match known.is_empty() {
            true => "it has no devices that a script can name".into(),
            false => format!("it has {}, and every function by its address", known.join(", ")),
        }
    }
}

fn ram(machine: &Machine, phys: u64, len_bytes: u64, spot: &Said<Spot>) -> Result<Side, ScriptError> {
    match machine.ram(phys) {
        Some((place, follow_bytes)) if follow_bytes >= len_bytes => Ok(Side {
            owner: None,
            offset: phys,
            place,
        }),
        _ => {
            let wrong = Wrong::NoSuchMemory {
                device: "the machine".into(),
                place: format!("{len_bytes:#x} bytes from ram+{phys:#x} on"),
                instead: "its RAM does not reach so far; `ram` in the machine file says where it lies".into(),
            };
            Err(wrong.at(spot.at))
        }
    }
}

/// The memory BARs of a function and their sizes.
fn bars(machine: &Machine, bdf: Bdf) -> Vec<(u8, u64)> {
    let fabric = machine.fabric();
    let Some(function) = fabric.find(bdf) else {
        return Vec::new();
    };
    (0..6)
        .filter_map(|bar| fabric.bar(function, bar).map(|(_, size_bytes)| (bar, size_bytes)))
        .collect()
}
