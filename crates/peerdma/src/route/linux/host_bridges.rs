//! The host bridges through which Linux lets peers talk: `pci_p2pdma_whitelist` of
//! drivers/pci/p2pdma.c, release by release.
//!
//! Where the releases come from (read; those between are bracketed by them, no entry ever left the
//! list): upstream 6.1.4, 6.12.8, 6.12.38, 6.12.96, 6.17.8, 6.18.5, 6.18.15, 6.19.6, 7.1.3, 7.1.13 and the
//! Debian packages linux-source-6.1 (6.1.170-3, 6.1.192-2), linux-source-6.12 (6.12.94-1, 6.12.117-1),
//! linux-source-7.2 (7.2.6-1~bpo13+1, 7.2.13-1), linux-source-7.3 (7.3.4-1~bpo13+1); 6.6.0 in a fork of the
//! kernel. Commits: Google
//! 70cf146a674c and 1a1f96e3e2a8 (merged for 7.1), Intel accelerators 0ba76b19fd4c (merged for 7.2, in
//! stable 7.1.3 as cbad530277b5), NVIDIA 894a78088fc3 (merged for 7.3), Zhaoxin f7c220404700 (queued
//! after 7.3). Distributions may add entries of their own.

use super::Kernel;
use crate::pci::Id;
use crate::snapshot::KernelVersion;
use core::fmt;

/// One entry of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Vendor of the first function on the root bus.
    pub vendor: u16,
    /// Its device number; nothing for all of the vendor's.
    pub device: Option<u16>,
    /// Between which bridges it allows.
    pub scope: Scope,
    /// Since when the list has it.
    pub since: Since,
}

/// Between which functions an entry allows peer-to-peer DMA through the root complex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Scope {
    /// Only between functions below one host bridge (`REQ_SAME_HOST_BRIDGE`).
    SameHostBridge,
    /// Also from one host bridge to another, if both are listed so.
    AnyHostBridge,
}

/// The first releases with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// In the oldest checked release and all later ones.
    Always,
    /// From this release on, and in stable series from the given patch level on.
    Release {
        /// First mainline release.
        mainline: KernelVersion,
        /// First release of an older stable series that took it back.
        stable: Option<KernelVersion>,
    },
    /// Posted or queued, in no release.
    Next,
}

/// The last release of each stable series that was read, for the series that go on: one after it may have
/// taken an entry back that mainline got later.
const LAST_READ: [KernelVersion; 4] = [
    KernelVersion::new(6, 1, 192),
    KernelVersion::new(6, 6, 0),
    KernelVersion::new(6, 12, 117),
    KernelVersion::new(6, 18, 15),
];

impl Since {
    /// Does a release have the entry? Nothing where the release is unknown, or was not read, and it
    /// matters.
    pub fn holds(self, kernel: Kernel) -> Option<bool> {
        match (self, kernel) {
            (_, Kernel::Next) | (Self::Always, _) => Some(true),
            // Whatever comes after the newest release that was read may have it.
            (Self::Next, Kernel::Release(version)) => (version <= Kernel::NEWEST).then_some(false),
            (Self::Next, Kernel::Unknown) => Some(false),
            (Self::Release { .. }, Kernel::Unknown) => None,
            (Self::Release { mainline, stable }, Kernel::Release(version)) => {
                let same_series =
                    |other: &KernelVersion| (version.major, version.minor) == (other.major, other.minor);
                if version >= mainline
                    || stable.is_some_and(|stable| same_series(&stable) && version >= stable)
                {
                    return Some(true);
                }
                // Only what went back to one stable series may have gone back to others.
                let unread = LAST_READ.iter().any(|last| same_series(last) && version > *last);
                (stable.is_none() || !unread).then_some(false)
            }
        }
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => write!(f, "{} or earlier", Kernel::OLDEST),
            Self::Release {
                mainline,
                stable: None,
            } => mainline.fmt(f),
            Self::Release {
                mainline,
                stable: Some(stable),
            } => write!(f, "{mainline} (and {stable})"),
            Self::Next => write!(
                f,
                "queued after {}.{}",
                Kernel::NEWEST.major,
                Kernel::NEWEST.minor
            ),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Since {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

const INTEL: u16 = 0x8086;
const GOOGLE: u16 = 0x1ae0;
const NVIDIA: u16 = 0x10de;
const ZHAOXIN: u16 = 0x1d17;

const V7_1: Since = Since::Release {
    mainline: KernelVersion::new(7, 1, 0),
    stable: None,
};
const V7_2: Since = Since::Release {
    mainline: KernelVersion::new(7, 2, 0),
    stable: Some(KernelVersion::new(7, 1, 3)),
};
const V7_3: Since = Since::Release {
    mainline: KernelVersion::new(7, 3, 0),
    stable: None,
};

const fn entry(vendor: u16, device: u16, scope: Scope, since: Since) -> Entry {
    Entry {
        vendor,
        device: Some(device),
        scope,
        since,
    }
}

use Scope::{AnyHostBridge as ANY, SameHostBridge as SAME};

/// The list, in the kernel's order.
pub const ENTRIES: &[Entry] = &[
    // Xeon E5, Core i7.
    entry(INTEL, 0x3c00, SAME, Since::Always),
    entry(INTEL, 0x3c01, SAME, Since::Always),
    // Xeon E7 v3, E5 v3.
    entry(INTEL, 0x2f00, SAME, Since::Always),
    entry(INTEL, 0x2f01, SAME, Since::Always),
    // Skylake-E and later server parts.
    entry(INTEL, 0x2030, ANY, Since::Always),
    entry(INTEL, 0x2031, ANY, Since::Always),
    entry(INTEL, 0x2032, ANY, Since::Always),
    entry(INTEL, 0x2033, ANY, Since::Always),
    entry(INTEL, 0x2020, ANY, Since::Always),
    entry(INTEL, 0x09a2, ANY, Since::Always),
    // Accelerators that are the first function of their own root bus: DSA, IAX, IAA, QAT.
    entry(INTEL, 0x0b25, ANY, V7_2),
    entry(INTEL, 0x0cfe, ANY, V7_2),
    entry(INTEL, 0x11fb, ANY, V7_2),
    entry(INTEL, 0x1212, ANY, V7_2),
    entry(INTEL, 0x1216, ANY, V7_2),
    entry(INTEL, 0x4940, ANY, V7_2),
    entry(INTEL, 0x4942, ANY, V7_2),
    entry(INTEL, 0x4944, ANY, V7_2),
    entry(INTEL, 0x4946, ANY, V7_2),
    entry(INTEL, 0x4948, ANY, V7_2),
    Entry {
        vendor: GOOGLE,
        device: None,
        scope: ANY,
        since: V7_1,
    },
    entry(NVIDIA, 0x2f95, ANY, V7_3),
    entry(NVIDIA, 0x2f96, ANY, V7_3),
    entry(NVIDIA, 0x2f97, ANY, V7_3),
    entry(NVIDIA, 0x2f98, ANY, V7_3),
    // KX-6000 and KH-40000 to KX-7000; then KH-50000.
    entry(ZHAOXIN, 0x1003, SAME, Since::Next),
    entry(ZHAOXIN, 0x1005, SAME, Since::Next),
    entry(ZHAOXIN, 0x1006, SAME, Since::Next),
    entry(ZHAOXIN, 0x1007, SAME, Since::Next),
    entry(ZHAOXIN, 0x1008, ANY, Since::Next),
];

/// The entry for a function, whatever the release.
pub(super) fn find(id: Id) -> Option<&'static Entry> {
    ENTRIES
        .iter()
        .find(|entry| entry.vendor == id.vendor && entry.device.is_none_or(|device| device == id.device))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(kernel: Kernel) -> usize {
        ENTRIES
            .iter()
            .filter(|entry| entry.since.holds(kernel) == Some(true))
            .count()
    }

    #[test]
    fn each_release_has_as_many_entries_as_its_source() {
        for (version, entries) in [
            ("6.1", 10),
            ("6.6", 10),
            ("6.12", 10),
            ("6.18.15", 10),
            ("6.19", 10),
            ("7.0", 10),
            ("7.1", 11),
            ("7.1.2", 11),
            ("7.1.3", 21),
            ("7.1.13", 21),
            ("7.2", 21),
            ("7.2.12", 21),
            ("7.3", 25),
        ] {
            let version = version.parse().unwrap();
            assert_eq!(listed(Kernel::Release(version)), entries, "{version}");
        }
        assert_eq!(listed(Kernel::Next), 30);
        assert_eq!(listed(Kernel::Unknown), 10);
    }

    #[test]
    fn a_stable_release_after_the_last_one_read_is_unknown_where_entries_went_back() {
        let release = |text: &str| Kernel::Release(text.parse().unwrap());
        assert_eq!(V7_2.holds(release("6.18.15")), Some(false));
        assert_eq!(V7_2.holds(release("6.18.16")), None);
        assert_eq!(V7_1.holds(release("6.18.16")), Some(false));
        assert_eq!(V7_2.holds(release("6.17.99")), Some(false));
        assert_eq!(Since::Next.holds(release("7.3.9")), Some(false));
        assert_eq!(Since::Next.holds(release("7.4")), None);
    }

    #[test]
    fn since_when_is_said_with_the_stable_series() {
        for (since, text) in [
            (Since::Always, "6.1 or earlier"),
            (V7_1, "7.1"),
            (V7_2, "7.2 (and 7.1.3)"),
            (Since::Next, "queued after 7.3"),
        ] {
            assert_eq!(alloc::string::ToString::to_string(&since), text);
        }
    }

    #[test]
    fn google_is_listed_with_every_device() {
        let id = Id {
            vendor: GOOGLE,
            device: 0x1234,
        };
        assert_eq!(find(id).unwrap().scope, Scope::AnyHostBridge);
        assert_eq!(
            find(Id {
                vendor: INTEL,
                device: 0x4c43
            }),
            None
        );
    }
}
