//! A Linux release, as far as decisions depend on it.

use core::fmt;
use core::str::FromStr;

/// The numbers of a Linux release: `7.2.12` of `7.2.12+deb13-amd64`.
///
/// The patch level counts, since stable releases take entries of the host-bridge list back; a release
/// written without one is the first of its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct KernelVersion {
    /// Major number.
    pub major: u16,
    /// Minor number.
    pub minor: u16,
    /// Patch level of the stable series; 0 where none is written.
    pub patch: u16,
}

impl KernelVersion {
    /// The release `major.minor.patch`.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// Finds the release in a line such as `/proc/version` holds.
    pub fn from_proc_version(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("Linux version ")?;
        rest.split_whitespace().next()?.parse().ok()
    }
}

/// The text is not a Linux release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseKernelVersionError;

impl fmt::Display for ParseKernelVersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a Linux release such as 6.8 or 7.2.12-amd64")
    }
}

impl core::error::Error for ParseKernelVersionError {}

impl FromStr for KernelVersion {
    type Err = ParseKernelVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (major, rest) = number(text)?;
        let (minor, mut rest) = number(rest.strip_prefix('.').ok_or(ParseKernelVersionError)?)?;
        let mut patch = 0;
        if let Some(tail) = rest.strip_prefix('.')
            && tail.starts_with(|c: char| c.is_ascii_digit())
        {
            (patch, rest) = number(tail)?;
        }
        if rest.is_empty() || rest.starts_with(['.', '-', '+', '~', '_']) {
            Ok(Self::new(major, minor, patch))
        } else {
            Err(ParseKernelVersionError)
        }
    }
}

/// The decimal number at the start of `text`, and the rest.
fn number(text: &str) -> Result<(u16, &str), ParseKernelVersionError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Ok((digits.parse().map_err(|_| ParseKernelVersionError)?, rest))
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch != 0 {
            write!(f, ".{}", self.patch)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_with_and_without_a_tail() {
        for (text, major, minor, patch) in [
            ("6.8", 6, 8, 0),
            ("7.2.12+deb13-amd64", 7, 2, 12),
            ("6.18-rc1", 6, 18, 0),
            ("6.1.+", 6, 1, 0),
            ("3.10.0-1160.15.2.el7.x86_64", 3, 10, 0),
        ] {
            assert_eq!(
                text.parse(),
                Ok(KernelVersion::new(major, minor, patch)),
                "{text}"
            );
        }
        for text in ["", "6", "six.one", "6.", ".1", "6.1x", "+6.1", "99999.1"] {
            assert_eq!(
                text.parse::<KernelVersion>(),
                Err(ParseKernelVersionError),
                "{text}"
            );
        }
        assert_eq!(
            KernelVersion::from_proc_version("Linux version 7.2.12+deb13-amd64 (debian) #1"),
            Some(KernelVersion::new(7, 2, 12))
        );
    }
}
