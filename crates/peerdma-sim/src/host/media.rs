//! What is on the namespaces of NVMe controllers, and behind BARs: looked at and laid out without a driver, at no cost of time.

use super::Computer;
use crate::device::nvme::{Controller, MediaError, NamespaceView};
use peerdma::addr::{Address, Bdf, PhysAddr};
use peerdma::device::DeviceError;
use std::ops::Range;

/// Bytes that tell where they belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Each 8 bytes are a number that follows from the seed and their offset: what was moved to a wrong place, or
    /// was never moved, shows.
    Seeded(u64),
    /// This byte everywhere: nothing that was there before remains.
    Poison(u8),
}

/// How much is filled or compared at once.
const PIECE_BYTES: usize = 64 << 10;

impl Pattern {
    /// The bytes from an offset on.
    pub fn fill(self, offset: u64, into: &mut [u8]) {
        match self {
            Self::Poison(byte) => into.fill(byte),
            Self::Seeded(seed) => {
                let mut at = offset;
                let mut rest = into;
                while !rest.is_empty() {
                    let word = word(seed, at / 8).to_le_bytes();
                    let word = &word[(at % 8) as usize..];
                    let count = word.len().min(rest.len());
                    let (now, later) = rest.split_at_mut(count);
                    now.copy_from_slice(&word[..count]);
                    at += count as u64;
                    rest = later;
                }
            }
        }
    }
}

/// Every bit of the result depends on every bit of both: two multiplications, each folded.
fn word(seed: u64, index: u64) -> u64 {
    let fold = |one: u64, other: u64| {
        let product = u128::from(one) * u128::from(other);
        (product >> 64) as u64 ^ product as u64
    };
    let mixed = fold(index ^ 0x517c_c1b7_2722_0a95, 0x9e37_79b9_7f4a_7c15);
    fold(mixed ^ seed.rotate_left(29), 0xd6e8_feb8_6659_fd93) ^ index
}

impl Computer {
    /// The namespaces of a function; none where it is no NVMe controller.
    pub fn namespaces(&self, bdf: Bdf) -> Vec<NamespaceView> {
        let list = |controller: &mut Controller| controller.namespaces().collect();
        let mut machine = self.shared.machine.borrow_mut();
        machine
            .with::<Controller, _>(bdf, |controller, _| list(controller))
            .unwrap_or_default()
    }

    /// Reads bytes of a namespace.
    ///
    /// # Errors
    /// [`MediaError`]
    pub fn read_namespace(
        &self,
        bdf: Bdf,
        number: u32,
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), MediaError> {
        let mut machine = self.shared.machine.borrow_mut();
        let read = machine.with::<Controller, _>(bdf, |controller, wire| {
            controller.read_media(number, offset, into, wire.banks())
        });
        read.unwrap_or(Err(MediaError::NoSuchNamespace { number }))
    }

    /// Writes bytes of a namespace.
    ///
    /// # Errors
    /// [`MediaError`]
    pub fn write_namespace(&self, bdf: Bdf, number: u32, offset: u64, from: &[u8]) -> Result<(), MediaError> {
        let mut machine = self.shared.machine.borrow_mut();
        let written = machine.with::<Controller, _>(bdf, |controller, wire| {
            controller.write_media(number, offset, from, wire.banks())
        });
        written.unwrap_or(Err(MediaError::NoSuchNamespace { number }))
    }

    /// Fills bytes of a namespace with a pattern, which counts from the start of the namespace.
    ///
    /// # Errors
    /// [`MediaError`]
    pub fn fill_namespace(
        &self,
        bdf: Bdf,
        number: u32,
        span: Range<u64>,
        pattern: Pattern,
    ) -> Result<(), MediaError> {
        let mut piece = vec![0; PIECE_BYTES];
        each_piece(span, |offset, count| {
            let piece = &mut piece[..count];
            pattern.fill(offset, piece);
            self.write_namespace(bdf, number, offset, piece)
        })
    }

    /// The first byte of a namespace, from an offset on, that is not as the pattern has it (counted from `base`): where, and
    /// what was expected and found.
    ///
    /// # Errors
    /// [`MediaError`]
    pub fn differs_from(
        &self,
        bdf: Bdf,
        number: u32,
        span: Range<u64>,
        pattern: Pattern,
        base: u64,
    ) -> Result<Option<(u64, u8, u8)>, MediaError> {
        let (mut expected, mut found) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
        let start = span.start;
        let mut first = None;
        each_piece::<MediaError>(span, |offset, count| {
            if first.is_some() {
                return Ok(());
            }
            let (expected, found) = (&mut expected[..count], &mut found[..count]);
            pattern.fill(base.wrapping_add(offset - start), expected);
            self.read_namespace(bdf, number, offset, found)?;
            let unlike = expected.iter().zip(&*found).position(|(one, other)| one != other);
            first = unlike.map(|at| (offset + at as u64, expected[at], found[at]));
            Ok(())
        })?;
        Ok(first)
    }

    /// Reads memory behind a BAR, without a TLP.
    ///
    /// # Errors
    /// [`DeviceError::NoSuchBar`], [`DeviceError::NoSuchMemory`] where the range leaves it.
    pub fn read_bar_memory(
        &self,
        bdf: Bdf,
        bar: u8,
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), DeviceError> {
        let place = self.bar_place(bdf, bar, offset, into.len() as u64)?;
        let at = PhysAddr::from_u64(offset);
        let mut machine = self.shared.machine.borrow_mut();
        (machine.banks().read(place, into)).map_err(|_| DeviceError::NoSuchMemory { at })
    }

    /// Fills memory behind a BAR with a pattern, which counts from the start of the BAR.
    ///
    /// # Errors
    /// [`DeviceError::NoSuchBar`], [`DeviceError::NoSuchMemory`] where the range leaves it, [`DeviceError::NoMemory`] where the
    /// simulated machine may hold no more.
    pub fn fill_bar_memory(
        &self,
        bdf: Bdf,
        bar: u8,
        span: Range<u64>,
        pattern: Pattern,
    ) -> Result<(), DeviceError> {
        let mut piece = vec![0; PIECE_BYTES];
        each_piece(span, |offset, count| {
            let len_bytes = count as u64;
            let place = self.bar_place(bdf, bar, offset, len_bytes)?;
            let piece = &mut piece[..count];
            pattern.fill(offset, piece);
            let mut machine = self.shared.machine.borrow_mut();
            (machine.banks().write(place, piece)).map_err(|_| DeviceError::NoMemory { len_bytes })
        })
    }

    fn bar_place(
        &self,
        bdf: Bdf,
        bar: u8,
        offset: u64,
        len_bytes: u64,
    ) -> Result<crate::memory::Place, DeviceError> {
        let bank = self.bar_bank(bdf, bar).ok_or(DeviceError::NoSuchBar { bar })?;
        let at = PhysAddr::from_u64(offset);
        match offset.checked_add(len_bytes) {
            Some(end) if end <= bank.len_bytes => Ok(crate::memory::Place {
                offset: bank.place.offset + offset,
                ..bank.place
            }),
            _ => Err(DeviceError::NoSuchMemory { at }),
        }
    }
}

fn each_piece<E>(span: Range<u64>, mut each: impl FnMut(u64, usize) -> Result<(), E>) -> Result<(), E> {
    let mut offset = span.start;
    while offset < span.end {
        let count = (span.end - offset).min(PIECE_BYTES as u64);
        each(offset, count as usize)?;
        offset += count;
    }
    Ok(())
}
