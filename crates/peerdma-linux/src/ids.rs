//! The database of PCI ids: what vendors, devices and classes are called.
//!
//! Asked by the reader of `lspci` (names to numbers) and by the command line (numbers to names). The
//! tables are written by `build.rs`; a row is number, start and length of the name, and for a vendor the
//! position of its first device.

include!(concat!(env!("OUT_DIR"), "/ids.rs"));

static TEXT: &str = include_str!(concat!(env!("OUT_DIR"), "/ids.txt"));

/// A vendor that the database knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vendor {
    row: usize,
}

/// All vendors, in the order of their numbers.
pub fn vendors() -> impl Iterator<Item = Vendor> {
    (0..VENDORS.len()).map(|row| Vendor { row })
}

/// The vendor with this number.
pub fn vendor(number: u16) -> Option<Vendor> {
    find(&VENDORS, number).map(|row| Vendor { row })
}

impl Vendor {
    /// Its number.
    pub fn number(self) -> u16 {
        VENDORS[self.row][0] as u16
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        name(&VENDORS[self.row])
    }

    /// Its devices, in the order of their numbers: number and name.
    pub fn devices(self) -> impl Iterator<Item = (u16, &'static str)> {
        self.rows().iter().map(|row| (row[0] as u16, name(row)))
    }

    /// The name of its device with this number.
    pub fn device(self, number: u16) -> Option<&'static str> {
        let rows = self.rows();
        find(rows, number).map(|row| name(&rows[row]))
    }

    fn rows(self) -> &'static [[u32; 4]] {
        let first = VENDORS[self.row][3] as usize;
        let end = VENDORS
            .get(self.row + 1)
            .map_or(DEVICES.len(), |next| next[3] as usize);
        &DEVICES[first..end]
    }
}

/// The name of a base class.
pub fn base_class(number: u8) -> Option<&'static str> {
    find(&CLASSES, number.into()).map(|row| name(&CLASSES[row]))
}

/// The name of a base class and sub-class, 16 bits.
pub fn class(number: u16) -> Option<&'static str> {
    find(&SUBCLASSES, number).map(|row| name(&SUBCLASSES[row]))
}

/// All base classes with sub-classes: number and name.
pub fn classes() -> impl Iterator<Item = (u16, &'static str)> {
    SUBCLASSES.iter().map(|row| (row[0] as u16, name(row)))
}

fn find(rows: &[[u32; 4]], number: u16) -> Option<usize> {
    rows.binary_search_by_key(&u32::from(number), |row| row[0]).ok()
}

fn name(row: &[u32; 4]) -> &'static str {
    let (start, length) = (row[1] as usize, row[2] as usize);
    TEXT.get(start..start + length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_leads_to_its_own_name() {
        let mut devices = 0;
        for found in vendors() {
            assert_eq!(vendor(found.number()), Some(found));
            assert!(!found.name().is_empty());
            for (number, name) in found.devices() {
                assert_eq!(found.device(number), Some(name));
                devices += 1;
            }
        }
        assert!(devices > 10_000, "{devices}");
        for (number, name) in classes() {
            assert_eq!(class(number), Some(name));
            assert!(base_class((number >> 8) as u8).is_some());
        }
        assert_eq!(vendor(0x8086).map(Vendor::name), Some("Intel Corporation"));
        assert_eq!(class(0x0108), Some("Non-Volatile memory controller"));
        assert_eq!(vendor(0xfff0), None);
    }
}
