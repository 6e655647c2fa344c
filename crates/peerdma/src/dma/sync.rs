//! The lock that an embedder brings for what several queues share. Never taken on the way of a request whose memory is
//! registered.

use crate::iommu::Translations;
use alloc::boxed::Box;
use core::cell::RefCell;

/// How an address space is shared.
pub trait Locks {
    /// A lock around a value.
    type Lock<T>;
    /// The translations, as threads must be able to share them.
    type Translations: Translations + ?Sized;

    /// A value, locked.
    fn lock<T>(value: T) -> Self::Lock<T>;

    /// Calls `inside` while nobody else has the value. Never called from within `inside`.
    fn with<T, R>(lock: &Self::Lock<T>, inside: impl FnOnce(&mut T) -> R) -> R;
}

/// One thread: no lock at all.
#[derive(Debug, Clone, Copy)]
pub struct SingleThread;

impl Locks for SingleThread {
    type Lock<T> = RefCell<T>;
    type Translations = dyn Translations;

    fn lock<T>(value: T) -> RefCell<T> {
        RefCell::new(value)
    }

    fn with<T, R>(lock: &RefCell<T>, inside: impl FnOnce(&mut T) -> R) -> R {
        inside(&mut lock.borrow_mut())
    }
}

/// The mutex of the standard library.
#[cfg(feature = "std")]
#[derive(Debug, Clone, Copy)]
pub struct Threads;

#[cfg(feature = "std")]
impl Locks for Threads {
    type Lock<T> = std::sync::Mutex<T>;
    type Translations = dyn Translations + Send;

    fn lock<T>(value: T) -> std::sync::Mutex<T> {
        std::sync::Mutex::new(value)
    }

    fn with<T, R>(lock: &std::sync::Mutex<T>, inside: impl FnOnce(&mut T) -> R) -> R {
        // What a panicking thread left is whole: every change is made in one step at its end.
        inside(&mut lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// The translations of an address space, owned.
pub(super) type Owned<L> = Box<<L as Locks>::Translations>;
