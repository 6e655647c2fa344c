//! From addresses of functions to positions, in constant time: every request asks.

use super::FunctionId;
use peerdma::addr::Bdf;

/// Positions of functions by address.
#[derive(Debug)]
pub(super) struct Index {
    /// Domains in ascending order, each with where the functions of its buses start.
    domains: Vec<(u32, Box<[u32; 257]>)>,
    /// Device and function numbers, in the snapshot's order.
    devfns: Vec<u8>,
}

impl Index {
    /// Of functions in ascending order.
    pub(super) fn new(functions: impl Iterator<Item = Bdf>) -> Self {
        let mut domains: Vec<(u32, Box<[u32; 257]>)> = Vec::new();
        let mut devfns = Vec::new();
        for bdf in functions {
            let position = devfns.len() as u32;
            if domains.last().is_none_or(|(domain, _)| *domain != bdf.domain()) {
                domains.push((bdf.domain(), Box::new([position; 257])));
            }
            devfns.push(bdf.devfn());
            if let Some((_, starts)) = domains.last_mut() {
                // All later buses start behind it.
                starts[usize::from(bdf.bus()) + 1..].fill(position + 1);
            }
        }
        Self { domains, devfns }
    }

    /// The function at `bdf`.
    pub(super) fn find(&self, bdf: Bdf) -> Option<FunctionId> {
        let starts = match &self.domains[..] {
            [(domain, starts)] if *domain == bdf.domain() => starts,
            domains => {
                let at = domains.binary_search_by_key(&bdf.domain(), |(domain, _)| *domain);
                &domains.get(at.ok()?)?.1
            }
        };
        let bus = usize::from(bdf.bus());
        let start = starts[bus] as usize;
        let devfns = self.devfns.get(start..starts[bus + 1] as usize)?;
        let within = match devfns {
            [first, ..] if *first == bdf.devfn() => 0,
            _ => devfns.binary_search(&bdf.devfn()).ok()?,
        };
        Some(FunctionId((start + within) as u32))
    }
}
