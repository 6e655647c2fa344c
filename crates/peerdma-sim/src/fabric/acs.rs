//! Access Control Services where they act on requests: at the port that one enters from below, at the port where it would
//! turn around, and in functions that share a device (PCIe Base 6.12.1).

use super::FunctionId;
use super::node::Node;
use super::note::Decision;
use super::request::RequestWalk;
use super::route::{Where, Why};
use crate::blueprint::Siblings;
use peerdma::addr::Bdf;
use peerdma::pci::AcsFlags;

/// What becomes of a TLP that could turn around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Around,
    Upstream,
    Violation,
}

impl RequestWalk<'_> {
    /// What source validation and translation blocking of a port say of a request that enters it from below.
    pub(super) fn refused_at_entry(&mut self, port: FunctionId) -> Option<Why> {
        let node = self.fabric.node(port);
        let acs = node.acs.as_ref()?;
        let at = Where::Function(port);
        let requester = self.route.requester;
        if acs.has(AcsFlags::SOURCE_VALIDATION) && !node.leads_to(requester.bus()) {
            self.note(at, || Decision::ForgedSource {
                requester,
                secondary: node.secondary,
                subordinate: node.subordinate,
            });
            return Some(Why::AcsViolation);
        }
        if acs.has(AcsFlags::TRANSLATION_BLOCKING) && self.is_translated() {
            self.note(at, || Decision::TranslatedBlocked);
            return Some(Why::AcsViolation);
        }
        None
    }

    /// Does a port send upstream what is for somebody below it?
    pub(super) fn forwards_up(&self, node: &Node) -> bool {
        node.acs
            .as_ref()
            .is_some_and(|acs| acs.has(AcsFlags::UPSTREAM_FORWARDING))
    }

    /// A request that came in through `port` could turn around to `target` beside it.
    pub(super) fn turn_at_port(&mut self, port: FunctionId, target: FunctionId) -> Turn {
        let at = Where::Function(port);
        let to = self.fabric.node(target).bdf;
        let number = self.fabric.node(target).port_number;
        match &self.fabric.node(port).acs {
            None => {
                self.note(at, || Decision::TurnsAround { to });
                Turn::Around
            }
            Some(acs) => {
                let redirects = acs.has(AcsFlags::REQUEST_REDIRECT);
                let forbids = acs.has(AcsFlags::EGRESS_CONTROL).then(|| acs.forbids(number));
                self.turn(
                    at,
                    to,
                    number,
                    Rules {
                        direct_translated: acs.has(AcsFlags::DIRECT_TRANSLATED),
                        redirects,
                        forbids,
                    },
                )
            }
        }
    }

    /// Egress control at the root port that a request came in through, which leads to `target` through the root complex.
    /// Request redirect has no effect there: the request is in the root complex already.
    pub(super) fn leaves_root_port(&mut self, port: FunctionId, target: FunctionId) -> Turn {
        let Some(acs) = &self.fabric.node(port).acs else {
            return Turn::Around;
        };
        let at = Where::Function(port);
        let to = self.fabric.node(target).bdf;
        let number = self.fabric.node(target).port_number;
        if !acs.has(AcsFlags::EGRESS_CONTROL) {
            return Turn::Around;
        }
        if self.is_translated() && acs.has(AcsFlags::DIRECT_TRANSLATED) {
            self.note(at, || Decision::DirectTranslated { to });
            return Turn::Around;
        }
        if acs.forbids(number) && !acs.has(AcsFlags::REQUEST_REDIRECT) {
            self.note(at, || Decision::EgressForbidden { to, number });
            return Turn::Violation;
        }
        Turn::Around
    }

    /// A request of `sender` is for `peer` in the same device.
    pub(super) fn turn_in_device(&mut self, sender: FunctionId, peer: FunctionId) -> Turn {
        let at = Where::Function(sender);
        let (from, node) = (self.fabric.node(sender), self.fabric.node(peer));
        let to = node.bdf;
        let turn = match &from.acs {
            None => return self.without_acs(at, to),
            Some(acs) => {
                // A link leads to one device; a device number other than 0 there is part of the function's (ARI).
                let number = Some(to.devfn());
                let forbids = acs.has(AcsFlags::EGRESS_CONTROL).then(|| acs.forbids(number));
                self.turn(
                    at,
                    to,
                    number,
                    Rules {
                        direct_translated: acs.has(AcsFlags::DIRECT_TRANSLATED),
                        redirects: acs.has_or_is_wired(AcsFlags::REQUEST_REDIRECT),
                        forbids,
                    },
                )
            }
        };
        if turn == Turn::Around {
            self.note(at, || Decision::StaysInDevice { to });
        }
        turn
    }

    /// The machine says what devices without ACS do.
    fn without_acs(&mut self, at: Where, to: Bdf) -> Turn {
        match self.fabric.siblings {
            Siblings::Direct => {
                self.note(at, || Decision::StaysInDevice { to });
                Turn::Around
            }
            Siblings::Upstream => {
                self.note(at, || Decision::LeavesDevice { to });
                Turn::Upstream
            }
        }
    }

    /// R, E and T together: T before E before R.
    fn turn(&mut self, at: Where, to: Bdf, number: Option<u8>, rules: Rules) -> Turn {
        let (turn, decision) = match rules {
            rules if rules.direct_translated && self.is_translated() => {
                (Turn::Around, Decision::DirectTranslated { to })
            }
            Rules {
                forbids: Some(false), ..
            } => (Turn::Around, Decision::EgressAllowed { to, number }),
            Rules {
                forbids: Some(true),
                redirects: true,
                ..
            } => (Turn::Upstream, Decision::EgressRedirected { to, number }),
            Rules {
                forbids: Some(true), ..
            } => (Turn::Violation, Decision::EgressForbidden { to, number }),
            Rules { redirects: true, .. } => (Turn::Upstream, Decision::RequestRedirected { to }),
            _ => (Turn::Around, Decision::TurnsAround { to }),
        };
        self.note(at, || decision);
        turn
    }
}

/// What the ACS of the place where a request could turn around says of it.
struct Rules {
    direct_translated: bool,
    redirects: bool,
    /// Nothing where egress control is off.
    forbids: Option<bool>,
}
