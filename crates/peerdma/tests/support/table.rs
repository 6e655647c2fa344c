//! Reads `tests/tables/acs.txt`: fabrics, and what becomes of requests on them. The format is described at its
//! head. Knows nothing of any judge: what is expected stays text, which each judge compares with its own words.
#![allow(dead_code, reason = "each judge uses what it needs")]

use peerdma::addr::{Address, Bdf, BusAddr, PhysAddr, Span};
use peerdma::fact::Fact;
use peerdma::pci::{
    Acs, AcsFlags, Ats, Bar, BarKind, Bridge, ClassCode, Command, EgressVector, Express, Id, Link, LinkRate,
    LinkState, Payload, PortType, Windows,
};
use peerdma::route::{Access, TlpClass};
use peerdma::snapshot::{Forwarding, Function, Host, HostBridge, HostWindow, Resource, Snapshot, Warnings};
use std::collections::BTreeMap;

/// One line: a machine, a question, what is expected.
pub(crate) struct Row {
    /// Its line in the file.
    pub(crate) line: usize,
    pub(crate) machine: Snapshot,
    pub(crate) client: Bdf,
    pub(crate) provider: Bdf,
    pub(crate) access: Access,
    pub(crate) class: TlpClass,
    /// `bus` or `host`; `ram` where RAM is asked for.
    pub(crate) form: String,
    /// `direct`, `refused 02:00.0 unclaimed`, ...
    pub(crate) expected: String,
    /// Section of the specification.
    pub(crate) source: String,
}

/// Which bits of a command register are set; `None` where the register is unknown.
#[derive(Clone)]
struct Part {
    bdf: Bdf,
    above: Option<Bdf>,
    words: BTreeMap<String, String>,
}

/// A machine in the making: attributes by name, so that a row can change any of them.
#[derive(Clone, Default)]
struct Fabric {
    host: BTreeMap<String, String>,
    bridges: BTreeMap<(u32, u8), BTreeMap<String, String>>,
    parts: Vec<Part>,
}

/// All rows of the table that are about the memory of a function.
///
/// # Panics
/// With the line's number where a line makes no sense.
pub(crate) fn rows(text: &str) -> Vec<Row> {
    let mut rows = all_rows(text);
    rows.retain(|row| row.form != RAM);
    rows
}

/// All rows that are about host RAM; whose memory it is has no meaning.
///
/// # Panics
/// As [`rows`].
pub(crate) fn ram_rows(text: &str) -> Vec<Row> {
    let mut rows = all_rows(text);
    rows.retain(|row| row.form == RAM);
    rows
}

const RAM: &str = "ram";

fn all_rows(text: &str) -> Vec<Row> {
    let mut fabrics: BTreeMap<String, Fabric> = BTreeMap::new();
    let mut present: Option<String> = None;
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells[..] {
            [one] => match one.strip_prefix("fabric ") {
                Some(name) => {
                    let mut words = name.split_whitespace();
                    let name = words.next().expect("a fabric has a name").to_owned();
                    let base = words.next().map(|base| fabrics[base].clone());
                    fabrics.insert(name.clone(), base.unwrap_or_default());
                    present = Some(name);
                }
                None => {
                    let name = present.as_ref().expect("a fabric before its parts");
                    let fabric = fabrics.get_mut(name).expect("it was put there");
                    fabric.apply(one, line_number);
                }
            },
            [fabric, changes, question, expected, source] => {
                let mut fabric = fabrics
                    .get(fabric)
                    .unwrap_or_else(|| panic!("line {line_number}: no fabric {fabric}"))
                    .clone();
                for change in changes.split(';').map(str::trim).filter(|text| !text.is_empty()) {
                    fabric.apply(change, line_number);
                }
                rows.push(row(&fabric, question, expected, source, line_number));
            }
            _ => panic!("line {line_number}: one cell or five, not {}", cells.len()),
        }
    }
    rows
}

fn row(fabric: &Fabric, question: &str, expected: &str, source: &str, line: usize) -> Row {
    let words: Vec<&str> = question.split_whitespace().collect();
    let (client, access, provider, class, form) = match words[..] {
        [client, access, RAM, class] => (client, access, client, class, RAM),
        [client, access, provider, class, form] => (client, access, provider, class, form),
        _ => panic!(
            "line {line}: CLIENT reads|writes PROVIDER CLASS bus|host, or CLIENT reads|writes ram CLASS"
        ),
    };
    Row {
        line,
        machine: fabric.machine(line),
        client: bdf(client, line),
        provider: bdf(provider, line),
        access: match access {
            "reads" => Access::Read,
            "writes" => Access::Write,
            _ => panic!("line {line}: reads or writes, not {access}"),
        },
        class: *TlpClass::ALL
            .iter()
            .find(|known| known.name() == class)
            .unwrap_or_else(|| panic!("line {line}: no class {class}")),
        form: form.to_owned(),
        expected: expected.to_owned(),
        source: source.to_owned(),
    }
}

fn bdf(text: &str, line: usize) -> Bdf {
    text.parse()
        .unwrap_or_else(|_| panic!("line {line}: no address: {text}"))
}

fn hex(text: &str, line: usize) -> u64 {
    u64::from_str_radix(text, 16).unwrap_or_else(|_| panic!("line {line}: no number: {text}"))
}

impl Fabric {
    /// `host k=v ...`, `DDDD:BB k=v ...` or `BDF k=v ...`.
    fn apply(&mut self, text: &str, line: usize) {
        let mut words = text.split_whitespace();
        let who = words.next().expect("not empty");
        let map = if who == "host" {
            &mut self.host
        } else if let Ok(at) = who.parse::<Bdf>() {
            let index = match self.parts.iter().position(|part| part.bdf == at) {
                Some(index) => index,
                None => {
                    self.parts.push(Part {
                        bdf: at,
                        above: None,
                        words: BTreeMap::new(),
                    });
                    self.parts.len() - 1
                }
            };
            &mut self.parts[index].words
        } else {
            let (domain, bus) = who
                .split_once(':')
                .unwrap_or_else(|| panic!("line {line}: what is {who}?"));
            let key = (hex(domain, line) as u32, hex(bus, line) as u8);
            self.bridges.entry(key).or_default()
        };
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            map.insert(key.to_owned(), value.to_owned());
        }
    }

    fn machine(&self, line: usize) -> Snapshot {
        let mut host = Host::default();
        if let Some(mode) = self.host.get("iommu").filter(|mode| *mode != "?") {
            let mode = mode.parse();
            host.iommu = Fact::Known(mode.unwrap_or_else(|error| panic!("line {line}: {error}")));
        }
        if let Some(ram) = self.host.get("ram").filter(|ram| *ram != "?") {
            let (first, last) = span(ram, line);
            host.ram = Fact::Known(vec![
                Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).expect("a span"),
            ]);
        }
        if self.host.get("bridges").is_none_or(|told| told != "?") {
            let bridges = self.bridges.iter();
            host.bridges = Fact::Known(
                bridges
                    .map(|(&(domain, bus), words)| host_bridge(domain, bus, words, line))
                    .collect(),
            );
        }
        let functions = self.parts.iter().map(|part| part.function(line)).collect();
        let mut warnings = Warnings::default();
        let machine = Snapshot::new(host, functions, &mut warnings);
        assert_eq!(warnings, Warnings::default(), "line {line}");
        machine
    }
}

fn span(text: &str, line: usize) -> (u64, u64) {
    let (first, last) = text
        .split_once('-')
        .unwrap_or_else(|| panic!("line {line}: FIRST-LAST, not {text}"));
    (hex(first, line), hex(last, line))
}

fn host_bridge(domain: u32, bus: u8, words: &BTreeMap<String, String>, line: usize) -> HostBridge {
    let told = |key: &str| words.get(key).filter(|value| *value != "?");
    let windows = told("window").map_or(Fact::NOT_IN_SOURCE, |text| {
        let (bus, phys) = text
            .split_once('@')
            .unwrap_or_else(|| panic!("line {line}: FIRST-LAST@PHYS, not {text}"));
        let (first, last) = span(bus, line);
        Fact::Known(vec![HostWindow {
            bus: Span::new(BusAddr::from_u64(first), BusAddr::from_u64(last)).expect("a span"),
            phys: PhysAddr::from_u64(hex(phys, line)),
        }])
    });
    let inbound_offset = told("inbound").map_or(Fact::NOT_IN_SOURCE, |text| {
        Fact::Known(match text.strip_prefix('-') {
            Some(text) => -(hex(text, line) as i64),
            None => hex(text, line) as i64,
        })
    });
    let all = [
        Forwarding::Nothing,
        Forwarding::StoresOnly,
        Forwarding::SameBridge,
        Forwarding::Everything,
    ];
    let forwarding = told("forwarding").map_or(Fact::NOT_IN_SOURCE, |text| {
        let found = all.into_iter().find(|known| known.name() == text);
        Fact::Known(found.unwrap_or_else(|| panic!("line {line}: no forwarding {text}")))
    });
    HostBridge {
        domain,
        bus,
        windows,
        inbound_offset,
        forwarding,
    }
}

impl Part {
    fn word(&self, key: &str) -> Option<&str> {
        self.words.get(key).map(String::as_str)
    }

    /// `Some(None)` where the word is a question mark.
    fn told(&self, key: &str) -> Fact<Option<&str>> {
        match self.word(key) {
            Some("?") => Fact::NOT_IN_SOURCE,
            other => Fact::Known(other),
        }
    }

    fn function(&self, line: usize) -> Function {
        let mut function = Function::new(self.bdf);
        let above = self.word("below").map(|above| bdf(above, line));
        function.upstream = Fact::Known(above.or(self.above));
        let kind = self
            .word("is")
            .unwrap_or_else(|| panic!("line {line}: {} is what?", self.bdf));
        let port_type = match kind {
            "root-port" => Some(PortType::ROOT_PORT),
            "upstream" => Some(PortType::UPSTREAM),
            "downstream" => Some(PortType::DOWNSTREAM),
            "endpoint" => Some(PortType::ENDPOINT),
            "integrated" => Some(PortType::INTEGRATED_ENDPOINT),
            "to-conventional" => Some(PortType::TO_CONVENTIONAL),
            "conventional" | "conventional-bridge" => None,
            _ => panic!("line {line}: no kind {kind}"),
        };
        let config = &mut function.config;
        config.id = Fact::Known(Id {
            vendor: 0x8086,
            device: 0x1234,
        });
        let is_bridge = self.word("buses").is_some();
        let class = if is_bridge { 0x06_0400 } else { 0x02_0000 };
        config.class = Fact::Known(ClassCode::new(class));
        config.revision = Fact::Known(0);
        config.subsystem = Fact::Known(None);
        config.rebar = Fact::Known(Vec::new());
        config.sriov = Fact::Known(None);
        config.serial_number = Fact::Known(None);
        let bit = |key, mask| match self.word(key) {
            Some("0") => 0,
            _ => mask,
        };
        config.command = match self.word("command") {
            Some("?") => Fact::NOT_IN_SOURCE,
            _ => Fact::Known(Command(bit("mse", 0x2) | bit("bme", 0x4))),
        };
        config.bridge = Fact::Known(self.bridge(line));
        config.express = Fact::Known(port_type.map(|port_type| self.express(port_type, line)));
        config.acs = self.acs(line);
        config.ats = self.told("ats").map(|text| {
            text.filter(|text| *text != "none")
                .map(|text| Ats { enabled: text == "1" })
        });
        config.bars = Fact::Known(self.bars(line).into_iter().map(|bar| bar.0).collect());
        function.os.resources = Fact::Known(self.bars(line).into_iter().filter_map(|bar| bar.1).collect());
        function.os.physical_function = Fact::Known(None);
        function
    }

    /// The BAR as register and, where the row says what the CPU sees (`phys=`), as resource.
    fn bars(&self, line: usize) -> Vec<(Bar, Option<Resource>)> {
        let Some(text) = self.word("bar") else {
            return Vec::new();
        };
        let (address, size) = text
            .split_once('+')
            .unwrap_or_else(|| panic!("line {line}: ADDRESS+SIZE, not {text}"));
        let (address, size_bytes) = (hex(address, line), hex(size, line));
        let phys = match self.word("phys") {
            Some("none") => None,
            Some(text) => Some(hex(text, line)),
            None => Some(address),
        };
        let bar = Bar {
            index: 0,
            kind: BarKind::Memory64,
            prefetchable: false,
            address: BusAddr::from_u64(address),
        };
        let span = phys.map_or(Fact::NOT_IN_SOURCE, |phys| {
            let last = PhysAddr::from_u64(phys + (size_bytes - 1));
            Fact::Known(Span::new(PhysAddr::from_u64(phys), last).expect("a span"))
        });
        let resource = Resource {
            index: 0,
            kind: BarKind::Memory64,
            prefetchable: false,
            span,
            size_bytes: Fact::Known(size_bytes),
        };
        vec![(bar, Some(resource))]
    }

    fn bridge(&self, line: usize) -> Option<Bridge> {
        let (secondary, subordinate) = span(self.word("buses")?, line);
        let windows = self.told("window").map(|text| Windows {
            io: None,
            memory: text.map(|text| {
                let (first, last) = span(text, line);
                Span::new(BusAddr::from_u64(first), BusAddr::from_u64(last)).expect("a span")
            }),
            prefetchable: None,
        });
        Some(Bridge {
            primary: self.bdf.bus(),
            secondary: secondary as u8,
            subordinate: subordinate as u8,
            windows,
            ..Bridge {
                kind: peerdma::pci::BridgeKind::Pci,
                primary: 0,
                secondary: 0,
                subordinate: 0,
                windows: Fact::NOT_IN_SOURCE,
            }
        })
    }

    fn express(&self, port_type: PortType, line: usize) -> Express {
        let state = LinkState {
            rate: LinkRate(4),
            width: 16,
        };
        let has_link = !matches!(port_type, PortType::INTEGRATED_ENDPOINT);
        Express {
            port_type,
            link: Fact::Known(has_link.then_some(Link {
                max: state,
                now: state,
            })),
            port_number: self.told("port").map(|text| {
                let number = text.map_or(0, |text| hex(text, line) as u8);
                has_link.then_some(number)
            }),
            payload: self.told("mps").map(|text| Payload {
                max_supported_bytes: 4096,
                max_payload_bytes: text.map_or(256, |text| {
                    text.parse().unwrap_or_else(|_| panic!("line {line}: mps {text}"))
                }),
                max_read_request_bytes: self.word("mrrs").map_or(512, |text| {
                    text.parse()
                        .unwrap_or_else(|_| panic!("line {line}: mrrs {text}"))
                }),
            }),
        }
    }

    fn acs(&self, line: usize) -> Fact<Option<Acs>> {
        let flags = |text: &str| {
            text.chars()
                .filter(|letter| *letter != '-')
                .fold(AcsFlags::default(), |flags, letter| {
                    let found = AcsFlags::NAMES.iter().find(|(_, known, _)| *known == letter);
                    let (flag, ..) = found.unwrap_or_else(|| panic!("line {line}: no bit {letter}"));
                    flags.union(*flag)
                })
        };
        let control = match self.word("acs") {
            None | Some("none") => return Fact::Known(None),
            Some("?") => return Fact::NOT_IN_SOURCE,
            Some(text) => flags(text),
        };
        let capable = self.word("capable").map_or(AcsFlags::from_register(0x7f), flags);
        let size = self.word("bits").map_or(8, |text| text.parse().expect("a size"));
        let egress = match self.word("vector") {
            Some("?") => Fact::NOT_IN_SOURCE,
            _ if !capable.contains(AcsFlags::EGRESS_CONTROL) => Fact::Known(None),
            text => {
                let clear = EgressVector::new(size).expect("1 to 256 bits");
                let numbers = text.unwrap_or("").split(',').filter(|text| !text.is_empty());
                Fact::Known(Some(
                    numbers.fold(clear, |vector, number| vector.forbidding(hex(number, line) as u8)),
                ))
            }
        };
        Fact::Known(Some(Acs {
            capable,
            control,
            egress,
        }))
    }
}
