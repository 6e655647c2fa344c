//! Where peerdma meets Linux.
