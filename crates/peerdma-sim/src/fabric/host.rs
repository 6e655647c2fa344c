//! Host bridges and the machine's memory map.

use super::BusId;
use super::decode::{Claim, Decode};
use super::error::BuildError;
use super::route::Where;
use peerdma::addr::Address;
use peerdma::fact::Fact;
use peerdma::snapshot::{Forwarding, Host, HostBridge, HostWindow, IommuMode};

/// A host bridge with its root bus.
#[derive(Debug, Clone)]
pub(super) struct Root {
    pub(super) domain: u32,
    pub(super) number: u8,
    pub(super) inbound_offset: i64,
    pub(super) forwarding: Forwarding,
    /// Nothing where no function is.
    pub(super) bus: Option<BusId>,
    pub(super) windows: Vec<HostWindow>,
}

/// What a physical address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Physical {
    Ram,
    /// A window of the root with this index: physical and bus address of its first byte.
    Window {
        root: u32,
        phys: u64,
        bus: u64,
    },
}

/// Host bridges and memory map.
#[derive(Debug)]
pub(super) struct HostSide {
    pub(super) roots: Vec<Root>,
    pub(super) map: Decode<Physical>,
    pub(super) iommu: IommuMode,
}

impl HostSide {
    pub(super) fn new(host: &Host) -> Result<Self, BuildError> {
        let iommu = *required(&host.iommu, "what the IOMMU does")?;
        let ram = required(&host.ram, "where host RAM lies")?;
        let mut roots: Vec<Root> = Vec::new();
        for bridge in required(&host.bridges, "the list of host bridges")? {
            roots.push(Root::new(bridge)?);
        }
        roots.sort_by_key(|root| (root.domain, root.number));
        if let Some(twice) = roots
            .windows(2)
            .find(|pair| (pair[0].domain, pair[0].number) == (pair[1].domain, pair[1].number))
        {
            return Err(BuildError::SharedRoot {
                domain: twice[0].domain,
                bus: twice[0].number,
            });
        }
        // RAM wins over windows.
        let mut claims: Vec<Claim<Physical>> = ram
            .iter()
            .map(|span| Claim {
                first: span.first().to_u64(),
                last: span.last().to_u64(),
                by: Physical::Ram,
            })
            .collect();
        for (index, root) in roots.iter().enumerate() {
            for window in &root.windows {
                let phys = window.phys.to_u64();
                let last = phys.checked_add(window.bus.len_minus_one());
                claims.push(Claim {
                    first: phys,
                    last: last.ok_or(BuildError::WindowPlace {
                        domain: root.domain,
                        bus: root.number,
                    })?,
                    by: Physical::Window {
                        root: index as u32,
                        phys,
                        bus: window.bus.first().to_u64(),
                    },
                });
            }
        }
        Ok(Self {
            roots,
            map: Decode::new(claims),
            iommu,
        })
    }

    /// The position of the root with this bus.
    pub(super) fn position(&self, domain: u32, bus: u8) -> Option<usize> {
        self.roots
            .binary_search_by_key(&(domain, bus), |root| (root.domain, root.number))
            .ok()
    }
}

impl Root {
    fn new(bridge: &HostBridge) -> Result<Self, BuildError> {
        Ok(Self {
            domain: bridge.domain,
            number: bridge.bus,
            inbound_offset: *required(&bridge.inbound_offset, "the inbound offset of a host bridge")?,
            forwarding: *required(
                &bridge.forwarding,
                "what a host bridge does with requests between devices",
            )?,
            bus: None,
            windows: required(&bridge.windows, "the windows of a host bridge")?.clone(),
        })
    }

    pub(super) fn place(&self) -> Where {
        Where::HostBridge {
            domain: self.domain,
            bus: self.number,
        }
    }
}

fn required<'a, T>(value: &'a Fact<T>, fact: &'static str) -> Result<&'a T, BuildError> {
    match value {
        Fact::Known(value) => Ok(value),
        Fact::Unknown(why) => Err(BuildError::UnknownHostFact { fact, why: *why }),
    }
}
