//! Address Translation Services (PCIe Base 10.5.1).

/// The ATS extended capability of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Ats {
    /// May the function issue translated requests now?
    pub enabled: bool,
}
