//! Payload sizes: a packet that carries more than its receiver is set to take is malformed (2.2.2, 7.5.3.4).
//!
//! Only the function at the other end of a link checks. Judged is a transfer larger than every setting, so that a
//! packet carries as much as its sender is set to, and completions as much as their request may ask for at most, but
//! no more than the BAR holds.

use super::facts::BusKind;
use super::walk::{Leg, Walk};
use super::{Missing, Refusal};
use crate::fact::Fact;
use crate::route::Access;
use crate::topology::NodeId;

impl Walk<'_, '_> {
    /// What every function can take; also what a conventional one is taken to send.
    const LEAST_BYTES: u16 = 128;
    const MOST_BYTES: u16 = 4096;

    /// A write goes over a link from `sender`'s side to `receiver`.
    pub(super) fn check_payload(&mut self, sender: NodeId, receiver: NodeId) -> Leg<()> {
        let sent = self.machine.function(sender).payload_bytes;
        self.check_load([sent, sent], sender, receiver)
    }

    /// A completion goes over a link from `completer`'s side to `receiver`.
    pub(super) fn check_completion(
        &mut self,
        completer: NodeId,
        requester: NodeId,
        receiver: NodeId,
    ) -> Leg<()> {
        let sent = self.machine.function(completer).payload_bytes;
        let asked = self.machine.function(requester).read_bytes;
        self.check_load([sent, asked], completer, receiver)
    }

    fn check_load(&mut self, bounds: [Fact<Option<u16>>; 2], sender: NodeId, receiver: NodeId) -> Leg<()> {
        if sender == receiver {
            return Ok(());
        }
        let bar_bytes = self
            .size_bytes
            .and_then(|bytes| u16::try_from(bytes).ok())
            .unwrap_or(Self::MOST_BYTES);
        let mut most = bar_bytes;
        let mut unknown = None;
        for bound in bounds {
            match bound {
                Fact::Known(bytes) => most = most.min(bytes.unwrap_or(Self::LEAST_BYTES)),
                Fact::Unknown(why) => unknown = Some(why),
            }
        }
        let fits = match (self.machine.function(receiver).payload_bytes, unknown) {
            // A conventional function has no such setting.
            (Fact::Known(None), _) => Fact::Known(true),
            (Fact::Known(Some(taken)), _) if most <= taken => Fact::Known(true),
            (Fact::Unknown(_), _) if most <= Self::LEAST_BYTES => Fact::Known(true),
            (Fact::Known(Some(_)), None) => Fact::Known(false),
            (Fact::Unknown(why), _) | (_, Some(why)) => Fact::Unknown(why),
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
