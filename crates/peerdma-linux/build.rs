//! Writes the database of PCI ids as tables of plain numbers and one text, for `src/ids.rs`.
//!
//! The crate `pci-ids` holds it as tables of references. Every reference has to be relocated when a
//! program starts, which costs a short run of the command line more than its work does.

use std::fmt::Write as _;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::new();
    let mut place = |name: &str| {
        let at = text.len();
        text.push_str(name);
        (at, name.len())
    };
    let mut vendors: Vec<_> = pci_ids::Vendors::iter().collect();
    vendors.sort_by_key(|vendor| vendor.id());
    let (mut vendor_rows, mut device_rows) = (Vec::new(), Vec::new());
    for vendor in vendors {
        let (at, length) = place(vendor.name());
        vendor_rows.push([usize::from(vendor.id()), at, length, device_rows.len()]);
        let mut devices: Vec<_> = vendor.devices().collect();
        devices.sort_by_key(|device| device.id());
        for device in devices {
            let (at, length) = place(device.name());
            device_rows.push([usize::from(device.id()), at, length, 0]);
        }
    }
    let (mut class_rows, mut subclass_rows) = (Vec::new(), Vec::new());
    for class in pci_ids::Classes::iter() {
        let (at, length) = place(class.name());
        class_rows.push([usize::from(class.id()), at, length, 0]);
        for subclass in class.subclasses() {
            let (at, length) = place(subclass.name());
            let number = usize::from(class.id()) << 8 | usize::from(subclass.id());
            subclass_rows.push([number, at, length, 0]);
        }
    }
    class_rows.sort_unstable();
    subclass_rows.sort_unstable();
    let mut tables = String::new();
    for (name, rows) in [
        ("VENDORS", vendor_rows),
        ("DEVICES", device_rows),
        ("CLASSES", class_rows),
        ("SUBCLASSES", subclass_rows),
    ] {
        write!(
            tables,
            "static {name}: [[u32; 4]; {}] = {rows:?};\n\n",
            rows.len()
        )?;
    }
    let folder = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&folder).join("ids.txt"), text)?;
    std::fs::write(Path::new(&folder).join("ids.rs"), tables)?;
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}
