//! What a function's folder holds.
//!
//! Most of it is found by listing the folder. Where no driver is bound there are no names and no services to
//! be found, and asking for a few entries is cheaper; what one function's folder has because of the
//! kernel, or of who copied it, all have.

use super::port;
use crate::tree::{EntryKind, Gap, Listing, Tree};
use peerdma::fact::Fact;
use peerdma::snapshot::Os;

/// Finds out what folders hold, one function after the other.
#[derive(Default)]
pub(super) struct Survey {
    customs: Option<Customs>,
}

impl Survey {
    /// What `folder` holds; `listing` has its entries afterwards, or none where none were needed.
    pub(super) fn of<T: Tree>(
        &mut self,
        tree: &T,
        folder: &T::Folder,
        listing: &mut Listing,
        os: &mut Os,
    ) -> Result<Present, Gap> {
        listing.clear();
        let has = |name: &[u8]| tree.has(folder, name);
        match self.customs {
            Some(customs) if customs.subsystem && !has(b"driver") => Ok(Present {
                config: true,
                resource: true,
                numa_node: true,
                iommu_group: has(b"iommu_group"),
                driver: false,
                driver_override: customs.driver_override,
                subsystem: true,
                local_cpulist: customs.local_cpulist,
                link: has(b"current_link_speed"),
                physfn: Physfn::IfHidden,
                p2pmem: false,
            }),
            _ => {
                tree.list(folder, listing)?;
                let present = listed(listing, os);
                self.customs.get_or_insert(Customs {
                    subsystem: present.subsystem,
                    local_cpulist: present.local_cpulist,
                    driver_override: present.driver_override,
                });
                Ok(present)
            }
        }
    }
}

/// The entries of a function's folder that are read, as far as they are there.
#[derive(Default)]
pub(super) struct Present {
    pub(super) config: bool,
    pub(super) resource: bool,
    pub(super) numa_node: bool,
    pub(super) iommu_group: bool,
    pub(super) driver: bool,
    pub(super) driver_override: bool,
    pub(super) subsystem: bool,
    pub(super) local_cpulist: bool,
    pub(super) link: bool,
    pub(super) physfn: Physfn,
    pub(super) p2pmem: bool,
}

/// The link of a virtual function to its physical one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Physfn {
    #[default]
    Absent,
    Present,
    /// Present, if at all, where configuration space hides vendor and device.
    IfHidden,
}

impl Present {
    /// What it means that a link is not there: every function has the entry `subsystem`, and where that is
    /// missing too, this copy left links out.
    pub(super) fn no_link<T>(&self) -> Fact<Option<T>> {
        match self.subsystem {
            true => Fact::Known(None),
            false => Fact::NOT_IN_SOURCE,
        }
    }
}

/// What the folder of every function has, or none.
#[derive(Debug, Clone, Copy)]
struct Customs {
    subsystem: bool,
    local_cpulist: bool,
    driver_override: bool,
}

fn listed(listing: &Listing, os: &mut Os) -> Present {
    let mut present = Present::default();
    for (name, kind) in listing.iter() {
        match name {
            b"config" => present.config = kind != EntryKind::Folder,
            b"resource" => present.resource = kind != EntryKind::Folder,
            b"numa_node" => present.numa_node = true,
            b"iommu_group" => present.iommu_group = true,
            b"driver" => present.driver = true,
            b"subsystem" => present.subsystem = true,
            b"local_cpulist" => present.local_cpulist = true,
            b"driver_override" => present.driver_override = true,
            b"current_link_speed" => present.link = true,
            b"physfn" => present.physfn = Physfn::Present,
            b"p2pmem" => present.p2pmem = true,
            _ => {
                if let Some(port) = port::from_service(name) {
                    os.port_type = Fact::Known(Some(port));
                }
            }
        }
    }
    present
}
