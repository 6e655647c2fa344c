//! Why there is no volume.

use peerdma::dma::IoasError;
use rustix::io::Errno;
use std::path::PathBuf;
use thiserror::Error;

/// Why a device or file was not made a volume.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RingError {
    /// The kernel gives no io_uring.
    #[error("the kernel gives no io_uring: {source}{}", advice(*source))]
    Uring {
        /// The kernel's word.
        source: Errno,
    },
    /// Its driver has no queues for polling.
    #[error(
        "{}: it cannot be polled: its driver has no queues for that; of NVMe, set the module's parameter poll_queues (kernel command \
         line: nvme.poll_queues=1), or do without polling",
        path.display()
    )]
    NotPolled {
        /// Which.
        path: PathBuf,
    },
    /// The address space is not that of its function.
    #[error("{0}")]
    Ioas(IoasError),
}

fn advice(error: Errno) -> &'static str {
    match error {
        Errno::NOSYS => "; it has none, or something (seccomp, a container) forbids it",
        Errno::PERM => "; see /proc/sys/kernel/io_uring_disabled, or ask as root",
        Errno::NOMEM => "; raise the limit of locked memory (ulimit -l), or use less depth",
        Errno::MFILE | Errno::NFILE => "; raise the limit of open files (ulimit -n)",
        _ => "",
    }
}
