//! Namespaces in memory and on files, and controllers that cannot be made.

use crate::bench::Bench;
use crate::driver::{Cmd, DATA, Driver, kind, kind_with_buffer, read, sc, write};
use peerdma_sim::blueprint::{NamespaceKind, NvmeKind, Protection};
use peerdma_sim::device::nvme::{Controller, NvmeError, Traits};
use peerdma_sim::memory::Banks;
use std::path::PathBuf;

/// A file that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("peerdma-nvme-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn on_file(path: PathBuf, block_bytes: u32, blocks: u64) -> NvmeKind {
    NvmeKind {
        namespaces: vec![NamespaceKind {
            block_bytes,
            blocks,
            file: Some(path),
            protection: Protection::None,
        }],
        cmb: None,
    }
}

fn refused(kind: &NvmeKind, bars: [u64; 6], traits: Traits) -> NvmeError {
    Controller::with_traits(kind, &bars, &mut Banks::new(1 << 30), traits).unwrap_err()
}

const BARS: [u64; 6] = [16 << 10, 0, 1 << 20, 0, 0, 0];

#[test]
fn a_file_is_read_at_the_start_and_written_through() {
    let content: Vec<u8> = (0..390 * 512_u32).map(|i| (i % 251) as u8).collect();
    let file = Scratch::new("through", &content);
    let mut driver = Driver::with_io(&on_file(file.0.clone(), 512, 390));
    assert_eq!(
        driver.io(read().prp(DATA, 0).blocks(300, 8)).status(),
        sc::SUCCESS
    );
    assert_eq!(driver.memory(DATA, 4096), content[300 * 512..308 * 512]);
    let sent = driver.fill(DATA, 4096, 1);
    assert_eq!(
        driver.io(write().prp(DATA, 0).blocks(382, 8)).status(),
        sc::SUCCESS
    );
    assert_eq!(
        driver.io(Cmd::new(8).namespace(1).blocks(0, 2)).status(),
        sc::SUCCESS
    );
    assert_eq!(driver.io(Cmd::new(0).namespace(1)).status(), sc::SUCCESS);
    let mut expected = content;
    expected[..1024].fill(0);
    expected[382 * 512..390 * 512].copy_from_slice(&sent);
    assert_eq!(std::fs::read(&file.0).unwrap(), expected);
}

/// A failed write leaves file and memory alike.
#[test]
fn a_write_whose_data_did_not_come_leaves_the_file_as_software_reads_it() {
    let file = Scratch::new("failed", &[5; 64 * 512]);
    let mut driver = Driver::with_io(&on_file(file.0.clone(), 512, 64));
    driver.fill(DATA, 8192, 9);
    driver.bench.break_memory(DATA + 0x8000..DATA + 0x9000);
    let done = driver.io(write().prp(DATA, DATA + 0x8000).blocks(0, 16));
    assert_eq!(done.status(), sc::DATA_TRANSFER_ERROR);
    assert_eq!(
        driver.io(read().prp(DATA, DATA + 0x1000).blocks(0, 16)).status(),
        sc::SUCCESS
    );
    assert_eq!(driver.memory(DATA, 8192), std::fs::read(&file.0).unwrap()[..8192]);
}

#[test]
fn files_that_are_missing_or_short_are_named() {
    let missing = std::env::temp_dir().join("peerdma-nvme-nowhere");
    let error = refused(&on_file(missing, 512, 1), BARS, Traits::default());
    assert!(matches!(error, NvmeError::File { namespace: 1, .. }), "{error}");
    assert!(error.to_string().contains("peerdma-nvme-nowhere"), "{error}");
    let short = Scratch::new("short", &[0; 4095]);
    let error = refused(&on_file(short.0.clone(), 4096, 1), BARS, Traits::default());
    assert!(
        matches!(
            error,
            NvmeError::FileSize {
                have_bytes: 4095,
                need_bytes: 4096,
                ..
            }
        ),
        "{error}"
    );
    let error = refused(&on_file(std::env::temp_dir(), 512, 1), BARS, Traits::default());
    assert!(matches!(error, NvmeError::NotAFile { .. }), "a folder: {error}");
    let long = Scratch::new("long", &[0; 4097]);
    let error = refused(&on_file(long.0.clone(), 4096, 1), BARS, Traits::default());
    assert!(
        matches!(error, NvmeError::FileSize { have_bytes: 4097, .. }),
        "{error}"
    );
    let socket = std::env::temp_dir().join(format!("peerdma-nvme-{}-socket", std::process::id()));
    #[cfg(unix)]
    {
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = refused(&on_file(socket.clone(), 512, 1), BARS, Traits::default());
        std::fs::remove_file(&socket).unwrap();
        assert!(matches!(error, NvmeError::NotAFile { .. }), "a socket: {error}");
        let null = refused(&on_file("/dev/zero".into(), 512, 1), BARS, Traits::default());
        assert!(matches!(null, NvmeError::NotAFile { .. }), "a device: {null}");
    }
}

#[test]
fn a_large_sparse_file_costs_only_what_is_touched() {
    let bytes = 64_u64 << 30;
    let file = Scratch::new("sparse", &[]);
    let image = std::fs::File::options().write(true).open(&file.0).unwrap();
    image.set_len(bytes).unwrap();
    let last = bytes / 512 - 8;
    let mut driver = Driver::with_io(&on_file(file.0.clone(), 512, bytes / 512));
    let sent = driver.fill(DATA, 4096, 3);
    assert_eq!(
        driver.io(write().prp(DATA, 0).blocks(last, 8)).status(),
        sc::SUCCESS
    );
    assert_eq!(
        driver.io(read().prp(DATA, 0).blocks(last - 8, 8)).status(),
        sc::SUCCESS
    );
    assert_eq!(driver.memory(DATA, 4096), [0; 4096]);
    assert_eq!(
        driver.io(read().prp(DATA, 0).blocks(last, 8)).status(),
        sc::SUCCESS
    );
    assert_eq!(driver.memory(DATA, 4096), sent);
}

/// What is next to a write or to zeros lies in the same piece of the file.
#[test]
fn neighbours_of_what_is_written_first_stay_as_the_file_has_them() {
    let content: Vec<u8> = (0..3 * (64 << 10)).map(|i| (i % 253) as u8 | 1).collect();
    let file = Scratch::new("neighbours", &content);
    let mut driver = Driver::with_io(&on_file(file.0.clone(), 512, 384));
    let zeroes = |first, count| Cmd::new(8).namespace(1).blocks(first, count);
    assert_eq!(driver.io(zeroes(5, 300)).status(), sc::SUCCESS);
    let mut expected = content;
    expected[5 * 512..305 * 512].fill(0);
    for first in (0..384).step_by(8) {
        assert_eq!(
            driver.io(read().prp(DATA, 0).blocks(first, 8)).status(),
            sc::SUCCESS
        );
        let start = first as usize * 512;
        assert_eq!(
            driver.memory(DATA, 4096),
            expected[start..start + 4096],
            "{first}"
        );
    }
    assert_eq!(std::fs::read(&file.0).unwrap(), expected);
}

#[test]
fn a_file_that_became_shorter_is_a_media_error() {
    let file = Scratch::new("shrunk", &[1; 4096]);
    let mut driver = Driver::with_io(&on_file(file.0.clone(), 512, 8));
    std::fs::write(&file.0, [1; 100]).unwrap();
    let status = driver.io(read().prp(DATA, 0).blocks(0, 8)).status();
    assert_eq!(status, sc::UNRECOVERED_READ_ERROR);
}

#[test]
fn what_cannot_be_made_is_refused_with_a_reason() {
    let one = |block_bytes, blocks| NvmeKind {
        namespaces: vec![NamespaceKind {
            block_bytes,
            blocks,
            file: None,
            protection: Protection::None,
        }],
        cmb: None,
    };
    let usual = Traits::default;
    assert!(matches!(
        refused(&one(1024, 1), BARS, usual()),
        NvmeError::BlockSize {
            block_bytes: 1024,
            ..
        }
    ));
    for (block_bytes, blocks) in [(512, 0), (512, u64::MAX), (4096, 1 << 52)] {
        assert!(matches!(
            refused(&one(block_bytes, blocks), BARS, usual()),
            NvmeError::NamespaceSize { .. }
        ));
    }
    assert!(matches!(
        refused(&kind(), [4096; 6], usual()),
        NvmeError::RegistersDoNotFit { .. }
    ));
    for size in [0, 2048, 12 << 10] {
        let bars = [16 << 10, 0, size, 0, 0, 0];
        assert!(matches!(
            refused(&kind_with_buffer(1, 0), bars, usual()),
            NvmeError::BufferBar { bar: 2, .. }
        ));
    }
    for (size_bits, location_bits) in [(0x20, 0), (0, 7), (0, 1 << 9)] {
        let kind = kind_with_buffer(size_bits, location_bits);
        assert!(matches!(
            refused(&kind, BARS, usual()),
            NvmeError::BufferAbilities { .. }
        ));
    }
    for bar in [0, 1, 6, 255] {
        let mut kind = kind_with_buffer(1, 0);
        kind.cmb.as_mut().unwrap().bar = bar;
        assert!(matches!(
            refused(&kind, [1 << 20; 6], usual()),
            NvmeError::BufferBar { .. }
        ));
    }
    for traits in [
        Traits {
            io_queues: 0,
            ..usual()
        },
        Traits {
            io_queues: 512,
            ..usual()
        },
        Traits {
            vectors: 0,
            ..usual()
        },
        Traits {
            vectors: 2049,
            ..usual()
        },
        Traits {
            doorbell_stride_log2: 10,
            ..usual()
        },
        Traits {
            doorbell_stride_log2: 9,
            io_queues: 1,
            ..usual()
        },
    ] {
        assert!(matches!(refused(&kind(), BARS, traits), NvmeError::Trait { .. }));
    }
    let many = NvmeKind {
        namespaces: vec![one(512, 1).namespaces[0].clone(); 1025],
        cmb: None,
    };
    assert!(matches!(
        refused(&many, BARS, usual()),
        NvmeError::Trait { is: 1025, .. }
    ));
}

#[test]
fn a_write_protected_namespace_is_read_and_never_written() {
    let content: Vec<u8> = (0..64 * 512_u32).map(|i| (i % 251) as u8).collect();
    let file = Scratch::new("protected", &content);
    let mut kind = on_file(file.0.clone(), 512, 64);
    kind.namespaces[0].protection = Protection::WriteProtected;
    let mut driver = Driver::with_io(&kind);
    assert_eq!(driver.io(read().prp(DATA, 0).blocks(0, 8)).status(), sc::SUCCESS);
    assert_eq!(driver.memory(DATA, 4096), content[..4096]);
    driver.fill(DATA, 4096, 1);
    assert_eq!(driver.io(write().prp(DATA, 0).blocks(0, 8)).status(), 0x20);
    assert_eq!(std::fs::read(&file.0).unwrap(), content);
}
