//! The meaning of a configuration space.

use super::capability::Space;
use super::emit::{EmitError, Image, required};
use super::{
    Acs, Ats, Bar, Bridge, ClassCode, Command, ConfigDefect, ConfigView, Express, Header, Id, Rebar, Sriov,
    capability, serial,
};
use crate::fact::{Fact, Unread};
use alloc::vec::Vec;

/// What a function's configuration space means, as far as peer-to-peer DMA is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Config {
    /// Vendor and device.
    pub id: Fact<Id>,
    /// Class code.
    pub class: Fact<ClassCode>,
    /// Revision.
    pub revision: Fact<u8>,
    /// Subsystem vendor and device; bridges have them in a capability, read here too.
    pub subsystem: Fact<Option<Id>>,
    /// Command register.
    pub command: Fact<Command>,
    /// Bus numbers and windows; nothing in a function that is no bridge.
    pub bridge: Fact<Option<Bridge>>,
    /// Base address registers, as far as any are implemented.
    pub bars: Fact<Vec<Bar>>,
    /// PCI Express capability; nothing in a conventional function.
    pub express: Fact<Option<Express>>,
    /// Is it one of PCI-X of the second generation (266 or 533 MHz)? Not of buses but of what the function says in
    /// its PCI-X capability, as far as it has one.
    pub pci_x_mode_2: Fact<bool>,
    /// Access Control Services; nothing where the function lacks the capability.
    pub acs: Fact<Option<Acs>>,
    /// Address Translation Services.
    pub ats: Fact<Option<Ats>>,
    /// Resizable BARs; empty where the function lacks the capability.
    pub rebar: Fact<Vec<Rebar>>,
    /// SR-IOV.
    pub sriov: Fact<Option<Sriov>>,
    /// Device serial number.
    pub serial_number: Fact<Option<u64>>,
}

impl Config {
    const ID: u16 = 0x00;
    const COMMAND: u16 = 0x04;
    const REVISION: u16 = 0x08;
    /// The 24 bits of the class lie above the 8 of the revision.
    const CLASS_AND_REVISION: u16 = 0x08;
    const PCI_X_CAPABILITY: u16 = 0x07;
    const PCI_X_STATUS: u16 = 4;
    /// 266 MHz or 533 MHz: PCI-X of the second generation, which has an extended space.
    const PCI_X_MODE_2: u32 = 0xc000_0000;
    const PCI_X_266_MHZ: u32 = 0x4000_0000;
    const PCI_X_BYTES: u16 = 8;

    /// A meaning of which nothing is known, for this reason.
    pub fn unknown(why: Unread) -> Self {
        Self {
            id: Fact::Unknown(why),
            class: Fact::Unknown(why),
            revision: Fact::Unknown(why),
            subsystem: Fact::Unknown(why),
            command: Fact::Unknown(why),
            bridge: Fact::Unknown(why),
            bars: Fact::Unknown(why),
            express: Fact::Unknown(why),
            pci_x_mode_2: Fact::Unknown(why),
            acs: Fact::Unknown(why),
            ats: Fact::Unknown(why),
            rebar: Fact::Unknown(why),
            sriov: Fact::Unknown(why),
            serial_number: Fact::Unknown(why),
        }
    }

    /// What the bytes mean, as Linux reads them.
    ///
    /// Never fails: what lies past the end of the bytes is [`Unread::ConfigCut`]; what an impossible
    /// value leaves open is [`Unread::Contradictory`], and the impossible is added to `defects`. A
    /// virtual function has no vendor and device in its header (both read `ffff`): they are
    /// contradictory too, without a defect.
    pub fn parse(view: ConfigView<'_>, defects: &mut Vec<ConfigDefect>) -> Self {
        let header = match Header::parse(view) {
            Ok(Some(header)) => header,
            Ok(None) => return Self::before_header_type(view),
            Err(defect) => {
                defects.push(defect);
                return Self::unknown(Unread::Contradictory);
            }
        };
        let [express_at, pci_x_at, subsystem_at] = capability::conventional(
            view,
            header,
            [
                Express::CAPABILITY,
                Self::PCI_X_CAPABILITY,
                Header::SUBSYSTEM_CAPABILITY,
            ],
            defects,
        );
        let start = Self::before_header_type(view);
        let pci_x_mode_2 = view
            .within(pci_x_at, |offset| view.u32(offset + Self::PCI_X_STATUS))
            .map(|status| status.is_some_and(|status| status & Self::PCI_X_MODE_2 != 0));
        let space = Self::extended_space(start.class, express_at, pci_x_mode_2);
        let [acs_at, ats_at, rebar_at, sriov_at, serial_at] = capability::extended(
            view,
            space,
            [
                Acs::CAPABILITY,
                Ats::CAPABILITY,
                Rebar::CAPABILITY,
                Sriov::CAPABILITY,
                serial::CAPABILITY,
            ],
            defects,
        );
        Self {
            subsystem: header.subsystem(view, subsystem_at),
            bridge: Bridge::parse(view, header),
            bars: Bar::parse(view, header),
            express: Express::parse(view, express_at, defects),
            pci_x_mode_2,
            acs: view.within(acs_at, |offset| Acs::parse(view, offset)),
            ats: view.within(ats_at, |offset| Ats::parse(view, offset)),
            rebar: Rebar::parse(view, rebar_at, defects),
            sriov: view.within(sriov_at, |offset| Sriov::parse(view, offset)),
            serial_number: view.within(serial_at, |offset| serial::parse(view, offset)),
            ..start
        }
    }

    /// A configuration space of this meaning: parsed as a whole
    /// ([`Extent::Whole`](super::Extent::Whole)) it gives the same.
    ///
    /// # Errors
    /// [`EmitError`] where a fact is unknown, no register can hold a value, or an extended
    /// capability has no extended space to be in.
    pub fn emit(&self) -> Result<[u8; ConfigView::MAX_BYTES], EmitError> {
        let bridge = required(&self.bridge, "the bridge")?.as_ref();
        let header = bridge.map_or(Header::Function, Bridge::header);
        let mut image = Image::new(header);
        let id = *required(&self.id, "vendor and device")?;
        if !id.is_assigned() {
            return Err(EmitError::Unwritable {
                fact: "vendor and device",
                value: id.to_register().into(),
            });
        }
        image.put_u32(Self::ID, id.to_register());
        let command = required(&self.command, "the command register")?;
        image.put_u16(Self::COMMAND, command.0);
        let class = required(&self.class, "the class")?;
        let revision = required(&self.revision, "the revision")?;
        let register = class.bits() << 8 | u32::from(*revision);
        image.put_u32(Self::CLASS_AND_REVISION, register);
        if let Some(bridge) = bridge {
            bridge.emit(&mut image)?;
        }
        let bars = required(&self.bars, "the base address registers")?;
        Bar::emit(bars, header, &mut image)?;
        let subsystem = *required(&self.subsystem, "the subsystem")?;
        header.emit_subsystem(subsystem, &mut image)?;
        if let Some(express) = required(&self.express, "the PCI Express capability")? {
            express.emit(&mut image)?;
        }
        if *required(&self.pci_x_mode_2, "the PCI-X capability")? {
            let offset = image.append(Self::PCI_X_CAPABILITY, Self::PCI_X_BYTES);
            image.put_u32(offset + Self::PCI_X_STATUS, Self::PCI_X_266_MHZ);
        }
        self.emit_extended(&mut image)?;
        Ok(image.into_bytes())
    }

    /// Appends the extended capabilities.
    fn emit_extended(&self, image: &mut Image) -> Result<(), EmitError> {
        let acs = required(&self.acs, "ACS")?;
        let ats = required(&self.ats, "ATS")?;
        let rebar = required(&self.rebar, "the resizable BARs")?;
        let sriov = required(&self.sriov, "SR-IOV")?;
        let serial_number = required(&self.serial_number, "the serial number")?;
        let has_space = matches!(self.express, Fact::Known(Some(_)))
            || self.pci_x_mode_2 == Fact::Known(true)
            || matches!(self.class, Fact::Known(class) if class.class() == ClassCode::HOST_BRIDGE);
        let present = [
            (acs.is_some(), "ACS"),
            (ats.is_some(), "ATS"),
            (!rebar.is_empty(), "a resizable BAR"),
            (sriov.is_some(), "SR-IOV"),
            (serial_number.is_some(), "a serial number"),
        ];
        if let Some((_, fact)) = present.into_iter().find(|(present, _)| *present && !has_space) {
            return Err(EmitError::NoExtendedSpace { fact });
        }
        if let Some(acs) = acs {
            acs.emit(image)?;
        }
        if let Some(ats) = ats {
            ats.emit(image);
        }
        Rebar::emit(rebar, image)?;
        if let Some(sriov) = sriov {
            sriov.emit(image);
        }
        if let Some(number) = serial_number {
            serial::emit(*number, image);
        }
        Ok(())
    }

    /// Overwrites the device serial number in raw bytes with zeros.
    pub fn blank_serial_number(raw: &mut [u8]) {
        serial::blank(raw);
    }

    /// What every header has in the same place; the rest unknown because the bytes end.
    fn before_header_type(view: ConfigView<'_>) -> Self {
        Self {
            id: match view.u32(Self::ID).map(Id::from_register) {
                Some(id) if !id.is_assigned() => Fact::Unknown(Unread::Contradictory),
                id => view.fact(id),
            },
            class: view
                .fact(view.u32(Self::CLASS_AND_REVISION))
                .map(|register| ClassCode::new(register >> 8)),
            revision: view.fact(view.u8(Self::REVISION)),
            command: view.fact(view.u16(Self::COMMAND)).map(Command),
            ..Self::unknown(Unread::ConfigCut {
                bytes: view.len_bytes(),
            })
        }
    }

    /// Does Linux look for an extended space (`pci_cfg_space_size`, drivers/pci/probe.c)? In host
    /// bridges, PCIe functions and those of PCI-X of the second generation; in others, whatever the
    /// bytes beyond 256 hold is no configuration space.
    fn extended_space(
        class: Fact<ClassCode>,
        express_at: Fact<Option<u16>>,
        pci_x_mode_2: Fact<bool>,
    ) -> Fact<Space> {
        let is_host_bridge = class.map(|class| class.class() == ClassCode::HOST_BRIDGE);
        if let Fact::Known(Some(_)) = express_at {
            return Fact::Known(Space::Express);
        }
        if is_host_bridge == Fact::Known(true) || pci_x_mode_2 == Fact::Known(true) {
            return Fact::Known(match express_at {
                Fact::Known(None) => Space::Conventional,
                _ => Space::Express,
            });
        }
        let reasons = [is_host_bridge, express_at.map(|at| at.is_some()), pci_x_mode_2];
        let unknown = reasons.into_iter().find_map(|reason| match reason {
            Fact::Known(_) => None,
            Fact::Unknown(why) => Some(why),
        });
        unknown.map_or(Fact::Known(Space::None), Fact::Unknown)
    }
}
