//! The capabilities of one function, as a text names and describes them.

use super::header;
use super::scan::{after, behind, decimal, flag, hexadecimal, size_bytes};
use super::shown::Shown;
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{
    Acs, AcsFlags, Ats, Express, Id, Link, LinkRate, LinkState, Payload, PortType, Rebar, Sriov,
};

/// The list of capabilities, as far as the text shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum List {
    /// Not at all.
    #[default]
    NotShown,
    /// `<access denied>`.
    Denied,
    /// From its start to its end.
    Shown,
    /// A loop, or something else that cannot be.
    Broken,
}

/// All that a text shows of a function's capabilities.
#[derive(Debug, Clone, Default)]
pub(super) struct Capabilities {
    pub(super) list: List,
    /// Is there one in the extended space, so that this space could be read?
    pub(super) extended: Option<Extended>,
    pub(super) pci_x: Shown<()>,
    pub(super) subsystem: Shown<Id>,
    pub(super) ats: Shown<Ats>,
    pub(super) serial_number: Shown<u64>,
    port_type: Shown<PortType>,
    max_link: Shown<LinkState>,
    port_number: Shown<u8>,
    link: Shown<LinkState>,
    max_supported_bytes: Shown<u16>,
    payload_and_request_bytes: Shown<(u16, u16)>,
    acs: Shown<()>,
    acs_capable: Shown<AcsFlags>,
    acs_control: Shown<AcsFlags>,
    rebar: Shown<()>,
    rebars: Vec<Rebar>,
    sriov: Shown<()>,
    sriov_enabled: Shown<bool>,
    sriov_counts: Shown<(u16, u16)>,
    sriov_layout: Shown<(u16, u16, u16)>,
    section: Section,
}

/// The capability that is being described, where its lines look like those of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Section {
    #[default]
    Other,
    /// Not that of the virtual functions.
    Rebar,
}

/// A capability in the extended space was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extended;

impl Capabilities {
    /// Takes a line `Capabilities: ...`, of which this is the rest. Nothing where it makes no sense.
    pub(super) fn begin(&mut self, text: &str) -> Option<()> {
        if text.contains("<access denied>") {
            self.list = List::Denied;
            return Some(());
        }
        let (place, name) = text.strip_prefix('[')?.split_once(']')?;
        let is_extended = hexadecimal(place)? >= 0x100;
        let name = name.trim_start();
        if name.starts_with("<chain") {
            self.list = List::Broken;
            return Some(());
        }
        if self.list == List::NotShown {
            self.list = List::Shown;
        }
        if is_extended {
            self.extended = Some(Extended);
            self.name_extended(name)
        } else {
            self.name_conventional(name)
        }
    }

    fn name_conventional(&mut self, name: &str) -> Option<()> {
        if name.starts_with("PCI-X") {
            self.pci_x.name();
        } else if let Some(text) = after(name, "Subsystem:") {
            self.subsystem.name();
            if let Fact::Known(id) = header::read_id(text) {
                return self.subsystem.read(Some(id));
            }
        } else if let Some(kind) = after(name, "Express ") {
            let kind = match kind.strip_prefix('(') {
                Some(version) => version.split_once(')')?.1.trim_start(),
                None => kind,
            };
            return self.port_type.read(port_type(kind));
        }
        Some(())
    }

    fn name_extended(&mut self, name: &str) -> Option<()> {
        self.section = Section::Other;
        if name.starts_with("Access Control Services") {
            self.acs.name();
        } else if name.starts_with("Address Translation Service") {
            self.ats.name();
        } else if name.starts_with("Single Root I/O Virtualization") {
            self.sriov.name();
        } else if name.starts_with("Physical Resizable BAR") || name.starts_with("Resizable BAR") {
            if self.rebar == Shown::Not {
                self.section = Section::Rebar;
            }
            self.rebar.name();
        } else if let Some(text) = after(name, "Device Serial Number ") {
            return self.serial_number.read(serial_number(text));
        }
        Some(())
    }

    /// Takes a line that describes a capability; lines of no interest are taken too. Nothing where it
    /// makes no sense.
    pub(super) fn describe(&mut self, line: &str) -> Option<()> {
        if let Some(text) = after(line, "ACSCap:") {
            return self.acs_capable.read(acs_flags(text));
        } else if let Some(text) = after(line, "ACSCtl:") {
            return self.acs_control.read(acs_flags(text));
        } else if let Some(text) = after(line, "ATSCtl:") {
            return self.ats.read(flag(text, "Enable").map(|enabled| Ats { enabled }));
        } else if let Some(text) = after(line, "LnkCap:") {
            if text.contains("Port #") {
                let port_number = number(text, "Port #").and_then(|number| number.try_into().ok());
                self.port_number.read(port_number)?;
            }
            return read_link(&mut self.max_link, text);
        } else if let Some(text) = after(line, "LnkSta:") {
            return read_link(&mut self.link, text);
        } else if line.contains("MaxPayload ") {
            let payload = number(line, "MaxPayload ");
            return match line.contains("MaxReadReq ") {
                true => self
                    .payload_and_request_bytes
                    .read(payload.zip(number(line, "MaxReadReq "))),
                false => self.max_supported_bytes.read(payload),
            };
        } else if let Some(text) = after(line, "BAR ").filter(|_| self.section == Section::Rebar) {
            return self.describe_rebar(text);
        } else if let Some(text) = after(line, "IOVCtl:") {
            return self.sriov_enabled.read(flag(text, "Enable"));
        } else if line.starts_with("Initial VFs:") {
            let counts = number(line, "Total VFs:").zip(number(line, "Number of VFs:"));
            return self.sriov_counts.read(counts);
        } else if line.starts_with("VF offset:") {
            return self.sriov_layout.read(sriov_layout(line));
        }
        Some(())
    }

    /// `0: current size: 16GB, supported: 256MB 512MB 1GB`
    fn describe_rebar(&mut self, text: &str) -> Option<()> {
        let rebar = rebar(text).filter(|rebar| self.rebars.iter().all(|known| known.bar != rebar.bar));
        match rebar {
            Some(rebar) => self.rebars.push(rebar),
            None => self.rebar = Shown::Odd,
        }
        rebar.map(|_| ())
    }

    /// Resizable BARs, where `absence` is what silence proves.
    pub(super) fn rebars(&self, absence: Fact<()>) -> Fact<Vec<Rebar>> {
        match self.rebar {
            Shown::Not => absence.map(|()| Vec::new()),
            Shown::Named if !self.rebars.is_empty() => Fact::Known(self.rebars.clone()),
            Shown::Odd => Fact::Unknown(Unread::Contradictory),
            _ => Fact::NOT_IN_SOURCE,
        }
    }

    /// Access Control Services, where `absence` is what silence proves. Known only where both what it can
    /// and what is switched on were read.
    pub(super) fn acs(&self, absence: Fact<()>) -> Fact<Option<Acs>> {
        let registers = self.acs_capable.clone().with(self.acs_control.clone());
        let acs = registers.map(|(capable, control)| Acs::without_vector(capable, control));
        acs.named(self.acs.clone()).fact(absence)
    }

    /// SR-IOV, where `absence` is what silence proves.
    pub(super) fn sriov(&self, absence: Fact<()>) -> Fact<Option<Sriov>> {
        let registers = (self.sriov_enabled.clone())
            .with(self.sriov_counts.clone())
            .with(self.sriov_layout.clone());
        let sriov = registers.map(
            |((enabled, (total, count)), (first_offset, stride, device))| Sriov {
                enabled,
                total,
                count,
                first_offset,
                stride,
                device,
            },
        );
        sriov.named(self.sriov.clone()).fact(absence)
    }

    /// Is an Express capability shown?
    pub(super) fn is_express(&self) -> bool {
        self.port_type != Shown::Not
    }

    /// The Express capability, where `absence` is what silence proves.
    pub(super) fn express(&self, absence: Fact<()>) -> Fact<Option<Express>> {
        self.port_type.clone().fact(absence).map(|port_type| {
            port_type.map(|port_type| Express {
                port_type,
                link: self.link(port_type),
                port_number: self.port_number(port_type),
                payload: self.payload(),
            })
        })
    }

    fn link(&self, port_type: PortType) -> Fact<Option<Link>> {
        // lspci prints no link of these, whose registers mean nothing.
        if matches!(
            port_type,
            PortType::INTEGRATED_ENDPOINT | PortType::EVENT_COLLECTOR
        ) {
            return Fact::Known(None);
        }
        match (&self.max_link, &self.link) {
            (Shown::Read(max), _) if max.width == 0 => Fact::Known(None),
            (Shown::Read(max), Shown::Read(now)) => Fact::Known(Some(Link { max: *max, now: *now })),
            (Shown::Odd, _) | (_, Shown::Odd) => Fact::Unknown(Unread::Contradictory),
            _ => Fact::NOT_IN_SOURCE,
        }
    }

    fn port_number(&self, port_type: PortType) -> Fact<Option<u8>> {
        match (self.link(port_type), &self.port_number) {
            (Fact::Known(None), _) => Fact::Known(None),
            (_, Shown::Read(number)) => Fact::Known(Some(*number)),
            (_, Shown::Odd) => Fact::Unknown(Unread::Contradictory),
            _ => Fact::NOT_IN_SOURCE,
        }
    }

    fn payload(&self) -> Fact<Payload> {
        let sizes = self
            .max_supported_bytes
            .clone()
            .with(self.payload_and_request_bytes.clone());
        let Shown::Read((max_supported_bytes, (max_payload_bytes, max_read_request_bytes))) = sizes else {
            return match sizes {
                Shown::Odd => Fact::Unknown(Unread::Contradictory),
                _ => Fact::NOT_IN_SOURCE,
            };
        };
        let all = [max_supported_bytes, max_payload_bytes, max_read_request_bytes];
        // Larger ones are codes that the specification reserves, printed as if they went on.
        if all
            .iter()
            .all(|bytes| bytes.is_power_of_two() && (128..=4096).contains(bytes))
        {
            Fact::Known(Payload {
                max_supported_bytes,
                max_payload_bytes,
                max_read_request_bytes,
            })
        } else {
            Fact::Unknown(Unread::Contradictory)
        }
    }
}

/// `Root Port (Slot+), MSI 00`
fn port_type(text: &str) -> Option<PortType> {
    const NAMES: [(&str, PortType); 9] = [
        ("Endpoint", PortType::ENDPOINT),
        ("Legacy Endpoint", PortType::LEGACY_ENDPOINT),
        ("Root Port", PortType::ROOT_PORT),
        ("Upstream Port", PortType::UPSTREAM),
        ("Downstream Port", PortType::DOWNSTREAM),
        ("PCI-Express to PCI/PCI-X Bridge", PortType::TO_CONVENTIONAL),
        ("PCI/PCI-X to PCI-Express Bridge", PortType::FROM_CONVENTIONAL),
        ("Root Complex Integrated Endpoint", PortType::INTEGRATED_ENDPOINT),
        ("Root Complex Event Collector", PortType::EVENT_COLLECTOR),
    ];
    if let Some(number) = after(text, "Unknown type ") {
        return u8::try_from(decimal(number)?)
            .ok()
            .filter(|number| *number < 16)
            .map(PortType);
    }
    let found = NAMES.iter().find(|(name, _)| text.starts_with(name))?;
    Some(found.1)
}

/// All seven flags; nothing where one is missing.
fn acs_flags(text: &str) -> Option<AcsFlags> {
    AcsFlags::NAMES
        .iter()
        .try_fold(AcsFlags::default(), |flags, (bit, _, name)| {
            Some(match flag(text, name)? {
                true => flags.union(*bit),
                false => flags,
            })
        })
}

/// Takes one end of a link. An `lspci` older than the device prints a rate as `unknown`.
fn read_link(link: &mut Shown<LinkState>, text: &str) -> Option<()> {
    if text.contains("Speed unknown") {
        link.name();
        return Some(());
    }
    link.read(link_state(text))
}

/// `Port #0, Speed 8GT/s (downgraded), Width x16 (ok)`
fn link_state(text: &str) -> Option<LinkState> {
    let speed = behind(text, "Speed ")?;
    Some(LinkState {
        rate: LinkRate::from_text(speed)?,
        width: decimal(behind(text, "Width x")?)?.try_into().ok()?,
    })
}

/// `0: current size: 16GB, supported: 256MB 512MB`
fn rebar(text: &str) -> Option<Rebar> {
    let exponent = |text: &str| {
        let bytes = size_bytes(text)?;
        let exponent = bytes.is_power_of_two().then(|| bytes.trailing_zeros())?;
        u8::try_from(exponent.checked_sub(20)?).ok()
    };
    let possible = behind(text, "supported:")?
        .split_whitespace()
        .try_fold(0, |bits, size| Some(bits | 1u64 << exponent(size)?))?;
    Some(Rebar {
        bar: decimal(text)?.try_into().ok().filter(|bar| *bar < 6)?,
        possible,
        current: exponent(behind(text, "current size:")?.split(',').next()?)?,
    })
}

/// `VF offset: 1, stride: 1, Device ID: 1014`
fn sriov_layout(line: &str) -> Option<(u16, u16, u16)> {
    let device = hexadecimal(behind(line, "Device ID:")?)?;
    Some((
        number(line, "VF offset:")?,
        number(line, "stride:")?,
        device.try_into().ok()?,
    ))
}

/// `00-11-22-33-44-55-66-77`, the highest byte first.
fn serial_number(text: &str) -> Option<u64> {
    let mut bytes = text.split_whitespace().next()?.split('-');
    let mut number = 0;
    for _ in 0..8 {
        let byte = bytes.next().filter(|byte| byte.len() == 2)?;
        number = number << 8 | u64::from(u8::from_str_radix(byte, 16).ok()?);
    }
    bytes.next().is_none().then_some(number)
}

/// The decimal number behind `name`.
fn number(line: &str, name: &str) -> Option<u16> {
    decimal(behind(line, name)?)?.try_into().ok()
}
