//! Configuration spaces as software sees them.

use super::machine::{MIB, Machine, card, read};
use crate::fabric::{BuildError, Fabric, Width};
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{PortType, Sriov};

const BAR0: u16 = 0x10;
const EXPRESS: u16 = 0x48;

#[test]
fn a_snapshot_of_an_untouched_machine_is_the_machine() {
    let machine = Machine::new()
        .acs("02:00.0", "VRU", &[1])
        .acs("0b:00.1", "C", &[])
        .ats("03:00.0");
    let blueprint = machine.blueprint();
    let fabric = Fabric::new(&blueprint).unwrap();
    assert_eq!(fabric.snapshot(), blueprint.snapshot);
}

#[test]
fn bars_are_sized_by_writing_ones_and_moved() {
    let mut fabric = Machine::new().build();
    let function = fabric.at("04:00.0");
    let dword = |fabric: &Fabric, at| fabric.config_read(function, at, Width::Dword);
    assert!(
        fabric
            .config_write(function, BAR0, Width::Dword, u32::MAX)
            .bars_changed
    );
    assert_eq!(dword(&fabric, BAR0), 0xfff0_0000);
    assert_eq!(fabric.config_read(function, BAR0 + 4, Width::Dword), 0);
    fabric.config_write(function, BAR0 + 4, Width::Dword, u32::MAX);
    assert_eq!(dword(&fabric, BAR0 + 4), 0);
    fabric.config_write(function, BAR0, Width::Dword, 0x9120_0000);
    assert_eq!(
        fabric.fate(&read("03:00.0", 0x9100_0000)),
        "UnsupportedRequest at 04:00.0"
    );
    assert_eq!(fabric.fate(&read("03:00.0", 0x9120_0010)), "04:00.0+0x10");
    assert_eq!(fabric.bar(function, 0), Some((0x9120_0000, MIB)));
}

#[test]
fn routing_follows_what_is_written() {
    let mut fabric = Machine::new().acs("02:00.0", "", &[]).build();
    let peer = read("03:00.0", 0x9100_0000);
    let port = fabric.at("02:00.0");
    let acs = 0x100;
    assert!(
        fabric
            .config_write(port, acs + 6, Width::Word, 0xffff)
            .express_changed
    );
    assert_eq!(fabric.config_read(port, acs + 6, Width::Word), 0x7f);
    fabric.config_write(port, acs + 6, Width::Word, 0x04);
    assert_eq!(fabric.fate(&peer), "UnsupportedRequest at 00:01.0");
    fabric.config_write(port, acs + 6, Width::Word, 0x20);
    fabric.config_write(port, acs + 8, Width::Dword, u32::MAX);
    assert_eq!(fabric.config_read(port, acs + 8, Width::Dword), 0xff);
    assert_eq!(fabric.fate(&peer), "AcsViolation at 02:00.0");
    fabric.config_write(port, acs + 6, Width::Byte, 0);
    let other = fabric.at("02:01.0");
    assert!(
        fabric
            .config_write(other, 0x20, Width::Dword, 0x92f0_9200)
            .bridge_changed
    );
    assert_eq!(fabric.fate(&peer), "UnsupportedRequest at 01:00.0");
    fabric.config_write(other, 0x20, Width::Dword, 0x91f0_9100);
    assert_eq!(fabric.fate(&peer), "04:00.0+0x0");
    assert!(fabric.config_write(other, 0x04, Width::Word, 0x4).command_changed);
    assert_eq!(fabric.fate(&peer), "UnsupportedRequest at 01:00.0");
}

#[test]
fn payload_sizes_that_cannot_be_are_not_taken() {
    let mut fabric = Machine::new().build();
    let function = fabric.at("03:00.0");
    let control = EXPRESS + 8;
    fabric.config_write(function, control, Width::Word, 0x7050);
    assert_eq!(fabric.function(function).max_payload_bytes, 512);
    assert_eq!(fabric.function(function).max_read_request_bytes, 512);
    fabric.config_write(function, control, Width::Word, 0x5060);
    assert_eq!(fabric.function(function).max_payload_bytes, 512);
    assert_eq!(fabric.function(function).max_read_request_bytes, 4096);
    assert!(!fabric.function(function).may_relax_ordering);
}

#[test]
fn a_function_level_reset_forgets_addresses_and_keeps_the_payload_size() {
    let mut fabric = Machine::new().build();
    let function = fabric.at("04:00.0");
    assert!(
        fabric
            .config_write(function, EXPRESS + 8, Width::Word, 0x8020)
            .function_reset
    );
    assert_eq!(fabric.config_read(function, 0x04, Width::Word), 0);
    assert_eq!(fabric.bar(function, 0), Some((0, MIB)));
    assert_eq!(fabric.function(function).max_payload_bytes, 256);
    assert_eq!(
        fabric.fate(&read("03:00.0", 0x9100_0000)),
        "UnsupportedRequest at 04:00.0"
    );
}

#[test]
fn what_is_below_a_dead_link_reads_all_ones() {
    let mut fabric = Machine::new().build();
    let function = fabric.at("04:00.0");
    let link = fabric.function(function).link_above.unwrap();
    fabric.take_link_down(link);
    assert_eq!(fabric.config_read(function, 0, Width::Word), 0xffff);
    assert_eq!(
        fabric.fate(&read("03:00.0", 0x9100_0000)),
        "UnsupportedRequest at 02:01.0"
    );
    assert_eq!(fabric.fate(&read("04:00.0", 0)), "LinkDown at 04:00.0");
    let unreadable = fabric.snapshot().functions()[function.index()].config.id;
    assert_eq!(unreadable, Fact::Unknown(Unread::Unreadable));
    fabric.bring_link_up(link);
    assert_eq!(fabric.config_read(function, 0, Width::Word), 0x1af4);
    assert_eq!(fabric.config_read(function, BAR0, Width::Dword), 0);
    fabric.remove(fabric.at("02:00.0"));
    assert_eq!(
        fabric.config_read(fabric.at("03:00.0"), 0, Width::Dword),
        u32::MAX
    );
}

#[test]
fn a_bus_reset_resets_all_below() {
    let mut fabric = Machine::new().build();
    let port = fabric.at("00:01.0");
    assert!(fabric.config_write(port, 0x3e, Width::Word, 0x40).bus_reset);
    for at in ["01:00.0", "02:01.0", "04:00.0"] {
        assert_eq!(fabric.config_read(fabric.at(at), 0x04, Width::Word), 0, "{at}");
    }
    assert_eq!(fabric.config_read(fabric.at("02:01.0"), 0x18, Width::Dword), 0);
}

#[test]
fn a_virtual_function_is_where_the_operating_system_says() {
    let mut machine = Machine::new().with("0b:00.0", |config| {
        config.sriov = Fact::Known(Some(Sriov {
            enabled: true,
            total: 1,
            count: 1,
            first_offset: 0x100,
            stride: 1,
            device: 0x1001,
        }));
    });
    let mut function = card("0c:00.0", None, Some(PortType::ENDPOINT), 0xc020_0000);
    function.upstream = Fact::Known(Some("00:04.0".parse().unwrap()));
    function.config.id = Fact::Unknown(Unread::Contradictory);
    function.config.bars = Fact::Known(Vec::new());
    function.config.command = Fact::Known(peerdma::pci::Command(0x4));
    function.os.physical_function = Fact::Known(Some("0b:00.0".parse().unwrap()));
    machine.functions.push(function);
    let blueprint = machine.blueprint();
    let mut fabric = Fabric::new(&blueprint).unwrap();
    assert_eq!(fabric.snapshot(), blueprint.snapshot);
    let peer = read("03:00.0", 0xc020_0004);
    assert_eq!(fabric.fate(&peer), "0c:00.0+0x4");
    assert_eq!(fabric.fate(&read("0c:00.0", 0xc010_0000)), "0b:00.1+0x0");
    // Memory enable of virtual functions lies in the capability of the physical one.
    let physical = fabric.at("0b:00.0");
    fabric.config_write(physical, 0x108, Width::Byte, 0);
    assert_eq!(fabric.fate(&peer), "UnsupportedRequest at 0b:00.0");
}

#[test]
fn impossible_machines_are_refused_by_name() {
    let refused = |machine: Machine| Fabric::new(&machine.blueprint()).unwrap_err().to_string();
    let mut machine = Machine::new();
    machine.functions[1].upstream = Fact::Known(Some("02:00.0".parse().unwrap()));
    assert!(refused(machine).contains("never reaches a root bus"));
    let machine = Machine::new().with("03:00.0", |config| config.acs = Fact::NOT_IN_SOURCE);
    assert!(refused(machine).starts_with("0000:03:00.0: ACS is unknown"));
    let mut machine = Machine::new();
    machine.functions[4].os.resources = Fact::NOT_IN_SOURCE;
    assert!(refused(machine).starts_with("0000:03:00.0: the size of BAR 0 is unknown"));
    let mut machine = Machine::new();
    machine.functions[4].upstream = Fact::Known(Some("04:00.0".parse().unwrap()));
    assert!(refused(machine).contains("is no bridge"));
    let mut machine = Machine::new();
    machine
        .functions
        .push(card("40:00.0", None, Some(PortType::INTEGRATED_ENDPOINT), 0));
    assert!(refused(machine).contains("the host bridge of its root bus 0000:40 is not described"));
    let mut machine = Machine::new();
    machine.host.ram = Fact::NOT_IN_SOURCE;
    assert!(matches!(
        Fabric::new(&machine.blueprint()),
        Err(BuildError::UnknownHostFact { .. })
    ));
}

#[test]
fn bus_numbers_alone_wire_a_machine() {
    let told = Machine::new().build();
    let mut machine = Machine::new();
    for function in &mut machine.functions {
        function.upstream = Fact::NOT_IN_SOURCE;
    }
    let found = machine.build();
    for function in told.functions() {
        assert_eq!(told.function(function), found.function(function));
    }
}
