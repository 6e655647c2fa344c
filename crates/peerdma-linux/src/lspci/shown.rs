//! A piece of a capability, as far as a text shows it.

use peerdma::fact::{Fact, Unread};

/// What a text shows of one capability.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Shown<T> {
    /// Nothing.
    #[default]
    Not,
    /// Its name without all that makes it up, as `-v` prints it.
    Named,
    /// All of it.
    Read(T),
    /// Something that cannot be.
    Odd,
}

impl<T> Shown<T> {
    /// The fact, where `absence` is what silence proves.
    pub(super) fn fact(self, absence: Fact<()>) -> Fact<Option<T>> {
        match self {
            Shown::Not => absence.map(|()| None),
            Shown::Named => Fact::NOT_IN_SOURCE,
            Shown::Read(value) => Fact::Known(Some(value)),
            Shown::Odd => Fact::Unknown(Unread::Contradictory),
        }
    }

    /// Notes that the capability is there. One that occurs twice counts where it occurs first.
    pub(super) fn name(&mut self) {
        if matches!(self, Shown::Not) {
            *self = Shown::Named;
        }
    }

    /// Takes the value; what was read before stays. Nothing where it makes no sense.
    pub(super) fn read(&mut self, value: Option<T>) -> Option<()> {
        if !matches!(self, Shown::Not | Shown::Named) {
            return Some(());
        }
        let taken = value.is_some();
        *self = value.map_or(Shown::Odd, Shown::Read);
        taken.then_some(())
    }

    /// Both together: read where both were read, odd where one is.
    pub(super) fn with<U>(self, other: Shown<U>) -> Shown<(T, U)> {
        match (self, other) {
            (Shown::Read(first), Shown::Read(second)) => Shown::Read((first, second)),
            (Shown::Odd, _) | (_, Shown::Odd) => Shown::Odd,
            (Shown::Not, Shown::Not) => Shown::Not,
            _ => Shown::Named,
        }
    }

    /// This; where nothing was read, at least the name.
    pub(super) fn named(self, name: Shown<()>) -> Self {
        match (self, name) {
            (Shown::Not, Shown::Named) => Shown::Named,
            (this, _) => this,
        }
    }

    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> Shown<U> {
        match self {
            Shown::Not => Shown::Not,
            Shown::Named => Shown::Named,
            Shown::Read(value) => Shown::Read(f(value)),
            Shown::Odd => Shown::Odd,
        }
    }
}
