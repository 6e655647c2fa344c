//! A small machine that tests change where they need it.
//!
//! ```text
//! 00:01.0 -- 01:00.0 -+- 02:00.0 -- 03:00.0    memory 0x9000_0000
//!                     +- 02:01.0 -- 04:00.0    memory 0x9100_0000
//! 00:02.0 -- 05:00.0 -+- 06:00.0 -- 07:00.0    memory 0xa000_0000
//!                     +- 06:01.0 -- 08:00.0    memory 0xa100_0000
//! 00:03.0 -- 09:00.0 === 0a:01.0               memory 0xb000_0000 (conventional)
//!                     == 0a:02.0               memory 0xb010_0000
//! 00:04.0 -- 0b:00.0                           memory 0xc000_0000
//!            0b:00.1                           memory 0xc010_0000
//! ```

use crate::blueprint::{Blueprint, Nature};
use crate::fabric::{End, Explain, Fabric, FunctionId, Loss, Packet, Route, Where, Why};
use crate::tlp::{Access, AddressType, Ordering, Request};
use peerdma::addr::{Address, Bdf, BusAddr, PhysAddr, Span};
use peerdma::fact::Fact;
use peerdma::pci::{
    Acs, AcsFlags, Ats, Bar, BarKind, Bridge, BridgeKind, ClassCode, Command, Config, EgressVector, Express,
    Id, Link, LinkRate, LinkState, Payload, PortType, Windows,
};
use peerdma::snapshot::{
    Forwarding, Function, Host, HostBridge, HostWindow, IommuMode, Resource, Snapshot, Warnings,
};
use std::collections::BTreeMap;

pub(super) const MIB: u64 = 1 << 20;

pub(super) fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

pub(super) fn span(first: u64, last: u64) -> Span<BusAddr> {
    Span::new(BusAddr::from_u64(first), BusAddr::from_u64(last)).unwrap()
}

/// A function that does nothing yet.
fn function(at: &str, above: Option<&str>, port_type: Option<PortType>, number: u8) -> Function {
    let state = LinkState {
        rate: LinkRate(4),
        width: 16,
    };
    let mut function = Function::new(bdf(at));
    function.upstream = Fact::Known(above.map(bdf));
    function.os.resources = Fact::Known(Vec::new());
    function.os.physical_function = Fact::Known(None);
    function.config = Config {
        id: Fact::Known(Id {
            vendor: 0x1af4,
            device: 0x1000,
        }),
        class: Fact::Known(ClassCode::new(0x05_8000)),
        revision: Fact::Known(1),
        subsystem: Fact::Known(None),
        command: Fact::Known(Command(0x6)),
        bridge: Fact::Known(None),
        bars: Fact::Known(Vec::new()),
        express: Fact::Known(port_type.map(|port_type| Express {
            port_type,
            link: Fact::Known(Some(Link {
                max: state,
                now: state,
            })),
            port_number: Fact::Known(Some(number)),
            payload: Fact::Known(Payload {
                max_supported_bytes: 512,
                max_payload_bytes: 256,
                max_read_request_bytes: 512,
            }),
        })),
        pci_x_mode_2: Fact::Known(false),
        acs: Fact::Known(None),
        ats: Fact::Known(None),
        rebar: Fact::Known(Vec::new()),
        sriov: Fact::Known(None),
        serial_number: Fact::Known(None),
    };
    function
}

/// A bridge to buses `secondary` to `subordinate` with a memory window of `mib` MiB.
pub(super) fn bridge(
    at: &str,
    above: Option<&str>,
    port_type: Option<PortType>,
    number: u8,
    buses: (u8, u8),
    window: (u64, u64),
) -> Function {
    let mut function = function(at, above, port_type, number);
    function.config.class = Fact::Known(ClassCode::new(0x06_0400));
    function.config.bridge = Fact::Known(Some(Bridge {
        kind: BridgeKind::Pci,
        primary: function.bdf.bus(),
        secondary: buses.0,
        subordinate: buses.1,
        windows: Fact::Known(Windows {
            io: None,
            memory: Some(span(window.0, window.0 + window.1 * MIB - 1)),
            prefetchable: None,
        }),
    }));
    function
}

/// A function with 1 MiB of memory at `address`.
pub(super) fn card(at: &str, above: Option<&str>, port_type: Option<PortType>, address: u64) -> Function {
    let mut function = function(at, above, port_type, 0);
    function.config.bars = Fact::Known(vec![Bar {
        index: 0,
        kind: BarKind::Memory32,
        prefetchable: false,
        address: BusAddr::from_u64(address),
    }]);
    let phys = PhysAddr::from_u64(address);
    function.os.resources = Fact::Known(vec![Resource {
        index: 0,
        kind: BarKind::Memory32,
        prefetchable: false,
        span: Fact::Known(Span::new(phys, phys.checked_add(MIB - 1).unwrap()).unwrap()),
        size_bytes: Fact::Known(MIB),
    }]);
    function
}

pub(super) fn host(forwarding: Forwarding, iommu: IommuMode) -> Host {
    let ram = |first, last| Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).unwrap();
    Host {
        iommu: Fact::Known(iommu),
        bridges: Fact::Known(vec![HostBridge {
            domain: 0,
            bus: 0,
            windows: Fact::Known(vec![HostWindow {
                bus: span(0x9000_0000, 0xcfff_ffff),
                phys: PhysAddr::from_u64(0x9000_0000),
            }]),
            inbound_offset: Fact::Known(0),
            forwarding: Fact::Known(forwarding),
        }]),
        ram: Fact::Known(vec![ram(0, 0x7fff_ffff), ram(1 << 32, (2 << 32) - 1)]),
        ..Host::default()
    }
}

/// The machine of the head of this file, every ACS capability missing.
pub(super) struct Machine {
    pub(super) functions: Vec<Function>,
    pub(super) host: Host,
}

impl Machine {
    pub(super) fn new() -> Self {
        let (root, up, down) = (
            Some(PortType::ROOT_PORT),
            Some(PortType::UPSTREAM),
            Some(PortType::DOWNSTREAM),
        );
        let end = Some(PortType::ENDPOINT);
        let functions = vec![
            bridge("00:01.0", None, root, 1, (1, 4), (0x9000_0000, 64)),
            bridge("01:00.0", Some("00:01.0"), up, 0, (2, 4), (0x9000_0000, 64)),
            bridge("02:00.0", Some("01:00.0"), down, 1, (3, 3), (0x9000_0000, 16)),
            bridge("02:01.0", Some("01:00.0"), down, 2, (4, 4), (0x9100_0000, 16)),
            card("03:00.0", Some("02:00.0"), end, 0x9000_0000),
            card("04:00.0", Some("02:01.0"), end, 0x9100_0000),
            bridge("00:02.0", None, root, 2, (5, 8), (0xa000_0000, 64)),
            bridge("05:00.0", Some("00:02.0"), up, 0, (6, 8), (0xa000_0000, 64)),
            bridge("06:00.0", Some("05:00.0"), down, 1, (7, 7), (0xa000_0000, 16)),
            bridge("06:01.0", Some("05:00.0"), down, 2, (8, 8), (0xa100_0000, 16)),
            card("07:00.0", Some("06:00.0"), end, 0xa000_0000),
            card("08:00.0", Some("06:01.0"), end, 0xa100_0000),
            bridge("00:03.0", None, root, 3, (9, 10), (0xb000_0000, 16)),
            bridge(
                "09:00.0",
                Some("00:03.0"),
                Some(PortType::TO_CONVENTIONAL),
                0,
                (10, 10),
                (0xb000_0000, 16),
            ),
            card("0a:01.0", Some("09:00.0"), None, 0xb000_0000),
            card("0a:02.0", Some("09:00.0"), None, 0xb010_0000),
            bridge("00:04.0", None, root, 4, (11, 11), (0xc000_0000, 16)),
            card("0b:00.0", Some("00:04.0"), end, 0xc000_0000),
            card("0b:00.1", Some("00:04.0"), end, 0xc010_0000),
        ];
        Self {
            functions,
            host: host(Forwarding::Everything, IommuMode::Off),
        }
    }

    pub(super) fn with_host(mut self, forwarding: Forwarding, iommu: IommuMode) -> Self {
        self.host = host(forwarding, iommu);
        self
    }

    /// Changes the configuration of the function at `at`.
    pub(super) fn with(mut self, at: &str, change: impl FnOnce(&mut Config)) -> Self {
        let found = self.functions.iter_mut().find(|function| function.bdf == bdf(at));
        change(&mut found.unwrap().config);
        self
    }

    /// Gives a function all of ACS, with the bits of `letters` switched on, and vector bits set.
    pub(super) fn acs(self, at: &str, letters: &str, vector: &[u8]) -> Self {
        let control = AcsFlags::NAMES
            .iter()
            .filter(|(_, letter, _)| letters.contains(*letter))
            .fold(AcsFlags::default(), |all, (flag, ..)| all.union(*flag));
        let egress = vector.iter().fold(EgressVector::new(8).unwrap(), |vector, &bit| {
            vector.forbidding(bit)
        });
        self.with(at, |config| {
            config.acs = Fact::Known(Some(Acs {
                capable: AcsFlags::from_register(0x7f),
                control,
                egress: Fact::Known(Some(egress)),
            }));
        })
    }

    pub(super) fn ats(self, at: &str) -> Self {
        self.with(at, |config| config.ats = Fact::Known(Some(Ats { enabled: true })))
    }

    pub(super) fn command(self, at: &str, command: u16) -> Self {
        self.with(at, |config| config.command = Fact::Known(Command(command)))
    }

    pub(super) fn payload(self, at: &str, bytes: u16) -> Self {
        self.with(at, |config| {
            let Fact::Known(Some(express)) = &mut config.express else {
                panic!("{at} is conventional");
            };
            let Fact::Known(payload) = &mut express.payload else {
                panic!("{at} has no payload sizes");
            };
            payload.max_payload_bytes = bytes;
        })
    }

    pub(super) fn blueprint(self) -> Blueprint {
        Blueprint {
            snapshot: Snapshot::new(self.host, self.functions, &mut Warnings::default()),
            devices: BTreeMap::new(),
            nature: Nature::default(),
        }
    }

    pub(super) fn build(self) -> Fabric {
        Fabric::new(&self.blueprint()).unwrap()
    }
}

pub(super) fn request(from: &str, access: Access, address: u64) -> Request {
    Request {
        requester: bdf(from),
        access,
        address,
        len_bytes: 256,
        address_type: AddressType::Untranslated,
        ordering: Ordering::Strict,
    }
}

pub(super) fn read(from: &str, address: u64) -> Request {
    request(from, Access::Read, address)
}

pub(super) fn write(from: &str, address: u64) -> Request {
    request(from, Access::Write, address)
}

pub(super) fn translated(request: Request) -> Request {
    Request {
        address_type: AddressType::Translated,
        ..request
    }
}

impl Fabric {
    pub(super) fn at(&self, at: &str) -> FunctionId {
        self.find(bdf(at)).unwrap()
    }

    pub(super) fn routed(&self, request: &Request) -> Route {
        let mut route = Route::new(Explain::Notes);
        self.route_request(request, &mut route);
        route
    }

    /// Where a request ends, in a few letters: `04:00.0+0x10`, `ram 0x1000`, or who lost it and why.
    pub(super) fn fate(&self, request: &Request) -> String {
        self.end_text(&self.routed(request).end)
    }

    pub(super) fn end_text(&self, end: &End) -> String {
        match *end {
            End::Function { function, offset, .. } => {
                format!("{}+{offset:#x}", short(self.function(function).bdf))
            }
            End::Ram { phys } => format!("ram {phys:#x}"),
            End::Interrupt => "interrupt".into(),
            End::Requester => "requester".into(),
            End::Lost(loss) => match loss.at {
                Where::Function(function) => {
                    format!("{:?} at {}", loss.why, short(self.function(function).bdf))
                }
                Where::HostBridge { bus, .. } => format!("{:?} at host {bus:02x}", loss.why),
                at => format!("{:?} at {at:?}", loss.why),
            },
        }
    }

    /// The way in a few letters: `^` and `v` links, `s` switches, `R` the root complex, `c` conventional buses.
    pub(super) fn way(&self, route: &Route) -> String {
        use crate::fabric::{Direction, Leg};
        let letter = |leg: &Leg| match leg {
            Leg::Link {
                direction: Direction::Up,
                ..
            } => '^',
            Leg::Link { .. } => 'v',
            Leg::Switch { .. } => 's',
            Leg::RootComplex => 'R',
            Leg::ConventionalBus { .. } => 'c',
        };
        route.legs.iter().map(letter).collect()
    }
}

pub(super) fn short(bdf: Bdf) -> String {
    bdf.to_string().trim_start_matches("0000:").into()
}

pub(super) fn loss(fabric: &Fabric, at: &str, why: Why) -> Loss {
    Loss {
        at: Where::Function(fabric.at(at)),
        why,
        packet: Packet::Request,
    }
}
