//! A completion on its way back: by the bus number in the requester ID that its request arrived with.
//!
//! Of ACS only completion redirect (C) and upstream forwarding (U) act on completions; bus-master enable does not.

use super::bus::BusPlace;
use super::completion_descend::Next;
use super::node::{Facing, Node};
use super::note::Decision;
use super::root_complex::forwards;
use super::route::{Completer, Direction, End, Ended, Explain, Leg, Loss, Packet, Route, Where, Why};
use super::{BusId, Fabric, FunctionId, LinkId};
use crate::blueprint::Siblings;
use crate::tlp::{Access, Ordering, Request};
use peerdma::addr::Bdf;
use peerdma::pci::AcsFlags;
use std::ops::ControlFlow;

/// A completion under way.
pub(super) struct CompletionWalk<'a> {
    pub(super) fabric: &'a Fabric,
    pub(super) request: &'a Request,
    pub(super) route: &'a mut Route,
    /// The function that waits for it; nothing for the processor, and for an ID that no function has.
    pub(super) requester: Option<FunctionId>,
    /// The bridge from a conventional bus whose alias the requester ID is.
    pub(super) alias_of: Option<FunctionId>,
    pub(super) payload_bytes: u32,
    /// The root complex forwarded the request: the completion goes back the same way.
    pub(super) goes_back: bool,
    /// The processor waits for it.
    pub(super) is_for_processor: bool,
}

#[derive(Debug, Clone, Copy)]
struct Arrival {
    function: FunctionId,
    /// It came in from below through this port.
    ingress: bool,
    redirected: bool,
}

type Hop = ControlFlow<Ended, Arrival>;

impl Fabric {
    /// The way of a completion of `payload_bytes` (at most) for `request`, whose own way was `path`.
    pub fn route_completion(
        &self,
        completer: Completer,
        request: &Request,
        path: &Route,
        payload_bytes: u32,
        route: &mut Route,
    ) {
        route.begin(path.requester, path.initiator);
        let is_aliased = path.requester != request.requester && path.initiator.is_some();
        let mut walk = CompletionWalk {
            fabric: self,
            request,
            route,
            requester: self.find(request.requester).filter(|_| path.initiator.is_some()),
            alias_of: match path.initiator {
                Some(initiator) if is_aliased => self.alias_owner(initiator, path.requester),
                _ => None,
            },
            payload_bytes,
            goes_back: path.crosses_root_complex(),
            is_for_processor: path.initiator.is_none(),
        };
        let Ended = match completer {
            Completer::Function(function) if function.index() < self.nodes.len() => walk.run(function),
            Completer::Function(_) => walk.lost(Where::Nowhere, Why::LinkDown),
            Completer::RootComplex => {
                walk.route.legs.push(Leg::RootComplex);
                walk.leave_root_complex()
            }
        };
    }

    /// The bridge above `initiator` that gives requests this ID.
    pub(super) fn alias_owner(&self, initiator: FunctionId, alias: Bdf) -> Option<FunctionId> {
        let mut at = initiator;
        loop {
            let BusPlace::Below { bridge, facing } = self.bus(self.node(at).bus).place else {
                return None;
            };
            let node = self.node(bridge);
            if facing == Facing::Conventional && node.secondary == alias.bus() && alias.devfn() == 0 {
                return Some(bridge);
            }
            at = bridge;
        }
    }
}

impl CompletionWalk<'_> {
    fn run(&mut self, completer: FunctionId) -> Ended {
        let node = self.fabric.node(completer);
        self.cut(node);
        let mut arrival = Arrival {
            function: completer,
            ingress: false,
            redirected: false,
        };
        if !self.fabric.answers(completer) {
            let at = Where::Function(completer);
            self.note(at, || Decision::SenderGone);
            return self.lost(at, Why::LinkDown);
        }
        // A bridge that gave up on a request from below, or for below, answers down by itself, without data.
        if self.payload_bytes == 0 && node.below.is_some() && self.is_below(node) {
            return self.hand(Next::Bridge(completer));
        }
        loop {
            let node = self.fabric.node(arrival.function);
            let bus = node.bus;
            let hop = match node.above {
                BusPlace::Root(root) => return self.at_root(root),
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

    fn on_link(&mut self, arrival: Arrival, bus: BusId, port: FunctionId, link: LinkId) -> Hop {
        if !arrival.redirected
            && let Some(next) = self.on_this_bus(bus)
            && next.function() != arrival.function
            && self.stays_in_device(arrival.function, next.function())
        {
            return ControlFlow::Break(self.hand(next));
        }
        self.route.legs.push(Leg::Link {
            link,
            direction: Direction::Up,
        });
        let node = self.fabric.node(port);
        let at = Where::Function(port);
        if let Some(end) = self.check_size(port) {
            return ControlFlow::Break(end);
        }
        let mut redirected = false;
        if self.is_below(node) {
            let acs = &node.acs;
            if !acs
                .as_ref()
                .is_some_and(|acs| acs.has(AcsFlags::UPSTREAM_FORWARDING))
            {
                self.note(at, || Decision::NotForwardedUp);
                return ControlFlow::Break(self.lost(at, Why::UnexpectedCompletion));
            }
            self.note(at, || Decision::ForwardedUp);
            redirected = true;
        }
        ControlFlow::Continue(Arrival {
            function: port,
            ingress: true,
            redirected,
        })
    }

    fn in_switch(&mut self, arrival: Arrival, bus: BusId, upstream_port: FunctionId) -> Hop {
        self.route.legs.push(Leg::Switch { upstream_port });
        let mut redirected = arrival.redirected;
        if !redirected && let Some(next) = self.on_this_bus(bus) {
            let at = Where::Function(arrival.function);
            let to = self.fabric.node(next.function()).bdf;
            let acs = &self.fabric.node(arrival.function).acs;
            let is_redirected = arrival.ingress
                && self.request.ordering == Ordering::Strict
                && acs
                    .as_ref()
                    .is_some_and(|acs| acs.has(AcsFlags::COMPLETION_REDIRECT));
            if !is_redirected {
                self.note(at, || Decision::TurnsAround { to });
                return ControlFlow::Break(self.hand(next));
            }
            self.note(at, || Decision::CompletionRedirected { to });
            redirected = true;
        }
        self.forward_up(upstream_port, redirected)
    }

    fn on_conventional(&mut self, arrival: Arrival, bus: BusId, bridge: FunctionId) -> Hop {
        self.route.legs.push(Leg::ConventionalBus { bridge });
        // What the root complex sent back down is no transaction of this bus: the bridge answers it above, under the
        // very ID that asked.
        if self.goes_back {
            self.cut(self.fabric.node(bridge));
            self.note(Where::Function(bridge), || Decision::GoesUp);
            return ControlFlow::Continue(Arrival {
                function: bridge,
                ingress: false,
                redirected: arrival.redirected,
            });
        }
        if !arrival.redirected {
            if self.alias_of == Some(bridge) {
                return ControlFlow::Break(self.hand_to_alias(bridge));
            }
            if let Some(next) = self.on_this_bus(bus) {
                return ControlFlow::Break(self.hand(next));
            }
        }
        let hop = self.forward_up(bridge, arrival.redirected);
        if hop.is_continue() {
            self.cut(self.fabric.node(bridge));
        }
        hop
    }

    /// A bridge takes a completion upward that is not for below it.
    fn forward_up(&mut self, bridge: FunctionId, redirected: bool) -> Hop {
        let node = self.fabric.node(bridge);
        if !redirected && self.is_below(node) {
            return ControlFlow::Break(self.unexpected(Where::Function(bridge)));
        }
        if !redirected {
            self.note(Where::Function(bridge), || Decision::GoesUp);
        }
        ControlFlow::Continue(Arrival {
            function: bridge,
            ingress: false,
            redirected,
        })
    }

    /// At the root complex, come up to the root with this index.
    fn at_root(&mut self, root: u32) -> Ended {
        self.route.legs.push(Leg::RootComplex);
        let roots = &self.fabric.host.roots;
        let from = &roots[root as usize];
        if self.goes_back {
            self.note(from.place(), || Decision::GoesBack);
            return self.leave_root_complex();
        }
        let Some(to) = self.requesters_root() else {
            return self.unexpected(from.place());
        };
        // The request went past it: it forwards the answer where it would forward a read.
        if let Err((at, policy)) = forwards(from, &roots[to as usize], Access::Read) {
            self.note(at, || Decision::NotForwarded { policy });
            return self.lost(at, Why::NotForwarded);
        }
        let policy = from.forwarding;
        self.note(from.place(), || Decision::Forwarded { policy });
        self.leave_root_complex()
    }

    /// Does the requester's bus lie below this bridge, as its registers say?
    pub(super) fn is_below(&self, node: &Node) -> bool {
        let id = self.route.requester;
        !self.is_for_processor && node.bdf.domain() == id.domain() && node.leads_to(id.bus())
    }

    /// Does a completion for a function of the same device stay inside?
    fn stays_in_device(&mut self, completer: FunctionId, peer: FunctionId) -> bool {
        let at = Where::Function(completer);
        let to = self.fabric.node(peer).bdf;
        let acs = self.fabric.node(completer).acs;
        let stays = match acs {
            None => self.fabric.siblings == Siblings::Direct,
            Some(acs) => {
                self.request.ordering == Ordering::Relaxed
                    || !acs.has_or_is_wired(AcsFlags::COMPLETION_REDIRECT)
            }
        };
        self.note(at, || match (stays, acs) {
            (true, _) => Decision::StaysInDevice { to },
            (false, None) => Decision::LeavesDevice { to },
            (false, Some(_)) => Decision::CompletionRedirected { to },
        });
        stays
    }

    /// A sender puts no more into a packet than its MPS.
    pub(super) fn cut(&mut self, sender: &Node) {
        if let Some(most_bytes) = sender.max_payload_bytes() {
            self.payload_bytes = self.payload_bytes.min(most_bytes);
        }
    }

    pub(super) fn check_size(&mut self, receiver: FunctionId) -> Option<Ended> {
        let too_large = self.fabric.too_large(receiver, self.payload_bytes)?;
        let at = Where::Function(receiver);
        self.note(at, || too_large);
        Some(self.lost(at, Why::MalformedTlp))
    }

    pub(super) fn unexpected(&mut self, at: Where) -> Ended {
        let requester = self.route.requester;
        self.note(at, || Decision::Unexpected { requester });
        self.lost(at, Why::UnexpectedCompletion)
    }

    pub(super) fn lost(&mut self, at: Where, why: Why) -> Ended {
        self.route.ends(End::Lost(Loss {
            at,
            why,
            packet: Packet::Completion,
        }))
    }

    #[inline]
    pub(super) fn note(&mut self, at: Where, decision: impl FnOnce() -> Decision) {
        if self.route.explain == Explain::Notes {
            self.fabric.take_note(self.route, at, decision());
        }
    }
}
