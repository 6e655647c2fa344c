//! From names back to numbers, through the list of PCI IDs; what is ambiguous is unknown.

use crate::ids::{self, Vendor};
use peerdma::pci::Id;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The longest vendor name that is looked for, so that a hostile line costs no more than an honest one.
const MOST_NAME_BYTES: usize = 160;

/// Class and sub-class with this name.
pub(super) fn class(name: &str) -> Option<u16> {
    CLASSES.get(name.trim()).copied().flatten()
}

/// Vendor and device of `VENDOR DEVICE`, where both can be told.
///
/// The longest vendor name that begins the text counts. A device without a name is printed as
/// `Device 4c43`, one whose vendor has no name either as `Device 1234:4c43`.
pub(super) fn id(text: &str) -> Option<Id> {
    if let Some((vendor, device)) = text.strip_prefix("Device ").and_then(|rest| rest.split_once(':')) {
        let (vendor, device) = (super::scan::exact_hex(vendor)?, super::scan::exact_hex(device)?);
        return Some(Id { vendor, device });
    }
    let reach = text.len().min(MOST_NAME_BYTES);
    let (vendor, device) = text
        .as_bytes()
        .get(..reach)?
        .iter()
        .enumerate()
        .rev()
        .filter(|&(_, &byte)| byte == b' ')
        .find_map(|(space, _)| {
            let vendor = VENDORS.get(text.get(..space)?)?;
            Some((vendor, text.get(space + 1..)?))
        })?;
    let vendor = (*vendor)?;
    let device = match device.strip_prefix("Device ").and_then(super::scan::exact_hex) {
        Some(device) => device,
        None => only(vendor.devices().filter(|(_, known)| *known == device))?.0,
    };
    Some(Id {
        vendor: vendor.number(),
        device,
    })
}

/// Vendors by name; nothing where two have the same.
static VENDORS: LazyLock<HashMap<&'static str, Option<Vendor>>> = LazyLock::new(|| {
    let mut names = HashMap::new();
    for vendor in ids::vendors() {
        names
            .entry(vendor.name())
            .and_modify(|known| *known = None)
            .or_insert(Some(vendor));
    }
    names
});

/// Classes and sub-classes by name; nothing where two have the same.
static CLASSES: LazyLock<HashMap<&'static str, Option<u16>>> = LazyLock::new(|| {
    let mut names = HashMap::new();
    for (number, name) in ids::classes() {
        names
            .entry(name)
            .and_modify(|known| *known = None)
            .or_insert(Some(number));
    }
    names
});

/// The only item, if there is exactly one.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unique_name_leads_back_to_its_number() {
        let mut told = 0;
        for vendor in ids::vendors() {
            for (_, device) in vendor.devices() {
                let text = format!("{} {device}", vendor.name());
                if let Some(id) = id(&text) {
                    let found = ids::vendor(id.vendor).unwrap();
                    let name = found.device(id.device).unwrap();
                    assert_eq!(format!("{} {name}", found.name()), text, "{id}");
                    told += 1;
                }
            }
        }
        assert!(told > 10_000, "{told}");
    }

    #[test]
    fn the_classes_that_decide_are_told_by_name() {
        for (name, number) in [
            ("Host bridge", 0x0600),
            ("PCI bridge", 0x0604),
            ("Non-Volatile memory controller", 0x0108),
            ("3D controller", 0x0302),
            ("Ethernet controller", 0x0200),
        ] {
            assert_eq!(class(name), Some(number), "{name}");
        }
        assert_eq!(class("Nonsense"), None);
    }
}
