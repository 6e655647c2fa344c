//! What a read that fails leaves behind beside the record of who gave up on it: at its requester, at ports that poisoned
//! data comes through, and in the Status and Secondary Status registers (PCIe Base 7.5.1.1.4, 7.5.1.3.7).
//!
//! The machine calls it when a requester learns of the failure. On the links the requester of what comes from a
//! conventional bus is the bridge above that bus.

use super::bus::BusPlace;
use super::config_space::Space;
use super::layout::HeaderKind;
use super::node::Facing;
use super::record::Fault;
use super::route::{Direction, Leg, Packet, Route, Why};
use super::{Fabric, FunctionId};
use crate::tlp::{Failure, Request};

/// Which side of a bridge; any other function has the primary one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Primary,
    Secondary,
}

const SIGNALED_TARGET_ABORT: u32 = 1 << 27;
const RECEIVED_TARGET_ABORT: u32 = 1 << 28;
const RECEIVED_MASTER_ABORT: u32 = 1 << 29;
const MASTER_DATA_PARITY_ERROR: u32 = 1 << 24;
const DETECTED_PARITY_ERROR: u32 = 1 << 31;

impl Fabric {
    /// Who waits on the links for the answer to a request of this route, whose requester ID was `request`'s at first:
    /// nothing for the processor.
    pub(crate) fn waits_for(&self, route: &Route, request: &Request) -> Option<FunctionId> {
        let initiator = route.initiator?;
        // The alias may be the very ID that the function has: then only the way tells whether the bus was left.
        let is_up = |leg: &Leg| match *leg {
            Leg::RootComplex => true,
            Leg::Link { direction, .. } => direction == Direction::Up,
            Leg::Switch { .. } | Leg::ConventionalBus { .. } => false,
        };
        let has_left_bus = route.requester != request.requester || route.legs.iter().any(is_up);
        let bridge = match has_left_bus {
            true => self.alias_owner(initiator, route.requester),
            false => None,
        };
        Some(bridge.unwrap_or(initiator))
    }

    /// Records how a read failed, at `requester`, who waited for it on the links, for `initiator`.
    pub(crate) fn record_failed_read(
        &mut self,
        requester: FunctionId,
        initiator: FunctionId,
        failure: Failure,
        request: &Request,
    ) {
        let fault = |why, packet| Fault {
            why,
            packet,
            is_advisory: false,
        };
        match failure {
            // Nothing was sent.
            Failure::MasterDisabled => {}
            Failure::UnsupportedRequest => self.mark(requester, Side::Primary, RECEIVED_MASTER_ABORT),
            Failure::CompleterAbort => {
                self.mark(requester, Side::Primary, RECEIVED_TARGET_ABORT);
                if requester != initiator {
                    self.mark(requester, Side::Secondary, SIGNALED_TARGET_ABORT);
                    self.mark(initiator, Side::Primary, RECEIVED_TARGET_ABORT);
                }
            }
            Failure::CompletionTimeout => {
                self.log(requester, fault(Why::CompletionTimeout, Packet::Request), request)
            }
            Failure::Poisoned => {
                self.log(requester, fault(Why::Poisoned, Packet::Completion), request);
                self.mark_parity(requester, Side::Primary);
                if requester != initiator {
                    self.mark_parity(initiator, Side::Primary);
                }
            }
        }
    }

    /// Records a poisoned completion at the ports that receive it on its way to the requester, and send it on (PCIe Base
    /// 6.2.3.2.4.2).
    pub(crate) fn record_poison_passing(
        &mut self,
        back: &Route,
        requester: Option<FunctionId>,
        request: &Request,
    ) {
        for (index, leg) in back.legs.iter().enumerate() {
            let Leg::Link { link, direction } = *leg else {
                continue;
            };
            let (port, side) = match (direction, back.legs.get(index + 1)) {
                (Direction::Up, _) => (self.link(link).port, Side::Secondary),
                (Direction::Down, Some(Leg::Link { link, .. })) => (self.link(*link).port, Side::Primary),
                (Direction::Down, Some(Leg::Switch { upstream_port: port })) => (*port, Side::Primary),
                (Direction::Down, Some(Leg::ConventionalBus { bridge })) => (*bridge, Side::Primary),
                (Direction::Down, Some(Leg::RootComplex) | None) => continue,
            };
            // The bridge of a conventional bus is the requester: it records what it learns when it learns it.
            if Some(port) == requester {
                continue;
            }
            let fault = Fault {
                why: Why::Poisoned,
                packet: Packet::Completion,
                is_advisory: true,
            };
            self.log(port, fault, request);
            self.mark_parity(port, side);
        }
    }

    /// Who gave up on a request may have to say so in Status: it answers with Completer Abort, also where access control
    /// forbids the request (PCIe Base 6.12.4), or it found nobody on a conventional bus below.
    pub(super) fn mark_refusal(&mut self, function: FunctionId, why: Why, request: &Request) {
        let node = self.node(function);
        let is_own = request.requester == node.bdf;
        match (why, node.below) {
            (Why::CompleterAbort, _) => {
                self.mark(function, Side::Primary, SIGNALED_TARGET_ABORT);
                self.pass_target_abort_up(function, request);
            }
            // A bridge checks what comes from below.
            (Why::AcsViolation, Some(_)) if !is_own => {
                self.mark(function, Side::Secondary, SIGNALED_TARGET_ABORT);
            }
            (Why::AcsViolation, _) => self.mark(function, Side::Primary, SIGNALED_TARGET_ABORT),
            (Why::UnsupportedRequest, Some((Facing::Conventional, _))) => {
                let requester = self.find(request.requester);
                if !requester.is_some_and(|requester| self.is_wired_below(requester, function)) {
                    self.mark(function, Side::Secondary, RECEIVED_MASTER_ABORT);
                }
            }
            _ => {}
        }
    }

    /// A target abort on a conventional bus reaches the bridge above, which aborts in its turn what came from above.
    fn pass_target_abort_up(&mut self, completer: FunctionId, request: &Request) {
        let requester = self.find(request.requester);
        let mut at = completer;
        while let BusPlace::Below {
            bridge,
            facing: Facing::Conventional,
        } = self.bus(self.node(at).bus).place
        {
            if requester.is_some_and(|requester| self.is_wired_below(requester, bridge)) {
                return;
            }
            self.mark(bridge, Side::Secondary, RECEIVED_TARGET_ABORT);
            self.mark(bridge, Side::Primary, SIGNALED_TARGET_ABORT);
            at = bridge;
        }
    }

    fn is_wired_below(&self, function: FunctionId, bridge: FunctionId) -> bool {
        let mut at = function;
        while let BusPlace::Below { bridge: above, .. } = self.bus(self.node(at).bus).place {
            if above == bridge {
                return true;
            }
            at = above;
        }
        false
    }

    fn mark(&mut self, function: FunctionId, side: Side, bits: u32) {
        if let Some(space) = self.spaces.get_mut(function.index()) {
            space.set_status(side, bits);
        }
    }

    fn mark_parity(&mut self, function: FunctionId, side: Side) {
        if let Some(space) = self.spaces.get_mut(function.index()) {
            let master = match space.responds_to_parity(side) {
                true => MASTER_DATA_PARITY_ERROR,
                false => 0,
            };
            space.set_status(side, DETECTED_PARITY_ERROR | master);
        }
    }
}

impl Space {
    fn set_status(&mut self, side: Side, bits: u32) {
        let at = match (side, self.layout.header) {
            (Side::Primary, _) => 0x04,
            (Side::Secondary, HeaderKind::Bridge) => 0x1c,
            // CardBus has it elsewhere; such bridges forward nothing here.
            (Side::Secondary, HeaderKind::Function | HeaderKind::CardBus) => return,
        };
        self.put(at, self.get(at) | bits);
    }

    /// Parity Error Response of Command or of Bridge Control.
    fn responds_to_parity(&self, side: Side) -> bool {
        match side {
            Side::Primary => self.get(0x04) & 0x40 != 0,
            Side::Secondary => self.get(0x3c) & 0x1_0000 != 0,
        }
    }
}
