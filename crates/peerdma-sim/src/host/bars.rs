//! The memory BARs of functions, as their registers say now.

use super::Computer;
use crate::device::Region;
use crate::machine::Machine;
use crate::memory::Place;
use peerdma::addr::Bdf;

/// Memory that begins with a BAR.
#[derive(Debug, Clone, Copy)]
pub(super) struct BarBank {
    pub(super) bdf: Bdf,
    pub(super) bar: u8,
    pub(super) place: Place,
    pub(super) len_bytes: u64,
}

impl Computer {
    /// First and last bus address of a memory BAR that has an address.
    pub(super) fn bus_range(&self, bdf: Bdf, bar: u8) -> Option<(u64, u64)> {
        let machine = self.shared.machine.borrow();
        let fabric = machine.fabric();
        let (first, size_bytes) = fabric.bar(fabric.find(bdf)?, bar)?;
        let last = first.checked_add(size_bytes.checked_sub(1)?)?;
        (first != 0).then_some((first, last))
    }

    /// Memory at the start of a BAR.
    pub(super) fn bar_bank(&self, bdf: Bdf, bar: u8) -> Option<BarBank> {
        let mut machine = self.shared.machine.borrow_mut();
        let (_, size_bytes) = machine.fabric().bar(machine.fabric().find(bdf)?, bar)?;
        bar_bank(&mut machine, bdf, bar, size_bytes)
    }

    /// All BARs of devices that begin with memory: of bridges nobody uses it.
    pub(super) fn bar_banks(&self) -> Vec<BarBank> {
        let mut machine = self.shared.machine.borrow_mut();
        let ids: Vec<_> = machine.fabric().functions().collect();
        let mut banks = Vec::new();
        for id in ids {
            let view = machine.fabric().function(id);
            if view.is_bridge {
                continue;
            }
            for bar in 0..6 {
                if let Some((_, size_bytes)) = machine.fabric().bar(id, bar) {
                    banks.extend(bar_bank(&mut machine, view.bdf, bar, size_bytes));
                }
            }
        }
        banks
    }
}

fn bar_bank(machine: &mut Machine, bdf: Bdf, bar: u8, size_bytes: u64) -> Option<BarBank> {
    match machine.with_device(bdf, |device, _| device.decode(bar, 0))? {
        Region::Memory { place, len_bytes } => Some(BarBank {
            bdf,
            bar,
            place,
            len_bytes: len_bytes.min(size_bytes),
        }),
        Region::Registers | Region::Nothing => None,
    }
}
