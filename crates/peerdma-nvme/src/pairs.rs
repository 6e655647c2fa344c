//! The numbers of I/O queue pairs: which are taken.

use alloc::vec::Vec;

/// The numbers of I/O queue pairs.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    used: Vec<Use>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Free,
    Taken,
}

impl Pairs {
    /// How many there are.
    pub(crate) fn count(&self) -> u16 {
        self.used.len() as u16
    }

    /// The number of one that nobody has, from 1 on.
    pub(crate) fn take(&mut self) -> Option<u16> {
        let index = self.used.iter().position(|used| *used == Use::Free)?;
        *self.used.get_mut(index)? = Use::Taken;
        Some(index as u16 + 1)
    }

    /// Gives a number back.
    pub(crate) fn give(&mut self, id: u16) {
        if let Some(used) = self.used.get_mut(usize::from(id).wrapping_sub(1)) {
            *used = Use::Free;
        }
    }

    /// There are so many; what is taken stays taken.
    pub(crate) fn grow(&mut self, count: u16) {
        if usize::from(count) > self.used.len() {
            self.used.resize(count.into(), Use::Free);
        }
    }
}
