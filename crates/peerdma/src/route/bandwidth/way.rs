//! Which functions' links a flow crosses, and what each of them is.

use super::{Estimator, Flow, MissingFact, NoEstimate, Training, Way};
use crate::addr::Bdf;
use crate::fact::{Fact, Unread};
use crate::pci::{LinkState, PortType};
use crate::route::{LinkEnds, link_above};
use crate::topology::{NodeId, Place, Topology};
use alloc::vec::Vec;

/// What lies directly above a function.
#[derive(Debug, Clone, Copy)]
pub(super) enum Crossing {
    /// Nothing that limits: the inside of a switch or of the root complex.
    Inside,
    Link(LinkEnds),
    UnknownLink(Unread),
    /// A conventional bus, whose rate nobody states.
    Conventional,
}

impl Crossing {
    pub(super) fn above(topology: &Topology, node: NodeId) -> Self {
        match link_above(topology, node) {
            Some(Fact::Known(link)) => Self::Link(link),
            Some(Fact::Unknown(why)) => Self::UnknownLink(why),
            None => {
                let Place::Below(bridge) = topology.place(node) else {
                    return Self::Inside;
                };
                let lower = topology.function(node).port_type();
                let upper = topology.function(bridge).port_type();
                let is_conventional = matches!(lower, Fact::Known(None | Some(PortType::FROM_CONVENTIONAL)))
                    || matches!(upper, Fact::Known(None | Some(PortType::TO_CONVENTIONAL)));
                if is_conventional {
                    Self::Conventional
                } else {
                    Self::Inside
                }
            }
        }
    }

    /// The link in the state that is asked for; nothing where there is none.
    pub(super) fn counted(
        &self,
        training: Training,
        at: Bdf,
    ) -> Result<Option<(LinkEnds, LinkState)>, NoEstimate> {
        let missing = |fact, why| Err(NoEstimate::Missing { at, fact, why });
        match (*self, training) {
            (Self::Inside, _) => Ok(None),
            (Self::Conventional, _) => Err(NoEstimate::Conventional { at }),
            (Self::UnknownLink(why), _) => missing(MissingFact::Link, why),
            (Self::Link(link), Training::Now) => Ok(Some((link, link.now))),
            (Self::Link(link), Training::Best) => match link.best {
                Fact::Known(best) if best.bytes_per_second() != 0 => Ok(Some((link, best))),
                Fact::Known(_) => missing(MissingFact::BestLink, Unread::Contradictory),
                Fact::Unknown(why) => missing(MissingFact::BestLink, why),
            },
        }
    }
}

impl Estimator<'_> {
    /// The functions whose links are crossed: on the client's side bottom up, on the provider's side top
    /// down.
    ///
    /// # Errors
    /// Where the place of one of them is not certain.
    pub(super) fn sides(&self, flow: Flow) -> Result<(Vec<NodeId>, Vec<NodeId>), NoEstimate> {
        let turn = match flow.way {
            Way::Direct => self.topology.common_ancestor(flow.client, flow.provider),
            Way::RootComplex => None,
        };
        let side = |end| -> Result<Vec<NodeId>, NoEstimate> {
            let nodes = self.topology.climb(end).take_while(|&node| Some(node) != turn);
            let nodes: Vec<NodeId> = nodes.collect();
            let lost = nodes.iter().find(|&&node| {
                self.topology.has_gap_above(node) || self.topology.place(node) == Place::Unknown
            });
            match lost {
                None => Ok(nodes),
                Some(&node) => Err(NoEstimate::Missing {
                    at: self.topology.function(node).bdf,
                    fact: MissingFact::Place,
                    why: Unread::NotInSource,
                }),
            }
        };
        let up = side(flow.client)?;
        let mut down = side(flow.provider)?;
        down.reverse();
        Ok((up, down))
    }
}
