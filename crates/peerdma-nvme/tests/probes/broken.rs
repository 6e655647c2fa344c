//! Routes that are broken behind the judge's back: each breakage is found, and told from the others.

use crate::rig::{Disk, Rig, shipped};
use peerdma::addr::{Address, Bdf, Origin, PhysAddr, PhysVec, Span};
use peerdma::block::{Bio, Data, Done, Limits, Rejected, Ticket, Volume, VolumeError};
use peerdma::fact::Fact;
use peerdma::memory::RegionId;
use peerdma::pci::AcsFlags;
use peerdma::probe::{Judgement, Looks, Options, Outcome, ProbeError};
use peerdma::route::Access;
use peerdma_sim::fabric::Width;
use peerdma_sim::machine::{Fate, Fault, FaultPlan, Turn};
use peerdma_sim::tlp;
use std::collections::HashMap;

/// What a route does to what goes to or comes from the memory.
#[derive(Debug, Clone, Copy)]
enum Breakage {
    /// All of it goes so many bytes too far.
    Shifted(u64),
    /// Success is reported, and nothing is moved.
    Dropped,
    /// What lies behind the first page boundary within it is not moved.
    CutAtPage,
    /// Of several operations at once, each gets the memory of its neighbour.
    Swapped,
}

/// A volume whose route to some memory is broken.
struct Broken {
    disk: Disk,
    memory: Span<PhysAddr>,
    breakage: Breakage,
    /// What whoever submitted it will be given back.
    meant: HashMap<Ticket, Vec<PhysVec>>,
    dropped: Vec<(Ticket, Bio)>,
    next: u64,
}

fn piece(at: u64, len_bytes: u64) -> PhysVec {
    PhysVec::new(PhysAddr::from_u64(at), len_bytes as u32, Origin::LookUp).unwrap()
}

impl Volume for Broken {
    fn limits(&self) -> &Limits {
        self.disk.limits()
    }

    fn submit(&mut self, bio: Bio) -> Result<Ticket, Rejected> {
        let Data::Vector(pieces) = &bio.data else {
            return self.disk.submit(bio);
        };
        let meant = pieces.clone();
        let (at, len) = (meant[0].addr().to_u64(), u64::from(meant[0].len_bytes()));
        if !self.memory.contains(meant[0].addr()) {
            return self.disk.submit(bio);
        }
        let block_bytes = u64::from(self.limits().block_bytes);
        let mut other = Bio {
            data: Data::Vector(meant.clone()),
            ..bio
        };
        match self.breakage {
            Breakage::Dropped => {
                self.next += 1;
                let ticket = Ticket(u64::MAX - self.next);
                self.dropped.push((ticket, other));
                return Ok(ticket);
            }
            Breakage::Shifted(by) if at + by + len - 1 <= self.memory.last().to_u64() => {
                other.data = Data::Vector(vec![piece(at + by, len)]);
            }
            Breakage::CutAtPage => {
                let left = (4096 - at % 4096) / block_bytes * block_bytes;
                if (1..len).contains(&left) {
                    other.blocks = (left / block_bytes) as u32;
                    other.data = Data::Vector(vec![piece(at, left)]);
                }
            }
            Breakage::Swapped if self.disk.under_way() > 0 => other.lba += u64::from(other.blocks),
            Breakage::Shifted(_) | Breakage::Swapped => {}
        }
        let ticket = self.disk.submit(other)?;
        self.meant.insert(ticket, meant);
        Ok(ticket)
    }

    fn poll(&mut self, done: &mut dyn FnMut(Done)) -> Result<(), VolumeError> {
        for (ticket, bio) in self.dropped.drain(..) {
            let result = Ok(());
            done(Done { ticket, bio, result });
        }
        let meant = &mut self.meant;
        self.disk.poll(&mut |mut one| {
            if let Some(meant) = meant.remove(&one.ticket) {
                one.bio.data = Data::Vector(meant);
            }
            done(one);
        })
    }

    fn under_way(&self) -> usize {
        self.disk.under_way() + self.dropped.len()
    }

    fn abort_uses(&mut self, region: RegionId) {
        self.disk.abort_uses(region);
    }
}

fn outcome(breakage: Breakage, access: Access) -> Outcome {
    let rig = Rig::named(&shipped("two-ssds"), "nvme0", FaultPlan::default());
    let (region, memory) = rig.memory_of("nvme1");
    rig.fill(&region, memory);
    let before = rig.computer.state();
    let mut broken = Broken {
        disk: rig.disk(),
        memory,
        breakage,
        meant: HashMap::new(),
        dropped: Vec::new(),
        next: 0,
    };
    let options = Options {
        accesses: &[access],
        settle_ns: 1_000_000,
        ..Options::default()
    };
    let report = rig.probe(&mut broken, memory, &options).unwrap();
    assert_eq!(report.not_restored, None);
    // A route that is broken by less than the guards harms nothing that was not given.
    assert_eq!(rig.changed(&before), [], "{breakage:?}");
    let mut directions = report.directions;
    directions.remove(0).outcome
}

#[test]
fn each_way_to_break_a_route_is_found_and_told_from_the_others() {
    for access in Access::ALL {
        for breakage in [
            Breakage::Shifted(64),
            Breakage::Dropped,
            Breakage::CutAtPage,
            Breakage::Swapped,
        ] {
            let Outcome::Corrupt(corruption) = outcome(breakage, access) else {
                panic!("{breakage:?} {access:?}");
            };
            let case = corruption.case;
            match (breakage, access) {
                (Breakage::Shifted(_), Access::Write) => {
                    assert_eq!(corruption.looks, Looks::Elsewhere { shift_bytes: 64 });
                    // A byte may be what it should be by chance.
                    assert!((56..=64).contains(&corruption.guard_bytes));
                }
                (Breakage::Shifted(_), Access::Read) => {
                    assert_eq!(corruption.looks, Looks::Elsewhere { shift_bytes: -64 });
                }
                (Breakage::Dropped, _) => {
                    assert_eq!(
                        (corruption.looks, corruption.within_bytes),
                        (Looks::NeverArrived, 0)
                    );
                    assert_eq!(corruption.wrong_bytes, case.total_bytes());
                }
                (Breakage::CutAtPage, _) => {
                    assert_eq!(corruption.looks, Looks::NeverArrived);
                    assert!(corruption.within_bytes > 0 && case.operations == 1);
                }
                (Breakage::Swapped, _) => assert!(case.operations > 1, "{corruption}"),
            }
        }
    }
}

fn judged(machine: &str, fault: Fault) -> Vec<(Access, Judgement, Outcome)> {
    let faults = FaultPlan {
        seed: 0,
        faults: vec![fault],
    };
    let rig = Rig::named(&shipped(machine), "nvme0", faults);
    let (region, memory) = rig.memory_of("nvme1");
    rig.register(&region);
    let options = Options {
        settle_ns: 1_000_000,
        ..Options::default()
    };
    let judged = rig.judged(&region, memory, &options);
    let each = judged.into_iter().map(|(_, judgement, mut report)| {
        let direction = report.directions.remove(0);
        (direction.access, judgement, direction.outcome)
    });
    each.collect()
}

/// What QEMU does with a bus address under a translating IOMMU: it faults, and the controller says nothing of it where it writes.
#[test]
fn an_iommu_that_faults_where_the_verdict_promises_is_found() {
    // Where the memory is mapped is the same each time.
    let rig = Rig::named(&shipped("two-sockets"), "nvme0", FaultPlan::default());
    let (region, _) = rig.memory_of("nvme1");
    rig.register(&region);
    let (first, last) = rig.translated(&region);
    for access in [tlp::Access::Write, tlp::Access::Read] {
        let fault = Fault::Iommu {
            requester: Some(rig.bdf),
            access: Some(access),
            first,
            last,
            turn: Turn::Every,
        };
        for (of, judgement, outcome) in judged("two-sockets", fault) {
            match (access, of) {
                (tlp::Access::Write, Access::Write) => {
                    assert_eq!(judgement, Judgement::Corrupts, "{outcome}");
                    let Outcome::Corrupt(corruption) = outcome else {
                        panic!()
                    };
                    assert_eq!(
                        (corruption.looks, corruption.within_bytes),
                        (Looks::NeverArrived, 0)
                    );
                }
                (tlp::Access::Read, Access::Read) => {
                    assert_eq!(judgement, Judgement::Broken, "{outcome}");
                    assert!(matches!(outcome, Outcome::DeviceError(_)), "{outcome}");
                }
                _ => assert_eq!(judgement, Judgement::Agrees, "{outcome}"),
            }
        }
    }
}

#[test]
fn completions_that_come_broken_or_not_at_all_are_told() {
    let rig = Rig::named(&shipped("two-ssds"), "nvme0", FaultPlan::default());
    let (from, to) = (rig.computer.find("nvme1").unwrap().bdf, rig.bdf);
    for fate in [Fate::Poisoned, Fate::Lost] {
        let fault = Fault::Completion {
            from: Some(from),
            to: Some(to),
            turn: Turn::Nth(20),
            fate,
        };
        let judged = judged("two-ssds", fault);
        for (access, judgement, outcome) in judged {
            match access {
                Access::Write => assert_eq!(judgement, Judgement::Agrees, "{outcome}"),
                Access::Read => {
                    assert_eq!(judgement, Judgement::Broken, "{fate:?}: {outcome}");
                    assert!(matches!(outcome, Outcome::DeviceError(_)), "{outcome}");
                }
            }
        }
    }
}

#[test]
fn memory_that_is_none_is_told_from_a_route_that_fails() {
    let rig = Rig::named(&shipped("two-ssds"), "nvme0", FaultPlan::default());
    let (_, memory) = rig.memory_of("nvme1");
    let provider = rig.computer.find("nvme1").unwrap().bdf;
    rig.computer.with(|machine| machine.remove(provider));
    let ended = rig.probe(&mut rig.disk(), memory, &Options::default());
    assert!(matches!(ended, Err(ProbeError::Witness(_))), "{ended:?}");
}

/// Redirect that somebody switches on after the machine was looked at.
#[test]
fn a_redirect_that_was_switched_on_behind_the_judges_back_is_found() {
    let mut blueprint = shipped("redirect");
    blueprint.snapshot.edit(|function| {
        if let Fact::Known(Some(acs)) = &mut function.config.acs {
            acs.control = AcsFlags::from_register(0);
        }
    });
    let rig = Rig::named(&blueprint, "nvme0", FaultPlan::default());
    let (region, memory) = rig.memory_of("nvme1");
    let options = Options::default();
    let judged = rig.judged(&region, memory, &options);
    assert!(
        judged
            .iter()
            .all(|(_, judgement, _)| *judgement == Judgement::Agrees)
    );
    let ports: Vec<_> = (rig.computer.topology().snapshot().functions().iter())
        .filter_map(|function| match &function.config.acs {
            Fact::Known(Some(_)) => Some(function.bdf),
            _ => None,
        })
        .collect();
    for port in ports {
        set_acs(&rig, port, 0x0c);
    }
    let judged = rig.judged(&region, memory, &options);
    assert_eq!(
        (judged[0].1, judged[1].1),
        (Judgement::Broken, Judgement::Corrupts)
    );
}

/// Writes the ACS control register of a function.
fn set_acs(rig: &Rig, bdf: Bdf, control: u32) {
    rig.computer.with(|machine| {
        let mut at = 0x100;
        while at != 0 {
            let header = machine.config_read(bdf, at, Width::Dword);
            if header & 0xffff == 0x000d {
                machine.config_write(bdf, at + 6, Width::Word, control);
                return;
            }
            at = (header >> 20) as u16;
        }
        panic!("{bdf} has no ACS");
    });
}
