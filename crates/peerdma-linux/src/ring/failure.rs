//! What an error number of an operation means, by whose memory the operation was to use.
//!
//! The kernel says EREMOTEIO or EINVAL where it does not map memory of a peer (drivers/pci/p2pdma.c, block/blk-mq-dma.c; mm/gup.c where the queue takes none),
//! and EINVAL as well for what is not aligned. Other numbers: `blk_errors` in block/blk-core.c.

use super::transfer::Peer;
use peerdma::addr::Bdf;
use peerdma::block::{CommandError, PeerRefused};
use peerdma::route::Access;
use rustix::io::Errno;

/// What an operation was to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) initiator: Bdf,
    /// What was to be done to the memory.
    pub(super) access: Access,
    /// Whose it is, if it is not RAM.
    pub(super) peer: Option<Peer>,
    /// Was a refusal overridden?
    pub(super) is_forced: bool,
}

/// How an operation failed that ended with this error number.
pub(super) fn failure(error: Errno, asked: Asked) -> CommandError {
    let number = error.raw_os_error();
    let system = |meaning| CommandError::System { number, meaning };
    if let Some(Peer { provider, judged }) = asked.peer {
        match error {
            Errno::REMOTEIO | Errno::INVAL => {
                return CommandError::PeerRefused(PeerRefused {
                    initiator: asked.initiator,
                    provider,
                    access: asked.access,
                    judged,
                    is_forced: asked.is_forced,
                    number,
                });
            }
            // Its pages were taken out of this process when it was unbound.
            Errno::FAULT => return CommandError::PeerGone { provider },
            _ => {}
        }
    }
    match error {
        Errno::CANCELED => CommandError::Aborted,
        Errno::TIMEDOUT => CommandError::TimedOut,
        Errno::NODEV | Errno::NXIO => CommandError::Removed,
        Errno::IO => system("the device could not read or write; look at the kernel's log"),
        Errno::NOSPC => system("no space is left: free some on the file system, or write less"),
        Errno::DQUOT => system("the owner's share of the file system is used up"),
        Errno::FBIG => system("the file would become larger than it may"),
        Errno::INVAL => system("the request is not aligned as the device or file system needs it"),
        Errno::REMOTEIO => system("the device says that the request is wrong"),
        Errno::FAULT => system("the memory is not mapped in this process"),
        Errno::NODATA => system("the medium could not be read there"),
        Errno::ILSEQ => system("the data does not fit its checksum"),
        Errno::NOLINK => system("the way to the device is broken"),
        Errno::NOMEM => system("the kernel is out of memory"),
        Errno::BADF => system("it is not open for this; open it for writing"),
        Errno::PERM | Errno::ACCESS | Errno::ROFS => system("it may not be written"),
        Errno::OPNOTSUPP => system(
            "it cannot do that: a polled volume needs a driver with queues for polling (of NVMe, the module's parameter poll_queues)",
        ),
        _ => system("the operation failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerdma::dma::MemoryKind;

    #[test]
    fn a_refused_pair_is_named_with_its_verdict_and_ram_is_not_blamed_on_a_peer() {
        let bdf = |text: &str| text.parse::<Bdf>().unwrap();
        let asked = |peer| Asked {
            initiator: bdf("0000:01:00.0"),
            access: Access::Write,
            peer,
            is_forced: false,
        };
        let peer = Some(Peer {
            provider: bdf("0000:02:00.0"),
            judged: MemoryKind::PeerThroughHostBridge,
        });
        for error in [Errno::REMOTEIO, Errno::INVAL] {
            let shown = failure(error, asked(peer)).to_string();
            for word in ["0000:01:00.0", "0000:02:00.0", "write", "THRU_HOST_BRIDGE"] {
                assert!(shown.contains(word), "{shown}");
            }
            assert!(matches!(failure(error, asked(None)), CommandError::System { .. }));
        }
        assert_eq!(
            failure(Errno::FAULT, asked(peer)),
            CommandError::PeerGone {
                provider: bdf("0000:02:00.0")
            }
        );
        assert!(matches!(
            failure(Errno::FAULT, asked(None)),
            CommandError::System { .. }
        ));
        for error in [Errno::IO, Errno::NOSPC] {
            assert_eq!(failure(error, asked(peer)), failure(error, asked(None)));
        }
    }
}
