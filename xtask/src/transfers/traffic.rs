//! Devices issue requests, and time goes on.

use super::world::{Actor, World};
use peerdma::dma::Initiator;
use peerdma::route::Access;
use peerdma_sim::device::{Outcome, TransferId};
use peerdma_sim::machine::RequestPlan;
use peerdma_sim::memory::Place;
use peerdma_sim::tlp;

/// What a transfer may take before it is given up: far more than any takes.
const MOST_STEPS: u32 = 1_000_000;

impl World {
    /// Lets a function issue requests; one for each stretch that it has a translation for.
    pub(super) fn request(
        &self,
        actor: &Actor,
        access: Access,
        address: u64,
        local: Place,
        len_bytes: u64,
    ) -> Result<Vec<TransferId>, &'static str> {
        let Initiator { bdf, class, .. } = actor.initiator;
        let mut plan = RequestPlan::new(
            bdf,
            match access {
                Access::Read => tlp::Access::Read,
                Access::Write => tlp::Access::Write,
            },
            address,
            local,
            len_bytes,
        );
        if class.is_relaxed() {
            plan.ordering = tlp::Ordering::Relaxed;
        }
        self.computer.with(|machine| {
            let mut started = Vec::new();
            if !class.is_translated() {
                started.extend(machine.request(&plan));
                return Ok(started);
            }
            plan.address_type = tlp::AddressType::Translated;
            let mut done = 0;
            while done < len_bytes {
                let fabric = machine.fabric();
                let found = fabric
                    .find(bdf)
                    .and_then(|id| fabric.translate_for_device(id, address + done));
                let found = found.filter(|found| match access {
                    Access::Read => found.may_read,
                    Access::Write => found.may_write,
                });
                let found = found.ok_or("the translation agent has no translation")?;
                plan.address = found.address;
                plan.len_bytes = found.len_bytes.min(len_bytes - done);
                plan.local.offset = local.offset + done;
                done += plan.len_bytes;
                started.extend(machine.request(&plan));
            }
            Ok(started)
        })
    }

    /// A device moves bytes between its own memory, by its own name for it, and a place inside.
    pub(super) fn move_own(
        &self,
        actor: &Actor,
        access: Access,
        addr: u64,
        local: Place,
        len_bytes: u64,
    ) -> bool {
        let place = actor.own.and_then(|own| {
            let into = addr.checked_sub(own.base)?;
            (into + len_bytes <= own.len_bytes).then_some(())?;
            self.bar_place(actor.initiator.bdf, own.bar, own.offset_bytes + into)
        });
        let Some(place) = place else { return false };
        let (from, to) = match access {
            Access::Read => (place, local),
            Access::Write => (local, place),
        };
        self.computer
            .with(|machine| machine.banks().copy(from, to, len_bytes).is_ok())
    }

    /// Waits for the ends of transfers, in their order; nothing for what does not end.
    pub(super) fn wait(&self, transfers: &[TransferId]) -> Vec<Option<Outcome>> {
        let mut outcomes = vec![None; transfers.len()];
        self.computer.with(|machine| {
            for _ in 0..MOST_STEPS {
                for (outcome, transfer) in outcomes.iter_mut().zip(transfers) {
                    if outcome.is_none() {
                        *outcome = machine.take_outcome(*transfer).map(|(_, outcome)| outcome);
                    }
                }
                if outcomes.iter().all(Option::is_some) || !machine.step_or_land() {
                    return;
                }
            }
        });
        outcomes
    }

    /// Lets some things happen.
    pub(super) fn go_on(&self, steps: u32) {
        self.computer.with(|machine| {
            for _ in 0..steps {
                machine.step_or_land();
            }
        });
    }

    /// Lets everything happen that will.
    pub(super) fn settle(&self) {
        self.computer.with(|machine| {
            for _ in 0..MOST_STEPS {
                if !machine.step_or_land() {
                    return;
                }
            }
        });
    }
}
