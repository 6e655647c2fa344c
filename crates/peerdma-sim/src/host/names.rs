//! What people call devices and namespaces.

use super::Computer;
use peerdma::addr::Bdf;

/// What a name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// The function.
    pub bdf: Bdf,
    /// The number of the namespace, where the name has one (`nvme0n1`).
    pub namespace: Option<u32>,
}

impl Computer {
    /// The function of an address, of a name (`gpu0`, `nvme0`), or of a namespace of an NVMe controller (`nvme0n1`); nothing where
    /// there is none, or more than one.
    pub fn find(&self, name: &str) -> Option<Named> {
        let whole = name
            .parse()
            .ok()
            .filter(|bdf| self.shared.topology.find(*bdf).is_some());
        if let Some(bdf) = whole.or_else(|| self.named(name)) {
            return Some(Named { bdf, namespace: None });
        }
        let (controller, number) = name.rsplit_once('n')?;
        let is_number = !number.starts_with(['0', '+']) && !number.is_empty();
        let number = number.parse().ok().filter(|_| is_number)?;
        let bdf = self.named(controller)?;
        let namespaces = self.namespaces(bdf);
        namespaces.iter().find(|namespace| namespace.number == number)?;
        Some(Named {
            bdf,
            namespace: Some(number),
        })
    }

    /// What people call a function: its first name, or its address.
    pub fn call(&self, bdf: Bdf) -> String {
        let topology = &self.shared.topology;
        let names = topology.find(bdf).map(|node| &topology.function(node).os.names);
        let name = names.and_then(|names| names.first());
        name.cloned().unwrap_or_else(|| bdf.to_string())
    }

    fn named(&self, name: &str) -> Option<Bdf> {
        let functions = self.shared.topology.snapshot().functions();
        let mut found = functions
            .iter()
            .filter(|function| function.os.names.iter().any(|known| known == name));
        match (found.next(), found.next()) {
            (Some(function), None) => Some(function.bdf),
            _ => None,
        }
    }
}
