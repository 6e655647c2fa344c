//! Completion queues in which anything may stand.

mod support;

use peerdma::addr::Address;
use peerdma::block::{CommandError, Volume};
use peerdma::device::Host;
use peerdma_nvme::{QueueOptions, QueuePlace};
use proptest::prelude::*;
use support::{BYTES, Rig, drain, flush, impatient, run, write};

#[test]
fn forged_stale_and_duplicate_completions_are_errors_and_nothing_else() {
    let rig = Rig::new("two-ssds.toml");
    let (a, b) = (rig.open("nvme0"), rig.open("nvme1"));
    let at = rig.buffer_region("nvme1").span.first();
    let options = QueueOptions {
        depth: 8,
        completions: QueuePlace::Memory(at),
        ..QueueOptions::default()
    };
    let ram = rig.ram(BYTES);
    let entry = |index: u64| {
        let place = |half: u64| at.checked_add(16 * index + 8 * half).unwrap();
        [0, 1].map(|half| rig.computer.load_bar(place(half), 8).unwrap())
    };
    let forge = |index: u64, entry: [u64; 2]| {
        for (half, value) in entry.into_iter().enumerate() {
            let place = at.checked_add(16 * index + 8 * half as u64).unwrap();
            rig.computer.store_bar(place, 8, value).unwrap();
        }
    };
    // Duplicate; all ones; and for the command that is next, of another queue, with a head past the tail, with one past the queue's end.
    const NEXT: u64 = 1 << 32;
    let forgeries: [fn([u64; 2]) -> [u64; 2]; 5] = [
        |entry| entry,
        |_| [u64::MAX; 2],
        |[low, high]| [low, (high ^ 1 << 16) + NEXT],
        |[low, high]| [low, (high & !0xffff | 5) + NEXT],
        |[low, high]| [low, (high | 0xffff) + NEXT],
    ];
    for forgery in forgeries {
        let mut disk = rig.disk(&a, &options);
        assert_eq!(run(&rig, &mut disk, flush()).result, Ok(()));
        let true_one = entry(0);
        disk.submit(write(ram, 0, &disk)).unwrap();
        disk.submit(write(ram, 64, &disk)).unwrap();
        forge(1, forgery(true_one));
        let ended = drain(&rig, &mut disk);
        assert_eq!(ended.len(), 2);
        for done in ended {
            assert!(matches!(done.result, Err(CommandError::Protocol(_))), "{done:?}");
        }
        // The controller was reset, and works.
        let mut again = None;
        while again.is_none() {
            let _ = disk.poll(&mut |_| ());
            rig.computer.relax();
            again = disk.submit(flush()).ok();
        }
        assert_eq!(drain(&rig, &mut disk)[0].result, Ok(()));
        disk.close(&mut |_| ()).unwrap();
    }
    drop((a, b));
    rig.computer.free(ram);
    rig.assert_clean();
}

/// Something that a device might write to a completion queue, or somebody in its name.
#[derive(Debug, Clone, Copy)]
struct Forgery {
    /// After how many polls.
    polls: u8,
    /// Which dword of the ring.
    dword: u64,
    value: u32,
}

fn forgery() -> impl Strategy<Value = Forgery> {
    // Identifiers, phases and heads that nearly fit hurt most.
    let value = prop_oneof![
        any::<u32>(),
        (0_u32..16, 0_u32..2).prop_map(|(id, phase)| id | phase << 16)
    ];
    (any::<u8>(), 0_u64..36, value).prop_map(|(polls, dword, value)| Forgery {
        polls: polls % 16,
        dword,
        value,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_a_completion_queue_each_command_ends_once(
        forgeries in proptest::collection::vec(forgery(), 1..12),
    ) {
        let rig = Rig::new("two-ssds.toml");
        let (a, b) = (rig.open("nvme0"), rig.open("nvme1"));
        let at = rig.buffer_region("nvme1").span.first();
        let options = QueueOptions {
            completions: QueuePlace::Memory(at),
            ..impatient(100_000)
        };
        let mut disk = rig.disk(&a, &options);
        let ram = rig.ram(BYTES);
        let (mut begun, mut ended) = (0, 0);
        for forgery in forgeries {
            for lba in 0..4 {
                begun += usize::from(disk.submit(write(ram, lba * 256, &disk)).is_ok());
            }
            for _ in 0..forgery.polls {
                let _ = disk.poll(&mut |_| ended += 1);
                rig.computer.relax();
            }
            let place = at.checked_add(forgery.dword * 4).unwrap();
            rig.computer.store_bar(place, 4, forgery.value.into()).unwrap();
        }
        ended += drain(&rig, &mut disk).len();
        prop_assert_eq!(begun, ended);
        drop((disk, a, b));
        rig.computer.free(ram);
        rig.assert_clean();
    }
}
