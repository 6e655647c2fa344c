//! One physically contiguous piece of memory, as requests carry it.

use super::{Address, PhysAddr};
use core::fmt;

/// Physically contiguous memory: 16 bytes, so that vectors of it stay small. With the feature `phys32`, for machines
/// whose physical addresses have 32 bits, 8 bytes and no flags: every piece is looked up.
///
/// Never empty, and never past the end of the space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PhysVec {
    #[cfg(not(feature = "phys32"))]
    addr: u64,
    #[cfg(feature = "phys32")]
    addr: u32,
    len: u32,
    #[cfg(not(feature = "phys32"))]
    flags: u32,
}

/// Does whoever made a piece know that it is RAM?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// It is RAM. Where that turns out to be wrong the piece is refused.
    Ram,
    /// It may be any kind of memory: look it up.
    LookUp,
}

/// The piece is empty, or ends past the last physical address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhysVecError {
    /// Its first address.
    pub addr: PhysAddr,
    /// How many bytes.
    pub len_bytes: u64,
}

impl PhysVec {
    #[cfg(not(feature = "phys32"))]
    const LOOK_UP: u32 = 1;

    /// `len_bytes` from `addr` on.
    ///
    /// # Errors
    /// [`PhysVecError`] where it is empty or ends past the last physical address.
    pub fn new(addr: PhysAddr, len_bytes: u32, origin: Origin) -> Result<Self, PhysVecError> {
        let error = PhysVecError {
            addr,
            len_bytes: len_bytes.into(),
        };
        let less_one = len_bytes.checked_sub(1).ok_or(error)?;
        let last = addr.checked_add(less_one.into()).ok_or(error)?;
        Self::within_space(addr, last, len_bytes, origin).ok_or(error)
    }

    #[cfg(not(feature = "phys32"))]
    fn within_space(addr: PhysAddr, _last: PhysAddr, len: u32, origin: Origin) -> Option<Self> {
        let flags = match origin {
            Origin::Ram => 0,
            Origin::LookUp => Self::LOOK_UP,
        };
        let addr = addr.to_u64();
        Some(Self { addr, len, flags })
    }

    #[cfg(feature = "phys32")]
    fn within_space(addr: PhysAddr, last: PhysAddr, len: u32, _origin: Origin) -> Option<Self> {
        u32::try_from(last.to_u64()).ok()?;
        let addr = u32::try_from(addr.to_u64()).ok()?;
        Some(Self { addr, len })
    }

    /// Its first address.
    #[cfg_attr(
        not(feature = "phys32"),
        expect(clippy::useless_conversion, reason = "narrower with `phys32`")
    )]
    pub fn addr(self) -> PhysAddr {
        PhysAddr::from_u64(u64::from(self.addr))
    }

    /// Its last address.
    #[cfg_attr(
        not(feature = "phys32"),
        expect(clippy::useless_conversion, reason = "narrower with `phys32`")
    )]
    pub fn last(self) -> PhysAddr {
        PhysAddr::from_u64(u64::from(self.addr) + u64::from(self.len - 1))
    }

    /// How many bytes, at least 1.
    pub fn len_bytes(self) -> u32 {
        self.len
    }

    /// Does its maker know that it is RAM?
    pub fn origin(self) -> Origin {
        #[cfg(not(feature = "phys32"))]
        if self.flags & Self::LOOK_UP == 0 {
            return Origin::Ram;
        }
        Origin::LookUp
    }
}

impl fmt::Display for PhysVec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} bytes at {}", self.len, self.addr())
    }
}

impl fmt::Display for PhysVecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:#x} bytes at {} are no piece of memory: it is empty or ends past the last physical address",
            self.len_bytes, self.addr
        )
    }
}

impl core::error::Error for PhysVecError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_takes_sixteen_bytes_or_eight() {
        let expected = if cfg!(feature = "phys32") { 8 } else { 16 };
        assert_eq!(size_of::<PhysVec>(), expected);
    }

    #[test]
    fn a_piece_reaches_the_last_byte_and_no_further() {
        let top = if cfg!(feature = "phys32") {
            u64::from(u32::MAX)
        } else {
            u64::MAX
        };
        let addr = PhysAddr::from_u64(top - 3);
        let piece = PhysVec::new(addr, 4, Origin::LookUp).unwrap();
        assert_eq!(piece.last(), PhysAddr::from_u64(top));
        assert_eq!(piece.origin(), Origin::LookUp);
        assert!(PhysVec::new(addr, 5, Origin::Ram).is_err());
        assert!(PhysVec::new(addr, 0, Origin::Ram).is_err());
    }
}
