//! Random bios against a vector of bytes.

use super::rig::{RAM, Ram, bio, open, pattern, settle, volume, volume_of};
use crate::ring::{BlockDevice, OpenError, OpenOptions, Transfers, Write};
use peerdma::block::{Operation, SubmitError, Volume};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::process::Command;

const BLOCKS: u64 = 64;

/// A step: an operation on some blocks, with data in so many pieces.
#[derive(Debug, Clone)]
struct Step {
    operation: Operation,
    lba: u64,
    blocks: u32,
    pieces: u32,
    gap_bytes: u32,
    seed: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let operation = prop_oneof![
        4 => Just(Operation::Write),
        4 => Just(Operation::Read),
        1 => Just(Operation::Flush),
    ];
    let step = (operation, 0..BLOCKS, 1..9_u32, 1..9_u32, 0..3_u32, any::<u64>());
    let step = step.prop_map(|(operation, lba, blocks, pieces, gap, seed)| Step {
        operation,
        lba,
        blocks: blocks.min((BLOCKS - lba) as u32),
        pieces,
        gap_bytes: gap * 4096,
        seed,
    });
    prop::collection::vec(step, 1..40)
}

/// Pieces of all the bytes, each a multiple of what the volume needs, with gaps between.
fn pieces(step: &Step, bytes: u32, first: u64, grain: u32) -> Vec<(u64, u32)> {
    let each = (bytes / step.pieces) / grain * grain;
    let mut at = first;
    let mut left = bytes;
    let mut pieces = Vec::new();
    while left > 0 {
        let len = match each == 0 || left < 2 * each {
            true => left,
            false => each,
        };
        pieces.push((at, len));
        at += u64::from(len + step.gap_bytes);
        left -= len;
    }
    pieces
}

/// Carries the steps out, several at a time, and compares file and memory with the model.
fn run(path: &Path, device: BlockDevice, steps: &[Step]) {
    let ram = Ram::new();
    let mut volume = volume_of(device, &ram, 8);
    let grain = volume.limits().constraints.align_bytes.max(512);
    let block_bytes = volume.limits().block_bytes;
    let size = |blocks: u64| (blocks * u64::from(block_bytes)) as usize;
    assert!(volume.limits().blocks >= BLOCKS);
    let mut model = std::fs::read(path).unwrap();
    model.truncate(size(BLOCKS));
    let mut reads = Vec::new();
    let mut taken: Vec<(u64, u64)> = Vec::new();
    let mut room = RAM;
    for step in steps {
        let (blocks, lba) = (u64::from(step.blocks), step.lba);
        let is_apart = taken
            .iter()
            .all(|(first, end)| lba + blocks <= *first || *end <= lba);
        if !is_apart || volume.under_way() == 8 || room > RAM + (4 << 20) {
            let ended = settle(&mut volume);
            assert!(ended.iter().all(|done| done.result.is_ok()), "{ended:?}");
            for (at, bytes) in reads.drain(..) {
                let bytes: Vec<u8> = bytes;
                assert_eq!(ram.read(at, bytes.len()), bytes);
            }
            taken.clear();
            room = RAM;
        }
        if step.operation == Operation::Flush {
            volume.submit(bio(Operation::Flush, 0, 0, &[])).unwrap();
            continue;
        }
        let bytes = step.blocks * block_bytes;
        let vector = pieces(step, bytes, room, grain);
        room = vector
            .last()
            .map_or(room, |(at, len)| at + u64::from(*len) + 4096)
            / 4096
            * 4096;
        let mut at = size(lba);
        for (piece, len) in &vector {
            let of_model = &mut model[at..at + *len as usize];
            match step.operation {
                Operation::Write => {
                    of_model.copy_from_slice(&pattern(step.seed ^ piece, *len as usize));
                    ram.write(*piece, of_model);
                }
                _ => {
                    ram.write(*piece, &vec![0xcc; *len as usize]);
                    reads.push((*piece, of_model.to_vec()));
                }
            }
            at += *len as usize;
        }
        volume
            .submit(bio(step.operation, lba, step.blocks, &vector))
            .unwrap();
        taken.push((lba, lba + blocks));
    }
    let ended = settle(&mut volume);
    assert!(ended.iter().all(|done| done.result.is_ok()), "{ended:?}");
    for (at, bytes) in reads {
        assert_eq!(ram.read(at, bytes.len()), bytes);
    }
    drop(volume);
    let mut found = std::fs::read(path).unwrap();
    found.truncate(model.len());
    assert!(found == model, "the file is not what the model says");
}

/// A file of this many blocks of 4 KiB.
fn file(folder: &Path) -> PathBuf {
    let path = folder.join("volume");
    std::fs::write(&path, pattern(7, (BLOCKS * 4096) as usize)).unwrap();
    path
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_file_holds_what_was_written_and_memory_what_was_read(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path());
        run(&path, open(&path), &steps);
    }
}

/// A block device on a file; gone when dropped.
struct Loop(PathBuf);

impl Loop {
    /// Nothing where this machine gives none: no right, or no such driver.
    fn new(of: &Path, block_bytes: u32) -> Option<Self> {
        let size = block_bytes.to_string();
        let made = Command::new("losetup")
            .args(["--find", "--show", "--sector-size", &size])
            .arg(of)
            .output()
            .ok()?;
        let name = String::from_utf8(made.stdout).ok()?;
        made.status.success().then(|| Self(PathBuf::from(name.trim())))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

#[test]
fn a_loop_device_holds_what_was_written_and_is_ours_alone_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    for block_bytes in [512, 4096] {
        let Some(device) = Loop::new(&file(folder.path()), block_bytes) else {
            eprintln!("this machine gives no loop device: not tried");
            return;
        };
        let found = BlockDevice::open(&device.0, OpenOptions::default()).unwrap();
        assert_eq!((found.block_bytes(), found.function()), (block_bytes, None));
        assert!(found.is_block_device() && !found.takes_peer_memory());
        let write = OpenOptions {
            write: Write::Existing,
        };
        let first = BlockDevice::open(&device.0, write).unwrap();
        let second = BlockDevice::open(&device.0, write).unwrap_err();
        assert!(matches!(second, OpenError::Held { .. }), "{second}");
        drop((first, found));
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(6));
        let tried = runner.run(&steps(), |steps| {
            run(&device.0, open(&device.0), &steps);
            Ok(())
        });
        tried.unwrap();
    }
}

/// A file system, mounted; gone when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(device: &Path, at: &Path) -> Option<Self> {
        let run = |program: &str, arguments: &[&Path]| {
            let ran = Command::new(program).args(arguments).output();
            ran.is_ok_and(|ran| ran.status.success()).then_some(())
        };
        run("mkfs.ext4", &[device])?;
        run("mount", &[device, at])?;
        Some(Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn what_is_mounted_is_read_and_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    std::fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    let at = folder.path().join("at a place");
    std::fs::create_dir(&at).unwrap();
    let device = Loop::new(&image, 512);
    let mounted = device.as_ref().and_then(|device| Mount::new(&device.0, &at));
    let (Some(device), Some(_mounted)) = (&device, &mounted) else {
        eprintln!("this machine mounts nothing for us: not tried");
        return;
    };
    let write = OpenOptions {
        write: Write::Existing,
    };
    let refused = BlockDevice::open(&device.0, write).unwrap_err().to_string();
    assert!(
        refused.contains("is mounted at") && refused.contains("at a place"),
        "{refused}"
    );
    let read = BlockDevice::open(&device.0, OpenOptions::default()).unwrap();
    assert_eq!(read.holders().len(), 1);
}

#[test]
fn a_file_that_is_not_moved_directly_holds_the_same_by_way_of_the_page_cache() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(12));
    let tried = runner.run(&steps(), |steps| {
        let buffered = std::fs::File::options()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let device = BlockDevice::of_file(&path, buffered.into(), Transfers::Buffered).unwrap();
        assert_eq!((device.block_bytes(), device.align_bytes()), (512, 1));
        run(&path, device, &steps);
        Ok(())
    });
    tried.unwrap();
}

#[test]
fn a_file_in_memory_is_a_volume_too() {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("no /dev/shm: not tried");
        return;
    };
    let path = file(folder.path());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(12));
    let tried = runner.run(&steps(), |steps| {
        run(&path, open(&path), &steps);
        Ok(())
    });
    tried.unwrap();
}

#[test]
fn a_file_is_created_whole_and_never_over_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new");
    let create = |len_bytes| {
        let write = Write::Create { len_bytes };
        BlockDevice::open(&path, OpenOptions { write })
    };
    let device = create(10_000).unwrap();
    assert_eq!(device.len_bytes() % u64::from(device.block_bytes()), 0);
    assert!((10_000..14_097).contains(&device.len_bytes()));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), device.len_bytes());
    assert!(create(1).unwrap_err().to_string().contains("there already"));
    assert!(!device.is_block_device() && device.initiator() == crate::ring::NOBODY);
    std::fs::remove_file(&path).unwrap();
    assert!(create(u64::MAX).is_err());
    assert!(!path.exists());
}

#[test]
fn what_is_no_volume_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let cases = [
        (folder.path(), "a folder"),
        (Path::new("/dev/null"), "character device"),
        (&folder.path().join("none"), "is the name right"),
        (&empty, "not one block"),
    ];
    for (path, words) in cases {
        let error = BlockDevice::open(path, OpenOptions::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(words) && error.contains(path.to_str().unwrap()),
            "{error}"
        );
    }
}

#[test]
fn bios_that_do_not_fit_are_refused_and_nothing_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path());
    let ram = Ram::new();
    let mut volume = volume(&path, &ram, 2);
    let block = volume.limits().block_bytes;
    let blocks = volume.limits().blocks;
    let most = volume.limits().max_transfer_bytes / block;
    let read = |lba, blocks, pieces: &[(u64, u32)]| bio(Operation::Read, lba, blocks, pieces);
    let mut refused = |bio| volume.submit(bio).unwrap_err().why;
    assert!(matches!(
        refused(read(blocks, 1, &[(RAM, block)])),
        SubmitError::OutOfRange { .. }
    ));
    assert!(matches!(
        refused(read(u64::MAX, 1, &[(RAM, block)])),
        SubmitError::OutOfRange { .. }
    ));
    assert!(matches!(
        refused(read(0, 2, &[(RAM, block)])),
        SubmitError::WrongLength { .. }
    ));
    assert!(matches!(
        refused(read(0, 0, &[(RAM, block)])),
        SubmitError::WrongLength { .. }
    ));
    assert!(matches!(
        refused(read(0, 1, &[(RAM - 4096, block)])),
        SubmitError::LookUp(_)
    ));
    assert!(most < 2048 || matches!(refused(read(0, most + 1, &[])), SubmitError::OutOfRange { .. }));
    assert_eq!(volume.under_way(), 0);

    for lba in 0..2 {
        volume.submit(read(lba, 1, &[(RAM + lba * 4096, block)])).unwrap();
    }
    let full = volume.submit(read(2, 1, &[(RAM, block)])).unwrap_err();
    assert_eq!(full.why, SubmitError::QueueFull);
    assert_eq!(settle(&mut volume).len(), 2);
}

#[test]
fn a_volume_that_is_dropped_waits_for_what_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path());
    for _ in 0..20 {
        let ram = Ram::new();
        let mut volume = volume(&path, &ram, 16);
        let block = volume.limits().block_bytes;
        for lba in 0..16 {
            let at = RAM + lba * 4096;
            volume
                .submit(bio(Operation::Write, lba, 1, &[(at, block)]))
                .unwrap();
        }
        volume.poll(&mut |_| {}).unwrap();
        drop(volume);
        assert_eq!(std::sync::Arc::strong_count(&ram.0), 1);
    }
}

#[test]
fn what_is_open_for_reading_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path());
    let before = std::fs::read(&path).unwrap();
    let device = BlockDevice::open(&path, OpenOptions::default()).unwrap();
    assert_eq!(
        device.transfers(),
        Transfers::Direct,
        "the folder for temporary files has direct transfers"
    );
    let ram = Ram::new();
    let ioas = super::rig::space(device.initiator());
    let mut volume =
        crate::ring::RingVolume::new(device, ram.clone(), &ioas, super::rig::options(1)).unwrap();
    let block = volume.limits().block_bytes;
    volume
        .submit(bio(Operation::Write, 0, 1, &[(RAM, block)]))
        .unwrap();
    let ended = settle(&mut volume);
    let shown = ended[0].result.unwrap_err().to_string();
    assert!(shown.contains("open it for writing"), "{shown}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
