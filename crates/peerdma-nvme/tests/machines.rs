//! Every shipped machine, every kind of controller memory buffer, and random work: what the volume says is done is done, byte for
//! byte.

mod support;

use peerdma::addr::{Address, PhysAddr, PhysVec};
use peerdma::block::{Bio, Operation, PeerSupport, SubmitError, Volume};
use peerdma::device::Host;
use peerdma::dma::MapError;
use peerdma_nvme::{BufferControl, Forms, QueueOptions, QueuePlace};
use peerdma_sim::host::Area;
use peerdma_sim::machine::FaultPlan;
use proptest::prelude::*;
use support::{Rig, bio, drain, pattern, piece, run};

const MACHINES: [&str; 9] = [
    "gpu-box.toml",
    "no-forward.toml",
    "offset-bridge.toml",
    "redirect.toml",
    "shared-group.toml",
    "store-only.toml",
    "two-offset-bridges.toml",
    "two-sockets.toml",
    "two-ssds.toml",
];

#[test]
fn on_every_shipped_machine_blocks_go_to_ram_to_own_memory_and_back() {
    for machine in MACHINES {
        let rig = Rig::new(machine);
        let controller = rig.open("nvme0");
        let mut disk = rig.disk(&controller, &QueueOptions::default());
        let ram = rig.ram(1 << 18);
        let half = 1_u64 << 17;
        let bytes = pattern(5, half as usize);
        rig.computer.write_ram(ram, &bytes).unwrap();
        let blocks = (half / u64::from(disk.limits().block_bytes)) as u32;
        let own = rig.buffer_region("nvme0").span.first();
        let ways = [
            bio(Operation::Write, 9, blocks, vec![piece(ram, 0, half)]),
            bio(Operation::Read, 9, blocks, vec![piece(own, 4096, half)]),
            bio(Operation::Write, 999, blocks, vec![piece(own, 4096, half)]),
            bio(Operation::Read, 999, blocks, vec![piece(ram, half, half)]),
        ];
        for next in ways {
            assert_eq!(run(&rig, &mut disk, next).result, Ok(()), "{machine}");
        }
        let mut read = vec![0; half as usize];
        rig.computer
            .read_ram(ram.checked_add(half).unwrap(), &mut read)
            .unwrap();
        assert!(read == bytes, "{machine}");
        drop((disk, controller));
        rig.computer.free(ram);
        rig.assert_clean();
    }
}

/// Two SSDs below a switch; what the first one's buffer can.
fn machine(cmb: &str) -> String {
    format!(
        r#"
[[bridge]]
name = "pci0"
[[bridge.port]]
[bridge.port.switch]
[[bridge.port.switch.port]]
device = {{ kind = "nvme", name = "nvme0", cmb = {{ size = "1 MiB", {cmb} }} }}
[[bridge.port.switch.port]]
device = {{ kind = "nvme", name = "nvme1", cmb = {{ size = "1 MiB" }} }}
"#
    )
}

#[test]
fn a_buffer_holds_what_it_says_and_nothing_else() {
    // What it can; whether data of reads, data of writes, mixed data, queues and lists go there.
    let cases: [(&str, [bool; 6]); 7] = [
        ("style = \"1.2\"", [true, true, false, true, true, false]),
        ("can = [\"rds\"]", [true, false, false, false, false, false]),
        ("can = [\"wds\"]", [false, true, false, false, false, false]),
        (
            "can = [\"rds\", \"wds\", \"cdmmms\"]",
            [true, true, true, false, false, false],
        ),
        (
            "can = [\"sqs\", \"lists\"]",
            [false, false, false, true, false, false],
        ),
        (
            "can = [\"lists\", \"cdpcils\", \"cqs\"]",
            [false, false, false, false, true, true],
        ),
        ("style = \"1.4\"", [true, true, true, true, true, true]),
    ];
    for (cmb, [reads, writes, mixes, submissions, completions, lists]) in cases {
        let rig = Rig::of_text(&machine(cmb), FaultPlan::default());
        let controller = rig.open("nvme0");
        let control = controller.buffer().unwrap().control;
        assert_eq!(control == BufferControl::BarAddress, cmb.contains("1.2"));
        let own = rig.buffer_region("nvme0").span.first();
        let ram = rig.ram(8192);
        let mut disk = rig.disk(&controller, &QueueOptions::default());
        let blocks = 8192 / disk.limits().block_bytes;
        assert_eq!(disk.limits().peer == PeerSupport::Mixed, mixes, "{cmb}");
        let vector = || vec![piece(own, 0, 8192)];
        let both = || vec![piece(own, 0, 4096), piece(ram, 0, 4096)];
        let tries: [(Operation, Vec<PhysVec>, bool); 4] = [
            (Operation::Read, vector(), reads),
            (Operation::Write, vector(), writes),
            (Operation::Read, both(), reads && mixes),
            (Operation::Write, both(), writes && mixes),
        ];
        for (operation, vector, works) in tries {
            match disk.submit(bio(operation, 0, blocks, vector)) {
                Ok(_) => {
                    assert!(works, "{cmb} {operation:?}");
                    assert_eq!(drain(&rig, &mut disk)[0].result, Ok(()), "{cmb} {operation:?}");
                }
                Err(rejected) => {
                    let why = rejected.why;
                    let named = matches!(why, SubmitError::Mixed | SubmitError::NotAddressable { .. });
                    assert!(!works && named, "{cmb} {operation:?}: {why}");
                }
            }
        }
        drop(disk);
        let at = |offset| QueuePlace::Memory(own.checked_add(offset).unwrap());
        let usual = QueueOptions {
            depth: 8,
            max_transfer_bytes: 65536,
            ..QueueOptions::default()
        };
        let places = [
            (
                QueueOptions {
                    submissions: at(0),
                    ..usual
                },
                submissions,
            ),
            (
                QueueOptions {
                    completions: at(4096),
                    ..usual
                },
                completions,
            ),
            (
                QueueOptions {
                    lists: at(8192),
                    ..usual
                },
                lists,
            ),
        ];
        for (options, works) in places {
            match rig.try_disk(&controller, &options) {
                Ok(mut disk) => {
                    assert!(works, "{cmb} {options:?}");
                    let vector = vec![piece(ram, 4096, 4096), piece(ram, 0, 4096)];
                    let three = bio(Operation::Write, 0, blocks, vector);
                    assert_eq!(run(&rig, &mut disk, three).result, Ok(()), "{cmb}");
                }
                Err(error) => assert!(!works, "{cmb}: {error}"),
            }
        }
        drop(controller);
        rig.computer.free(ram);
        rig.assert_clean();
    }
}

/// Where pieces of a random bio lie.
#[derive(Debug, Clone, Copy)]
enum Memory {
    Ram,
    Own,
    Peer,
}

#[derive(Debug, Clone)]
struct Work {
    operation: Operation,
    lba: u64,
    /// Of each piece: where, how long, and how far from the one before; in units of 4 bytes.
    pieces: Vec<(Memory, u64, u64)>,
}

fn work() -> impl Strategy<Value = Work> {
    let memory = prop_oneof![Just(Memory::Ram), Just(Memory::Own), Just(Memory::Peer)];
    let pieces = proptest::collection::vec((memory, 1_u64..3000, 0_u64..600), 1..12);
    let operation = prop_oneof![Just(Operation::Read), Just(Operation::Write)];
    (operation, 0_u64..2000, pieces).prop_map(|(operation, lba, pieces)| Work {
        operation,
        lba,
        pieces,
    })
}

/// The vector of a work, as long as whole blocks; each piece with its area and offset there.
fn lay(work: &Work, bases: [PhysAddr; 3], block_bytes: u64) -> Vec<(PhysVec, usize, u64)> {
    let total: u64 = work.pieces.iter().map(|(_, len, _)| len * 4).sum();
    let missing = total.next_multiple_of(block_bytes) - total;
    let mut at = 0;
    let last = work.pieces.len() - 1;
    let lay = |(index, (memory, len, gap)): (usize, &(Memory, u64, u64))| {
        let len = len * 4 + if index == last { missing } else { 0 };
        at += gap * 4;
        let offset = at;
        at += len;
        (
            piece(bases[*memory as usize], offset, len),
            *memory as usize,
            offset,
        )
    };
    work.pieces.iter().enumerate().map(lay).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_vectors_of_all_kinds_are_refused_or_every_byte_is_where_it_should_be(
        works in proptest::collection::vec(work(), 1..6),
        which in 0_usize..9,
        forms in prop_oneof![Just(Forms::Sgl), Just(Forms::Shorter)],
    ) {
        let rig = Rig::new(MACHINES[which]);
        let (a, b) = (rig.open("nvme0"), rig.open("nvme1"));
        let options = QueueOptions { forms, ..QueueOptions::default() };
        let mut disk = rig.disk(&a, &options);
        let block_bytes = u64::from(disk.limits().block_bytes);
        let ram = rig.ram(1 << 18);
        let region = |name| rig.buffer_region(name);
        let bases = [ram, region("nvme0").span.first(), region("nvme1").span.first()];
        let bar = |name| match region(name).memory {
            peerdma::memory::Memory::Bar(memory) => Area::Bar { bdf: memory.provider, bar: memory.bar },
            peerdma::memory::Memory::Ram => Area::Ram,
        };
        let areas = [(Area::Ram, ram.to_u64()), (bar("nvme0"), 0), (bar("nvme1"), 0)];
        let medium = Area::Namespace { bdf: a.bdf(), number: 1 };
        rig.computer.write_ram(ram, &pattern(1, 1 << 18)).unwrap();
        let image = pattern(2, 3000 * 512);
        rig.computer.write_namespace(a.bdf(), 1, 0, &image).unwrap();
        for work in works {
            let laid = lay(&work, bases, block_bytes);
            let bytes: u64 = laid.iter().map(|(piece, ..)| u64::from(piece.len_bytes())).sum();
            let mut before = Vec::new();
            for (piece, memory, offset) in &laid {
                let mut bytes = vec![0; piece.len_bytes() as usize];
                match areas[*memory].0 {
                    Area::Bar { bdf, bar } => rig.computer.read_bar_memory(bdf, bar, *offset, &mut bytes).unwrap(),
                    _ => rig.computer.read_ram(piece.addr(), &mut bytes).unwrap(),
                }
                before.extend(bytes);
            }
            let mut stored = vec![0; bytes as usize];
            rig.computer.read_namespace(a.bdf(), 1, work.lba * block_bytes, &mut stored).unwrap();
            let state = rig.computer.state();
            let next = Bio {
                blocks: (bytes / block_bytes) as u32,
                ..bio(work.operation, work.lba, 0, laid.iter().map(|(piece, ..)| *piece).collect())
            };
            let expected = match disk.submit(next) {
                Err(rejected) => {
                    prop_assert!(matches!(rejected.why, SubmitError::Map(MapError::Unreachable { .. })), "{}", rejected.why);
                    state
                }
                Ok(_) => {
                    let ended = drain(&rig, &mut disk);
                    prop_assert_eq!(&ended[0].result, &Ok(()));
                    match work.operation {
                        Operation::Read => {
                            let mut from = 0;
                            let mut expected = state;
                            for (piece, memory, offset) in &laid {
                                let len = piece.len_bytes() as usize;
                                let (area, base) = areas[*memory];
                                expected = expected.with_bytes(area, base + offset, &stored[from..from + len]);
                                from += len;
                            }
                            expected
                        }
                        _ => state.with_bytes(medium, work.lba * block_bytes, &before),
                    }
                }
            };
            // What goes to a peer may still be on its way.
            for _ in 0..2000 {
                rig.computer.relax();
            }
            let queues = rig.computer.allocations();
            let other = |difference: &peerdma_sim::host::Difference| {
                let in_queues = queues.iter().any(|span| {
                    span.first() != ram && span.contains(PhysAddr::from_u64(difference.first))
                });
                difference.area != Area::Ram || !in_queues
            };
            let differences: Vec<_> = rig.computer.state().differences(&expected).into_iter().filter(other).collect();
            prop_assert_eq!(differences, vec![]);
        }
        drop((disk, a, b));
        rig.computer.free(ram);
        rig.assert_clean();
    }
}
