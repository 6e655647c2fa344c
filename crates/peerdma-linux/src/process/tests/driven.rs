//! The machine as it is once functions are taken: against the same machine switched on by hand.

use super::fake::Fake;
use crate::KeepConfig;
use crate::process::devices::Member;
use crate::process::{Process, ProcessOptions};
use crate::source;
use crate::vfio::Api;
use peerdma::addr::{Address, Bdf};
use peerdma::dma::{PeerRoute, Refused, Routes, SpecRoutes};
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{Command, Config, ConfigView, Extent};
use peerdma::route::linux::{Kernel, believed};
use peerdma::route::spec::{Judge, Refusal};
use peerdma::route::{Access, TlpClass};
use peerdma::snapshot::{Snapshot, Warnings};
use peerdma::topology::Topology;
use std::path::Path;

/// Two sockets, devices below a switch on each.
const SERVER: &str = include_str!("../../../../../machines/captured/two-socket-gpu.lspci.txt");
/// An SSD and a GPU below the switch of the first socket, an SSD of the second.
const TAKEN: [Bdf; 3] = [
    Bdf::from_devfn(0, 5, 0),
    Bdf::from_devfn(0, 3, 0),
    Bdf::from_devfn(0, 0x85, 0),
];

fn server(command: u16) -> Snapshot {
    let read = source::read(
        SERVER.as_bytes(),
        "server",
        0,
        KeepConfig::Drop,
        &mut Warnings::default(),
    );
    let mut snapshot = read.unwrap();
    snapshot.host.cpu = Fact::Known("GenuineIntel:6".parse().unwrap());
    snapshot.edit(|function| function.config.command = Fact::Known(Command(command)));
    snapshot
}

fn topology(snapshot: Snapshot) -> Topology {
    Topology::new(snapshot, &mut Warnings::default())
}

/// The folder of sysfs where every function's command register holds this.
fn sysfs(command: u16) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for function in server(command).functions() {
        write_header(folder.path(), function.bdf, 0x8086, command);
    }
    folder
}

fn write_header(sys: &Path, bdf: Bdf, vendor: u16, command: u16) {
    let folder = sys.join("bus/pci/devices").join(bdf.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    let mut header = [0; 64];
    header[..2].copy_from_slice(&vendor.to_le_bytes());
    header[4..6].copy_from_slice(&command.to_le_bytes());
    std::fs::write(folder.join("config"), header).unwrap();
}

/// A process on a server where nothing was switched on when it was looked at, with some functions taken.
fn process(sys: &Path, taken: &[Bdf]) -> Process {
    process_on(server(0), sys, taken)
}

fn process_on(seen: Snapshot, sys: &Path, taken: &[Bdf]) -> Process {
    let options = ProcessOptions {
        ram_bytes: 1 << 20,
        api: None,
    };
    let process = Process::with_sys(topology(seen), options, sys).unwrap();
    let member = |bdf: &Bdf| {
        let backend = Fake::new(Api::Type1, &[(0, (1 << 48) - 1)]);
        (*bdf, Member::of(None, backend), Vec::new())
    };
    process.adopt_all(taken.iter().map(member).collect()).unwrap();
    process
}

/// All routes between functions that were taken, and theirs to RAM.
fn answers(routes: &dyn Routes) -> Vec<(PeerRoute, Result<(), Refused>)> {
    let mut answers = Vec::new();
    for initiator in TAKEN {
        for provider in TAKEN.into_iter().filter(|provider| *provider != initiator) {
            for access in Access::ALL {
                answers.push((
                    routes.route(initiator, provider, 0, access, TlpClass::Strict),
                    routes.ram(initiator, access, TlpClass::Strict),
                ));
            }
        }
    }
    answers
}

const KERNEL: Kernel = Kernel::Release(Kernel::OLDEST);
const ON: u16 = 0b110;

#[test]
fn controllers_that_nobody_drove_are_judged_as_they_are_once_they_were_opened() {
    let sys = sysfs(ON);
    let driven = process(sys.path(), &TAKEN).driven(KERNEL);
    let (on, beliefs) = believed(&topology(server(ON)), KERNEL);
    let on = topology(on);
    let judge = Judge::new(&on);
    let expected = SpecRoutes::new(&judge);
    let seen = answers(&driven.routes());
    assert_eq!(seen.len(), 12);
    let reached =
        |(route, ram): &&(PeerRoute, _)| matches!(route, PeerRoute::Reached { .. }) && *ram == Ok(());
    assert_eq!(seen.iter().filter(reached).count(), 4, "{seen:?}");
    for (seen, expected) in seen.iter().zip(answers(&expected)) {
        assert_eq!(seen.0, expected.0);
    }
    assert_eq!(driven.beliefs(), beliefs);
}

#[test]
fn what_stays_switched_off_above_a_function_that_was_taken_is_judged_so() {
    let sys = sysfs(ON);
    let port = "0000:00:02.0".parse().unwrap();
    write_header(sys.path(), port, 0x8086, 0b010);
    let driven = process(sys.path(), &TAKEN).driven(KERNEL);
    assert_eq!(
        driven.routes().ram(TAKEN[0], Access::Write, TlpClass::Strict),
        Err(Refused::Stopped {
            at: port,
            why: Refusal::PortMasterDisabled
        })
    );
}

#[test]
fn a_bridge_whose_register_cannot_be_read_anew_is_unknown() {
    let sys = sysfs(ON);
    let gone: Bdf = "0000:02:11.0".parse().unwrap();
    let hidden: Bdf = "0000:01:00.0".parse().unwrap();
    write_header(sys.path(), gone, 0xffff, 0xffff);
    std::fs::remove_dir_all(sys.path().join("bus/pci/devices").join(hidden.to_string())).unwrap();
    let driven = process(sys.path(), &TAKEN).driven(KERNEL);
    let command = |bdf| {
        let topology = driven.topology();
        topology.function(topology.find(bdf).unwrap()).config.command
    };
    assert_eq!(command(gone), Fact::Unknown(Unread::Unreadable));
    assert_eq!(command(hidden), Fact::Unknown(Unread::NotInSource));
    let (route, ram) = answers(&driven.routes())[0];
    assert!(
        matches!(route, PeerRoute::Refused(Refused::Unknown { .. })),
        "{route:?}"
    );
    assert_eq!(ram, Ok(()));
}

#[test]
fn what_nobody_took_is_as_it_was_seen_and_nothing_is_believed_above_it() {
    let sys = sysfs(ON);
    let driven = process(sys.path(), &TAKEN[..2]).driven(KERNEL);
    let topology = driven.topology();
    for function in topology.snapshot().functions() {
        let is_above = |bdf: &Bdf| {
            topology
                .climb(topology.find(*bdf).unwrap())
                .any(|node| topology.function(node).bdf == function.bdf)
        };
        let is_on = TAKEN[..2].iter().any(is_above);
        let expected = Fact::Known(Command(if is_on { ON } else { 0 }));
        assert_eq!(function.config.command, expected, "{}", function.bdf);
    }
    assert_eq!(driven.beliefs().len(), 1);
    assert_eq!(driven.taken().len(), 2);
}

/// Somebody reset it, and its registers were mended when it was opened: after the machine was looked at.
#[test]
fn bars_that_had_lost_their_addresses_when_the_machine_was_looked_at_are_where_they_are_now() {
    let sys = sysfs(ON);
    let lost = TAKEN[1];
    let mut header = [0; 64];
    header[..4].copy_from_slice(&[0xde, 0x10, 0xf9, 0x15]);
    header[4..6].copy_from_slice(&ON.to_le_bytes());
    // BAR 0: 32 bits; BAR 1: 64 bits, prefetchable.
    header[0x10..0x14].copy_from_slice(&0xc800_0000_u32.to_le_bytes());
    header[0x14..0x18].copy_from_slice(&0x1000_000c_u32.to_le_bytes());
    header[0x18..0x1c].copy_from_slice(&0x38_u32.to_le_bytes());
    let config = sys
        .path()
        .join("bus/pci/devices")
        .join(lost.to_string())
        .join("config");
    std::fs::write(config, header).unwrap();
    // Of registers of zeros only the prefetchable one shows that it is there.
    let mut without = header;
    without[0x10..0x1c].fill(0);
    without[0x14] = 0x0c;
    let bars = |header: &[u8]| {
        let config = Config::parse(ConfigView::new(header, Extent::MayGoOn), &mut Vec::new());
        config.bars.known().unwrap()
    };
    let mut seen = server(0);
    seen.edit(|function| {
        if function.bdf == lost {
            function.config.bars = Fact::Known(bars(&without));
        }
    });
    let driven = process_on(seen, sys.path(), &TAKEN).driven(KERNEL);
    let topology = driven.topology();
    let now = &topology.function(topology.find(lost).unwrap()).config.bars;
    let at: Vec<_> = bars(&header).iter().map(|bar| bar.address.to_u64()).collect();
    assert_eq!(at, [0xc800_0000, 0x38_1000_0000]);
    assert_eq!(now.clone().known(), Some(bars(&header)));
}
