//! Processor, kernel and IOMMU of a machine.

use super::{HostBridge, KernelVersion, Nature};
use crate::addr::{PhysAddr, Span};
use crate::fact::Fact;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// What is known of a machine apart from its PCI functions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Host {
    /// The (first) processor.
    pub cpu: Fact<Cpu>,
    /// The Linux release that runs, or was captured.
    pub kernel: Fact<KernelVersion>,
    /// What the IOMMU does with devices' addresses by default.
    pub iommu: Fact<IommuMode>,
    /// The host bridges, where a source describes them.
    pub bridges: Fact<Vec<HostBridge>>,
    /// Where host RAM lies.
    pub ram: Fact<Vec<Span<PhysAddr>>>,
    /// What a simulated machine is like beside all that; nothing for a machine that exists.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub nature: Option<Nature>,
}

/// A processor, as far as Linux looks at it before it lets peers talk through the root complex.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cpu {
    /// On x86 the `vendor_id` of `/proc/cpuinfo` (`AuthenticAMD`); elsewhere whatever names the maker.
    pub vendor: String,
    /// On x86 the `cpu family`; 0 elsewhere.
    pub family: u32,
}

impl Cpu {
    /// Is it an x86 AMD processor of family 17h (Zen) or later? Those are accepted by Linux whatever
    /// their host bridge (`cpu_supports_p2pdma` in drivers/pci/p2pdma.c).
    pub fn is_amd_zen(&self) -> bool {
        self.vendor == "AuthenticAMD" && self.family >= 0x17
    }

    /// Is it an x86 processor? There, host bridges leave addresses as they are, both ways.
    pub fn is_x86(&self) -> bool {
        const VENDORS: [&str; 5] = [
            "GenuineIntel",
            "AuthenticAMD",
            "HygonGenuine",
            "CentaurHauls",
            "Shanghai",
        ];
        VENDORS.contains(&self.vendor.trim())
    }

    /// Reads the first processor of a `/proc/cpuinfo`.
    pub fn from_proc_cpuinfo(text: &str) -> Option<Self> {
        let value = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == name).then(|| value.trim())
            })
        };
        if let Some(vendor) = value("vendor_id") {
            let family = match value("cpu family").map(str::parse) {
                Some(Ok(family)) => family,
                // s390 has a vendor_id and no family: no x86 rule applies to it.
                None if vendor.starts_with("IBM") => 0,
                // The rule for x86 hangs on the family.
                None | Some(Err(_)) => return None,
            };
            return Some(Self {
                vendor: vendor.into(),
                family,
            });
        }
        // Arm, POWER, RISC-V, LoongArch: the vendor only has to differ from every x86 one.
        ["CPU implementer", "cpu", "mvendorid", "uarch", "isa"]
            .iter()
            .find_map(|name| value(name).map(|value| (name, value)))
            .map(|(name, value)| Self {
                vendor: alloc::format!("{name} {value}"),
                family: 0,
            })
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.family == 0 {
            f.write_str(&self.vendor)
        } else {
            write!(f, "{}:{:#x}", self.vendor, self.family)
        }
    }
}

/// The text does not name a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseCpuError;

impl fmt::Display for ParseCpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected VENDOR:FAMILY as /proc/cpuinfo has them, the family decimal or with 0x, \
             for example AuthenticAMD:0x19 or GenuineIntel:6",
        )
    }
}

impl core::error::Error for ParseCpuError {}

impl FromStr for Cpu {
    type Err = ParseCpuError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (vendor, family) = text.rsplit_once(':').ok_or(ParseCpuError)?;
        let vendor = vendor.trim();
        if vendor.is_empty() || !vendor.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            return Err(ParseCpuError);
        }
        let family = match family.strip_prefix("0x").or(family.strip_prefix("0X")) {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => family.parse(),
        };
        Ok(Self {
            vendor: vendor.into(),
            family: family.map_err(|_| ParseCpuError)?,
        })
    }
}

/// What an IOMMU does with the addresses that devices issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum IommuMode {
    /// There is none, or it is switched off.
    Off,
    /// It passes addresses unchanged (`iommu=pt`, identity domains).
    Passthrough,
    /// It translates.
    Translating,
}

impl fmt::Display for IommuMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IommuMode::Off => "off",
            IommuMode::Passthrough => "passthrough",
            IommuMode::Translating => "translating",
        })
    }
}

/// The text does not name an IOMMU mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseIommuModeError;

impl fmt::Display for ParseIommuModeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected on (translating), pt (passthrough) or off")
    }
}

impl core::error::Error for ParseIommuModeError {}

impl FromStr for IommuMode {
    type Err = ParseIommuModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "on" | "translating" => Ok(IommuMode::Translating),
            "pt" | "passthrough" => Ok(IommuMode::Passthrough),
            "off" => Ok(IommuMode::Off),
            _ => Err(ParseIommuModeError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_read_from_cpuinfo_and_from_the_command_line() {
        let zen: Cpu = "AuthenticAMD:0x19".parse().unwrap();
        assert!(zen.is_amd_zen());
        let text = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 15\nmodel\t\t: 107\n";
        let old = Cpu::from_proc_cpuinfo(text).unwrap();
        assert_eq!(old.family, 15);
        assert!(!old.is_amd_zen());
        assert!(!"HygonGenuine:0x18".parse::<Cpu>().unwrap().is_amd_zen());
        let arm = Cpu::from_proc_cpuinfo("processor\t: 0\nCPU implementer\t: 0x41\n").unwrap();
        assert_eq!(arm.vendor, "CPU implementer 0x41");
        assert_eq!(Cpu::from_proc_cpuinfo("\n"), None);
        assert_eq!(Cpu::from_proc_cpuinfo("vendor_id\t: AuthenticAMD\n"), None);
        assert!(Cpu::from_proc_cpuinfo("vendor_id       : IBM/S390\n").is_some());
        for text in [
            "",
            "AuthenticAMD",
            ":6",
            "GenuineIntel:",
            "GenuineIntel:six",
            "GenuineIntel:-6",
        ] {
            assert_eq!(text.parse::<Cpu>(), Err(ParseCpuError), "{text}");
        }
    }
}
