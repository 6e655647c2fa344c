//! The locks where threads meet: those of the standard library, or of `loom`, which tries every order of threads in this folder's tests.

#[cfg(all(test, loom))]
pub(super) use loom::sync::{Mutex, MutexGuard, RwLock};
#[cfg(not(all(test, loom)))]
pub(super) use std::sync::{Mutex, MutexGuard, RwLock};

use std::sync::PoisonError;

/// Locks. What a panicking thread left is whole: each change is made in one step at its end.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies the value of a lock.
pub(super) fn value<T: Clone>(lock: &RwLock<T>) -> T {
    lock.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Changes the value of a lock.
pub(super) fn change<T, R>(lock: &RwLock<T>, inside: impl FnOnce(&mut T) -> R) -> R {
    inside(&mut lock.write().unwrap_or_else(PoisonError::into_inner))
}
