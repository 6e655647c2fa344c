//! IOMMU groups as Linux forms them (`pci_device_group`, drivers/iommu/iommu.c, and `pci_acs_enabled`, drivers/pci/pci.c,
//! as of 6.12; quirks of single devices are left out).
//!
//! A function shares the group of the bridge above it unless every port from there to the root isolates; what sends under a
//! bridge's name shares that bridge's group; functions of one device that do not isolate share one. An upstream port that is
//! alone in its device counts as isolating whatever the ports below it do, as in Linux.

use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::pci::{AcsFlags, PortType};
use peerdma::snapshot::{Function, IommuGroup, IommuMode};
use std::collections::HashMap;

/// Source validation, request redirect, completion redirect, upstream forwarding: what Linux asks for.
const ISOLATION: AcsFlags = AcsFlags::SOURCE_VALIDATION
    .union(AcsFlags::REQUEST_REDIRECT)
    .union(AcsFlags::COMPLETION_REDIRECT)
    .union(AcsFlags::UPSTREAM_FORWARDING);

/// Fills in the groups of `functions` that have none known; they are in the order of their addresses and know what is
/// above them.
pub(crate) fn assign(functions: &mut [Function], mode: IommuMode) {
    let domain_type = match mode {
        IommuMode::Off => {
            functions
                .iter_mut()
                .for_each(|function| function.os.iommu_group = Fact::Known(None));
            return;
        }
        IommuMode::Passthrough => "identity",
        IommuMode::Translating => "DMA-FQ",
    };
    let numbers = Grouping::new(functions).numbers();
    for (function, number) in functions.iter_mut().zip(numbers) {
        function.os.iommu_group = Fact::Known(Some(IommuGroup {
            number,
            domain_type: Fact::Known(domain_type.into()),
        }));
    }
}

struct Grouping<'f> {
    functions: &'f [Function],
    places: HashMap<Bdf, usize>,
}

impl<'f> Grouping<'f> {
    /// No bridge is nested deeper: each takes a bus number.
    const MOST_LEVELS: usize = 256;

    fn new(functions: &'f [Function]) -> Self {
        let places = functions
            .iter()
            .enumerate()
            .map(|(index, function)| (function.bdf, index));
        Self {
            functions,
            places: places.collect(),
        }
    }

    fn numbers(&self) -> Vec<u32> {
        let mut numbers: HashMap<usize, u32> = HashMap::new();
        let leaders = (0..self.functions.len()).map(|function| self.leader(function));
        leaders
            .map(|leader| {
                let next = numbers.len() as u32;
                *numbers.entry(leader).or_insert(next)
            })
            .collect()
    }

    /// The function whose group it shares: the topmost that it cannot be told apart from.
    fn leader(&self, function: usize) -> usize {
        let mut at = function;
        for _ in 0..2 * Self::MOST_LEVELS {
            let aliased = self
                .bridges_above(at)
                .filter(|&bridge| self.takes_over(bridge))
                .last();
            let from = aliased.unwrap_or(at);
            let shared = self
                .above(from)
                .filter(|&bridge| !self.isolates_up_to_the_root(bridge));
            let next = shared.unwrap_or_else(|| self.first_of_device(from));
            if next == at {
                break;
            }
            at = next;
        }
        at
    }

    fn above(&self, function: usize) -> Option<usize> {
        let bridge = self.functions[function].upstream.known().flatten()?;
        self.places.get(&bridge).copied()
    }

    fn bridges_above(&self, function: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(self.above(function), |&bridge| self.above(bridge)).take(Self::MOST_LEVELS)
    }

    /// Does a bridge send what comes from below under a name of its own?
    fn takes_over(&self, bridge: usize) -> bool {
        matches!(
            self.port_type(bridge),
            None | Some(PortType::TO_CONVENTIONAL | PortType::FROM_CONVENTIONAL)
        )
    }

    fn isolates_up_to_the_root(&self, bridge: usize) -> bool {
        self.isolates(bridge) && self.bridges_above(bridge).all(|above| self.isolates(above))
    }

    /// The first function of the same device that does not isolate; itself, if it does or is the only one.
    fn first_of_device(&self, function: usize) -> usize {
        if self.isolates(function) {
            return function;
        }
        let mut device = self.device(function);
        device.find(|&other| !self.isolates(other)).unwrap_or(function)
    }

    fn isolates(&self, function: usize) -> bool {
        match self.port_type(function) {
            None
            | Some(PortType::TO_CONVENTIONAL | PortType::FROM_CONVENTIONAL | PortType::EVENT_COLLECTOR) => {
                false
            }
            Some(PortType::ROOT_PORT | PortType::DOWNSTREAM) => self.has_isolation(function),
            Some(_) => self.device(function).count() < 2 || self.has_isolation(function),
        }
    }

    /// What a function is not capable of counts as on.
    fn has_isolation(&self, function: usize) -> bool {
        match &self.functions[function].config.acs {
            Fact::Known(Some(acs)) => acs.control.contains(ISOLATION.intersection(acs.capable)),
            _ => false,
        }
    }

    fn port_type(&self, function: usize) -> Option<PortType> {
        self.functions[function].port_type().known().flatten()
    }

    /// All functions of the same device, in order.
    fn device(&self, function: usize) -> impl Iterator<Item = usize> + '_ {
        let bdf = self.functions[function].bdf;
        let is_same = move |other: Bdf| {
            (other.domain(), other.bus(), other.device()) == (bdf.domain(), bdf.bus(), bdf.device())
        };
        let before = self.functions[..function]
            .iter()
            .rev()
            .take_while(|other| is_same(other.bdf))
            .count();
        let rest = self.functions[function..]
            .iter()
            .take_while(|other| is_same(other.bdf))
            .count();
        function - before..function + rest
    }
}
