//! A function as it stands: who drives it, what it is, who shares its IOMMU group.

use super::{System, VFIO};
use peerdma::addr::Bdf;
use std::path::PathBuf;

/// One function, as sysfs shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) bdf: Bdf,
    pub(super) driver: Option<String>,
    /// `driver_override`; nothing where none is set.
    pub(super) driver_override: Option<String>,
    /// Class code, 24 bits; 0 where it cannot be read.
    pub(super) class: u32,
    pub(super) group: Option<u32>,
    pub(super) is_boot_vga: bool,
    pub(super) virtual_functions: u32,
}

const BRIDGES: u32 = 0x06;

impl Present {
    /// The function at `bdf`; nothing where there is none.
    pub(super) fn read(system: &System, bdf: Bdf) -> Option<Self> {
        let folder = folder(bdf);
        system.path(&folder).is_dir().then(|| Self {
            bdf,
            driver: system.link_name(folder.join("driver")),
            driver_override: system
                .text(folder.join("driver_override"))
                .filter(|text| !text.is_empty() && text != "(null)"),
            class: system
                .text(folder.join("class"))
                .and_then(|text| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok())
                .unwrap_or(0),
            group: system
                .link_name(folder.join("iommu_group"))
                .and_then(|name| name.parse().ok()),
            is_boot_vga: system.text(folder.join("boot_vga")).as_deref() == Some("1"),
            virtual_functions: system
                .text(folder.join("sriov_numvfs"))
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
        })
    }

    pub(super) fn is_bridge(&self) -> bool {
        self.class >> 16 == BRIDGES
    }

    pub(super) fn is_lent(&self) -> bool {
        self.driver.as_deref() == Some(VFIO)
    }

    /// Does it keep VFIO from giving out its group? A function without a driver, one of VFIO's own drivers and bridges do not.
    pub(super) fn keeps_group(&self) -> bool {
        let is_harmless =
            |driver: &str| driver == "pci-stub" || driver.ends_with("vfio-pci") || driver == "vfio_pci";
        !self.is_bridge() && self.driver.as_deref().is_some_and(|driver| !is_harmless(driver))
    }
}

/// The function's folder.
pub(super) fn folder(bdf: Bdf) -> PathBuf {
    format!("sys/bus/pci/devices/{bdf}").into()
}

/// All functions of an IOMMU group, in order.
pub(super) fn members(system: &System, group: u32) -> Vec<Bdf> {
    let names = system.names(format!("sys/kernel/iommu_groups/{group}/devices"));
    let mut members: Vec<Bdf> = names.iter().filter_map(|name| name.parse().ok()).collect();
    members.sort_unstable();
    members
}
