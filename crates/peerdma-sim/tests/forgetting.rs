//! Captures that lack facts can be simulated: random machines of which a source tells only a part.

use peerdma::fact::{Fact, Unread};
use peerdma::snapshot::{Function, Snapshot, Warnings};
use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::fabric::Fabric;
use peerdma_sim::firmware;
use peerdma_sim::random::{Random, random_machine};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn a_machine_of_which_facts_are_missing_becomes_one_that_can_be_switched_on(
        seed: u64,
        percent in 0u64..=100,
    ) {
        let whole = firmware::boot(&random_machine(seed)).unwrap().snapshot;
        let part = forget(&whole, &mut Random::new(seed), percent);
        let (blueprint, warnings) = Blueprint::from_snapshot(&part).unwrap();
        for (told, function) in part.functions().iter().zip(blueprint.snapshot.functions()) {
            prop_assert!(function.config.emit().is_ok(), "{:?}", function.config.emit());
            prop_assert!(!told.config.id.is_known() || told.config.id == function.config.id);
            let at = told.bdf.to_string();
            let mut said = warnings.list().iter().filter(|warning| warning.at == at);
            let is_named = said.any(|warning| warning.what.contains("memory and bus master enabled"));
            prop_assert_eq!(is_named, !told.config.command.is_known());
            prop_assert!(!told.config.command.is_known() || told.config.command == function.config.command);
        }
        let fabric = Fabric::new(&blueprint).unwrap();
        prop_assert!(fabric.snapshot() == blueprint.snapshot);
        let (again, _) = Blueprint::from_snapshot(&blueprint.snapshot).unwrap();
        for (before, after) in blueprint.snapshot.functions().iter().zip(again.snapshot.functions()) {
            prop_assert_eq!(before, after);
        }
        prop_assert_eq!(&again.snapshot.host, &blueprint.snapshot.host);
    }
}

/// The same machine, with `percent` of its facts unknown and as many of its functions missing, up to a tenth.
fn forget(snapshot: &Snapshot, random: &mut Random, percent: u64) -> Snapshot {
    let mut host = snapshot.host.clone();
    blank(&mut host.cpu, random, percent);
    blank(&mut host.kernel, random, percent);
    blank(&mut host.iommu, random, percent);
    blank(&mut host.ram, random, percent);
    if let Fact::Known(bridges) = &mut host.bridges {
        for bridge in bridges {
            blank(&mut bridge.windows, random, percent);
            blank(&mut bridge.inbound_offset, random, percent);
            blank(&mut bridge.forwarding, random, percent);
        }
    }
    blank(&mut host.bridges, random, percent);
    let mut functions = snapshot.functions().to_vec();
    functions.retain(|_| !random.chance(percent / 10));
    functions
        .iter_mut()
        .for_each(|function| forget_function(function, random, percent));
    Snapshot::new(host, functions, &mut Warnings::default())
}

fn forget_function(function: &mut Function, random: &mut Random, percent: u64) {
    blank(&mut function.upstream, random, percent);
    let config = &mut function.config;
    blank(&mut config.id, random, percent);
    blank(&mut config.class, random, percent);
    blank(&mut config.revision, random, percent);
    blank(&mut config.subsystem, random, percent);
    blank(&mut config.command, random, percent);
    if let Fact::Known(Some(bridge)) = &mut config.bridge {
        blank(&mut bridge.windows, random, percent);
    }
    blank(&mut config.bridge, random, percent);
    blank(&mut config.bars, random, percent);
    if let Fact::Known(Some(express)) = &mut config.express {
        blank(&mut express.link, random, percent);
        blank(&mut express.port_number, random, percent);
        blank(&mut express.payload, random, percent);
    }
    blank(&mut config.express, random, percent);
    if let Fact::Known(Some(acs)) = &mut config.acs {
        blank(&mut acs.egress, random, percent);
    }
    blank(&mut config.acs, random, percent);
    blank(&mut config.ats, random, percent);
    blank(&mut config.rebar, random, percent);
    blank(&mut config.sriov, random, percent);
    blank(&mut config.serial_number, random, percent);
    let os = &mut function.os;
    if let Fact::Known(resources) = &mut os.resources {
        for resource in resources.iter_mut() {
            blank(&mut resource.span, random, percent);
            blank(&mut resource.size_bytes, random, percent);
        }
        resources.retain(|_| !random.chance(percent / 3));
    }
    blank(&mut os.resources, random, percent);
    blank(&mut os.link, random, percent);
    blank(&mut os.port_type, random, percent);
    blank(&mut os.numa_node, random, percent);
    blank(&mut os.iommu_group, random, percent);
    blank(&mut os.driver, random, percent);
    blank(&mut os.p2pmem, random, percent);
    blank(&mut os.physical_function, random, percent);
}

fn blank<T>(fact: &mut Fact<T>, random: &mut Random, percent: u64) {
    if random.chance(percent) {
        *fact = Fact::Unknown(Unread::NotInSource);
    }
}
