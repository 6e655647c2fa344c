//! A memory request on its way down: from bridge to bridge, to the BAR that takes it.

use super::bus::Target;
use super::node::Facing;
use super::note::Decision;
use super::request::RequestWalk;
use super::route::{Direction, End, Ended, Leg, Where, Why};
use super::{BusId, FunctionId};

impl RequestWalk<'_> {
    /// Gives a request to whom claims it.
    pub(super) fn take(&mut self, target: Target) -> Ended {
        let mut target = target;
        loop {
            if let Some(bar) = target.bar_number() {
                return self.deliver(target.function, bar, target.first);
            }
            match self.through(target.function) {
                Ok(next) => target = next,
                Err(end) => return end,
            }
        }
    }

    /// Through a bridge onto the bus below it; returns who claims the request there.
    #[inline]
    fn through(&mut self, bridge: FunctionId) -> Result<Target, Ended> {
        let at = Where::Function(bridge);
        let Some((facing, bus)) = self.fabric.node(bridge).below else {
            return Err(self.lost(at, Why::UnsupportedRequest));
        };
        self.note(at, || Decision::TakesDown);
        match facing {
            Facing::Port(link) => {
                if !self.fabric.is_up(link) {
                    self.note(at, || Decision::LinkDown);
                    return Err(self.lost(at, Why::UnsupportedRequest));
                }
                self.repack(bridge);
                self.route.legs.push(Leg::Link {
                    link,
                    direction: Direction::Down,
                });
                let Some(target) = self.claimed(bus) else {
                    // Nobody below a port: the port itself gives up on it.
                    let device = self.first_on(bus);
                    if let Some(device) = device
                        && let Some(end) = self.check_size(device)
                    {
                        return Err(end);
                    }
                    return Err(self.nobody_claims(device.unwrap_or(bridge)));
                };
                match self.check_size(target.function) {
                    Some(end) => Err(end),
                    None => Ok(target),
                }
            }
            Facing::Switch => {
                self.route.legs.push(Leg::Switch {
                    upstream_port: bridge,
                });
                self.claimed_or_lost(bus, bridge)
            }
            Facing::Conventional => {
                self.route.legs.push(Leg::ConventionalBus { bridge });
                self.claimed_or_lost(bus, bridge)
            }
        }
    }

    /// A bridge from a conventional bus to a link sends what it takes down in packets of its own.
    fn repack(&mut self, bridge: FunctionId) {
        let node = self.fabric.node(bridge);
        if self.fabric.is_on_conventional_bus(node) {
            self.payload_bytes = self.sender_payload_bytes(node);
        }
    }

    #[inline]
    fn claimed_or_lost(&mut self, bus: BusId, refuser: FunctionId) -> Result<Target, Ended> {
        match self.claimed(bus) {
            Some(target) => Ok(target),
            None => Err(self.nobody_claims(refuser)),
        }
    }

    #[cold]
    fn nobody_claims(&mut self, refuser: FunctionId) -> Ended {
        let at = Where::Function(refuser);
        let address = self.address;
        self.note(at, || Decision::NobodyClaims { address });
        self.lost(at, Why::UnsupportedRequest)
    }

    fn first_on(&self, bus: BusId) -> Option<FunctionId> {
        let functions = &self.fabric.bus(bus).functions;
        functions
            .iter()
            .copied()
            .find(|function| !self.fabric.node(*function).is_gone)
    }

    fn deliver(&mut self, function: FunctionId, bar: u8, first: u64) -> Ended {
        let offset = self.address - first;
        self.note(Where::Function(function), || Decision::Takes { bar, offset });
        self.route.ends(End::Function {
            function,
            bar,
            offset,
        })
    }
}
