//! What makes a simulated machine what it is, beside what every machine has.

/// What the specification leaves to the implementation, and what tests want to vary.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Nature {
    /// Decides between all orders of arrival that are possible.
    pub seed: u64,
    /// How much later than necessary a TLP may arrive, drawn for each path apart, in picoseconds.
    pub jitter_ps: u64,
    /// From entering a switch to leaving it, in picoseconds.
    pub switch_ps: u64,
    /// From entering the root complex to leaving it, in picoseconds.
    pub root_complex_ps: u64,
    /// How long a requester waits for completions, in picoseconds.
    pub completion_timeout_ps: u64,
    /// What functions of one device that have no ACS do with requests for each other.
    pub siblings: Siblings,
    /// Where completions of a read may be cut, in bytes: 64 or 128 (read completion boundary).
    pub read_completion_boundary_bytes: u16,
}

impl Default for Nature {
    fn default() -> Self {
        Self {
            seed: 0,
            jitter_ps: 0,
            switch_ps: 110_000,
            root_complex_ps: 250_000,
            completion_timeout_ps: 50_000_000_000,
            siblings: Siblings::Direct,
            read_completion_boundary_bytes: 64,
        }
    }
}

/// What functions of one device that have no ACS do with requests for each other: the device's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Siblings {
    /// The requests stay inside.
    Direct,
    /// They go out on the link.
    Upstream,
}
