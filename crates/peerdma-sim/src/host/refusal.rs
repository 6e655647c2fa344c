//! Steps that are made to fail, one by one: beside what a [`FaultPlan`](crate::machine::FaultPlan) does to the machine itself.

/// What a host does for drivers and may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// [`Host::allocate`](peerdma::device::Host::allocate): no memory.
    Allocation,
    /// [`Translations::map`](peerdma::iommu::Translations::map): no room.
    Map,
    /// [`Translations::unmap`](peerdma::iommu::Translations::unmap): the system refuses.
    Unmap,
    /// [`Function::reset`](peerdma::device::Function::reset): it cannot be reset.
    Reset,
}

/// How often each step was taken, and when it is refused.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    counts: [u64; 4],
    refused: Vec<(Step, u64)>,
}

impl Refusals {
    /// The step is taken; may it be?
    pub(super) fn allow(&mut self, step: Step) -> bool {
        let count = &mut self.counts[step as usize];
        *count += 1;
        !self.refused.contains(&(step, *count))
    }

    /// Refuses the `nth` from now on, from 1.
    pub(super) fn refuse(&mut self, step: Step, nth: u64) {
        let at = self.counts[step as usize].saturating_add(nth);
        self.refused.push((step, at));
    }

    pub(super) fn count(&self, step: Step) -> u64 {
        self.counts[step as usize]
    }
}
