//! What functions are called: by the kernel, by their class, by the database of PCI ids.

use peerdma::fact::Fact;
use peerdma::pci::{ClassCode, Id, PortType};
use peerdma::snapshot::Function;
use peerdma_linux::ids;
use peerdma_sim::blueprint::identity;
use std::borrow::Cow;

/// Classes that have a short word, as the class code's digits begin: longer digits first.
const KINDS: [(&str, &str); 19] = [
    ("00ff", "other"),
    ("0108", "nvme"),
    ("0600", "host-bridge"),
    ("0604", "pci-bridge"),
    ("0880", "system"),
    ("0c03", "usb"),
    ("0c05", "smbus"),
    ("1200", "accel"),
    ("01", "storage"),
    ("02", "net"),
    ("03", "gpu"),
    ("04", "media"),
    ("05", "memory"),
    ("06", "bridge"),
    ("08", "system"),
    ("0b", "cpu"),
    ("12", "accel"),
    ("10", "crypto"),
    ("ff", "other"),
];

/// A word for a class: `nvme`, `gpu`; its four digits where there is none.
pub(crate) fn kind(class: Option<ClassCode>) -> Cow<'static, str> {
    let Some(class) = class else {
        return "?".into();
    };
    let digits = format!("{:04x}", class.class());
    match KINDS.iter().find(|(start, _)| digits.starts_with(start)) {
        Some((_, word)) => Cow::Borrowed(word),
        None => digits.into(),
    }
}

/// A word for what a function is: of a bridge the kind of port, of all others the class.
pub(crate) fn kind_of(function: &Function) -> Cow<'static, str> {
    let class = function.class();
    // The host bridge of some processors calls itself a root port.
    if class.is_none_or(|class| class.class() != ClassCode::PCI_BRIDGE) {
        return kind(class);
    }
    match function.port_type() {
        Fact::Known(Some(PortType::ROOT_PORT)) => "root-port".into(),
        Fact::Known(Some(PortType::UPSTREAM)) => "upstream".into(),
        Fact::Known(Some(PortType::DOWNSTREAM)) => "downstream".into(),
        _ => kind(class),
    }
}

/// Vendor and device as the database names them, else as numbers.
pub(crate) fn device(id: Option<Id>) -> String {
    let Some(id) = id else {
        return "unknown device".into();
    };
    if let Some(simulated) = simulated(id) {
        return simulated.into();
    }
    let Some(vendor) = ids::vendor(id.vendor) else {
        return id.to_string();
    };
    match vendor.device(id.device) {
        Some(device) => format!("{} {device}", short(vendor.name())),
        None => format!("{} {:04x}", short(vendor.name()), id.device),
    }
}

/// What the simulator's own devices are.
fn simulated(id: Id) -> Option<&'static str> {
    const NAMES: [(Id, &str); 8] = [
        (identity::HOST_BRIDGE, "simulated host bridge"),
        (identity::ROOT_PORT, "simulated root port"),
        (identity::UPSTREAM_PORT, "simulated switch, upstream port"),
        (identity::DOWNSTREAM_PORT, "simulated switch, downstream port"),
        (identity::CONVENTIONAL_BRIDGE, "simulated PCI bridge"),
        (identity::CARD, "simulated memory card"),
        (identity::NVME, "simulated NVMe controller"),
        (identity::ACCELERATOR, "simulated accelerator"),
    ];
    let found = NAMES.iter().find(|(known, _)| *known == id);
    found.map(|(_, name)| *name)
}

/// A vendor's name.
pub(crate) fn vendor(vendor: u16) -> Option<&'static str> {
    ids::vendor(vendor).map(ids::Vendor::name)
}

/// A class's name.
pub(crate) fn class(class: Option<ClassCode>) -> Cow<'static, str> {
    let Some(class) = class else {
        return "class unknown".into();
    };
    match ids::class(class.class()).or(ids::base_class(class.base())) {
        Some(name) => name.into(),
        None => format!("class {:04x}", class.class()).into(),
    }
}

/// A function's first kernel name: `nvme0`.
pub(crate) fn kernel_name(function: &Function) -> Option<&str> {
    function.os.names.first().map(String::as_str)
}

/// What to call a function in a sentence: `nvme0 (0000:3b:00.0)`, else its kind and address.
pub(crate) fn spoken(function: &Function) -> String {
    match kernel_name(function) {
        Some(name) => format!("{name} ({})", function.bdf),
        None => match &kind_of(function)[..] {
            "?" => function.bdf.to_string(),
            kind => format!("{kind} {}", function.bdf),
        },
    }
}

/// The bound driver, if it is known that there is one.
pub(crate) fn driver(function: &Function) -> Option<&str> {
    match &function.os.driver {
        Fact::Known(driver) => driver.as_deref(),
        Fact::Unknown(_) => None,
    }
}

/// A vendor's name without what companies append to theirs.
fn short(name: &str) -> &str {
    const TAILS: [&str; 8] = [
        " Corporation",
        " Technologies",
        " Technology",
        " Electronics",
        " Inc.",
        " Co.",
        " Co",
        " Ltd",
    ];
    let mut name = name.split([',', '[']).next().unwrap_or(name).trim_end();
    while let Some(shorter) = TAILS.iter().find_map(|tail| name.strip_suffix(tail)) {
        name = shorter;
    }
    name
}
