//! What fails ends once, by name, and what ends short is gone on with.

use super::faulty::{Fate, Faulty, Script};
use super::rig::{NoPeers, RAM, RAM_BYTES, Ram, bio, open, options, pattern, settle, space, span, volume};
use crate::ring::uring::{Completed, Ends, Uring};
use crate::ring::{BlockDevice, OpenOptions, RingVolume, Write};
use peerdma::block::{CommandError, Operation, SubmitError, Volume};
use peerdma::dma::SingleThread;
use peerdma::engine::{Check, Copy, Job, Outcome, Progress, Truth, Verify};
use peerdma::plan::{self, Demands, End, OwnData, Shape, Situation};
use peerdma::route::TlpClass;
use peerdma::route::bandwidth::Estimator;
use peerdma::snapshot::{Snapshot, Warnings};
use peerdma::topology::Topology;
use proptest::prelude::*;
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::path::Path;
use std::sync::{Arc, Mutex};

type Faults = Arc<Mutex<Script>>;

fn faulty(path: &Path, ram: &Ram, depth: u16) -> (RingVolume<SingleThread, Ram>, Faults) {
    faulty_of(open(path), ram, depth)
}

fn faulty_of(device: BlockDevice, ram: &Ram, depth: u16) -> (RingVolume<SingleThread, Ram>, Faults) {
    let ioas = space(device.initiator());
    let script = Faults::default();
    let inner = Uring::new(device.fd().as_fd(), 2 * u32::from(depth), Ends::ByInterrupt).unwrap();
    let kernel = Box::new(Faulty {
        inner,
        script: script.clone(),
        kept: Vec::new(),
        ended: Vec::new(),
    });
    let volume = RingVolume::with_kernel(device, ram.clone(), &ioas, options(depth), kernel).unwrap();
    (volume, script)
}

const FILE_BYTES: usize = 256 << 10;

fn file(folder: &Path) -> (std::path::PathBuf, Vec<u8>) {
    let path = folder.join("volume");
    let bytes = pattern(3, FILE_BYTES);
    std::fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Plain),
        4 => (1..9_u64).prop_map(|blocks| Fate::Short(blocks * 4096)),
        1 => Just(Fate::Fails(Errno::AGAIN)),
        1 => Just(Fate::Fails(Errno::INTR)),
        1 => Just(Fate::Fails(Errno::IO)),
        1 => Just(Fate::Fails(Errno::NOSPC)),
        1 => Just(Fate::Lies(0)),
        1 => Just(Fate::Lies(4097)),
        1 => Just(Fate::Lies(i32::MAX)),
        1 => Just(Fate::Lies(i32::MIN)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_bio_ends_once_and_success_means_that_its_bytes_are_there(
        fates in prop::collection::vec(fate(), 0..40),
        entries in prop::collection::vec(prop::sample::select(&[Errno::AGAIN, Errno::INTR, Errno::BUSY][..]), 0..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (path, bytes) = file(folder.path());
        let ram = Ram::new();
        let (mut volume, script) = faulty(&path, &ram, 4);
        {
            let mut script = script.lock().unwrap();
            script.fates = fates.iter().copied().collect();
            script.entries = entries.into();
        }
        let lies = fates.iter().any(|fate| matches!(fate, Fate::Lies(_)));
        let each = 8 * 4096;
        let blocks = each / volume.limits().block_bytes;
        let mut tickets = Vec::new();
        let mut ended = Vec::new();
        for index in 0..(FILE_BYTES as u64 / u64::from(each)) {
            let at = RAM + index * u64::from(each);
            ram.write(at, &vec![0; each as usize]);
            let pieces = [(at, each / 2), (at + u64::from(each / 2), each / 2)];
            let lba = index * u64::from(blocks);
            if volume.under_way() == 4 {
                ended.extend(settle(&mut volume));
            }
            tickets.push(volume.submit(bio(Operation::Read, lba, blocks, &pieces)).unwrap());
        }
        ended.extend(settle(&mut volume));
        let mut names: Vec<_> = ended.iter().map(|done| done.ticket).collect();
        names.sort();
        prop_assert_eq!(&names, &tickets);
        for done in &ended {
            let index = done.ticket.0;
            let from = index as usize * each as usize;
            let found = ram.read(RAM + index * u64::from(each), each as usize);
            if done.result.is_ok() && !lies {
                prop_assert!(found == bytes[from..from + each as usize]);
            }
        }
        drop(volume);
        prop_assert_eq!(Arc::strong_count(&ram.0), 1);
    }
}

#[test]
fn failures_say_what_failed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = file(folder.path());
    let ram = Ram::new();
    let (mut volume, script) = faulty(&path, &ram, 4);
    let block = volume.limits().block_bytes;
    let cases = [
        (Fate::Fails(Errno::IO), "kernel's log"),
        (Fate::Fails(Errno::NOSPC), "no space is left"),
        (Fate::Fails(Errno::REMOTEIO), "request is wrong"),
        (Fate::Fails(Errno::INVAL), "not aligned"),
        (Fate::Fails(Errno::NODEV), "device is gone"),
        (Fate::Lies(0), "made shorter"),
        (Fate::Lies(1), "within a block"),
        (Fate::Lies(i32::MAX), "more bytes"),
    ];
    for (fate, words) in cases {
        script.lock().unwrap().fates.push_back(fate);
        volume
            .submit(bio(Operation::Read, 0, 1, &[(RAM, block)]))
            .unwrap();
        let ended = settle(&mut volume);
        let shown = ended[0].result.unwrap_err().to_string();
        assert!(shown.contains(words), "{fate:?}: {shown}");
    }
    script.lock().unwrap().fates.push_back(Fate::Fails(Errno::IO));
    volume.submit(bio(Operation::Flush, 0, 0, &[])).unwrap();
    assert!(settle(&mut volume)[0].result.is_err());
}

#[test]
fn what_ends_with_the_thread_that_submitted_it_is_submitted_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = file(folder.path());
    let ram = Ram::new();
    let (mut volume, script) = faulty(&path, &ram, 1);
    let blocks = 4096 / volume.limits().block_bytes;
    let read = || bio(Operation::Read, 0, blocks, &[(RAM, 4096)]);
    let cancelled = |times| vec![Fate::Fails(Errno::CANCELED); times];
    script.lock().unwrap().fates = cancelled(3).into();
    volume.submit(read()).unwrap();
    assert_eq!(settle(&mut volume)[0].result, Ok(()));
    assert_eq!(ram.read(RAM, 4096), bytes[..4096]);
    // Having been put off, however often, is another matter.
    script.lock().unwrap().fates = [[Fate::Fails(Errno::AGAIN); 100].into(), cancelled(3)]
        .concat()
        .into();
    volume.submit(read()).unwrap();
    assert_eq!(settle(&mut volume)[0].result, Ok(()));
    // A kernel that never does it does not keep us for ever.
    script.lock().unwrap().fates = cancelled(1000).into();
    volume.submit(read()).unwrap();
    assert_eq!(settle(&mut volume)[0].result, Err(CommandError::Aborted));
}

#[test]
fn what_a_broken_kernel_never_took_ends_and_nothing_more_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = file(folder.path());
    let ram = Ram::new();
    let (mut volume, script) = faulty(&path, &ram, 4);
    let block = volume.limits().block_bytes;
    script.lock().unwrap().entries.push_back(Errno::BADF);
    for lba in 0..3 {
        let at = RAM + lba * 4096;
        volume
            .submit(bio(Operation::Read, lba, 1, &[(at, block)]))
            .unwrap();
    }
    let mut ended = Vec::new();
    let result = volume.poll(&mut |done| ended.push(done));
    assert_eq!(ended.len(), 3);
    assert!(ended.iter().all(|done| done.result == Err(CommandError::Aborted)));
    assert!(result.is_err());
    let refused = volume
        .submit(bio(Operation::Read, 0, 1, &[(RAM, block)]))
        .unwrap_err();
    assert!(matches!(refused.why, SubmitError::Failed(_)));
}

#[test]
fn what_goes_on_when_the_kernel_has_broken_ends_too() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = file(folder.path());
    let ram = Ram::new();
    let (mut volume, script) = faulty(&path, &ram, 4);
    let block = volume.limits().block_bytes;
    {
        let mut script = script.lock().unwrap();
        script.fates = [Fate::Fails(Errno::AGAIN)].into();
        script.entries = [Errno::BADF].into();
    }
    for lba in 0..2 {
        let at = RAM + lba * 4096;
        volume
            .submit(bio(Operation::Read, lba, 1, &[(at, block)]))
            .unwrap();
    }
    let mut ended = Vec::new();
    let mut result = Ok(());
    for _ in 0..100 {
        result = volume.poll(&mut |done| ended.push(done));
    }
    assert_eq!((ended.len(), volume.under_way()), (2, 0));
    assert!(ended.iter().all(|done| done.result == Err(CommandError::Aborted)));
    assert!(result.is_err());
}

#[test]
fn what_the_kernel_did_not_look_at_is_given_to_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = file(folder.path());
    let ram = Ram::new();
    let (mut volume, script) = faulty(&path, &ram, 4);
    let block = volume.limits().block_bytes;
    script.lock().unwrap().fates = [Fate::Stops].into();
    for lba in 0..3 {
        let at = RAM + lba * u64::from(block);
        volume
            .submit(bio(Operation::Read, lba, 1, &[(at, block)]))
            .unwrap();
    }
    let mut ended = settle(&mut volume);
    ended.sort_by_key(|done| done.ticket);
    let failed: Vec<_> = ended.iter().map(|done| done.result.is_err()).collect();
    assert_eq!(failed, [true, false, false]);
    let (first, len) = (block as usize, 2 * block as usize);
    assert_eq!(ram.read(RAM + u64::from(block), len), bytes[first..first + len]);
}

#[test]
fn a_completion_of_what_never_was_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = file(folder.path());
    let ram = Ram::new();
    let (mut volume, script) = faulty(&path, &ram, 2);
    let block = volume.limits().block_bytes;
    volume
        .submit(bio(Operation::Read, 0, 1, &[(RAM, block)]))
        .unwrap();
    for id in [0, 1, 2 << 16, 1 << 16 | 1, u64::MAX - 1] {
        script
            .lock()
            .unwrap()
            .foreign
            .push(Completed { id, result: 4096 });
    }
    let mut ended = Vec::new();
    for _ in 0..1_000_000 {
        if volume.poll(&mut |done| ended.push(done)).is_err() {
            break;
        }
    }
    assert_eq!(ended.len(), 1);
    assert!(ended[0].result.is_ok());
    assert_eq!(ram.read(RAM, block as usize), bytes[..block as usize]);
}

#[test]
fn a_file_that_was_cut_off_fails_where_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = file(folder.path());
    let ram = Ram::new();
    let mut volume = volume(&path, &ram, 4);
    let block = volume.limits().block_bytes;
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(u64::from(block) + 100).unwrap();
    let blocks = 4;
    volume
        .submit(bio(Operation::Read, 0, blocks, &[(RAM, blocks * block)]))
        .unwrap();
    volume
        .submit(bio(Operation::Read, 3, 1, &[(RAM, block)]))
        .unwrap();
    let ended = settle(&mut volume);
    assert!(ended.iter().all(|done| done.result.is_err()), "{ended:?}");
}

#[test]
fn what_a_block_device_refuses_that_was_unbound_is_not_blamed_on_space() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = file(folder.path());
    let ram = Ram::new();
    let (mut volume, script) = faulty_of(open(&path).taken_for_block_device(), &ram, 4);
    let block = volume.limits().block_bytes;
    let mut fails = |fate| {
        script.lock().unwrap().fates.push_back(fate);
        volume
            .submit(bio(Operation::Read, 0, 1, &[(RAM, block)]))
            .unwrap();
        settle(&mut volume)[0].result.unwrap_err()
    };
    let fates = [Fate::Fails(Errno::NOSPC), Fate::Fails(Errno::IO), Fate::Lies(0)];
    for fate in fates {
        assert!(matches!(fails(fate), CommandError::System { .. }));
    }
    // What the kernel does to one that is gone.
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(0).unwrap();
    for fate in fates {
        assert_eq!(fails(fate), CommandError::Removed);
    }
    let other = fails(Fate::Fails(Errno::NOMEM));
    assert!(matches!(other, CommandError::System { .. }));
}

/// Copies one file to another by way of RAM, as a plan says.
fn copy(from: &mut dyn Volume, to: &mut dyn Volume, len_bytes: u64) -> (Result<(), String>, Job) {
    let topology = Topology::new(Snapshot::default(), &mut Warnings::default());
    let links = Estimator::new(&topology);
    let end = |volume: &dyn Volume| End {
        limits: *volume.limits(),
        class: TlpClass::Strict,
        memory: None,
        own_data: OwnData::NONE,
        completion_queue: None,
    };
    let situation = Situation {
        source: end(from),
        destination: end(to),
        thirds: &[],
        ram: Some(span(RAM, RAM_BYTES)),
        routes: &NoPeers,
        links: &links,
        shape: Shape {
            chunk_bytes: 64 << 10,
            depth: 4,
        },
        demands: Demands::default(),
    };
    let plan = plan::choose(&situation).unwrap();
    let job = Job {
        source_lba: 0,
        destination_lba: 0,
        len_bytes,
        resume_bytes: 0,
    };
    let mut copy = Copy::new(&plan, job, from, to).unwrap();
    while let Progress::UnderWay(_) = copy.poll(from, to) {
        std::thread::yield_now();
    }
    let result = match copy.outcome() {
        Some(Outcome::Whole) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    (result, job)
}

#[test]
fn the_engine_copies_one_file_to_another_by_way_of_ram_and_proves_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = file(folder.path());
    let ram = Ram::new();
    let mut from = volume(&path, &ram, 4);
    let created = folder.path().join("copy");
    let write = Write::Create {
        len_bytes: FILE_BYTES as u64,
    };
    let device = BlockDevice::open(&created, OpenOptions { write }).unwrap();
    let ioas = space(device.initiator());
    let mut to = RingVolume::new(device, ram.clone(), &ioas, options(4)).unwrap();

    let (result, job) = copy(&mut from, &mut to, FILE_BYTES as u64);

    result.unwrap();
    assert!(std::fs::read(&created).unwrap() == bytes);
    let host = super::peers::HostOf(ram.clone());
    let mut verify = Verify::new(job, &to, Some(&from), span(RAM, RAM_BYTES), 64 << 10).unwrap();
    let check = loop {
        match verify.poll(&mut to, &mut Truth::Source(&mut from), &host) {
            Check::UnderWay { .. } => std::thread::yield_now(),
            other => break other,
        }
    };
    assert_eq!(check, Check::Equal);
}

#[test]
fn a_copy_whose_destination_fails_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = file(folder.path());
    let ram = Ram::new();
    let mut from = volume(&path, &ram, 4);
    let other = folder.path().join("other");
    std::fs::write(&other, vec![0; FILE_BYTES]).unwrap();
    let (mut to, script) = faulty(&other, &ram, 4);
    script.lock().unwrap().fates = [Fate::Plain, Fate::Fails(Errno::NOSPC)].into();

    let (result, _) = copy(&mut from, &mut to, FILE_BYTES as u64);

    // Reads may overtake each other: which chunk came second is open.
    let shown = result.unwrap_err();
    for words in ["no space", "step: Write", "Destination"] {
        assert!(shown.contains(words), "{shown}");
    }
}
