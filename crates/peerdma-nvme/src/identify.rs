//! The pages that Identify gives (NVM Express Base 2.0, 5.17.2; NVM Command Set 1.0, 4.1.5): from 4096 bytes of a device that may say
//! anything to what the driver goes by.

use alloc::string::String;
use alloc::vec::Vec;

/// Bytes of every page.
pub(crate) const PAGE_BYTES: usize = 4096;
/// A page.
pub(crate) type Page = [u8; PAGE_BYTES];

/// What a controller is and can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// PCI vendor (VID).
    pub vendor: u16,
    /// Serial number (SN), without the spaces at its end; what is not printable ASCII is shown as `?`.
    pub serial: String,
    /// Model (MN), in the same way.
    pub model: String,
    /// Revision of the firmware (FR), in the same way.
    pub firmware: String,
    /// Version of the specification: major in bits 31:16, minor in 15:8 (VS).
    pub version: u32,
    /// The most bytes that one command moves (MDTS); nothing where the controller has no limit.
    pub max_transfer_bytes: Option<u64>,
    /// Which SGLs it takes for I/O commands (SGLS).
    pub sgl: SglSupport,
    /// How many Abort commands it takes at once (ACL), at least 1.
    pub aborts: u16,
    /// Does it have a volatile write cache that Flush empties (VWC)?
    pub write_cache: WriteCache,
}

/// Which SGLs a controller takes for I/O commands (SGLS, bits 1:0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SglSupport {
    /// None.
    None,
    /// Of any alignment.
    Bytes,
    /// Data blocks begin at multiples of four bytes, and their lengths are such.
    Dwords,
}

/// Is what was written kept in a cache that loses it with power?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteCache {
    /// It is kept at once.
    None,
    /// Until it is flushed it may be lost.
    Volatile,
}

/// A namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespace {
    /// Its number (NSID).
    pub id: u32,
    /// How many blocks (NSZE).
    pub blocks: u64,
    /// Bytes of a block: 0 where it says nothing that can be.
    pub block_bytes: u32,
    /// Why there can be no volume of it.
    pub unusable: Option<Unusable>,
}

/// Why there can be no volume of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unusable {
    /// It has no blocks.
    Empty,
    /// Its blocks are of a size that is not offered: 2 to the power of this.
    BlockBytesLog2(u8),
    /// Its blocks carry metadata of so many bytes.
    Metadata(u16),
    /// Its bytes cannot be counted.
    TooLarge,
}

/// What Identify Controller says. `least_page_bytes` is CAP.MPSMIN, the unit of MDTS.
pub(crate) fn controller(page: &Page, version: u32, least_page_bytes: u64) -> Info {
    let max_transfer_bytes = match page[77] {
        0 => None,
        log2 => least_page_bytes
            .checked_shl(log2.into())
            .filter(|bytes| bytes >> log2 == least_page_bytes),
    };
    Info {
        vendor: u16::from_le_bytes([page[0], page[1]]),
        serial: text(&page[4..24]),
        model: text(&page[24..64]),
        firmware: text(&page[64..72]),
        version,
        max_transfer_bytes,
        sgl: match page[536] & 3 {
            1 => SglSupport::Bytes,
            2 => SglSupport::Dwords,
            _ => SglSupport::None,
        },
        aborts: u16::from(page[258]) + 1,
        write_cache: match page[525] & 1 {
            0 => WriteCache::None,
            _ => WriteCache::Volatile,
        },
    }
}

/// NN: how many namespaces the controller has at most.
pub(crate) fn most_namespaces(page: &Page) -> u32 {
    u32::from_le_bytes([page[516], page[517], page[518], page[519]])
}

/// What Identify Namespace says of number `id`.
pub(crate) fn namespace(page: &Page, id: u32) -> Namespace {
    let mut blocks = [0; 8];
    blocks.copy_from_slice(&page[..8]);
    let blocks = u64::from_le_bytes(blocks);
    // FLBAS: bits 6:5 are the upper ones of the index from 2.0 on, and zeros before.
    let format = usize::from(page[26] & 0xf | (page[26] >> 1 & 0x30));
    let at = 128 + 4 * format;
    let metadata_bytes = u16::from_le_bytes([page[at], page[at + 1]]);
    let block_log2 = page[at + 2];
    let block_bytes = 1_u32.checked_shl(block_log2.into()).unwrap_or(0);
    let unusable = match (blocks, block_log2, metadata_bytes) {
        (0, ..) => Some(Unusable::Empty),
        (_, 9..=12, 0) => None,
        (_, 9..=12, bytes) => Some(Unusable::Metadata(bytes)),
        (_, log2, _) => Some(Unusable::BlockBytesLog2(log2)),
    };
    let countable = blocks.checked_mul(block_bytes.max(1).into()).is_some();
    Namespace {
        id,
        blocks,
        block_bytes,
        unusable: unusable.or((!countable).then_some(Unusable::TooLarge)),
    }
}

/// The list that the active namespaces above `after` are told in: rising numbers, then zeros. What does not rise ends it.
pub(crate) fn active_namespaces(page: &Page, after: u32, into: &mut Vec<u32>, most: usize) -> More {
    let mut before = after;
    for entry in page.chunks_exact(4) {
        let id = u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
        if id <= before || into.len() >= most {
            return More::No;
        }
        into.push(id);
        before = id;
    }
    More::Above(before)
}

/// Is there more of a list?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum More {
    /// No.
    No,
    /// There may be, above this number.
    Above(u32),
}

fn text(bytes: &[u8]) -> String {
    let shown = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '?',
    };
    let end = bytes
        .iter()
        .rposition(|byte| !matches!(byte, b' ' | 0))
        .map_or(0, |last| last + 1);
    bytes[..end].iter().map(shown).collect()
}

impl core::fmt::Display for Unusable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Empty => f.write_str("it has no blocks"),
            Self::BlockBytesLog2(log2) => {
                write!(f, "its blocks have 2^{log2} bytes; 512 to 4096 are offered")
            }
            Self::Metadata(bytes) => write!(f, "its blocks carry {bytes} bytes of metadata each"),
            Self::TooLarge => f.write_str("its bytes cannot be counted in 64 bits"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_namespace_of_4096_bytes_is_read() {
        let mut page = [0; PAGE_BYTES];
        page[..8].copy_from_slice(&1000_u64.to_le_bytes());
        page[26] = 1;
        page[134] = 12;
        let namespace = namespace(&page, 5);
        assert_eq!((namespace.blocks, namespace.block_bytes), (1000, 4096));
        assert_eq!(namespace.unusable, None);
        page[132] = 8;
        assert_eq!(super::namespace(&page, 5).unusable, Some(Unusable::Metadata(8)));
        page[134] = 64;
        assert_eq!(
            super::namespace(&page, 5).unusable,
            Some(Unusable::BlockBytesLog2(64))
        );
    }

    #[test]
    fn a_list_that_does_not_rise_ends_there() {
        let mut page = [0; PAGE_BYTES];
        for (entry, id) in page.chunks_exact_mut(4).zip([1_u32, 3, 3, 4]) {
            entry.copy_from_slice(&id.to_le_bytes());
        }
        let mut ids = Vec::new();
        assert_eq!(active_namespaces(&page, 0, &mut ids, 1024), More::No);
        assert_eq!(ids, [1, 3]);
    }

    proptest! {
        #[test]
        fn pages_of_anything_are_read(seed in proptest::collection::vec(any::<u8>(), 1024)) {
            let mut page = [0; PAGE_BYTES];
            page.iter_mut().zip(seed.iter().cycle()).for_each(|(to, from)| *to = *from);
            let info = controller(&page, 0, 4096 << (seed[0] & 15));
            prop_assert!(info.serial.len() <= 20 && info.model.len() <= 40);
            if let Some(bytes) = info.max_transfer_bytes {
                prop_assert!(bytes >= 8192);
            }
            let namespace = namespace(&page, 1);
            if namespace.unusable.is_none() {
                prop_assert!(matches!(namespace.block_bytes, 512..=4096));
            }
            let mut ids = Vec::new();
            active_namespaces(&page, 0, &mut ids, 1024);
            prop_assert!(ids.is_sorted() && ids.len() <= 1024);
        }
    }
}
