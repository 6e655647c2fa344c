//! Chance that is the same each time: a number for a seed and two numbers that say what it is for.

/// A number between 0 and `u64::MAX`, each as likely. The mixing steps are those of SplitMix64.
pub(super) const fn throw(seed: u64, what: u64, when: u64) -> u64 {
    let mut mixed = seed
        .wrapping_add(what.wrapping_mul(0xd1b5_4a32_d192_ed03))
        .wrapping_add(when.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
