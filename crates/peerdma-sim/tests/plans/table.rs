use crate::rig::{ASK, Ask, Machine, demand, map_type};
use peerdma::addr::Address;
use peerdma::fact::Fact;
use peerdma::memory::CpuView;
use peerdma::plan::{
    Arrival, CopyPlan, Demands, Force, Method, NoPlan, OwnData, Proof, RamUse, Reach, Reason, Shape,
};
use peerdma::route::{Access, MapType};
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;

const BUS: Option<MapType> = Some(MapType::BusAddr);
const BRIDGE: Option<MapType> = Some(MapType::ThruHostBridge);

/// Machine, way, how the peer is reached, and is the other direct way possible too?
pub(crate) const TABLE: [(&str, Method, Option<MapType>, bool); 9] = [
    ("two-ssds", Method::Store, BUS, true),
    ("offset-bridge", Method::Store, BUS, true),
    ("gpu-box", Method::Store, BRIDGE, true),
    ("shared-group", Method::Store, BUS, true),
    ("two-sockets", Method::Store, BRIDGE, true),
    ("two-offset-bridges", Method::Store, BRIDGE, true),
    ("store-only", Method::Store, BRIDGE, false),
    ("no-forward", Method::ViaRam, None, false),
    ("redirect", Method::ViaRam, None, false),
];

#[test]
fn each_shipped_machine_copies_as_the_table_says() {
    for (name, method, reached, load) in TABLE {
        let machine = Machine::shipped(name);
        let plan = machine.plan("nvme0", "nvme1", &ASK).unwrap();
        assert_eq!(plan.method, method, "{name}: {plan:#?}");
        assert_eq!(map_type(&plan), reached, "{name}");
        assert!(!plan.is_forced());
        let other = plan.reason(Method::Load).unwrap();
        assert_eq!(
            matches!(other, Reason::NoFaster { .. } | Reason::Slower { .. }),
            load,
            "{name}: {other}"
        );
        match method {
            Method::ViaRam => {
                assert_eq!(plan.arrival(), Proof::DeviceOrder);
                let why = plan.reason(Method::Store).unwrap();
                assert!(matches!(why, Reason::NoRoute { .. }), "{name}: {why}");
            }
            _ => {
                assert_eq!(plan.arrival(), Proof::SamePathCompletion);
                assert_eq!(plan.crossings[1].reach, Reach::Own);
                let queue = plan.layout.completion_queue.unwrap();
                assert!(queue.last() < plan.layout.slots_at);
            }
        }
    }
}

#[test]
fn a_device_that_does_not_reach_ram_is_copied_from_without_it_or_not_at_all() {
    let deaf = |name| {
        let machine = Machine::shipped(name);
        let at = machine.bdf("nvme0");
        let mut blueprint = machine.blueprint;
        blueprint.snapshot.edit(|function| {
            // A switch or root port above takes less than the device sends: what is written to the peer goes that way, too.
            if function.bdf == at
                && let Fact::Known(Some(express)) = &mut function.config.express
                && let Fact::Known(payload) = &mut express.payload
            {
                payload.max_payload_bytes = 4096;
            }
        });
        let topology = Topology::new(blueprint.snapshot.clone(), &mut Warnings::default());
        Machine { blueprint, topology }
    };
    let refused = deaf("no-forward").plan("nvme0", "nvme1", &ASK).unwrap_err();
    let NoPlan::NoWay(rejected) = &refused else {
        panic!("{refused}");
    };
    let ram = rejected
        .iter()
        .find(|rejected| rejected.method == Method::ViaRam)
        .unwrap();
    assert!(
        matches!(
            ram.why,
            Reason::NoRouteToRam {
                access: Access::Write,
                ..
            }
        ),
        "{}",
        ram.why
    );
    // The other device reads what lies in its own memory.
    let plan = deaf("two-ssds").plan("nvme1", "nvme0", &ASK).unwrap();
    assert_eq!(plan.method, Method::Store);
}

#[test]
fn peer_to_peer_that_is_required_and_not_safe_is_refused_with_the_evidence() {
    let ask = demand(Demands {
        ram: RamUse::Forbidden,
        ..Demands::default()
    });
    for name in ["no-forward", "redirect"] {
        let refused = Machine::shipped(name).plan("nvme0", "nvme1", &ask).unwrap_err();
        let NoPlan::OnlyRam(rejected) = &refused else {
            panic!("{name}: {refused}");
        };
        assert_eq!(rejected.len(), 3);
        let routes = rejected
            .iter()
            .filter(|rejected| matches!(rejected.why, Reason::NoRoute { .. }));
        assert_eq!(routes.count(), 2, "{name}: {refused}");
    }
}

#[test]
fn a_refusal_that_is_overridden_stays_visible_and_is_taken_only_where_there_is_no_other_way() {
    let ask = demand(Demands {
        force: Force::Refused,
        ..Demands::default()
    });
    for (name, method, reached, _) in TABLE {
        let plan = Machine::shipped(name).plan("nvme0", "nvme1", &ask).unwrap();
        let forced = method == Method::ViaRam;
        assert_eq!(plan.is_forced(), forced, "{name}");
        assert_eq!(plan.method, Method::Store, "{name}");
        let expected = match name {
            "redirect" => BUS,
            "no-forward" => BRIDGE,
            _ => reached,
        };
        assert_eq!(map_type(&plan), expected, "{name}");
        assert_eq!(plan.crossings[0].to_string().contains("though refused"), forced);
    }
}

#[test]
fn the_device_that_is_asked_for_decides_whose_memory_is_used() {
    let machine = Machine::shipped("gpu-box");
    let via = |name| Ask {
        thirds: &["gpu0", "gpu1"],
        ..demand(Demands {
            via: Some(machine.bdf(name)),
            ..Demands::default()
        })
    };
    let plan = |name| machine.plan("nvme0", "nvme1", &via(name)).unwrap();
    assert_eq!(plan("nvme1").method, Method::Store);
    assert_eq!(plan("nvme0").method, Method::Load);
    assert_eq!(plan("nvme0").arrival(), Proof::ReadReturned);
    let third = plan("gpu1");
    assert_eq!(third.method, Method::ThirdParty(machine.bdf("gpu1")));
    assert_eq!(
        third.crossings.map(|crossing| crossing.operation),
        [Access::Write, Access::Read]
    );
    assert_eq!(third.crossings[0].proof, Proof::SamePathCompletion);
    assert_eq!(third.crossings[1].proof, Proof::ReadReturned);
    assert_eq!(third.rejected.len(), 4);
    let without = machine.plan("nvme0", "nvme1", &via("nvme3")).unwrap_err();
    assert!(matches!(without, NoPlan::NotVia { .. }), "{without}");
}

#[test]
fn what_a_devices_commands_cannot_do_with_its_own_memory_is_not_planned() {
    let machine = Machine::shipped("two-ssds");
    let only = |of_reads, of_writes| Ask {
        own_data: OwnData { of_reads, of_writes },
        ..ASK
    };
    let plan = |ask| machine.plan("nvme0", "nvme1", &ask).unwrap();
    assert_eq!(plan(only(true, false)).method, Method::Load);
    assert!(matches!(
        plan(only(true, false)).reason(Method::Store),
        Some(Reason::NotItsOwn {
            access: Access::Read,
            ..
        })
    ));
    assert_eq!(plan(only(false, true)).method, Method::Store);
    assert_eq!(plan(only(false, false)).method, Method::ViaRam);
    let load = Ask {
        memory: [true, false],
        ..ASK
    };
    assert_eq!(plan(load).method, Method::Load);
    assert!(matches!(
        plan(load).reason(Method::Store),
        Some(Reason::NoMemory { .. })
    ));
}

#[test]
fn where_arrival_cannot_be_proven_nothing_is_stored_into_a_peer() {
    let machine = Machine::shipped("store-only");
    for ask in [
        Ask {
            cpu: CpuView::None,
            ..ASK
        },
        Ask { queue: None, ..ASK },
    ] {
        let plan = machine.plan("nvme0", "nvme1", &ask).unwrap();
        assert_eq!(plan.method, Method::ViaRam);
        let why = plan.reason(Method::Store).unwrap();
        assert!(
            matches!(why, Reason::Unseen { .. } | Reason::CompletionsInRam { .. }),
            "{why}"
        );
    }
    let ssds = Machine::shipped("two-ssds");
    let ask = Ask {
        cpu: CpuView::None,
        ..ASK
    };
    assert_eq!(ssds.plan("nvme0", "nvme1", &ask).unwrap().method, Method::Load);
}

#[test]
fn a_source_whose_completions_lie_in_ram_stores_only_for_who_reads_back_and_the_plan_says_so() {
    let machine = Machine::shipped("store-only");
    let ask = Ask {
        queue: None,
        ..demand(Demands {
            arrival: Arrival::ReadBack,
            ..Demands::default()
        })
    };
    let plan = machine.plan("nvme0", "nvme1", &ask).unwrap();
    assert_eq!((plan.method, plan.arrival()), (Method::Store, Proof::ReadBack));
    assert_eq!(plan.layout.completion_queue, None);
    let movable = Ask {
        queue: ASK.queue,
        ..ask
    };
    let plan = machine.plan("nvme0", "nvme1", &movable).unwrap();
    assert_eq!(plan.arrival(), Proof::SamePathCompletion);
}

#[test]
fn slots_shrink_to_the_memory_that_is_free_and_too_little_of_it_is_a_reason() {
    let machine = Machine::shipped("store-only");
    let plan = |free_bytes| {
        machine
            .plan("nvme0", "nvme1", &Ask { free_bytes, ..ASK })
            .unwrap()
    };
    let roomy = plan(64 << 20).layout;
    assert_eq!((roomy.slots, roomy.chunk_bytes), (8, 128 << 10));
    let tight = plan(256 << 10).layout;
    assert!(tight.slots >= 4 && tight.chunk_bytes < 128 << 10, "{tight:?}");
    let last = tight.slot(tight.slots - 1, tight.chunk_bytes).unwrap().last();
    assert!(last.to_u64() < tight.completion_queue.unwrap().first().to_u64() + (256 << 10));
    assert_eq!(tight.slot(tight.slots, 512), None);
    let least = plan(8192).layout;
    assert_eq!(least.slots, 1);
    let none = plan(4096);
    assert_eq!(none.method, Method::ViaRam);
    assert!(matches!(
        none.reason(Method::Store),
        Some(Reason::TooSmall {
            free_bytes: 4096,
            needed_bytes: 8192,
            ..
        })
    ));
}

#[test]
fn blocks_that_fit_no_common_chunk_are_refused() {
    let machine = Machine::shipped("two-ssds");
    let plan = |blocks: [u32; 2], most, chunk_bytes| {
        let ask = Ask {
            shape: Shape {
                chunk_bytes,
                depth: 8,
            },
            ..ASK
        };
        machine.plan_with("nvme0", "nvme1", &ask, |situation| {
            situation.source.limits.block_bytes = blocks[0];
            situation.destination.limits.block_bytes = blocks[1];
            situation.destination.limits.max_transfer_bytes = most;
        })
    };
    let chunk = |plan: Result<CopyPlan, NoPlan>| plan.unwrap().layout.chunk_bytes;
    assert_eq!(chunk(plan([512, 4096], 1 << 20, 64 << 10)), 64 << 10);
    assert_eq!(chunk(plan([512, 4096], 10_000, 64 << 10)), 8192);
    assert!(matches!(plan([512, 4096], 1 << 20, 512), Err(NoPlan::Unfit(_))));
    assert!(matches!(
        plan([520, 4096], 64 << 10, 64 << 10),
        Err(NoPlan::Unfit(_))
    ));
    assert!(matches!(plan([512, 4096], 2048, 64 << 10), Err(NoPlan::Unfit(_))));
    assert!(matches!(plan([0, 4096], 2048, 64 << 10), Err(NoPlan::Unfit(_))));
}

#[test]
fn a_device_that_copies_to_itself_uses_its_own_memory_and_no_link() {
    let machine = Machine::shipped("no-forward");
    let plan = machine.plan("nvme0", "nvme0", &ASK).unwrap();
    assert_eq!(plan.method, Method::Internal);
    assert_eq!(plan.crossings.map(|crossing| crossing.reach), [Reach::Own; 2]);
    assert_eq!(plan.cost.bytes_per_second(), Some(u64::MAX));
    assert_eq!(plan.layout.completion_queue, None);
}
