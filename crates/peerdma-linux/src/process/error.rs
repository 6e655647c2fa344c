//! What can go wrong when the process takes memory or devices into use.

use crate::vfio::VfioError;
use peerdma::addr::Bdf;
use peerdma::memory::MapError;
use rustix::io::Errno;

/// Why memory or a device could not be taken into use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// There is no RAM for devices.
    #[error(
        "the kernel gives no {ram_bytes:#x} bytes of address space to this process ({errno}); ask for less, or raise `ulimit -v`"
    )]
    NoRam {
        /// How many bytes were asked for.
        ram_bytes: u64,
        /// The kernel's error.
        errno: Errno,
    },
    /// All addresses that devices can issue mean something else.
    #[error(
        "there are no {ram_bytes:#x} addresses in a row that no bridge, BAR or reserved range claims; ask for less RAM"
    )]
    NoPlace {
        /// How many bytes were asked for.
        ram_bytes: u64,
    },
    /// The machine has no such function.
    #[error("the machine has no function {0}; look at `peerdma topo`")]
    NoSuchFunction(Bdf),
    /// The function has no such memory, or nobody knows where.
    #[error(
        "BAR {bar} of {provider} has no {len_bytes:#x} bytes at {offset_bytes:#x}, or no address that is known; `peerdma topo -v` shows what is known of it"
    )]
    NoSuchMemory {
        /// Whose.
        provider: Bdf,
        /// Which BAR.
        bar: u8,
        /// Where in it.
        offset_bytes: u64,
        /// How many bytes.
        len_bytes: u64,
    },
    /// The process could not map the memory of a function: its address space may be limited, or used up.
    #[error(
        "the {len_bytes:#x} bytes of BAR {bar} of {provider} cannot be had in this process: {}, {}; raise `ulimit -v` if that limits it, or take \
         the function without its memory (`Process::take_without_memory`) and add the BARs that fit (`Process::add_bar`)", source.what(), source.why()
    )]
    BarNotMapped {
        /// Whose.
        provider: Bdf,
        /// Which BAR.
        bar: u8,
        /// How many bytes it has.
        len_bytes: u64,
        /// What the kernel refused.
        source: VfioError,
    },
    /// A device was not opened.
    #[error(transparent)]
    Vfio(#[from] VfioError),
    /// It cannot be in the memory map.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// Why there is no such address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IoSpaceError {
    /// The machine has no such function.
    #[error("the machine has no function {0}; look at `peerdma topo`")]
    NoSuchFunction(Bdf),
    /// The process has not taken the function.
    #[error("{0} was not taken into use by this process; open it first")]
    NotTaken(Bdf),
    /// A function, or one that shares its group or container, has an address space already.
    #[error(
        "{0} has another I/O address space already; functions of one IOMMU group share one: name all of them at once, or drop the other first"
    )]
    InUse(Bdf),
    /// No address can be mapped for all of the functions.
    #[error(
        "the IOMMUs of these functions have no addresses in common; give each an I/O address space of its own"
    )]
    NoAperture,
}
