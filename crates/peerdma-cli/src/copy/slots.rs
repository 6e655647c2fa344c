//! The slots of a plan, each mapped for both ends, so long as a copy moves its data through them.

use crate::error::Problem;
use peerdma::block::Volume;
use peerdma::dma::{Mapper, SingleThread};
use peerdma::engine::{SlotError, SlotMappings};
use peerdma::plan::CopyPlan;

/// Maps every slot for both ends; what was mapped before an error is in `mapped` too.
///
/// # Errors
/// [`SlotError`] of the first that cannot be.
pub(super) fn map_slots(
    plan: &CopyPlan,
    mappers: &mut [Mapper<SingleThread>; 2],
    volumes: [&dyn Volume; 2],
    mapped: &mut Vec<SlotMappings>,
) -> Result<(), SlotError> {
    let [first, second] = mappers;
    let [source, destination] = volumes.map(|volume| volume.limits().constraints);
    for index in 0..plan.layout.slots {
        let slot = SlotMappings::new(
            &plan.layout,
            index,
            (&mut *first, &source),
            (&mut *second, &destination),
        );
        mapped.push(slot?);
    }
    Ok(())
}

/// Unmaps every slot, whatever becomes of one.
///
/// # Errors
/// A [`Problem`] for the last that could not be unmapped.
pub(super) fn unmap_slots(
    mappers: &mut [Mapper<SingleThread>; 2],
    slots: Vec<SlotMappings>,
) -> Result<(), Problem> {
    let [first, second] = mappers;
    let mut refused = None;
    for slot in slots {
        if let Err(mut why) = slot.unmap(first, second) {
            refused = why.pop().or(refused);
        }
    }
    match refused {
        None => Ok(()),
        Some(error) => Err(Problem::new(
            "memory could not be unmapped",
            error,
            "this is a defect; report it",
        )),
    }
}
