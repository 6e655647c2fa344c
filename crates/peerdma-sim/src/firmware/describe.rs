//! What software finds when firmware is done: configuration space and the operating system's view, every fact known.

use super::plan::{Node, PlacedBar, Plan, Role};
use super::room::{HIGH, LOW};
use super::siblings::Siblings;
use super::window::Chosen;
use crate::blueprint::identity;
use crate::file::{
    At, BarWidth, Common, Habits, Kind, Link as FileLink, Machine, MachineError, Port, Prefetchable, Reach,
    Switched, Wrong,
};
use peerdma::addr::{Address, BusAddr, PhysAddr, Span};
use peerdma::fact::Fact;
use peerdma::pci::{
    self, Ats, BarKind, Bridge, BridgeKind, ClassCode, Command, Config, Express, Id, Link, LinkRate,
    LinkState, Payload, PortType, Rebar, Windows,
};
use peerdma::snapshot::{Function, HostWindow, Os, Resource};

/// All functions, in the order of the plan.
pub(super) fn functions(
    machine: &Machine,
    plan: &Plan<'_>,
    hosts: &[Chosen],
) -> Result<Vec<Function>, MachineError> {
    let siblings = Siblings::new(plan);
    let describe = |(index, node): (usize, &Node<'_>)| {
        let host = hosts.get(node.host).map_or(&[][..], |chosen| &chosen.windows);
        Ok(Function {
            bdf: node.bdf,
            upstream: Fact::Known(node.parent.map(|parent| plan.nodes[parent].bdf)),
            config: config(index, node, &machine.firmware, &siblings)?,
            os: os(node, machine, host)?,
            raw_config: None,
        })
    };
    plan.nodes.iter().enumerate().map(describe).collect()
}

fn config(
    index: usize,
    node: &Node<'_>,
    habits: &Habits,
    siblings: &Siblings<'_>,
) -> Result<Config, MachineError> {
    let common = node.role.common();
    let (usual_id, class) = identity_of(node.role);
    let id = common.and_then(|common| common.id).unwrap_or(usual_id);
    let acs = common.and_then(|common| common.acs.as_ref());
    let rebar = rebar(node)?;
    if !node.role.is_express() {
        let device = node.role.device();
        let extended = [
            ("acs", acs.is_some()),
            ("ats", device.is_some_and(|device| device.ats.is_some())),
            ("resizable-from", !rebar.is_empty()),
        ];
        if let Some((key, _)) = extended.iter().find(|(_, is_there)| *is_there) {
            let conflict = Wrong::Conflict {
                what: format!(
                    "`{key}` needs extended configuration space, which conventional functions lack"
                ),
                instead: "leave it out, or put the function below a port".into(),
            };
            return Err(conflict.at(common.map_or(At::default(), |common| common.at)));
        }
    }
    Ok(Config {
        id: Fact::Known(id),
        class: Fact::Known(ClassCode::new(class)),
        revision: Fact::Known(0),
        subsystem: Fact::Known(node.role.kind().as_ref().map(identity::subsystem)),
        command: Fact::Known(command(node, habits)),
        bridge: Fact::Known(bridge(node)),
        bars: Fact::Known(node.bars.iter().filter_map(register).collect()),
        express: Fact::Known(express(node)?),
        pci_x_mode_2: Fact::Known(false),
        acs: Fact::Known(acs.map(|acs| siblings.acs(index, node, acs)).transpose()?),
        ats: Fact::Known(node.role.device().and_then(|device| device.ats).map(|ats| Ats {
            enabled: ats == Switched::On,
        })),
        rebar: Fact::Known(rebar),
        sriov: Fact::Known(None),
        serial_number: Fact::Known(None),
    })
}

fn identity_of(role: Role<'_>) -> (Id, u32) {
    const PORT: u32 = 0x06_04_00;
    match role {
        Role::HostBridge(id) => (id, 0x06_00_00),
        Role::RootPort(_) => (identity::ROOT_PORT, PORT),
        Role::Upstream(..) => (identity::UPSTREAM_PORT, PORT),
        Role::Downstream(_) => (identity::DOWNSTREAM_PORT, PORT),
        Role::Conventional(..) => (identity::CONVENTIONAL_BRIDGE, PORT),
        Role::Endpoint(device, _) | Role::Integrated(device) | Role::OnConventionalBus(device) => {
            match device.kind {
                Kind::Card { .. } => (identity::CARD, 0x05_80_00),
                Kind::Nvme { .. } => (identity::NVME, 0x01_08_02),
                Kind::Accelerator { .. } => (identity::ACCELERATOR, 0x12_00_00),
            }
        }
    }
}

fn command(node: &Node<'_>, habits: &Habits) -> Command {
    const MEMORY: u16 = 0x2;
    const BUS_MASTER: u16 = 0x4;
    let Some(common) = node.role.common() else {
        return Command(MEMORY | BUS_MASTER);
    };
    let (memory, bus_master) = match node.role.device() {
        Some(_) => (
            common.memory.and(habits.memory),
            common.bus_master.and(habits.bus_master),
        ),
        None => (common.memory, common.bus_master),
    };
    let bit = |switched, bit| if switched == Switched::On { bit } else { 0 };
    Command(bit(memory, MEMORY) | bit(bus_master, BUS_MASTER))
}

fn bridge(node: &Node<'_>) -> Option<Bridge> {
    let (secondary, subordinate) = node.buses?;
    let open = match node.role {
        Role::RootPort(port) | Role::Downstream(port) => port.windows,
        Role::Upstream(switch, _) => switch.windows,
        Role::Conventional(bridge, _) => bridge.windows,
        _ => Switched::On,
    };
    let window = |kind: usize| {
        let (base, len) = node.windows[kind].filter(|_| open == Switched::On)?;
        span(base, len)
    };
    Some(Bridge {
        kind: BridgeKind::Pci,
        primary: node.bdf.bus(),
        secondary,
        subordinate,
        windows: Fact::Known(Windows {
            io: None,
            memory: window(LOW),
            prefetchable: window(HIGH),
        }),
    })
}

fn span(base: u64, len_bytes: u64) -> Option<Span<BusAddr>> {
    Span::new(BusAddr::from_u64(base), BusAddr::from_u64(base + (len_bytes - 1))).ok()
}

/// The register of a BAR; nothing where it reads 0.
fn register(placed: &PlacedBar) -> Option<pci::Bar> {
    let address = placed.bus_address.unwrap_or(0);
    let prefetchable = placed.bar.prefetchable == Prefetchable::Yes;
    let kind = bar_kind(placed);
    (address != 0 || prefetchable || kind == BarKind::Memory64).then_some(pci::Bar {
        index: placed.bar.index,
        kind,
        prefetchable,
        address: BusAddr::from_u64(address),
    })
}

fn bar_kind(placed: &PlacedBar) -> BarKind {
    match placed.bar.width {
        BarWidth::Narrow => BarKind::Memory32,
        BarWidth::Wide => BarKind::Memory64,
    }
}

fn rebar(node: &Node<'_>) -> Result<Vec<Rebar>, MachineError> {
    const MIB_EXPONENT: u32 = 20;
    let entries = node.bars.iter().filter_map(|placed| {
        let least = placed.bar.smallest_bytes?;
        let exponent = |bytes: u64| {
            bytes
                .max(1)
                .ilog2()
                .checked_sub(MIB_EXPONENT)
                .filter(|code| *code < 44)
        };
        let (Some(first), Some(last)) = (exponent(least), exponent(placed.bar.size_bytes)) else {
            let conflict = Wrong::Conflict {
                what: "a resizable BAR has sizes from 1 MiB up".into(),
                instead: "leave out `resizable-from`, or raise it".into(),
            };
            return Some(Err(conflict.at(placed.bar.at)));
        };
        Some(Ok(Rebar {
            bar: placed.bar.index,
            possible: (first..=last).map(|bit| 1u64 << bit).sum(),
            current: exponent(placed.size_bytes).unwrap_or(0) as u8,
        }))
    });
    entries.collect()
}

fn express(node: &Node<'_>) -> Result<Option<Express>, MachineError> {
    let Some(common) = node.role.common().filter(|_| node.role.is_express()) else {
        return Ok(None);
    };
    let port_type = match node.role {
        Role::RootPort(_) => PortType::ROOT_PORT,
        Role::Upstream(..) => PortType::UPSTREAM,
        Role::Downstream(_) => PortType::DOWNSTREAM,
        Role::Conventional(..) => PortType::TO_CONVENTIONAL,
        Role::Integrated(_) => PortType::INTEGRATED_ENDPOINT,
        _ => PortType::ENDPOINT,
    };
    let link = link(node)?;
    Ok(Some(Express {
        port_type,
        link: Fact::Known(link),
        port_number: Fact::Known(link.map(|_| node.number)),
        payload: Fact::Known(payload(node, common)),
    }))
}

fn payload(node: &Node<'_>, common: &Common) -> Payload {
    let valid = |bytes: u16| bytes.clamp(128, 4096).next_power_of_two().min(4096);
    Payload {
        max_supported_bytes: valid(common.max_supported_bytes),
        max_payload_bytes: valid(node.max_payload_bytes),
        max_read_request_bytes: valid(common.max_read_request_bytes),
    }
}

/// The link that leads to a function, or away from it below a port.
fn link(node: &Node<'_>) -> Result<Option<Link>, MachineError> {
    let (port, own) = match node.role {
        Role::RootPort(port) | Role::Downstream(port) => (port, None),
        Role::Upstream(switch, above) => (above, switch.link),
        Role::Conventional(bridge, Some(above)) => (above, bridge.link),
        Role::Endpoint(device, above) => (above, device.link),
        _ => return Ok(None),
    };
    let FileLink { max, trained } = port.link;
    let far = far_end(port);
    let best = far.map(|far| LinkState {
        rate: max.rate.min(far.rate),
        width: max.width.min(far.width),
    });
    let now = match (best, trained) {
        (None, _) => LinkState {
            rate: LinkRate(1),
            width: 0,
        },
        (Some(best), None) => best,
        (Some(best), Some(trained)) if trained.rate <= best.rate && trained.width <= best.width => trained,
        (Some(best), Some(trained)) => {
            let conflict = Wrong::Conflict {
                what: format!(
                    "the link is trained to {trained}, which is better than both ends can ({best})"
                ),
                instead: "lower `trained`, or raise `link` at both ends".into(),
            };
            return Err(conflict.at(port.common.at));
        }
    };
    Ok(Some(Link {
        max: own.unwrap_or(max),
        now,
    }))
}

/// What the end of the link below a port can do; nothing where nothing is plugged in.
fn far_end(port: &Port) -> Option<LinkState> {
    let own = match (&port.switch, &port.conventional, port.devices.first()) {
        (Some(switch), _, _) => switch.link,
        (_, Some(bridge), _) => bridge.link,
        (_, _, Some(device)) => device.link,
        _ => return None,
    };
    Some(own.unwrap_or(port.link.max))
}

fn os(node: &Node<'_>, machine: &Machine, windows: &[HostWindow]) -> Result<Os, MachineError> {
    let resource = |placed: &PlacedBar| Resource {
        index: placed.bar.index,
        kind: bar_kind(placed),
        prefetchable: placed.bar.prefetchable == Prefetchable::Yes,
        span: phys_span(placed, windows).map_or(Fact::NOT_IN_SOURCE, Fact::Known),
        size_bytes: Fact::Known(placed.size_bytes),
    };
    let host = machine.bridges.get(node.host);
    let name = node.role.common().and_then(|common| common.name.clone());
    let express = express(node)?;
    Ok(Os {
        resources: Fact::Known(node.bars.iter().map(resource).collect()),
        link: express.map_or(Fact::Known(None), |express| express.link),
        port_type: Fact::Known(express.map(|express| express.port_type)),
        numa_node: Fact::Known(host.and_then(|host| host.numa_node)),
        iommu_group: Fact::Known(None),
        driver: Fact::Known(None),
        names: name.into_iter().collect(),
        p2pmem: Fact::Known(None),
        physical_function: Fact::Known(None),
    })
}

/// Where the CPU sees a BAR.
fn phys_span(placed: &PlacedBar, windows: &[HostWindow]) -> Option<Span<PhysAddr>> {
    if placed.bar.reach != Reach::Cpu {
        return None;
    }
    let address = BusAddr::from_u64(placed.bus_address?);
    let phys = windows.iter().find_map(|window| window.phys_address(address))?;
    Span::new(phys, phys.checked_add(placed.size_bytes - 1)?).ok()
}
