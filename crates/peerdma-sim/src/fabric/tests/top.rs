//! The root complex: policies, memory map, offsets, IOMMU, the processor.

use super::machine::{Machine, bdf, bridge, card, read, translated, write};
use crate::fabric::{AtsPermission, Completer, Explain, FaultReason, IommuError, Rights, Route, Why};
use crate::tlp::Access;
use peerdma::addr::{Address, PhysAddr};
use peerdma::fact::Fact;
use peerdma::pci::PortType;
use peerdma::snapshot::{Forwarding, IommuMode};

const FAR_PEER: u64 = 0xa000_0000;

#[test]
fn policies_decide_who_is_forwarded() {
    for (policy, for_read, for_write) in [
        (
            Forwarding::Nothing,
            "NotForwarded at host 00",
            "NotForwarded at host 00",
        ),
        (Forwarding::StoresOnly, "NotForwarded at host 00", "07:00.0+0x0"),
        (Forwarding::SameBridge, "07:00.0+0x0", "07:00.0+0x0"),
        (Forwarding::Everything, "07:00.0+0x0", "07:00.0+0x0"),
    ] {
        let fabric = Machine::new().with_host(policy, IommuMode::Off).build();
        assert_eq!(fabric.fate(&read("03:00.0", FAR_PEER)), for_read, "{policy}");
        assert_eq!(fabric.fate(&write("03:00.0", FAR_PEER)), for_write, "{policy}");
        assert_eq!(fabric.fate(&read("03:00.0", 0x1000)), "ram 0x1000");
    }
}

#[test]
fn offsets_are_added_on_the_way_up() {
    let mut machine = Machine::new();
    if let Fact::Known(bridges) = &mut machine.host.bridges {
        bridges[0].inbound_offset = Fact::Known(-0x1000);
    }
    let fabric = machine.build();
    assert_eq!(fabric.fate(&read("03:00.0", 0x3000)), "ram 0x2000");
    assert_eq!(
        fabric.fate(&read("03:00.0", 0x800)),
        "UnsupportedRequest at host 00"
    );
    assert_eq!(fabric.routed(&read("03:00.0", 0x800)).holds_bytes, 0x800);
    assert_eq!(fabric.fate(&read("03:00.0", FAR_PEER + 0x1008)), "07:00.0+0x8");
}

#[test]
fn writes_to_the_interrupt_window_are_interrupts() {
    let fabric = Machine::new().build();
    assert_eq!(fabric.fate(&write("03:00.0", 0xfee0_0000)), "interrupt");
    assert_eq!(
        fabric.fate(&read("03:00.0", 0xfee0_0000)),
        "UnsupportedRequest at host 00"
    );
    assert_eq!(
        fabric.fate(&write("03:00.0", 0xfedf_ffff)),
        "UnsupportedRequest at host 00"
    );
    assert_eq!(fabric.routed(&write("03:00.0", 0xfedf_ffff)).holds_bytes, 1);
}

#[test]
fn an_iommu_translates_for_whom_it_knows() {
    let mut fabric = Machine::new()
        .with_host(Forwarding::Everything, IommuMode::Translating)
        .build();
    assert_eq!(fabric.fate(&read("03:00.0", 0x1000)), "IommuFault at Iommu");
    let iommu = fabric.iommu_mut();
    let ioas = iommu.create().unwrap();
    iommu.attach(bdf("03:00.0"), ioas).unwrap();
    iommu.attach(bdf("0a:00.0"), ioas).unwrap();
    iommu
        .map(ioas, 0x10_0000, 0x5000, 0x2000, Rights::ReadWrite)
        .unwrap();
    iommu
        .map(ioas, 0x20_0000, FAR_PEER, 0x1000, Rights::Write)
        .unwrap();
    let route = fabric.routed(&read("03:00.0", 0x10_0010));
    assert_eq!(
        (fabric.end_text(&route.end).as_str(), route.holds_bytes),
        ("ram 0x5010", 0x1ff0)
    );
    assert_eq!(fabric.fate(&read("0a:02.0", 0x10_0010)), "ram 0x5010");
    assert_eq!(fabric.fate(&write("03:00.0", 0x20_0004)), "07:00.0+0x4");
    assert_eq!(fabric.fate(&read("03:00.0", 0x20_0004)), "IommuFault at Iommu");
    assert_eq!(fabric.fate(&read("04:00.0", 0x10_0010)), "IommuFault at Iommu");
    assert_eq!(fabric.fate(&write("03:00.0", 0xfee0_1000)), "interrupt");
}

#[test]
fn translated_requests_pass_only_from_functions_with_ats() {
    let fate = |machine: Machine, mode| {
        let fabric = machine.with_host(Forwarding::Everything, mode).build();
        fabric.fate(&translated(read("03:00.0", FAR_PEER)))
    };
    let (translating, passing, off) = (IommuMode::Translating, IommuMode::Passthrough, IommuMode::Off);
    assert_eq!(fate(Machine::new().ats("03:00.0"), translating), "07:00.0+0x0");
    assert_eq!(fate(Machine::new().ats("03:00.0"), passing), "07:00.0+0x0");
    assert_eq!(fate(Machine::new(), translating), "IommuFault at Iommu");
    assert_eq!(fate(Machine::new(), passing), "IommuFault at Iommu");
    assert_eq!(
        fate(Machine::new().ats("03:00.0"), off),
        "UnsupportedRequest at host 00"
    );
}

#[test]
fn whom_the_iommu_denies_ats_gets_no_translation_and_passes_with_none() {
    let machine = Machine::new()
        .ats("03:00.0")
        .with_host(Forwarding::Everything, IommuMode::Passthrough);
    let mut fabric = machine.build();
    for (permission, fate) in [
        (AtsPermission::Denied, "IommuFault at Iommu"),
        (AtsPermission::Allowed, "07:00.0+0x0"),
    ] {
        fabric.iommu_mut().permit_ats(bdf("03:00.0"), permission).unwrap();
        let found = fabric.translate_for_device(fabric.at("03:00.0"), FAR_PEER);
        assert_eq!(found.is_some(), permission == AtsPermission::Allowed);
        assert_eq!(fabric.fate(&translated(read("03:00.0", FAR_PEER))), fate);
    }
}

#[test]
fn the_translation_agent_answers_what_leads_there() {
    let machine = Machine::new()
        .ats("03:00.0")
        .with_host(Forwarding::Everything, IommuMode::Translating);
    let mut fabric = machine.build();
    let iommu = fabric.iommu_mut();
    let ioas = iommu.create().unwrap();
    iommu.attach(bdf("03:00.0"), ioas).unwrap();
    iommu
        .map(ioas, 0x20_0000, FAR_PEER, 0x1000, Rights::Write)
        .unwrap();
    let found = fabric
        .translate_for_device(fabric.at("03:00.0"), 0x20_0010)
        .unwrap();
    assert_eq!(
        (found.address, found.len_bytes, found.may_read),
        (FAR_PEER + 0x10, 0xff0, false)
    );
    assert_eq!(
        fabric.fate(&translated(write("03:00.0", found.address))),
        "07:00.0+0x10"
    );
    assert!(
        fabric
            .translate_for_device(fabric.at("04:00.0"), 0x20_0010)
            .is_none()
    );
}

#[test]
fn mappings_neither_overlap_nor_are_cut() {
    let mut fabric = Machine::new().build();
    let iommu = fabric.iommu_mut();
    let ioas = iommu.create().unwrap();
    let top = u64::MAX - 0xfff;
    iommu.map(ioas, 0x1000, 0, 0x2000, Rights::Read).unwrap();
    iommu.map(ioas, 0x3000, 0x8000, 0x1000, Rights::Read).unwrap();
    iommu.map(ioas, top, 0x9000, 0x1000, Rights::Read).unwrap();
    let overlap = |iova| Err(IommuError::Overlap { iova });
    assert_eq!(iommu.map(ioas, 0x2000, 0, 0x1000, Rights::Read), overlap(0x2000));
    assert_eq!(iommu.map(ioas, 0, 0, 0x10000, Rights::Read), overlap(0x1000));
    assert!(matches!(
        iommu.map(ioas, 0x10, 0, 0x1000, Rights::Read),
        Err(IommuError::BadRange { .. })
    ));
    assert!(matches!(
        iommu.map(ioas, top, 0, 0x2000, Rights::Read),
        Err(IommuError::BadRange { .. })
    ));
    assert_eq!(
        iommu.unmap(ioas, 0x1000, 0x1000),
        Err(IommuError::Cut { iova: 0x1000 })
    );
    assert_eq!(
        iommu.unmap(ioas, 0x2000, 0x1000),
        Err(IommuError::Cut { iova: 0x2000 })
    );
    assert_eq!(
        iommu.unmap(ioas, 0x1000, 0x4000),
        Err(IommuError::NotMapped { iova: 0x4000 })
    );
    assert_eq!(
        iommu.unmap(ioas, 0, 0x3000),
        Err(IommuError::NotMapped { iova: 0 })
    );
    iommu.unmap(ioas, 0x1000, 0x3000).unwrap();
    iommu.unmap(ioas, top, 0x1000).unwrap();
    assert_eq!(
        iommu.unmap(ioas, top, 0x1000),
        Err(IommuError::NotMapped { iova: top })
    );
    iommu.destroy(ioas).unwrap();
    assert_eq!(iommu.destroy(ioas), Err(IommuError::NoSuchSpace(ioas)));
}

#[test]
fn the_processor_reaches_ram_and_bars() {
    let fabric = Machine::new().build();
    let mut route = Route::new(Explain::Notes);
    fabric.route_cpu(Access::Read, 0x9100_0008, 4, &mut route);
    assert_eq!(
        (fabric.end_text(&route.end).as_str(), fabric.way(&route).as_str()),
        ("04:00.0+0x8", "Rvsv")
    );
    fabric.route_cpu(Access::Write, 0x2000, 4, &mut route);
    assert_eq!(fabric.end_text(&route.end), "ram 0x2000");
    fabric.route_cpu(Access::Read, 0xd000_0000, 4, &mut route);
    assert!(matches!(route.end, crate::fabric::End::Lost(loss) if loss.why == Why::UnsupportedRequest));
}

#[test]
fn faults_are_logged_with_the_alias_and_the_reason() {
    let mut fabric = Machine::new()
        .with_host(Forwarding::Everything, IommuMode::Translating)
        .build();
    let request = read("0a:01.0", 0x1000);
    let crate::fabric::End::Lost(loss) = fabric.routed(&request).end else {
        panic!("nothing is mapped");
    };
    for _ in 0..300 {
        fabric.record(&loss, &request);
    }
    let fault = *fabric.iommu().faults().last().unwrap();
    assert_eq!(
        (fault.requester, fault.iova, fault.why),
        (bdf("0a:00.0"), 0x1000, FaultReason::NoContext)
    );
    assert_eq!(
        (fabric.iommu().faults().count(), fabric.iommu().fault_count()),
        (256, 300)
    );
}

/// A second host bridge, whose bus addresses are those of the first, and which the processor sees elsewhere.
fn two_host_bridges(policy: Forwarding) -> Machine {
    const PHYS: u64 = 0x20_9000_0000;
    let mut machine = Machine::new().with_host(policy, IommuMode::Off);
    if let Fact::Known(bridges) = &mut machine.host.bridges {
        let mut second = bridges[0].clone();
        second.bus = 0x40;
        if let Fact::Known(windows) = &mut second.windows {
            windows[0].phys = PhysAddr::from_u64(PHYS);
        }
        bridges.push(second);
    }
    let (root, end) = (Some(PortType::ROOT_PORT), Some(PortType::ENDPOINT));
    machine
        .functions
        .push(bridge("40:01.0", None, root, 1, (0x41, 0x41), (0x9000_0000, 16)));
    machine
        .functions
        .push(card("41:00.0", Some("40:01.0"), end, 0x9000_0000));
    machine
}

#[test]
fn windows_of_host_bridges_give_physical_addresses_their_own_bus_addresses() {
    let fabric = two_host_bridges(Forwarding::Everything).build();
    let request = read("03:00.0", 0x20_9000_0010);
    let path = fabric.routed(&request);
    assert_eq!(fabric.end_text(&path.end), "41:00.0+0x10");
    let mut back = Route::new(Explain::Notes);
    let completer = Completer::Function(fabric.at("41:00.0"));
    fabric.route_completion(completer, &request, &path, 256, &mut back);
    assert_eq!(
        (fabric.end_text(&back.end).as_str(), fabric.way(&back).as_str()),
        ("requester", "^Rvsv")
    );
    // The same bus address below the other bridge is somebody else's.
    assert_eq!(
        fabric.fate(&read("41:00.0", 0x9000_0000)),
        "UnsupportedRequest at 40:01.0"
    );
    assert_eq!(fabric.fate(&read("41:00.0", 0xa000_0000)), "07:00.0+0x0");
    let fabric = two_host_bridges(Forwarding::SameBridge).build();
    assert_eq!(fabric.fate(&request), "NotForwarded at host 00");
}
