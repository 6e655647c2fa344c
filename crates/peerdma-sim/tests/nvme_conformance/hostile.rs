//! Whatever software does to the controller, it neither panics nor hangs, and after a reset it works.

use crate::bench::{Bench, CMB_BAR, Rig};
use crate::driver::{ACQ, ASQ, Cmd, DATA, Driver, Lies, Pair, kind_with_buffer, read, sc};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Act {
    Write {
        offset: u64,
        value: u64,
        len: usize,
    },
    Configure(u32),
    Doorbell {
        queue: u64,
        value: u32,
    },
    Memory {
        at: u64,
        dwords: Vec<u32>,
    },
    Entry {
        queue: u64,
        index: u64,
        command: [u32; 16],
    },
    Pass(u64),
    Reset,
    Fail,
}

/// A number that likes edges and the addresses in use.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        0..16_u32,
        Just(0xffff_ffff),
        (0..64_u32).prop_map(|page| 0x100_0000 + page * 0x800),
        (0..8_u32).prop_map(|page| 0x2000_0000 + page * 0x1_fff8),
    ]
}

fn command() -> impl Strategy<Value = [u32; 16]> {
    let opcode = prop_oneof![0..16_u32, any::<u8>().prop_map(u32::from)];
    let flags = prop_oneof![Just(0_u32), Just(0x40), any::<u8>().prop_map(u32::from)];
    (
        opcode,
        flags,
        any::<u16>(),
        0..4_u32,
        prop::array::uniform14(number()),
    )
        .prop_map(|(opcode, flags, id, namespace, rest)| {
            let mut dwords = [0; 16];
            dwords[0] = opcode | flags << 8 | u32::from(id) << 16;
            dwords[1] = namespace;
            dwords[2..].copy_from_slice(&rest);
            for high in [7, 9, 11] {
                dwords[high] &= if id & 7 == 0 { !0 } else { 3 };
            }
            dwords
        })
}

fn act() -> impl Strategy<Value = Act> {
    let list = prop::collection::vec(number(), 0..64);
    prop_oneof![
        2 => (0..0x1100_u64, any::<u64>(), 0..9_usize).prop_map(|(offset, value, len)| Act::Write { offset, value, len }),
        1 => prop_oneof![Just(0x46_0001), Just(0x46_0000), any::<u32>()].prop_map(Act::Configure),
        8 => (0..6_u64, 0..40_u32).prop_map(|(queue, value)| Act::Doorbell { queue, value }),
        3 => (0..64_u64, list).prop_map(|(page, dwords)| Act::Memory { at: 0x100_0000 + page * 0x800, dwords }),
        12 => (0..3_u64, 0..32_u64, command()).prop_map(|(queue, index, command)| Act::Entry { queue, index, command }),
        8 => (0..40_000_000_u64).prop_map(Act::Pass),
        1 => Just(Act::Reset),
        1 => Just(Act::Fail),
    ]
}

fn perform(driver: &mut Driver<Rig>, act: Act) {
    match act {
        Act::Write { offset, value, len } => driver.bench.mmio_write(0, offset, &value.to_le_bytes()[..len]),
        Act::Configure(value) => driver.set32(0x14, value),
        Act::Doorbell { queue, value } => driver.set32(0x1000 + 4 * queue, value),
        Act::Memory { at, dwords } => {
            let bytes: Vec<u8> = dwords.iter().flat_map(|dword| dword.to_le_bytes()).collect();
            driver.bench.memory_write(at, &bytes);
            driver.bench.mmio_write(CMB_BAR, at & 0xf_0000, &bytes);
        }
        Act::Entry {
            queue,
            index,
            command,
        } => {
            let base = [ASQ, 0x10_0000, 0x100_0000][queue as usize];
            driver
                .bench
                .memory_write(base + 64 * index, &Cmd(command).bytes());
        }
        Act::Pass(ps) => {
            let end = driver.bench.now_ps() + ps;
            while driver.bench.now_ps() < end {
                driver.bench.pass(end - driver.bench.now_ps());
            }
        }
        Act::Reset => {
            driver.bench.reset();
        }
        Act::Fail => {
            driver.bench.fail();
        }
    }
}

proptest! {

    #[test]
    fn no_guest_breaks_the_controller(acts in prop::collection::vec(act(), 0..200)) {
        let mut driver = Driver::with_io(&kind_with_buffer(0x1f, 0x1f8));
        driver.set64(0x50, 0x2000_0003);
        for act in acts {
            perform(&mut driver, act);
        }
        // A sound driver comes, and all is well: it waits for the end of what was under way.
        // Fatal status of a disabled controller goes when it is enabled and disabled once more.
        for enable in [0, 1, 0] {
            driver.set32(0x14, enable);
            driver.pass_us(10_000);
        }
        driver.set64(0x50, 0);
        driver.bench.memory_write(ACQ, &[0; 4096]);
        driver.bench.memory_write(0x20_0000, &[0; 4096]);
        driver.enable(0);
        driver.io = Pair::new(1, Lies::At(0x10_0000), Lies::At(0x20_0000), 64);
        driver.make_io();
        prop_assert_eq!(driver.io(read().prp(DATA, 0).blocks(0, 1)).status(), sc::SUCCESS);
        driver.pass_us(1000);
        prop_assert!(driver.bench.sent().iter().all(|transfer| transfer.len_bytes > 0));
    }
}
