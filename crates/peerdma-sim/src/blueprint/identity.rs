//! How the simulator's own devices show what they are in configuration space, so that a snapshot of a simulated machine
//! can be simulated again.
//!
//! Vendor and device may be those of a real device (a machine file can say so); the subsystem always tells: its vendor is
//! [`VENDOR`], the upper two bits of its device are the kind and the lower fourteen how it is furnished.

use super::{
    AcceleratorKind, CmbAbilities, CmbKind, CmbStyle, DeviceKind, NamespaceKind, NvmeKind, OnFailure,
};
use peerdma::pci::Id;

/// A vendor number that the PCI-SIG has not assigned (as of the PCI ID database of 2026).
pub const VENDOR: u16 = 0xd3a0;
/// Function 00.0 of a host bridge.
pub const HOST_BRIDGE: Id = own(0x0001);
/// A root port.
pub const ROOT_PORT: Id = own(0x0002);
/// The upstream port of a switch.
pub const UPSTREAM_PORT: Id = own(0x0003);
/// A downstream port of a switch.
pub const DOWNSTREAM_PORT: Id = own(0x0004);
/// A bridge to a conventional bus.
pub const CONVENTIONAL_BRIDGE: Id = own(0x0005);
/// A card of plain memory.
pub const CARD: Id = own(0x0010);
/// An NVMe controller.
pub const NVME: Id = own(0x0011);
/// An accelerator.
pub const ACCELERATOR: Id = own(0x0012);

const fn own(device: u16) -> Id {
    Id {
        vendor: VENDOR,
        device,
    }
}

/// An NVMe controller whose buffer is of the older style; the only kind that has one in any case.
const OLD_NVME_TAG: u16 = 0;
const NVME_TAG: u16 = 1;
const ACCELERATOR_TAG: u16 = 2;
const CARD_TAG: u16 = 3;
const TAG_SHIFT: u16 = 14;

/// The subsystem that a device of this kind shows.
pub fn subsystem(kind: &DeviceKind) -> Id {
    let (tag, bits) = match kind {
        DeviceKind::Card => (CARD_TAG, 0),
        DeviceKind::Nvme(nvme) => match nvme.cmb {
            Some(cmb) if cmb.style == CmbStyle::V1_2 => (OLD_NVME_TAG, cmb_bits(cmb)),
            cmb => (NVME_TAG, cmb.map_or(0, cmb_bits)),
        },
        DeviceKind::Accelerator(accelerator) => {
            let outstanding = accelerator.outstanding_bytes.max(1).ilog2() as u16;
            let on_failure = match accelerator.on_failure {
                OnFailure::Report => 0,
                OnFailure::AllOnes => 1,
            };
            (ACCELERATOR_TAG, on_failure << 5 | outstanding)
        }
    };
    own(tag << TAG_SHIFT | bits)
}

/// What a device with this subsystem is; nothing for a foreign one.
pub fn kind(subsystem: Option<Id>) -> Option<DeviceKind> {
    let subsystem = subsystem.filter(|id| id.vendor == VENDOR)?;
    let bits = subsystem.device & ((1 << TAG_SHIFT) - 1);
    match subsystem.device >> TAG_SHIFT {
        CARD_TAG => Some(DeviceKind::Card),
        NVME_TAG => Some(DeviceKind::Nvme(NvmeKind {
            namespaces: vec![NamespaceKind::default()],
            cmb: cmb(bits, CmbStyle::V1_4),
        })),
        OLD_NVME_TAG => cmb(bits, CmbStyle::V1_2).map(|cmb| {
            DeviceKind::Nvme(NvmeKind {
                namespaces: vec![NamespaceKind::default()],
                cmb: Some(cmb),
            })
        }),
        ACCELERATOR_TAG => Some(DeviceKind::Accelerator(AcceleratorKind {
            outstanding_bytes: 1 << (bits & 0x1f),
            on_failure: match bits >> 5 & 1 {
                0 => OnFailure::Report,
                _ => OnFailure::AllOnes,
            },
        })),
        _ => None,
    }
}

/// BAR (3 bits), CMBSZ bits 0 to 4, CMBLOC bits 3 to 8.
fn cmb_bits(cmb: CmbKind) -> u16 {
    let size = u16::from(cmb.abilities.size_bits & 0x1f);
    let location = cmb.abilities.location_bits >> 3 & 0x3f;
    u16::from(cmb.bar & 7) | size << 3 | location << 8
}

fn cmb(bits: u16, style: CmbStyle) -> Option<CmbKind> {
    let bar = (bits & 7) as u8;
    (2..=5).contains(&bar).then_some(CmbKind {
        bar,
        abilities: CmbAbilities {
            size_bits: (bits >> 3 & 0x1f) as u8,
            location_bits: match style {
                CmbStyle::V1_2 => 0,
                CmbStyle::V1_4 => (bits >> 8 & 0x3f) << 3,
            },
        },
        style,
    })
}
