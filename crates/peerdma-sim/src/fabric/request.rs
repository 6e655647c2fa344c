//! A memory request on its way up, bus by bus, until somebody takes it, or the root complex does.
//!
//! It holds no state of its own beyond one walk, changes nothing in the fabric, and allocates nothing once the vectors of
//! the [`Route`] are warm.

use super::acs::Turn;
use super::bus::{BusPlace, Target};
use super::decode::{Found, bytes_to};
use super::node::{Facing, Node};
use super::note::{Decision, Note};
use super::route::{Direction, End, Ended, Explain, Leg, Loss, Packet, Route, Where, Why};
use super::{BusId, Fabric, FunctionId, LinkId};
use crate::tlp::{Access, AddressType, Request};
use peerdma::addr::Bdf;
use std::ops::ControlFlow;

/// What a conventional function on a link, which no such machine has, sends at most.
const SMALLEST_PAYLOAD_BYTES: u32 = 128;

/// A request under way.
pub(super) struct RequestWalk<'a> {
    pub(super) fabric: &'a Fabric,
    pub(super) request: &'a Request,
    pub(super) route: &'a mut Route,
    /// The address as it is now.
    pub(super) address: u64,
    /// The payload on the wire; 0 for a read.
    pub(super) payload_bytes: u32,
    /// A bridge from a conventional bus has replaced the requester ID.
    pub(super) is_aliased: bool,
}

/// A request that `function` puts on the bus that it sits on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) function: FunctionId,
    /// Did it come in from below through this port? Its ACS then decides whether it may turn around.
    pub(super) ingress: bool,
    /// ACS sends it upward, whoever claims it.
    pub(super) redirected: bool,
}

/// How one bus ends for a request.
type Hop = ControlFlow<Ended, Arrival>;

impl Fabric {
    /// The way of a request from the function that its requester ID names.
    pub fn route_request(&self, request: &Request, route: &mut Route) {
        match self.find(request.requester) {
            Some(sender) => self.route_request_from(sender, request, route),
            None => {
                route.begin(request.requester, None);
                route.end = End::Lost(Loss {
                    at: Where::Nowhere,
                    why: Why::NoSuchRequester,
                    packet: Packet::Request,
                });
            }
        }
    }

    /// The way of a request that `sender` sends, whatever requester ID it claims to have.
    pub fn route_request_from(&self, sender: FunctionId, request: &Request, route: &mut Route) {
        route.begin(request.requester, Some(sender));
        let mut walk = RequestWalk {
            fabric: self,
            request,
            route,
            address: request.address,
            payload_bytes: 0,
            is_aliased: false,
        };
        let Ended = walk.run(sender);
    }
}

impl Route {
    /// Forgets the way before.
    pub(super) fn begin(&mut self, requester: Bdf, initiator: Option<FunctionId>) {
        self.legs.clear();
        self.notes.clear();
        self.holds_bytes = u64::MAX;
        self.requester = requester;
        self.initiator = initiator;
    }
}

impl RequestWalk<'_> {
    fn run(&mut self, sender: FunctionId) -> Ended {
        let Some(node) = self.fabric.nodes.get(sender.index()) else {
            return self.lost(Where::Nowhere, Why::NoSuchRequester);
        };
        let at = Where::Function(sender);
        if !self.fabric.answers(sender) {
            self.note(at, || Decision::SenderGone);
            return self.lost(at, Why::LinkDown);
        }
        if !node.bus_master {
            self.note(at, || Decision::MasterDisabled);
            return self.lost(at, Why::MasterDisabled);
        }
        self.payload_bytes = self.sender_payload_bytes(node);
        self.hold(bytes_to(self.address, u64::MAX));
        let mut arrival = Arrival {
            function: sender,
            ingress: false,
            redirected: false,
        };
        loop {
            let node = self.fabric.node(arrival.function);
            let bus = node.bus;
            let hop = match node.above {
                BusPlace::Root(root) => return self.root_complex(root, arrival),
                BusPlace::Below { bridge, facing } => match facing {
                    Facing::Port(link) => self.on_link(arrival, bus, bridge, link),
                    Facing::Switch => self.in_switch(arrival, bus, bridge),
                    Facing::Conventional => self.on_conventional(arrival, bus, bridge),
                },
            };
            match hop {
                ControlFlow::Continue(next) => arrival = next,
                ControlFlow::Break(end) => return end,
            }
        }
    }

    /// A link leads from one device to a port. Functions of the device may take the request themselves.
    fn on_link(&mut self, arrival: Arrival, bus: BusId, port: FunctionId, link: LinkId) -> Hop {
        if !arrival.redirected
            && let Some(end) = self.inside_device(arrival.function, bus)
        {
            return ControlFlow::Break(end);
        }
        self.route.legs.push(Leg::Link {
            link,
            direction: Direction::Up,
        });
        self.enter(port)
    }

    /// Another function of the same device may claim the address; its sender's ACS decides whether the request leaves
    /// the device all the same.
    fn inside_device(&mut self, sender: FunctionId, bus: BusId) -> Option<Ended> {
        let target = self.claimed_by_other(bus, sender)?;
        let peer = target.function;
        match self.turn_in_device(sender, peer) {
            Turn::Around => Some(self.take(target)),
            Turn::Upstream => None,
            Turn::Violation => Some(self.lost(Where::Function(sender), Why::AcsViolation)),
        }
    }

    /// Enters a port from the link below it.
    fn enter(&mut self, port: FunctionId) -> Hop {
        let node = self.fabric.node(port);
        let at = Where::Function(port);
        if let Some(end) = self.check_size(port) {
            return ControlFlow::Break(end);
        }
        if let Some(why) = self.refused_at_entry(port) {
            return ControlFlow::Break(self.lost(at, why));
        }
        if !node.bus_master {
            self.note(at, || Decision::ForwardsNothingUp);
            return ControlFlow::Break(self.lost(at, Why::UnsupportedRequest));
        }
        let redirected = self.in_windows(node);
        if redirected {
            if !self.forwards_up(node) {
                self.note(at, || Decision::NotForwardedUp);
                return ControlFlow::Break(self.lost(at, Why::UnsupportedRequest));
            }
            self.note(at, || Decision::ForwardedUp);
        }
        ControlFlow::Continue(Arrival {
            function: port,
            ingress: true,
            redirected,
        })
    }

    /// The bus inside a switch: a sibling port, or the upstream port.
    fn in_switch(&mut self, arrival: Arrival, bus: BusId, upstream_port: FunctionId) -> Hop {
        self.route.legs.push(Leg::Switch { upstream_port });
        let from = arrival.function;
        let mut redirected = arrival.redirected;
        if !redirected && let Some(target) = self.claimed_by_other(bus, from) {
            let turn = match arrival.ingress {
                true => self.turn_at_port(from, target.function),
                false => {
                    let to = self.fabric.node(target.function).bdf;
                    self.note(Where::Function(from), || Decision::TurnsAround { to });
                    Turn::Around
                }
            };
            match turn {
                Turn::Around => return ControlFlow::Break(self.take(target)),
                Turn::Upstream => redirected = true,
                Turn::Violation => {
                    return ControlFlow::Break(self.lost(Where::Function(from), Why::AcsViolation));
                }
            }
        }
        self.forward_up(upstream_port, redirected)
    }

    /// A conventional bus: whoever claims the address takes it, else the bridge above.
    fn on_conventional(&mut self, arrival: Arrival, bus: BusId, bridge: FunctionId) -> Hop {
        self.route.legs.push(Leg::ConventionalBus { bridge });
        if !arrival.redirected
            && let Some(target) = self.claimed_by_other(bus, arrival.function)
        {
            return ControlFlow::Break(self.take(target));
        }
        let hop = self.forward_up(bridge, arrival.redirected);
        if hop.is_continue() {
            let node = self.fabric.node(bridge);
            let alias = Bdf::from_devfn(node.bdf.domain(), node.secondary, 0);
            self.route.requester = alias;
            self.is_aliased = true;
            self.payload_bytes = self.sender_payload_bytes(node);
            self.note(Where::Function(bridge), || Decision::Alias { requester: alias });
        }
        hop
    }

    /// A bridge takes a request upward from the bus below it.
    #[inline]
    fn forward_up(&mut self, bridge: FunctionId, redirected: bool) -> Hop {
        let node = self.fabric.node(bridge);
        let at = Where::Function(bridge);
        if !redirected && self.in_windows(node) {
            let address = self.address;
            let is_switch = matches!(node.below, Some((Facing::Switch, _)));
            self.note(at, || match is_switch {
                true => Decision::NobodyInSwitch { address },
                false => Decision::NobodyClaims { address },
            });
            return ControlFlow::Break(self.lost(at, Why::UnsupportedRequest));
        }
        if !node.bus_master {
            self.note(at, || Decision::ForwardsNothingUp);
            return ControlFlow::Break(self.lost(at, Why::UnsupportedRequest));
        }
        if !redirected {
            self.note(at, || Decision::GoesUp);
        }
        ControlFlow::Continue(Arrival {
            function: bridge,
            ingress: false,
            redirected,
        })
    }

    /// Who claims the address on a bus.
    #[inline]
    pub(super) fn claimed(&mut self, bus: BusId) -> Option<Target> {
        let Found { by, holds_bytes } = self.fabric.bus(bus).decode.find(self.address);
        self.hold(holds_bytes);
        by
    }

    /// Who claims the address on a bus beside `sender`.
    #[inline]
    fn claimed_by_other(&mut self, bus: BusId, sender: FunctionId) -> Option<Target> {
        let target = self.claimed(bus)?;
        if target.function != sender {
            return Some(target);
        }
        // The sender hides whoever else claims the same: two claimants of one address, a broken machine.
        self.scan(bus, |function, node| function != sender && node.memory_enabled)
    }

    /// Who would claim the address on a bus if memory enable were set everywhere.
    pub(super) fn silent_on(&mut self, bus: BusId) -> Option<FunctionId> {
        self.scan(bus, |_, node| !node.memory_enabled)
            .map(|target| target.function)
    }

    /// The first of `wanted` functions on a bus whose BARs or windows hold the address.
    #[cold]
    fn scan(&mut self, bus: BusId, wanted: impl Fn(FunctionId, &Node) -> bool) -> Option<Target> {
        let address = self.address;
        let nodes = &self.fabric.nodes;
        let mut found = None;
        let mut holds_bytes = u64::MAX;
        for &function in &self.fabric.bus(bus).functions {
            let node = &nodes[function.index()];
            if node.is_gone || !wanted(function, node) {
                continue;
            }
            for (bar, opening) in (0u8..).zip(node.bars) {
                let (inside, bytes) = opening.look(address);
                holds_bytes = holds_bytes.min(bytes);
                if inside && found.is_none() {
                    found = Some(Target::bar(function, bar, opening.first));
                }
            }
            if node.below.is_some() {
                let (inside, bytes) = node.look_in_windows(address);
                holds_bytes = holds_bytes.min(bytes);
                if inside && found.is_none() {
                    found = Some(Target::window(function));
                }
            }
        }
        self.hold(holds_bytes);
        found
    }

    /// Does the address lie in a window of this bridge, whatever its memory enable says?
    #[inline]
    fn in_windows(&mut self, node: &Node) -> bool {
        let (inside, holds_bytes) = node.look_in_windows(self.address);
        self.hold(holds_bytes);
        inside
    }

    /// What was found holds for no more than this.
    pub(super) fn hold(&mut self, bytes: u64) {
        self.route.holds_bytes = self.route.holds_bytes.min(bytes);
    }

    /// What a function puts into one TLP.
    pub(super) fn sender_payload_bytes(&self, node: &Node) -> u32 {
        match self.request.access {
            Access::Read => 0,
            Access::Write => self
                .request
                .len_bytes
                .min(node.max_payload_bytes().unwrap_or(SMALLEST_PAYLOAD_BYTES)),
        }
    }

    #[inline]
    pub(super) fn check_size(&mut self, receiver: FunctionId) -> Option<Ended> {
        let too_large = self.fabric.too_large(receiver, self.payload_bytes)?;
        let at = Where::Function(receiver);
        self.note(at, || too_large);
        Some(self.lost(at, Why::MalformedTlp))
    }

    pub(super) fn is_translated(&self) -> bool {
        self.request.address_type == AddressType::Translated
    }

    #[cold]
    pub(super) fn lost(&mut self, at: Where, why: Why) -> Ended {
        self.route.ends(End::Lost(Loss {
            at,
            why,
            packet: Packet::Request,
        }))
    }

    #[inline]
    pub(super) fn note(&mut self, at: Where, decision: impl FnOnce() -> Decision) {
        if self.route.explain == Explain::Notes {
            self.fabric.take_note(self.route, at, decision());
        }
    }
}

impl Fabric {
    /// What the receiver at the end of a link says of a payload that is larger than it is set to take (PCIe Base 2.2.2).
    #[inline]
    pub(super) fn too_large(&self, receiver: FunctionId, payload_bytes: u32) -> Option<Decision> {
        let most_bytes = self.node(receiver).max_payload_bytes()?;
        (payload_bytes > most_bytes).then_some(Decision::TooLarge {
            payload_bytes,
            most_bytes,
        })
    }

    pub(super) fn is_on_conventional_bus(&self, node: &Node) -> bool {
        matches!(
            node.above,
            BusPlace::Below {
                facing: Facing::Conventional,
                ..
            }
        )
    }

    #[cold]
    pub(super) fn take_note(&self, route: &mut Route, at: Where, decision: Decision) {
        let bdf = match at {
            Where::Function(function) => self.nodes.get(function.index()).map(|node| node.bdf),
            _ => None,
        };
        route.notes.push(Note { at, bdf, decision });
    }
}
