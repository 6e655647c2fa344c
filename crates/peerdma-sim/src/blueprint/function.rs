//! All facts of a captured function but its BARs, its bus numbers and its windows.

use super::identity;
use crate::file::default_link;
use peerdma::fact::Fact;
use peerdma::pci::{
    AcsFlags, BarKind, BridgeKind, ClassCode, Command, Config, ConfigView, EgressVector, Express, Extent, Id,
    Link, Payload, PortType,
};
use peerdma::snapshot::Function;

/// What the kind of a function depends on: what is above it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    port_type: Option<PortType>,
}

impl Ends {
    /// Of a function, for those below it.
    pub(super) fn of(function: &Function) -> Self {
        Self {
            port_type: function.port_type().known().flatten(),
        }
    }
}

/// The smallest payload size that any function is told to use; 256 where none is known.
pub(super) fn least_payload_bytes(functions: &[Function]) -> u16 {
    let known = functions.iter().filter_map(|function| {
        let payload = function.config.express.as_ref().known()?.as_ref()?.payload;
        payload.known().map(|payload| payload.max_payload_bytes)
    });
    known.min().unwrap_or(256)
}

/// Fills in what is not known.
pub(super) fn fill(
    function: &mut Function,
    above: Option<Ends>,
    has_children: bool,
    payload_bytes: u16,
    told: &mut Vec<String>,
) {
    let is_virtual = matches!(function.os.physical_function, Fact::Known(Some(_)));
    let is_bridge = has_children || function.bridge().is_some();
    let config = &mut function.config;
    settle(&mut config.class, told, || match is_bridge {
        true => (ClassCode::new(0x06_04_00), "the class of a bridge".into()),
        false => (ClassCode::new(0x05_80_00), "the class of a memory card".into()),
    });
    let is_nobody = |id: &Id| id.vendor == 0xffff || id.vendor == 0 && matches!(id.device, 0 | 0xffff);
    if matches!(&config.id, Fact::Known(id) if is_nobody(id)) {
        config.id = Fact::NOT_IN_SOURCE;
    }
    settle(&mut config.id, told, || {
        let id = if is_bridge {
            identity::DOWNSTREAM_PORT
        } else {
            identity::CARD
        };
        (id, format!("identity {id}"))
    });
    settle(&mut config.revision, told, || (0, "revision 0".into()));
    settle(&mut config.subsystem, told, || (None, "no subsystem".into()));
    const BOTH: u16 = 0x6;
    settle(&mut config.command, told, || {
        (Command(BOTH), "memory and bus master enabled".into())
    });
    if let Fact::Known(command) = &mut config.command
        && is_virtual
        && !command.memory_enabled()
    {
        *command = Command(command.0 | 0x2);
        told.push("a memory enable of its own, though it is a virtual function".into());
    }
    let (port_type, link) = (function.os.port_type, function.os.link);
    let class = config.class;
    settle(&mut config.express, told, || {
        let port_type = port_type
            .known()
            .unwrap_or_else(|| likely_type(class, above, is_bridge));
        let express = port_type.map(|port_type| Express {
            port_type,
            link: link.map(|link| link.filter(|_| has_link(port_type))),
            port_number: Fact::NOT_IN_SOURCE,
            payload: Fact::NOT_IN_SOURCE,
        });
        let text = port_type.map_or("no PCI Express capability".into(), |port_type| {
            format!("a PCIe {port_type}")
        });
        (express, text)
    });
    let devfn = function.bdf.devfn();
    if let Fact::Known(Some(express)) = &mut config.express {
        fill_express(express, link, devfn, payload_bytes, told);
    }
    // What has PCI-X of the second generation is history: its absence needs no warning.
    config.pci_x_mode_2 = config.pci_x_mode_2.or(Fact::Known(false));
    settle(&mut config.acs, told, || (None, "no ACS".into()));
    if let Fact::Known(Some(acs)) = &mut config.acs {
        let has_vector = acs.capable.contains(AcsFlags::EGRESS_CONTROL);
        settle(&mut acs.egress, told, || {
            let vector = EgressVector::new(EgressVector::MOST_BITS).filter(|_| has_vector);
            (vector, "an egress control vector that forbids nothing".into())
        });
    }
    settle(&mut config.ats, told, || (None, "no ATS".into()));
    settle(&mut config.rebar, told, || {
        (Vec::new(), "no resizable BARs".into())
    });
    settle(&mut config.sriov, told, || (None, "no SR-IOV".into()));
    settle(&mut config.serial_number, told, || {
        (None, "no serial number".into())
    });
    fill_os(function, told);
}

fn fill_express(
    express: &mut Express,
    link: Fact<Option<Link>>,
    devfn: u8,
    payload_bytes: u16,
    told: &mut Vec<String>,
) {
    let port_type = express.port_type;
    settle(&mut express.link, told, || {
        let known = link.known().flatten();
        let link = known.unwrap_or_else(default_link);
        match has_link(port_type) {
            true => (Some(link), format!("a link of {}", link.max)),
            false => (None, "no link".into()),
        }
    });
    let has_link = matches!(express.link, Fact::Known(Some(_)));
    settle(&mut express.port_number, told, || match has_link {
        true => (Some(devfn), format!("port number {devfn}")),
        false => (None, "no port number".into()),
    });
    settle(&mut express.payload, told, || {
        let payload = Payload {
            max_supported_bytes: payload_bytes.max(512),
            max_payload_bytes: payload_bytes,
            max_read_request_bytes: 512,
        };
        (payload, format!("payloads of {payload_bytes} bytes"))
    });
}

/// What follows from configuration space needs no warning.
fn fill_os(function: &mut Function, told: &mut Vec<String>) {
    let express = function.config.express.known().flatten();
    let os = &mut function.os;
    os.link = os
        .link
        .or(express.map_or(Fact::Known(None), |express| express.link));
    os.port_type = os
        .port_type
        .or(Fact::Known(express.map(|express| express.port_type)));
    settle(&mut os.numa_node, told, || (None, "no NUMA node".into()));
    settle(&mut os.driver, told, || (None, "no driver".into()));
    settle(&mut os.p2pmem, told, || (None, "no p2pmem".into()));
    settle(&mut os.physical_function, told, || {
        (None, "no physical function".into())
    });
}

fn has_link(port_type: PortType) -> bool {
    !matches!(
        port_type,
        PortType::INTEGRATED_ENDPOINT | PortType::EVENT_COLLECTOR
    )
}

/// What a function is most likely, by what is above and below it.
fn likely_type(class: Fact<ClassCode>, above: Option<Ends>, is_bridge: bool) -> Option<PortType> {
    let is_host_bridge = class
        .known()
        .is_some_and(|class| class.class() == ClassCode::HOST_BRIDGE);
    match (above.map(|above| above.port_type), is_bridge) {
        (None, true) => Some(PortType::ROOT_PORT),
        (None, false) => (!is_host_bridge).then_some(PortType::INTEGRATED_ENDPOINT),
        (Some(None | Some(PortType::TO_CONVENTIONAL)), _) => None,
        (Some(Some(PortType::UPSTREAM)), true) => Some(PortType::DOWNSTREAM),
        (Some(Some(_)), true) => Some(PortType::UPSTREAM),
        (Some(Some(_)), false) => Some(PortType::ENDPOINT),
    }
}

/// Drops what no register can hold, so that the configuration space can be written and reads back the same.
pub(super) fn make_writable(function: &mut Function, told: &mut Vec<String>) {
    if let Err(error) = function.config.emit() {
        let config = &mut function.config;
        let is_host_bridge =
            matches!(config.class, Fact::Known(class) if class.class() == ClassCode::HOST_BRIDGE);
        if config.express == Fact::Known(None) && !is_host_bridge {
            config.acs = Fact::Known(None);
            config.ats = Fact::Known(None);
            config.rebar = Fact::Known(Vec::new());
            config.sriov = Fact::Known(None);
            config.serial_number = Fact::Known(None);
        }
        told.push(format!("less than it says, since {error}"));
    }
    let drops: [fn(&mut Config); 4] = [
        |config| config.bars = Fact::Known(Vec::new()),
        |config| {
            if let Fact::Known(Some(bridge)) = &mut config.bridge {
                bridge.windows = match bridge.kind {
                    BridgeKind::Pci => Fact::Known(Default::default()),
                    BridgeKind::CardBus => Fact::NOT_IN_SOURCE,
                };
            }
        },
        |config| {
            config.acs = Fact::Known(None);
            config.rebar = Fact::Known(Vec::new());
        },
        |config| {
            config.express = Fact::Known(None);
            config.ats = Fact::Known(None);
            config.sriov = Fact::Known(None);
            config.serial_number = Fact::Known(None);
            config.subsystem = Fact::Known(None);
        },
    ];
    for drop in drops {
        match function.config.emit() {
            Ok(_) => break,
            Err(_) => drop(&mut function.config),
        }
    }
    let Ok(bytes) = function.config.emit() else { return };
    let read = Config::parse(ConfigView::new(&bytes, Extent::Whole), &mut Vec::new());
    if read != function.config {
        told.push("what its registers say when they are written and read again".into());
        function.config = read;
    }
    drop_lost_bars(function);
}

/// What the registers do not show is not in the memory map either; a 32-bit register without an address shows nothing.
fn drop_lost_bars(function: &mut Function) {
    let (Fact::Known(registers), Fact::Known(resources)) =
        (&function.config.bars, &mut function.os.resources)
    else {
        return;
    };
    resources.retain(|resource| {
        let is_silent =
            resource.kind == BarKind::Memory32 && !resource.prefetchable && !resource.span.is_known();
        let has_register = registers.iter().any(|register| register.index == resource.index);
        !resource.kind.is_memory() || is_silent || has_register
    });
}

/// Fills in one fact, and says so.
pub(super) fn settle<T>(fact: &mut Fact<T>, told: &mut Vec<String>, usual: impl FnOnce() -> (T, String)) {
    if !fact.is_known() {
        let (value, text) = usual();
        *fact = Fact::Known(value);
        told.push(text);
    }
}
