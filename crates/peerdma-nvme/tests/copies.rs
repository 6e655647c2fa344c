//! Copies between two SSDs of the shipped machines, planned, carried out and verified: by the driver, on the simulated machine.

use peerdma::addr::Address;
use peerdma::addr::{Bdf, PhysAddr, Span};
use peerdma::block::Volume;
use peerdma::device::Host;
use peerdma::dma::{Ioas, Refused, SingleThread, SpecRoutes, Translation};
use peerdma::engine::{Check, Copy, Job, Outcome, Progress, Truth, Verify};
use peerdma::iommu::Translations;
use peerdma::memory::{MemoryMap, Region};
use peerdma::plan::{
    self, CopyPlan, Demands, DeviceMemory, End, Force, Kind, OwnData, QueueNeeds, Reach, Shape, Situation,
};
use peerdma::route::TlpClass;
use peerdma::route::bandwidth::Estimator;
use peerdma::route::spec::Judge;
use peerdma_nvme::{Controller, Options, Queue, QueueOptions, QueuePlace};
use peerdma_sim::file;
use peerdma_sim::host::{Computer, Pattern, PciFunction};
use peerdma_sim::machine;
use std::fs;
use std::path::Path;
use std::sync::Arc;

type Ssd = Controller<PciFunction, Computer, SingleThread>;
type Space = Arc<Ioas<SingleThread>>;

const LEN: u64 = 1 << 20;

struct Rig {
    computer: Computer,
    space: Space,
    ssds: [Ssd; 2],
    ram: Span<PhysAddr>,
}

fn shipped(name: &str, seed: u64) -> Computer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../machines");
    let text = fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
    let options = machine::Options {
        seed: Some(seed),
        ..machine::Options::default()
    };
    let mut blueprint = file::load(&text).unwrap();
    // Without it the seed decides nothing.
    blueprint.nature.jitter_ps = 500_000;
    Computer::new(&blueprint, options).unwrap()
}

fn rig(name: &str, seed: u64) -> Rig {
    let computer = shipped(name, seed);
    let bdfs = ["nvme0", "nvme1"].map(|name| computer.find(name).unwrap().bdf);
    let judge = Judge::new(computer.topology());
    let routes = SpecRoutes::new(&judge);
    let translation = match computer.io_space(&bdfs).unwrap() {
        Some(space) => Translation::Translated(Box::new(space) as Box<dyn Translations>),
        None => Translation::Direct,
    };
    let map: MemoryMap = computer.memory_map();
    let space = Ioas::<SingleThread>::new(translation, map, &computer.reserved());
    for bdf in bdfs {
        space
            .add_initiator(computer.initiator(bdf).unwrap(), &routes)
            .unwrap();
    }
    let ssds = bdfs.map(|bdf| {
        let function = computer.function(bdf).unwrap();
        let mapper = space.mapper(bdf).unwrap();
        let ssd = Controller::open(function, computer.clone(), mapper, &Options::default()).unwrap();
        let base = ssd.buffer().map(|buffer| buffer.own_base);
        space.set_own_base(bdf, base).unwrap();
        ssd
    });
    let at = computer.allocate(4 << 20, 4096).unwrap();
    let ram = Span::new(at, at.checked_add((4 << 20) - 1).unwrap()).unwrap();
    Rig {
        computer,
        space,
        ssds,
        ram,
    }
}

impl Rig {
    fn queue(&self, end: usize, completions: QueuePlace) -> Queue<PciFunction, Computer, SingleThread> {
        let ssd = &self.ssds[end];
        let mapper = self.space.mapper(ssd.bdf()).unwrap();
        let options = QueueOptions {
            depth: 32,
            completions,
            ..QueueOptions::default()
        };
        ssd.volume(1, mapper, &options).unwrap()
    }

    fn end(&self, end: usize) -> End {
        let ssd = &self.ssds[end];
        let volume = self.queue(end, QueuePlace::Ram);
        let buffer = ssd.buffer().unwrap();
        let map = self.space.map_snapshot();
        let region: &Region = map.find(buffer.span.first()).unwrap();
        let peerdma::memory::Memory::Bar(bar) = region.memory else {
            panic!("{region:?}");
        };
        End {
            limits: *volume.limits(),
            class: TlpClass::Strict,
            memory: Some(DeviceMemory {
                provider: bar.provider,
                bar: bar.bar,
                free: buffer.span,
                cpu: bar.cpu,
            }),
            own_data: OwnData {
                of_reads: buffer.abilities.data_of_reads(),
                of_writes: buffer.abilities.data_of_writes(),
            },
            completion_queue: Some(QueueNeeds {
                len_bytes: 4096,
                align_bytes: 4096,
            }),
        }
    }

    fn plan(&self, demands: Demands) -> CopyPlan {
        let judge = Judge::new(self.computer.topology());
        let routes = SpecRoutes::new(&judge);
        let links = Estimator::new(self.computer.topology());
        let situation = Situation {
            source: self.end(0),
            destination: self.end(1),
            thirds: &[],
            ram: Some(self.ram),
            routes: &routes,
            links: &links,
            shape: Shape {
                chunk_bytes: 64 << 10,
                depth: 8,
            },
            demands,
        };
        plan::choose(&situation).unwrap()
    }

    /// Gives the outcome in words, bytes of the copy that touched RAM, and what comparing says.
    fn copy(&self, plan: &CopyPlan) -> (String, u64, Check) {
        let [from, to] = [0, 1].map(|end: usize| self.ssds[end].bdf());
        let pattern = Pattern::Seeded(7);
        self.computer.fill_namespace(from, 1, 0..LEN, pattern).unwrap();
        self.computer
            .fill_namespace(to, 1, 0..LEN, Pattern::Poison(0xee))
            .unwrap();
        if let Some(provider) = plan.layout.provider {
            let free = 0..(32 << 20);
            let memory = [0, 1].map(|end| self.end(end).memory.unwrap());
            let memory = memory.iter().find(|memory| memory.provider == provider).unwrap();
            self.computer
                .fill_bar_memory(provider, memory.bar, free, Pattern::Poison(0xdd))
                .unwrap();
        }
        self.force(plan);
        let place = plan
            .layout
            .completion_queue
            .map_or(QueuePlace::Ram, |queue| QueuePlace::Memory(queue.first()));
        let mut source = self.queue(0, place);
        let mut destination = self.queue(1, QueuePlace::Ram);
        let job = Job {
            source_lba: 0,
            destination_lba: 0,
            len_bytes: LEN,
            resume_bytes: 0,
        };
        let before = self.computer.counters();
        let mut copy = Copy::new(plan, job, &source, &destination).unwrap();
        while let Progress::UnderWay(_) = copy.poll(&mut source, &mut destination) {
            self.computer.relax();
        }
        let ram_bytes = self.computer.traffic(&before).ram_payload_bytes;
        let outcome = match copy.outcome().unwrap() {
            Outcome::Whole => "whole".to_owned(),
            other => format!("{other:?}"),
        };
        let mut source = self.queue(0, QueuePlace::Ram);
        let of_source: &dyn Volume = &source;
        let mut verify = Verify::new(job, &destination, Some(of_source), self.ram, 64 << 10).unwrap();
        let check = loop {
            let mut truth = Truth::Source(&mut source);
            match verify.poll(&mut destination, &mut truth, &self.computer) {
                Check::UnderWay { .. } => self.computer.relax(),
                ended => break ended,
            }
        };
        let differs = self.computer.differs_from(to, 1, 0..LEN, pattern, 0).unwrap();
        assert_eq!(check == Check::Equal, differs.is_none(), "{check:?}, {differs:?}");
        (outcome, ram_bytes, check)
    }

    fn force(&self, plan: &CopyPlan) {
        let map = self.space.map_snapshot();
        for crossing in &plan.crossings {
            let (Some(_), Reach::Peer { map_type, form, .. }) = (crossing.forced, crossing.reach) else {
                continue;
            };
            let region = map.find(plan.layout.slots_at).unwrap().id;
            self.space
                .force(crossing.initiator, region, crossing.operation, map_type, form);
        }
    }
}

const DIRECT: [&str; 7] = [
    "two-ssds",
    "offset-bridge",
    "gpu-box",
    "shared-group",
    "two-sockets",
    "two-offset-bridges",
    "store-only",
];

#[test]
fn direct_copies_of_the_shipped_machines_verify_and_leave_ram_alone() {
    for name in DIRECT {
        for seed in 0..3 {
            let rig = rig(name, seed);
            let plan = rig.plan(Demands::default());
            assert_eq!(plan.kind(), Kind::Direct, "{name}");
            assert_eq!(
                rig.copy(&plan),
                ("whole".to_owned(), 0, Check::Equal),
                "{name}, seed {seed}"
            );
        }
    }
}

#[test]
fn loads_and_copies_via_ram_verify_too() {
    for name in ["two-ssds", "offset-bridge", "gpu-box", "two-offset-bridges"] {
        let rig = rig(name, 1);
        let source: Bdf = rig.ssds[0].bdf();
        let plan = rig.plan(Demands {
            via: Some(source),
            ..Demands::default()
        });
        assert_eq!(plan.method, plan::Method::Load);
        assert_eq!(rig.copy(&plan), ("whole".to_owned(), 0, Check::Equal), "{name}");
    }
    for name in ["no-forward", "redirect"] {
        let rig = rig(name, 1);
        let plan = rig.plan(Demands::default());
        assert_eq!(plan.kind(), Kind::ViaRam);
        assert_eq!(
            rig.copy(&plan),
            ("whole".to_owned(), 2 * LEN, Check::Equal),
            "{name}"
        );
    }
}

#[test]
fn a_forced_route_never_gives_a_false_success() {
    for name in ["no-forward", "redirect"] {
        let rig = rig(name, 1);
        let plan = rig.plan(Demands {
            force: Force::Refused,
            ..Demands::default()
        });
        let forced: Vec<Refused> = plan
            .crossings
            .iter()
            .filter_map(|crossing| crossing.forced)
            .collect();
        assert_eq!(forced.len(), 1, "{name}");
        let (outcome, _, check) = rig.copy(&plan);
        assert_ne!(outcome, "whole", "{name}");
        assert_ne!(check, Check::Equal, "{name}");
    }
}

/// Takes the memory of the slots away after so many polls. Gives how the copy ended.
fn take_away(rig: &Rig, plan: &CopyPlan, polls: u32) -> String {
    let [from, to] = [0, 1].map(|end: usize| rig.ssds[end].bdf());
    (rig.computer)
        .fill_namespace(from, 1, 0..LEN, Pattern::Seeded(7))
        .unwrap();
    (rig.computer)
        .fill_namespace(to, 1, 0..LEN, Pattern::Poison(0xee))
        .unwrap();
    let place = plan.layout.completion_queue.unwrap().first();
    let mut source = rig.queue(0, QueuePlace::Memory(place));
    let mut destination = rig.queue(1, QueuePlace::Ram);
    let job = Job {
        source_lba: 0,
        destination_lba: 0,
        len_bytes: LEN,
        resume_bytes: 0,
    };
    let region = *rig.space.map_snapshot().find(plan.layout.slots_at).unwrap();
    let mut copy = Copy::new(plan, job, &source, &destination).unwrap();
    let mut polled = 0;
    while let Progress::UnderWay(_) = copy.poll(&mut source, &mut destination) {
        if polled == polls {
            rig.space.begin_revoke(region.id);
            source.abort_uses(region.id);
            destination.abort_uses(region.id);
        }
        polled += 1;
        assert!(polled < 1_000_000, "it never ends");
        rig.computer.relax();
    }
    assert_eq!(copy.counts().under_way, 0);
    assert_eq!(copy.counts().lost, 0);
    let outcome = format!("{:?}", copy.outcome().unwrap());
    source.close(&mut |_| ()).unwrap();
    destination.close(&mut |_| ()).unwrap();
    rig.space.finish_revoke(region.id).unwrap();
    // Nothing reaches it any more, however long one waits.
    let peerdma::memory::Memory::Bar(bar) = region.memory else {
        panic!("{region:?}");
    };
    let span = 0..1 << 20;
    let poison = Pattern::Poison(0x77);
    (rig.computer)
        .fill_bar_memory(bar.provider, bar.bar, span.clone(), poison)
        .unwrap();
    for _ in 0..1000 {
        rig.computer.relax();
    }
    let mut found = vec![0; 1 << 20];
    (rig.computer)
        .read_bar_memory(bar.provider, bar.bar, 0, &mut found)
        .unwrap();
    assert!(found.iter().all(|byte| *byte == 0x77), "something was written");
    outcome
}

#[test]
fn memory_that_is_taken_away_in_mid_copy_is_reached_no_more_when_the_revocation_returns() {
    for name in DIRECT {
        let mut failed = 0;
        for polls in [0, 1, 3, 7, 20, 40, 100] {
            let rig = rig(name, u64::from(polls));
            let plan = rig.plan(Demands::default());
            let outcome = take_away(&rig, &plan, polls);
            let is_whole = outcome == "Whole";
            assert!(is_whole || outcome.starts_with("Failed"), "{name}: {outcome}");
            failed += u32::from(!is_whole);
        }
        assert!(failed >= 4, "{name}: it was taken away too late to matter");
    }
}
