//! Functions that lie beside each other: whom an ACS egress control vector can name, and by which numbers.
//!
//! `describe` asks for the ACS capability of each function.

use super::plan::{Node, Plan, Role};
use crate::file::{Acs, Egress, MachineError, Wrong};
use peerdma::fact::Fact;
use peerdma::pci::{self, AcsFlags, EgressVector};
use std::collections::HashMap;

/// Whom an egress control vector can name.
pub(super) struct Siblings<'p> {
    plan: &'p Plan<'p>,
    /// Ports by the bridge above them (or the host bridge), functions by their device.
    groups: HashMap<(Option<usize>, usize, Option<u8>), Vec<usize>>,
}

impl<'p> Siblings<'p> {
    /// Those of all functions.
    pub(super) fn new(plan: &'p Plan<'p>) -> Self {
        let mut groups: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, node) in plan.nodes.iter().enumerate() {
            groups.entry(Self::key(node)).or_default().push(index);
        }
        Self { plan, groups }
    }

    /// The ACS capability of a function, with its egress control vector.
    ///
    /// # Errors
    /// [`Wrong::Conflict`] where the vector names what is not beside it, or beyond its end.
    pub(super) fn acs(&self, index: usize, node: &Node<'_>, acs: &Acs) -> Result<pci::Acs, MachineError> {
        let (capable, control) = (acs.capable, acs.control);
        if !capable.contains(AcsFlags::EGRESS_CONTROL) {
            return Ok(pci::Acs {
                capable,
                control,
                egress: Fact::Known(None),
            });
        }
        let siblings = self.groups.get(&Self::key(node)).map_or(&[][..], Vec::as_slice);
        let named = acs.egress.iter().map(|egress| match egress {
            Egress::Number(number) => Ok(*number),
            Egress::Name(name) => {
                let found = siblings
                    .iter()
                    .map(|&sibling| &self.plan.nodes[sibling])
                    .find(|sibling| {
                        let common = sibling.role.common();
                        common.is_some_and(|common| common.name.as_deref() == Some(name))
                    });
                found.map(Self::number).ok_or_else(|| {
                    let conflict = Wrong::Conflict {
                        what: format!("no port beside this one is named `{name}`"),
                        instead:
                            "`forbid` names ports of the same switch or host bridge (functions of the same \
                                  device), or their numbers"
                                .into(),
                    };
                    conflict.at(acs.at)
                })
            }
        });
        let forbidden = named.collect::<Result<Vec<u8>, _>>()?;
        let numbers = siblings
            .iter()
            .map(|&sibling| Self::number(&self.plan.nodes[sibling]));
        let own = Self::number(&self.plan.nodes[index]);
        let largest = numbers.chain(forbidden.iter().copied()).max().unwrap_or(own);
        let size_bits = acs.egress_bits.unwrap_or(u16::from(largest) + 1);
        let vector = EgressVector::new(size_bits).ok_or_else(|| {
            let what = format!("an egress control vector cannot have {size_bits} bits");
            let instead = "write 1 to 256".into();
            Wrong::Conflict { what, instead }.at(acs.at)
        })?;
        if let Some(beyond) = forbidden.iter().find(|&&number| u16::from(number) >= size_bits) {
            let conflict = Wrong::Conflict {
                what: format!(
                    "number {beyond} lies beyond the {size_bits} bits of the egress control vector"
                ),
                instead: "leave out `forbid-bits`, or raise it".into(),
            };
            return Err(conflict.at(acs.at));
        }
        Ok(pci::Acs {
            capable,
            control,
            egress: Fact::Known(Some(forbidden.into_iter().fold(vector, EgressVector::forbidding))),
        })
    }

    fn key(node: &Node<'_>) -> (Option<usize>, usize, Option<u8>) {
        let device = match node.role {
            Role::RootPort(_) | Role::Downstream(_) => None,
            _ => Some(node.bdf.device()),
        };
        (node.parent, node.host, device)
    }

    /// The number by which a vector names a function.
    fn number(node: &Node<'_>) -> u8 {
        match node.role {
            Role::RootPort(_) | Role::Downstream(_) => node.number,
            _ => node.bdf.function(),
        }
    }
}
