//! A promise that was not kept.

/// A promise that was not kept.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    /// Which, in a few words.
    pub(super) promise: &'static str,
    /// What was seen.
    pub(super) seen: String,
}

/// A promise that was kept.
pub(super) type Kept<T = ()> = Result<T, Broken>;

pub(super) fn broken(promise: &'static str, seen: impl Into<String>) -> Broken {
    let seen = seen.into();
    Broken { promise, seen }
}
