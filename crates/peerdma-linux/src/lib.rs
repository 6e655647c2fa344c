//! Where peerdma meets Linux.

pub mod lspci;
