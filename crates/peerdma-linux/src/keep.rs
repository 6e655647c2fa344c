//! Whether a reader hands on the raw bytes of configuration space beside their meaning.

/// What becomes of the bytes of configuration space once they are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepConfig {
    /// They stay in `Function::raw_config`: for `peerdma snapshot`, 4 KiB a function.
    Keep,
    /// They are forgotten: for every command that only asks.
    Drop,
}
