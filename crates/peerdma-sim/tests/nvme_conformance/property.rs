//! Random streams of commands, with data scattered at random, leave the namespaces and the host's memory as a model says.

use crate::bench::{Bench, CMB_BAR, CMB_BYTES, Rig};
use crate::driver::{Cmd, Driver, kind_with_buffer, sc};
use crate::sgl::descriptor;
use proptest::prelude::*;

const DATA: u64 = 0x100_0000;
const LISTS: u64 = 0x300_0000;
const BASE: u64 = 0x4000_0000;

#[derive(Debug, Clone)]
struct Step {
    what: u8,
    namespace: u8,
    first: u64,
    count: u32,
    scatter: Scatter,
    seed: u8,
}

/// How the data of a command lies.
#[derive(Debug, Clone)]
enum Scatter {
    /// Offset of the first dword, pages in this order, where the list begins in its page.
    Prp { offset: u64, pages: Vec<u8>, list: u64 },
    /// Cuts; whether to lay a piece into the buffer; whether to hang segments behind each other.
    Sgl {
        cuts: Vec<u16>,
        inside: Vec<bool>,
        chain: Vec<bool>,
        buckets: Vec<bool>,
    },
}

fn scatter() -> impl Strategy<Value = Scatter> {
    let bits = || prop::collection::vec(any::<bool>(), 16);
    let pages: Vec<u8> = (0..64).collect();
    prop_oneof![
        (0..1024_u64, Just(pages).prop_shuffle(), 0..512_u64).prop_map(|(dword, pages, entry)| {
            Scatter::Prp {
                offset: dword * 4,
                pages,
                list: entry * 8,
            }
        }),
        (prop::collection::vec(1..9000_u16, 0..14), bits(), bits(), bits()).prop_map(
            |(cuts, inside, chain, buckets)| Scatter::Sgl {
                cuts,
                inside,
                chain,
                buckets
            }
        ),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    (0..10_u8, 0..2_u8, 0..300_u64, 1..40_u32, scatter(), any::<u8>()).prop_map(
        |(what, namespace, first, count, scatter, seed)| Step {
            what,
            namespace,
            first,
            count,
            scatter,
            seed,
        },
    )
}

/// Where the bytes of a command's data are, in order. `Nowhere`: a bit bucket.
#[derive(Debug, Clone, Copy)]
enum At {
    Memory(u64),
    Buffer(u64),
    Nowhere,
}

/// Lays the data out; the command with its pointer, and the pieces.
fn lay_out(
    driver: &mut Driver<Rig>,
    command: Cmd,
    len: u64,
    scatter: &Scatter,
    reads: bool,
) -> (Cmd, Vec<(At, u64)>) {
    match scatter {
        Scatter::Prp { offset, pages, list } => {
            let page = |index: usize| DATA + u64::from(pages[index]) * 4096;
            let first = len.min(4096 - offset);
            let mut pieces = vec![(At::Memory(page(0) + offset), first)];
            let (mut rest, mut entries) = (len - first, Vec::new());
            while rest > 0 {
                let now = rest.min(4096);
                let address = page(pieces.len());
                pieces.push((At::Memory(address), now));
                entries.push(address);
                rest -= now;
            }
            let second = match entries.len() {
                0 => 0x3,
                1 => entries[0],
                _ => {
                    // Entries up to the end of the page; the last leads on where more than one is left.
                    let (mut at, mut next) = (LISTS + list, LISTS + 0x1_0000);
                    for (index, entry) in entries.iter().enumerate() {
                        if at % 4096 == 4088 && index + 1 < entries.len() {
                            driver.bench.memory_write(at, &next.to_le_bytes());
                            (at, next) = (next, next + 0x1_0000);
                        }
                        driver.bench.memory_write(at, &entry.to_le_bytes());
                        at += 8;
                    }
                    LISTS + list
                }
            };
            (command.prp(page(0) + offset, second), pieces)
        }
        Scatter::Sgl {
            cuts,
            inside,
            chain,
            buckets,
        } => {
            let mut pieces: Vec<(At, u64)> = Vec::new();
            let (mut done, mut memory, mut buffer) = (0, DATA + 1, 0x101);
            for (index, cut) in cuts
                .iter()
                .map(|cut| u64::from(*cut))
                .chain([u64::MAX])
                .enumerate()
            {
                let now = cut.min(len - done);
                let at = if buckets[index] && index % 3 == 0 && reads {
                    At::Nowhere
                } else if inside[index] {
                    buffer += now + 7;
                    At::Buffer(buffer - now - 7)
                } else {
                    memory += now + u64::from(chain[index]) * 5;
                    At::Memory(memory - now - u64::from(chain[index]) * 5)
                };
                pieces.push((at, now));
                done += now;
            }
            let described = |(at, now): &(At, u64)| match at {
                At::Memory(address) => descriptor(0, *address, *now as u32),
                At::Buffer(offset) => descriptor(0, BASE + offset, *now as u32),
                At::Nowhere => descriptor(0x10, 0, *now as u32),
            };
            // Segments from the last to the first, so that each knows where the next is.
            let mut segments: Vec<Vec<[u8; 16]>> = vec![Vec::new()];
            for (index, piece) in pieces.iter().enumerate() {
                if chain[index] && segments.last().is_some_and(|segment| !segment.is_empty()) {
                    segments.push(Vec::new());
                }
                segments.last_mut().unwrap().push(described(piece));
                if !reads && buckets[index] {
                    // Counts for nothing in a source.
                    segments.last_mut().unwrap().push(descriptor(0x10, 0, 999));
                }
            }
            let mut link: Option<[u8; 16]> = None;
            for (index, segment) in segments.iter().enumerate().rev() {
                let whole: Vec<[u8; 16]> = segment.iter().copied().chain(link).collect();
                let (at, bytes) = (index as u64 * 0x1008, whole.concat());
                let kind = if link.is_some() { 0x20 } else { 0x30 };
                let address = if inside[index] {
                    driver.bench.mmio_write(CMB_BAR, CMB_BYTES / 2 + at, &bytes);
                    BASE + CMB_BYTES / 2 + at
                } else {
                    driver.bench.memory_write(LISTS + at, &bytes);
                    LISTS + at
                };
                link = Some(descriptor(kind, address, bytes.len() as u32));
            }
            (command.sgl(link.unwrap()), pieces)
        }
    }
}

fn put(driver: &mut Driver<Rig>, pieces: &[(At, u64)], mut bytes: &[u8]) {
    for (at, len) in pieces {
        let (now, rest) = bytes.split_at(*len as usize);
        match at {
            At::Memory(address) => driver.bench.memory_write(*address, now),
            At::Buffer(offset) => driver.bench.mmio_write(CMB_BAR, *offset, now),
            At::Nowhere => {}
        }
        bytes = rest;
    }
}

fn check(driver: &mut Driver<Rig>, pieces: &[(At, u64)], mut expected: &[u8]) {
    for (at, len) in pieces {
        let (now, rest) = expected.split_at(*len as usize);
        let mut found = vec![0; now.len()];
        match at {
            At::Memory(address) => driver.bench.memory_read(*address, &mut found),
            At::Buffer(offset) => driver.bench.mmio_read(CMB_BAR, *offset, &mut found),
            At::Nowhere => found.copy_from_slice(now),
        }
        assert!(found == now, "{at:?} {len}");
        expected = rest;
    }
}

proptest! {

    #[test]
    fn namespaces_hold_what_a_model_holds(steps in prop::collection::vec(step(), 1..25)) {
        // All abilities: data and lists in the buffer, mixed with memory.
        let mut driver = Driver::with_io(&kind_with_buffer(0x1f, 0x1f8));
        driver.set64(0x50, BASE | 3);
        let mut model = [vec![0_u8; 8192 * 512], vec![0_u8; 1024 * 4096]];
        for Step { what, namespace, first, count, scatter, seed } in steps {
            let (index, number) = (usize::from(namespace), u32::from(namespace) + 1);
            let block = [512, 4096][index];
            let len = u64::from(count) * block;
            let range = (first * block) as usize..(first * block + len) as usize;
            let random: Vec<u8> = (0..len).map(|i| (i as u8).wrapping_mul(seed | 1) ^ (i >> 7) as u8).collect();
            let command = |opcode| Cmd::new(opcode).namespace(number).blocks(first, count);
            match what {
                0..=3 => {
                    let (command, pieces) = lay_out(&mut driver, command(1), len, &scatter, false);
                    put(&mut driver, &pieces, &random);
                    prop_assert_eq!(driver.io(command).status(), sc::SUCCESS);
                    model[index][range].copy_from_slice(&random);
                }
                4..=7 => {
                    let (command, pieces) = lay_out(&mut driver, command(2), len, &scatter, true);
                    put(&mut driver, &pieces, &random);
                    prop_assert_eq!(driver.io(command).status(), sc::SUCCESS);
                    check(&mut driver, &pieces, &model[index][range]);
                }
                8 => {
                    prop_assert_eq!(driver.io(command(8)).status(), sc::SUCCESS);
                    model[index][range].fill(0);
                }
                _ => {
                    let (command, pieces) = lay_out(&mut driver, command(5), len, &scatter, false);
                    put(&mut driver, &pieces, &random);
                    let expected = if model[index][range] == random { sc::SUCCESS } else { sc::COMPARE_FAILURE };
                    prop_assert_eq!(driver.io(command).status(), expected);
                }
            }
        }
    }
}
