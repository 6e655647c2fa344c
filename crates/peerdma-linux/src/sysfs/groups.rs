//! IOMMU groups: `sys/kernel/iommu_groups/NUMBER/type`.

use super::number;
use crate::tree::Tree;
use peerdma::fact::{Fact, Unread};
use peerdma::snapshot::IommuGroup;
use std::collections::BTreeMap;

/// The groups that functions were found in; each is read once.
#[derive(Default)]
pub(super) struct Groups {
    types: BTreeMap<u32, Fact<String>>,
}

impl Groups {
    /// The group with this number.
    pub(super) fn group<T: Tree>(&mut self, tree: &T, sys: Option<&T::Folder>, number: u32) -> IommuGroup {
        let domain_type = self
            .types
            .entry(number)
            .or_insert_with(|| domain_type(tree, sys, number))
            .clone();
        IommuGroup { number, domain_type }
    }

    /// The types of their domains.
    pub(super) fn types(&self) -> impl Iterator<Item = &Fact<String>> {
        self.types.values()
    }
}

fn domain_type<T: Tree>(tree: &T, sys: Option<&T::Folder>, number: u32) -> Fact<String> {
    let Some(sys) = sys else {
        return Fact::NOT_IN_SOURCE;
    };
    let mut text = [0; 64];
    match tree.read(
        sys,
        format!("kernel/iommu_groups/{number}/type").as_bytes(),
        &mut text,
    ) {
        Ok(length) => match number::trimmed(text.get(..length).unwrap_or_default()) {
            b"" => Fact::Unknown(Unread::Contradictory),
            text => Fact::Known(String::from_utf8_lossy(text).into_owned()),
        },
        Err(gap) => Fact::Unknown(gap.unread()),
    }
}
