//! Which Linux is asked.

use crate::fact::Fact;
use crate::snapshot::KernelVersion;
use core::fmt;

/// The Linux whose decision is wanted.
///
/// Between 6.1 and 7.3 releases differ in their list of host bridges only; the walk is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// A release.
    Release(KernelVersion),
    /// No one knows which: an answer is known where all checked releases agree.
    Unknown,
    /// The posted rewrite that tells packet classes apart, not in any release (KERNEL-FACTS, A7).
    Next,
}

impl Kernel {
    /// The first release that was checked.
    pub const OLDEST: KernelVersion = KernelVersion::new(6, 1, 0);
    /// The last series that was checked.
    pub const NEWEST: KernelVersion = KernelVersion::new(7, 3, u16::MAX);

    /// The kernel of a machine. One newer than every checked release is taken to have the newest walk and
    /// list, and to have perhaps what is queued; for one older than all of them, an answer is known where
    /// all checked releases agree.
    pub fn of_machine(version: Fact<KernelVersion>) -> Self {
        match version {
            Fact::Known(version) if version >= Self::OLDEST => Self::Release(version),
            _ => Self::Unknown,
        }
    }

    /// Was this release checked?
    pub fn is_checked(version: KernelVersion) -> bool {
        (Self::OLDEST..=Self::NEWEST).contains(&version)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(version) if version.patch == u16::MAX => {
                write!(f, "{}.{}", version.major, version.minor)
            }
            Self::Release(version) => version.fmt(f),
            Self::Unknown => f.write_str("unknown"),
            Self::Next => f.write_str("next"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_kernel_counts_as_a_release_only_from_the_oldest_checked_one_on() {
        for (text, expected) in [
            ("5.15.0", Kernel::Unknown),
            ("6.0.19", Kernel::Unknown),
            ("6.1", Kernel::Release(Kernel::OLDEST)),
            ("6.12.8", Kernel::Release(KernelVersion::new(6, 12, 8))),
            ("9.9", Kernel::Release(KernelVersion::new(9, 9, 0))),
        ] {
            let version = Fact::Known(text.parse().unwrap());
            assert_eq!(Kernel::of_machine(version), expected, "{text}");
        }
        assert_eq!(Kernel::of_machine(Fact::NOT_IN_SOURCE), Kernel::Unknown);
    }
}
