//! Payload sizes: a packet that carries more than its receiver is set to take is malformed (2.2.2, 7.5.3.4).
//!
//! Only the function at the other end of a link checks. Judged is a transfer larger than every setting, so that a
//! packet carries as much as its sender is set to.

use super::facts::BusKind;
use super::walk::{Leg, Walk};
use super::{Missing, Refusal};
use crate::fact::Fact;
use crate::route::Access;
use crate::topology::NodeId;

impl Walk<'_, '_> {
    const LEAST_BYTES: u16 = 128;
    const MOST_BYTES: u16 = 4096;

    /// The packet goes over a link from `sender`'s side to `receiver`, with data in it.
    pub(super) fn check_payload(&mut self, sender: NodeId, receiver: NodeId) -> Leg<()> {
        if sender == receiver {
            return Ok(());
        }
        let sent = self.machine.function(sender).payload_bytes;
        let taken = self.machine.function(receiver).payload_bytes;
        let fits = match (sent, taken) {
            // A conventional function has no such setting.
            (Fact::Known(None), _) | (_, Fact::Known(None)) => Fact::Known(true),
            (Fact::Known(Some(sent)), Fact::Known(Some(taken))) => Fact::Known(sent <= taken),
            (Fact::Known(Some(Self::LEAST_BYTES)), _) | (_, Fact::Known(Some(Self::MOST_BYTES))) => {
                Fact::Known(true)
            }
            (Fact::Unknown(why), _) | (_, Fact::Unknown(why)) => Fact::Unknown(why),
        };
        if self.ask(fits, true, receiver, Missing::Payload, sender)? {
            Ok(())
        } else {
            self.refuse(receiver, Refusal::MalformedTlp)
        }
    }

    /// A request goes down from `bridge` to `receiver` on the bus below it.
    pub(super) fn receive_below(&mut self, bridge: NodeId, receiver: NodeId, sender: &mut NodeId) -> Leg<()> {
        match self.machine.function(bridge).below {
            BusKind::Link => {
                if self.access == Access::Write {
                    self.check_payload(*sender, receiver)?;
                }
            }
            // It packs the data anew.
            BusKind::Conventional => *sender = bridge,
            BusKind::Internal => {}
            BusKind::Unknown => return self.unknown(bridge, Missing::PortType),
        }
        Ok(())
    }
}
