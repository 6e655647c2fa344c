//! Requests that tests put on the wire: from any function, with any header.

use super::Machine;
use super::queue::ItemKind;
use crate::device::{Direction, Outcome, Purpose, Transfer, TransferId};
use crate::memory::Place;
use crate::time::Time;
use crate::tlp::{Access, AddressType, Ordering};
use peerdma::addr::Bdf;

/// A transfer that a function is made to do, whatever its model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestPlan {
    /// Who sends it.
    pub sender: Bdf,
    /// Whose requester ID it carries; nothing for the sender's own.
    pub requester: Option<Bdf>,
    /// Read or write.
    pub access: Access,
    /// The first address.
    pub address: u64,
    /// Where the data is, or goes to.
    pub local: Place,
    /// How many bytes.
    pub len_bytes: u64,
    /// The kind of address.
    pub address_type: AddressType,
    /// The relaxed-ordering attribute.
    pub ordering: Ordering,
    /// What it is counted as.
    pub purpose: Purpose,
}

impl RequestPlan {
    /// A transfer of user data between an address and a place, untranslated, in order.
    pub const fn new(sender: Bdf, access: Access, address: u64, local: Place, len_bytes: u64) -> Self {
        Self {
            sender,
            requester: None,
            access,
            address,
            local,
            len_bytes,
            address_type: AddressType::Untranslated,
            ordering: Ordering::Strict,
            purpose: Purpose::Payload,
        }
    }
}

impl Machine {
    /// Lets a function send a transfer, behind what it has to send already; nothing where there is no such function.
    pub fn request(&mut self, plan: &RequestPlan) -> Option<TransferId> {
        let who = self.core.fabric.find(plan.sender)?.index();
        let transfer = Transfer {
            direction: match plan.access {
                Access::Read => Direction::In,
                Access::Write => Direction::Out,
            },
            address: plan.address,
            local: plan.local,
            len_bytes: plan.len_bytes,
            address_type: plan.address_type,
            ordering: plan.ordering,
            purpose: plan.purpose,
        };
        let kind = ItemKind::Probe(plan.requester.unwrap_or(plan.sender));
        Some(self.core.start(who, transfer, kind))
    }

    /// How and when a transfer of [`Self::request`] ended, once it has; told once.
    pub fn take_outcome(&mut self, transfer: TransferId) -> Option<(Time, Outcome)> {
        self.core.outcomes.remove(&transfer)
    }
}
