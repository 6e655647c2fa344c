//! What a run costs this process.

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this process so far, all threads, user and system.
pub(crate) fn cpu_ns() -> u64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, rest) = (u64::try_from(spent.tv_sec), u64::try_from(spent.tv_nsec));
    seconds.unwrap_or(0).saturating_mul(1_000_000_000) + rest.unwrap_or(0)
}
