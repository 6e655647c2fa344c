//! The details of one function: the indented lines that `-k`, `-v`, `-vv` and `-vvv` add.

use super::capability::Capabilities;
use super::header;
use super::region::{self, WindowLines};
use super::scan::{after, behind, decimal, flag, hexadecimal};
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{Bridge, BridgeKind, Command, Id};
use peerdma::snapshot::Resource;

/// How much of a function the text shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Verbosity {
    /// Its first line, perhaps its driver (`-k`), or a piece that somebody cut out.
    #[default]
    Terse,
    /// `-v`: regions come without their numbers, the command register as words.
    Flags,
    /// `-vv` or more.
    Registers,
}

/// What the details of one function say.
#[derive(Debug, Clone, Default)]
pub(super) struct Details {
    pub(super) verbosity: Verbosity,
    pub(super) command: Option<Command>,
    pub(super) has_capabilities: Option<bool>,
    pub(super) subsystem: Option<Fact<Id>>,
    pub(super) numa_node: Option<u32>,
    pub(super) iommu_group: Option<u32>,
    pub(super) driver: Option<String>,
    pub(super) capabilities: Capabilities,
    resources: Vec<Resource>,
    odd_region: Option<Unread>,
    buses: Option<(u8, u8, u8)>,
    windows: WindowLines,
    place: Place,
}

/// Lines of the same name mean other things further down: a `Region` among the capabilities is one of
/// the virtual functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Header,
    Capabilities,
}

impl Details {
    /// Takes a line without the white space around it; lines of no interest are taken too. Nothing
    /// where it makes no sense.
    pub(super) fn add(&mut self, line: &str) -> Option<()> {
        if let Some(text) = after(line, "Capabilities:") {
            self.place = Place::Capabilities;
            self.capabilities.begin(text)
        } else if let Some(text) = after(line, "Kernel driver in use:") {
            self.driver = Some(text.to_owned()).filter(|name| !name.is_empty());
            self.driver.as_ref().map(|_| ())
        } else if self.place == Place::Capabilities {
            self.capabilities.describe(line)
        } else {
            self.add_to_header(line)
        }
    }

    fn add_to_header(&mut self, line: &str) -> Option<()> {
        if let Some(text) = after(line, "Subsystem:") {
            self.subsystem = Some(header::read_id(text));
        } else if let Some(text) = after(line, "Control:") {
            self.verbosity = self.verbosity.max(Verbosity::Registers);
            self.command = Some(command(text)?);
        } else if let Some(text) = after(line, "Status:") {
            self.has_capabilities = Some(flag(text, "Cap")?);
        } else if let Some(text) = after(line, "Flags:") {
            self.verbosity = self.verbosity.max(Verbosity::Flags);
            self.numa_node = behind(text, "NUMA node ").and_then(decimal);
            self.iommu_group = behind(text, "IOMMU group ").and_then(decimal);
        } else if let Some(text) = after(line, "NUMA node:") {
            self.numa_node = Some(decimal(text)?);
        } else if let Some(text) = after(line, "IOMMU group:") {
            self.iommu_group = Some(decimal(text)?);
        } else if let Some(text) = after(line, "Region ") {
            return self.add_region(text);
        } else if let Some(text) = after(line, "Bus:") {
            self.buses = Some(buses(text)?);
        } else if line.contains(" behind bridge:") {
            return self.windows.add(line);
        } else {
            // A listing that was cut with grep may show these without the line that names them.
            return self.capabilities.describe(line);
        }
        Some(())
    }

    fn add_region(&mut self, text: &str) -> Option<()> {
        // Only -vv and more number the regions.
        self.verbosity = Verbosity::Registers;
        match region::region(text) {
            Some(region) if self.resources.iter().all(|known| known.index != region.index) => {
                self.resources.push(region);
                Some(())
            }
            _ => {
                self.odd_region = Some(Unread::Contradictory);
                None
            }
        }
    }

    /// Where the BARs lie. `-v` prints them without their numbers, which cannot be guessed.
    pub(super) fn resources(&self) -> Fact<Vec<Resource>> {
        match (self.odd_region, self.verbosity) {
            (Some(why), _) => Fact::Unknown(why),
            (None, Verbosity::Registers) => Fact::Known(self.resources.clone()),
            (None, _) => Fact::NOT_IN_SOURCE,
        }
    }

    /// Bus numbers and windows, where they are shown.
    pub(super) fn bridge(&self, kind: BridgeKind) -> Option<Bridge> {
        let (primary, secondary, subordinate) = self.buses?;
        Some(Bridge {
            kind,
            primary,
            secondary,
            subordinate,
            windows: self.windows.windows(),
        })
    }
}

/// `I/O- Mem+ BusMaster+ ...`: the bits of the command register, lowest first.
fn command(text: &str) -> Option<Command> {
    const NAMES: [&str; 11] = [
        "I/O",
        "Mem",
        "BusMaster",
        "SpecCycle",
        "MemWINV",
        "VGASnoop",
        "ParErr",
        "Stepping",
        "SERR",
        "FastB2B",
        "DisINTx",
    ];
    // The two that decide anything must be there.
    flag(text, "Mem").zip(flag(text, "BusMaster"))?;
    let bits = NAMES
        .iter()
        .enumerate()
        .map(|(bit, name)| match flag(text, name) {
            Some(true) => 1 << bit,
            _ => 0,
        });
    Some(Command(bits.sum()))
}

/// `primary=00, secondary=01, subordinate=05, sec-latency=0`
fn buses(text: &str) -> Option<(u8, u8, u8)> {
    let number = |name| u8::try_from(hexadecimal(behind(text, name)?)?).ok();
    Some((
        number("primary=")?,
        number("secondary=")?,
        number("subordinate=")?,
    ))
}
