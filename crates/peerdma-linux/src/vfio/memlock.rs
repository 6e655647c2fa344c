//! How much memory this process may have locked for devices, and how much it has.
//!
//! Asked when the kernel has refused to map ([`super::VfioError`]), and by who chooses sizes before anything is mapped.

use rustix::process::{Resource, getrlimit};
use std::fs;

/// The limit of locked memory, and how much of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memlock {
    /// `RLIMIT_MEMLOCK`.
    pub limit_bytes: u64,
    /// What this process has locked: type 1 counts it as locked, iommufd as pinned.
    pub locked_bytes: u64,
}

impl Memlock {
    /// Of this process, now; nothing where it has none: no limit is set, or it may lock all the same (`CAP_IPC_LOCK`,
    /// and not only in a user namespace of its own: the kernel asks `capable`).
    pub fn read() -> Option<Self> {
        let limit_bytes = getrlimit(Resource::Memlock).current?;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let users = fs::read_to_string("/proc/self/uid_map").ok();
        (!(may_lock_all(&status) && has_all_users(users.as_deref()))).then(|| Self {
            limit_bytes,
            locked_bytes: locked(&status),
        })
    }

    /// What may still be locked.
    pub const fn free_bytes(self) -> u64 {
        self.limit_bytes.saturating_sub(self.locked_bytes)
    }
}

/// What this process has locked.
pub(super) fn locked_bytes() -> u64 {
    locked(&fs::read_to_string("/proc/self/status").unwrap_or_default())
}

fn locked(status: &str) -> u64 {
    let counted = status.lines().filter_map(|line| {
        let number = line
            .strip_prefix("VmLck:")
            .or_else(|| line.strip_prefix("VmPin:"))?;
        number.trim().strip_suffix(" kB")?.parse().ok()
    });
    counted.fold(0u64, u64::saturating_add).saturating_mul(1024)
}

fn may_lock_all(status: &str) -> bool {
    /// include/uapi/linux/capability.h
    const CAP_IPC_LOCK: u64 = 1 << 14;
    let mut effective = status.lines().filter_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective
        .next()
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    bits.is_some_and(|bits| bits & CAP_IPC_LOCK != 0)
}

/// Is this the map of the first user namespace? Others are given a part of the users, as a rule; a kernel without user namespaces has no map.
fn has_all_users(uid_map: Option<&str>) -> bool {
    uid_map.is_none_or(|map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_locked_and_who_may_lock_all_is_read_from_the_status() {
        let status =
            "Name:\tx\nVmPeak:\t 9 kB\nVmLck:\t      64 kB\nVmPin:\t       4 kB\nCapEff:\t0000000000000000\n";
        assert_eq!(locked(status), 68 << 10);
        assert!(!may_lock_all(status));
        assert!(may_lock_all("CapEff:\t000001ffffffffff\n"));
        assert!(may_lock_all("CapEff:\t0000000000004000\n"));
        assert!(!may_lock_all("CapEff:\t000001ffffffbfff\n"));
        assert!(!may_lock_all("CapEff:\tnone\n"));
        assert_eq!(locked("VmLck: much\nVmPin:\t99999999999999999999 kB\n"), 0);
        let limited = Memlock {
            limit_bytes: 64,
            locked_bytes: 68,
        };
        assert_eq!(limited.free_bytes(), 0);
    }

    #[test]
    fn root_of_a_user_namespace_of_its_own_is_held_to_the_limit() {
        assert!(has_all_users(Some("         0          0 4294967295\n")));
        assert!(has_all_users(None));
        for map in [
            "         0       1000          1\n",
            "         0       1000          1\n         1     100000      65536\n",
            "         0          0      65536\n",
            "",
        ] {
            assert!(!has_all_users(Some(map)), "{map}");
        }
    }
}
