//! Which addresses of an aperture are free.

use crate::addr::{Address, Iova, Span};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

/// Hands out ranges of whole pages: inside the apertures, outside what is reserved, none twice. The first page of the space is never given: a
/// device may take address 0 for no address.
#[derive(Debug, Clone)]
pub struct Allocator {
    page_bytes: u64,
    apertures: Vec<Span<Iova>>,
    /// Sorted, apart from each other.
    reserved: Vec<Span<Iova>>,
    /// First to last address of what is free; neighbours are one.
    free: BTreeMap<u64, u64>,
    /// First to last address of what was given.
    taken: BTreeMap<u64, u64>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// How many bytes: rounded up to whole pages.
    pub len_bytes: u64,
    /// The range begins at a multiple of this, plus [`Self::phase_bytes`]; a power of two, rounded up to a page.
    pub align_bytes: u64,
    /// Whole pages, less than the alignment.
    pub phase_bytes: u64,
    /// The highest address that may be in it.
    pub mask: u64,
}

/// What was to be reserved is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReserveError {
    /// The first such address.
    pub at: Iova,
}

impl Allocator {
    /// All of `apertures` but what is `reserved`, in pages of `page_bytes`: rounded up to a power of two.
    pub fn new(page_bytes: u64, apertures: &[Span<Iova>], reserved: &[Span<Iova>]) -> Self {
        let page_bytes = page_bytes.checked_next_power_of_two().unwrap_or(1 << 63);
        let mut this = Self {
            page_bytes,
            apertures: joined(apertures.iter().copied()),
            reserved: Vec::new(),
            free: BTreeMap::new(),
            taken: BTreeMap::new(),
        };
        this.reserved = joined(reserved.iter().copied());
        this.find_free();
        this
    }

    /// Bytes of a page.
    pub fn page_bytes(&self) -> u64 {
        self.page_bytes
    }

    /// Takes the lowest range that fits.
    pub fn allocate(&mut self, request: Request) -> Option<Iova> {
        let page = self.page_bytes;
        let less_one = request.len_bytes.checked_next_multiple_of(page)?.checked_sub(1)?;
        let align = request.align_bytes.max(page).checked_next_power_of_two()?;
        let (&hole, first) = self.free.iter().find_map(|(hole, last)| {
            let base = hole.saturating_sub(request.phase_bytes);
            let mut first = (base & !(align - 1)).checked_add(request.phase_bytes)?;
            while first < *hole {
                first = first.checked_add(align)?;
            }
            let end = first.checked_add(less_one)?;
            (end <= *last && end <= request.mask).then_some((hole, first))
        })?;
        let end = first + less_one;
        let last = self.free.remove(&hole)?;
        if hole < first {
            self.free.insert(hole, first - 1);
        }
        if end < last {
            self.free.insert(end + 1, last);
        }
        self.taken.insert(first, end);
        Some(Iova::from_u64(first))
    }

    /// Takes the pages from `iova` on, if all of them are free and none lies above `mask`.
    pub fn allocate_at(&mut self, iova: Iova, len_bytes: u64, mask: u64) -> Option<Iova> {
        let first = iova.to_u64();
        let less_one = len_bytes
            .checked_next_multiple_of(self.page_bytes)?
            .checked_sub(1)?;
        let end = first.checked_add(less_one).filter(|end| *end <= mask)?;
        let (_, last) = self.free.range(..=first).next_back()?;
        if !first.is_multiple_of(self.page_bytes) || end > *last {
            return None;
        }
        self.take_out(first, end);
        self.taken.insert(first, end);
        Some(iova)
    }

    /// Gives back what [`Self::allocate`] or [`Self::allocate_at`] gave at `iova`. Says if it was given.
    pub fn free(&mut self, iova: Iova) -> Freed {
        let mut first = iova.to_u64();
        let Some(mut last) = self.taken.remove(&first) else {
            return Freed::WasNotTaken;
        };
        if let Some(next) = last.checked_add(1)
            && let Some(end) = self.free.remove(&next)
        {
            last = end;
        }
        let before = self.free.range(..first).next_back();
        if let Some((&start, &end)) = before
            && end.checked_add(1) == Some(first)
        {
            first = start;
        }
        self.free.insert(first, last);
        Freed::Freed
    }

    /// Reserves these instead of what was reserved before.
    ///
    /// # Errors
    /// [`ReserveError`] where one of them was given; nothing has changed.
    pub fn set_reserved(&mut self, reserved: &[Span<Iova>]) -> Result<(), ReserveError> {
        let reserved = joined(reserved.iter().copied());
        for span in &reserved {
            let (first, last) = (span.first().to_u64(), span.last().to_u64());
            if let Some((&start, &end)) = self.taken.range(..=last).next_back()
                && end >= first
            {
                let at = Iova::from_u64(start.max(first));
                return Err(ReserveError { at });
            }
        }
        self.reserved = reserved;
        self.find_free();
        Ok(())
    }

    /// What is reserved: sorted, apart from each other.
    pub fn reserved(&self) -> &[Span<Iova>] {
        &self.reserved
    }

    /// Are all pages of this range in one aperture?
    pub fn is_in_aperture(&self, span: Span<Iova>) -> bool {
        self.apertures
            .iter()
            .any(|aperture| aperture.contains(span.first()) && aperture.contains(span.last()))
    }

    /// How many bytes were given and not given back.
    pub fn taken_bytes(&self) -> u64 {
        (self.taken.iter()).fold(0, |sum: u64, (first, last)| {
            sum.saturating_add((last - first).saturating_add(1))
        })
    }

    fn find_free(&mut self) {
        self.free.clear();
        let page = self.page_bytes;
        for aperture in &self.apertures {
            // Inwards: a part of a page cannot be mapped.
            let Some(first) = (aperture.first().to_u64().max(1)).checked_next_multiple_of(page) else {
                continue;
            };
            let Some(last) = last_of_pages(aperture.last().to_u64(), page) else {
                continue;
            };
            if first <= last {
                self.free.insert(first, last);
            }
        }
        for index in 0..self.reserved.len() {
            // Outwards.
            if let Some(span) = self.reserved.get(index) {
                let first = span.first().to_u64() & !(page - 1);
                self.take_out(first, span.last().to_u64() | (page - 1));
            }
        }
        let taken = core::mem::take(&mut self.taken);
        for (first, last) in &taken {
            self.take_out(*first, *last);
        }
        self.taken = taken;
    }

    /// Nothing from `first` to `last` is free any more.
    fn take_out(&mut self, first: u64, last: u64) {
        while let Some((&start, &end)) = self.free.range(..=last).next_back() {
            if end < first {
                return;
            }
            self.free.remove(&start);
            if end > last {
                self.free.insert(last + 1, end);
            }
            if start < first {
                self.free.insert(start, first - 1);
                return;
            }
        }
    }
}

/// Was there something to give back?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "giving back what was not given is a mistake of the caller"]
pub enum Freed {
    /// It is free now.
    Freed,
    /// Nothing that was given begins there.
    WasNotTaken,
}

/// The last address of the last whole page at or before `last`.
fn last_of_pages(last: u64, page: u64) -> Option<u64> {
    match last.checked_add(1) {
        None => Some(last),
        Some(end) => (end & !(page - 1)).checked_sub(1),
    }
}

/// The same addresses, sorted, neighbours joined.
pub fn joined(spans: impl Iterator<Item = Span<Iova>>) -> Vec<Span<Iova>> {
    let mut sorted: Vec<Span<Iova>> = spans.collect();
    sorted.sort_unstable_by_key(|span| (span.first(), span.last()));
    let mut joined: Vec<Span<Iova>> = Vec::with_capacity(sorted.len());
    for span in sorted {
        if let Some(last) = joined.last_mut()
            && last
                .last()
                .checked_add(1)
                .is_none_or(|after| span.first() <= after)
        {
            let end = last.last().max(span.last());
            if let Ok(longer) = Span::new(last.first(), end) {
                *last = longer;
            }
            continue;
        }
        joined.push(span);
    }
    joined
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is mapped; unmap it before its address is reserved",
            self.at
        )
    }
}

impl core::error::Error for ReserveError {}
