//! The machine as it is now, as an ordinary snapshot.

use super::Fabric;
use peerdma::addr::{Address, BusAddr, Span};
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{Config, ConfigView, Extent};
use peerdma::snapshot::{Function, Snapshot};

impl Fabric {
    /// The machine as it is now: configuration spaces read anew, beside what the blueprint says of the host. Of functions
    /// that do not answer nothing is known.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.base.clone();
        let mut image = [0; ConfigView::MAX_BYTES];
        snapshot.edit(|function| {
            let Some(id) = self.find(function.bdf) else {
                return;
            };
            function.raw_config = None;
            if !self.answers(id) {
                function.config = Config::unknown(Unread::Unreadable);
                return;
            }
            let bytes = self.spaces[id.index()].copy_to(&mut image);
            let view = ConfigView::new(bytes, Extent::Whole);
            let config = Config::parse(view, &mut Vec::new());
            if config.bars != function.config.bars || config.rebar != function.config.rebar {
                self.place_resources(function, id);
            }
            function.config = config;
        });
        snapshot
    }

    /// Where the operating system would see BARs that have moved.
    fn place_resources(&self, function: &mut Function, id: super::FunctionId) {
        let root = &self.host.roots[self.root_of(id) as usize];
        let Fact::Known(resources) = &mut function.os.resources else {
            return;
        };
        for resource in resources {
            let Some((address, size_bytes)) = self.spaces[id.index()].memory_bar(resource.index) else {
                continue;
            };
            resource.size_bytes = Fact::Known(size_bytes);
            let first = BusAddr::from_u64(address);
            let phys = root.windows.iter().find_map(|window| window.phys_address(first));
            let last = phys.and_then(|phys| phys.checked_add(size_bytes - 1));
            resource.span = match (address, phys, last) {
                (1.., Some(phys), Some(last)) => match Span::new(phys, last) {
                    Ok(span) => Fact::Known(span),
                    Err(_) => Fact::NOT_IN_SOURCE,
                },
                _ => Fact::NOT_IN_SOURCE,
            };
        }
    }
}
