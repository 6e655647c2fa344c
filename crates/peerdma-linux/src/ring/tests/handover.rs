//! A volume that goes from thread to thread, while its operations are under way.

use super::rig::{NoPeers, RAM, RAM_BYTES, Ram, bio, options, pattern, settle, span};
use crate::process::Process;
use crate::ring::direct::Transfers;
use crate::ring::{BlockDevice, RingVolume, kernel_space};
use peerdma::block::{Operation, Volume};
use peerdma::dma::Threads;
use peerdma::memory::MemoryMap;
use peerdma::route::TlpClass;
use rustix::fs::{Mode, OFlags};
use std::sync::Arc;

const DEPTH: u16 = 16;
const EACH: u32 = 16 << 10;

#[test]
fn a_volume_may_go_to_another_thread() {
    fn may_go<T: Send>() {}
    may_go::<RingVolume<Threads, Process>>();
}

/// By way of the page cache operations wait for workers of their thread; past it the device has them.
#[test]
fn what_a_thread_submitted_before_it_ended_ends_well_in_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    let bytes = pattern(5, usize::from(DEPTH) * EACH as usize);
    std::fs::write(&path, &bytes).unwrap();
    for transfers in [Transfers::Buffered, Transfers::Direct] {
        let flags = match transfers {
            Transfers::Direct => OFlags::RDWR | OFlags::DIRECT,
            Transfers::Buffered => OFlags::RDWR,
        };
        // Where the files of tests have no direct transfers there is nothing to be seen of them.
        let Ok(fd) = rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty()) else {
            continue;
        };
        let device = BlockDevice::of_file(&path, fd, transfers).unwrap();
        let ram = Ram::new();
        let (map, _) = MemoryMap::new().with_ram(span(RAM, RAM_BYTES)).unwrap();
        let ioas = kernel_space::<Threads>(map, device.initiator(), TlpClass::Strict, &NoPeers).unwrap();
        let mut volume = RingVolume::new(device, ram.clone(), &ioas, options(DEPTH)).unwrap();
        let blocks = EACH / volume.limits().block_bytes;
        for _ in 0..4 {
            let submitting = std::thread::spawn(move || {
                for at in 0..u64::from(DEPTH) {
                    let place = RAM + at * u64::from(EACH);
                    let read = bio(Operation::Read, at * u64::from(blocks), blocks, &[(place, EACH)]);
                    volume.submit(read).unwrap();
                }
                let mut done = Vec::new();
                volume.poll(&mut |one| done.push(one)).unwrap();
                (volume, done)
            });
            let (back, mut done) = submitting.join().unwrap();
            volume = back;
            done.extend(settle(&mut volume));
            assert_eq!(done.len(), usize::from(DEPTH));
            assert!(done.iter().all(|done| done.result.is_ok()), "{done:?}");
            assert_eq!(ram.read(RAM, bytes.len()), bytes);
            ram.write(RAM, &vec![0; bytes.len()]);
        }
        drop(volume);
        assert_eq!(Arc::strong_count(&ram.0), 1);
    }
}
