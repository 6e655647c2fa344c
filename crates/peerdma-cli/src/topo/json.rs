//! The tree as data, schema `peerdma.topo/1` (docs/json.md).

use crate::describe::{FunctionLine, MachineLine};
use crate::input::Machine;
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::pci::{Acs, Bridge, Payload, PortType};
use peerdma::route::{LinkEnds, link_above};
use peerdma::snapshot::{BarFacts, IommuGroup, P2pmem};
use peerdma::topology::{NodeId, Place, Topology};
use serde::Serialize;

/// The whole answer.
#[derive(Serialize)]
pub(super) struct Answer<'m> {
    schema: &'static str,
    machine: MachineLine<'m>,
    roots: Vec<RootLine>,
    functions: Vec<Line<'m>>,
}

#[derive(Serialize)]
struct RootLine {
    domain: u32,
    bus: u8,
    /// The function that Linux looks up in its list of host bridges.
    first: Bdf,
}

#[derive(Serialize)]
struct Line<'m> {
    #[serde(flatten)]
    function: FunctionLine<'m>,
    place: PlaceLine,
    port_type: Fact<Option<PortType>>,
    bridge: &'m Fact<Option<Bridge>>,
    /// The link above the function; nothing where there is none.
    link: Option<Fact<LinkEnds>>,
    acs: &'m Fact<Option<Acs>>,
    bars: Fact<Vec<BarFacts>>,
    payload: Fact<Option<Payload>>,
    numa_node: Fact<Option<u32>>,
    iommu_group: &'m Fact<Option<IommuGroup>>,
    p2pmem: Fact<Option<P2pmem>>,
    physical_function: Fact<Option<Bdf>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum PlaceLine {
    /// On the root bus whose first function this is.
    OnRoot(Bdf),
    Below(Bdf),
    Unknown,
}

impl<'m> Answer<'m> {
    pub(super) fn new(machine: &'m Machine) -> Self {
        let topology = &machine.topology;
        Self {
            schema: "peerdma.topo/1",
            machine: MachineLine::new(machine),
            roots: topology
                .roots()
                .iter()
                .map(|root| RootLine {
                    domain: root.domain,
                    bus: root.bus,
                    first: topology.function(root.first).bdf,
                })
                .collect(),
            functions: topology.nodes().map(|node| line(topology, node)).collect(),
        }
    }
}

fn line(topology: &Topology, node: NodeId) -> Line<'_> {
    let function = topology.function(node);
    let bdf = |node: NodeId| topology.function(node).bdf;
    Line {
        function: FunctionLine::new(function),
        place: match topology.place(node) {
            Place::OnRoot(root) => match topology.roots().get(root.index()) {
                Some(root) => PlaceLine::OnRoot(bdf(root.first)),
                None => PlaceLine::Unknown,
            },
            Place::Below(bridge) => PlaceLine::Below(bdf(bridge)),
            Place::Unknown => PlaceLine::Unknown,
        },
        port_type: function.port_type(),
        bridge: &function.config.bridge,
        link: link_above(topology, node),
        acs: &function.config.acs,
        bars: function.bars(),
        payload: match function.config.express {
            Fact::Known(Some(express)) => express.payload.map(Some),
            Fact::Known(None) => Fact::Known(None),
            Fact::Unknown(why) => Fact::Unknown(why),
        },
        numa_node: function.os.numa_node,
        iommu_group: &function.os.iommu_group,
        p2pmem: function.os.p2pmem,
        physical_function: function.os.physical_function,
    }
}
