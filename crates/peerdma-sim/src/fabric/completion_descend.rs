//! A completion on its way down: bridge by bridge to the bus of its requester.

use super::bus::BusPlace;
use super::completion::CompletionWalk;
use super::node::Facing;
use super::note::Decision;
use super::route::{Direction, End, Ended, Leg, Where, Why};
use super::{BusId, FunctionId};

/// Who takes a completion next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    Requester(FunctionId),
    Bridge(FunctionId),
}

impl Next {
    pub(super) const fn function(self) -> FunctionId {
        match self {
            Self::Requester(function) | Self::Bridge(function) => function,
        }
    }
}

impl CompletionWalk<'_> {
    /// From the root complex down to the requester.
    pub(super) fn leave_root_complex(&mut self) -> Ended {
        if self.is_for_processor {
            return self.route.ends(End::Requester);
        }
        let Some(root) = self.requesters_root() else {
            return self.unexpected(Where::Nowhere);
        };
        let root = &self.fabric.host.roots[root as usize];
        match root.bus.and_then(|bus| self.on_this_bus(bus)) {
            Some(next) => self.hand(next),
            None => self.unexpected(root.place()),
        }
    }

    /// The root that the requester is below: of a function by its wires, of a forged ID by bus numbers.
    pub(super) fn requesters_root(&self) -> Option<u32> {
        if let Some(requester) = self.requester {
            return Some(self.fabric.root_of(requester));
        }
        let id = self.route.requester;
        let roots = self.fabric.host.roots.iter();
        (0u32..).zip(roots).find_map(|(index, root)| {
            let bus = self.fabric.bus(root.bus?);
            let leads = root.domain == id.domain() && bus.bridge_to(id.bus()).is_some();
            leads.then_some(index)
        })
    }

    /// Gives a completion to who takes it on a bus, and on from there to the requester.
    pub(super) fn hand(&mut self, next: Next) -> Ended {
        let mut next = next;
        loop {
            let bridge = match next {
                Next::Requester(function) => {
                    self.note(Where::Function(function), || Decision::Arrived);
                    return self.route.ends(End::Requester);
                }
                Next::Bridge(bridge) => bridge,
            };
            let number = self.route.requester.bus();
            let at = Where::Function(bridge);
            self.note(at, || Decision::TakesCompletionDown { bus: number });
            let Some((facing, below)) = self.fabric.node(bridge).below else {
                return self.unexpected(at);
            };
            match facing {
                Facing::Port(link) => {
                    if !self.fabric.is_up(link) {
                        self.note(at, || Decision::LinkDown);
                        return self.lost(at, Why::LinkDown);
                    }
                    if self.fabric.is_on_conventional_bus(self.fabric.node(bridge)) {
                        self.cut(self.fabric.node(bridge));
                    }
                    self.route.legs.push(Leg::Link {
                        link,
                        direction: Direction::Down,
                    });
                }
                Facing::Switch => self.route.legs.push(Leg::Switch {
                    upstream_port: bridge,
                }),
                Facing::Conventional => self.route.legs.push(Leg::ConventionalBus { bridge }),
            }
            if self.alias_of == Some(bridge) {
                return self.hand_to_alias(bridge);
            }
            match self.on_this_bus(below) {
                Some(found) => {
                    if matches!(facing, Facing::Port(_))
                        && let Some(end) = self.check_size(found.function())
                    {
                        return end;
                    }
                    next = found;
                }
                None => return self.unexpected(at),
            }
        }
    }

    /// The completion is on the conventional bus below the bridge that sent the request on under its own ID: down to the
    /// function that asked.
    pub(super) fn hand_to_alias(&mut self, bridge: FunctionId) -> Ended {
        let Some(requester) = self.requester else {
            return self.unexpected(Where::Function(bridge));
        };
        let start = self.route.legs.len();
        let mut at = requester;
        while let BusPlace::Below { bridge: above, .. } = self.fabric.bus(self.fabric.node(at).bus).place {
            if above == bridge {
                break;
            }
            let leg = match self.fabric.node(above).below {
                Some((Facing::Port(link), _)) => Leg::Link {
                    link,
                    direction: Direction::Down,
                },
                Some((Facing::Switch, _)) => Leg::Switch { upstream_port: above },
                _ => Leg::ConventionalBus { bridge: above },
            };
            self.route.legs.push(leg);
            at = above;
        }
        self.route.legs[start..].reverse();
        self.note(Where::Function(requester), || Decision::Arrived);
        self.route.ends(End::Requester)
    }

    /// Who on a bus takes the completion: the requester itself, or a bridge that its bus lies below.
    pub(super) fn on_this_bus(&self, bus: BusId) -> Option<Next> {
        if let Some(requester) = self.requester
            && self.alias_of.is_none()
            && self.fabric.node(requester).bus == bus
            && !self.fabric.node(requester).is_gone
        {
            return Some(Next::Requester(requester));
        }
        let id = self.route.requester;
        let nodes = &self.fabric.nodes;
        let bridge = self.fabric.bus(bus).bridge_to(id.bus())?;
        // Bus numbers mean something within one domain: what the root complex forwards into another goes as its own.
        (nodes[bridge.index()].bdf.domain() == id.domain()).then_some(Next::Bridge(bridge))
    }
}
