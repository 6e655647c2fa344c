//! Reading and writing blocks, of RAM and of BARs, with every form of list.

mod support;

use peerdma::addr::Address;
use peerdma::block::{Operation, PeerSupport, Volume};
use peerdma::device::Host;
use peerdma_nvme::{Forms, QueueOptions, QueuePlace};
use support::{Rig, bio, drain, flush, pattern, piece, run};

#[test]
fn what_is_written_from_ram_is_read_back_to_ram() {
    let rig = Rig::new("two-ssds.toml");
    let controller = rig.open("nvme0");
    assert!(
        controller.info().model.contains("NVMe"),
        "{:?}",
        controller.info()
    );
    let mut disk = rig.disk(&controller, &QueueOptions::default());
    let block_bytes = u64::from(disk.limits().block_bytes);
    let (from, to) = (rig.ram(1 << 20), rig.ram(1 << 20));
    let bytes = pattern(7, 1 << 20);
    rig.computer.write_ram(from, &bytes).unwrap();

    let blocks = ((1 << 20) / block_bytes) as u32;
    let done = run(
        &rig,
        &mut disk,
        bio(Operation::Write, 3, blocks, vec![piece(from, 0, 1 << 20)]),
    );
    assert_eq!(done.result, Ok(()));
    assert_eq!(run(&rig, &mut disk, flush()).result, Ok(()));
    let done = run(
        &rig,
        &mut disk,
        bio(Operation::Read, 3, blocks, vec![piece(to, 0, 1 << 20)]),
    );
    assert_eq!(done.result, Ok(()));

    let mut read = vec![0; 1 << 20];
    rig.computer.read_ram(to, &mut read).unwrap();
    assert!(read == bytes);
    disk.close(&mut |_| ()).unwrap();
    controller.close().unwrap();
    rig.computer.free(from);
    rig.computer.free(to);
    rig.assert_clean();
}

#[test]
fn lists_of_every_length_and_beginning_lead_to_the_right_bytes() {
    for forms in [Forms::Prp, Forms::Sgl, Forms::Shorter] {
        let rig = Rig::new("two-ssds.toml");
        let controller = rig.open("nvme0");
        let options = QueueOptions {
            depth: 5,
            max_transfer_bytes: 2 << 20,
            forms,
            ..QueueOptions::default()
        };
        let mut disk = rig.disk(&controller, &options);
        let block_bytes = u64::from(disk.limits().block_bytes);
        let len = 3 << 20;
        let (from, to) = (rig.ram(len), rig.ram(len));
        rig.computer.write_ram(from, &pattern(1, len as usize)).unwrap();
        for round in 0..60_u64 {
            // Of every page one piece, the next taken from elsewhere, so that no two are neighbours.
            let first = if round % 3 == 0 {
                0
            } else {
                block_bytes * (round % 7)
            };
            let pages = 1 + round * 509 % 511;
            let bytes = (pages * 4096 - first % 4096).min(2 << 20) / block_bytes * block_bytes;
            let vector = |base| {
                let mut vector = Vec::new();
                let (mut at, mut left) = (first % 4096, bytes);
                while left > 0 {
                    let count = left.min(4096 - at % 4096);
                    let page = at / 4096;
                    let elsewhere = (page ^ 1) * 4096 + at % 4096;
                    vector.push(piece(base, elsewhere, count));
                    at += count;
                    left -= count;
                }
                vector
            };
            let blocks = (bytes / block_bytes) as u32;
            rig.computer.write_ram(to, &vec![0; len as usize]).unwrap();
            let write = bio(Operation::Write, round, blocks, vector(from));
            let rejected = disk.submit(write);
            assert_eq!(rejected.map_err(|rejected| rejected.why).err(), None);
            assert_eq!(drain(&rig, &mut disk)[0].result, Ok(()));
            let done = run(&rig, &mut disk, bio(Operation::Read, round, blocks, vector(to)));
            assert_eq!(done.result, Ok(()), "round {round}");
            for (one, two) in vector(from).into_iter().zip(vector(to)) {
                let mut bytes = [
                    vec![0; one.len_bytes() as usize],
                    vec![0; one.len_bytes() as usize],
                ];
                rig.computer.read_ram(one.addr(), &mut bytes[0]).unwrap();
                rig.computer.read_ram(two.addr(), &mut bytes[1]).unwrap();
                assert!(bytes[0] == bytes[1], "{forms:?} round {round}");
            }
        }
        drop((disk, controller));
        rig.computer.free(from);
        rig.computer.free(to);
        rig.assert_clean();
    }
}

#[test]
fn own_memory_and_a_peers_hold_data_and_mix_where_the_controller_says_so() {
    for (machine, peer_works) in [("two-ssds.toml", true), ("offset-bridge.toml", true)] {
        let rig = Rig::new(machine);
        let (a, b) = (rig.open("nvme0"), rig.open("nvme1"));
        let mut one = rig.disk(&a, &QueueOptions::default());
        let mut two = rig.disk(&b, &QueueOptions::default());
        let block_bytes = u64::from(one.limits().block_bytes);
        let from = rig.ram(1 << 20);
        let bytes = pattern(9, 1 << 20);
        rig.computer.write_ram(from, &bytes).unwrap();
        let blocks = ((1 << 20) / block_bytes) as u32;
        run(
            &rig,
            &mut one,
            bio(Operation::Write, 0, blocks, vec![piece(from, 0, 1 << 20)]),
        )
        .result
        .unwrap();

        let own = rig.buffer_region("nvme0").span.first();
        let peer = rig.buffer_region("nvme1").span.first();
        // Its own memory: nothing travels.
        run(
            &rig,
            &mut one,
            bio(Operation::Read, 0, blocks, vec![piece(own, 1 << 20, 1 << 20)]),
        )
        .result
        .unwrap();
        let mut read = vec![0; 1 << 20];
        rig.read_memory("nvme0", 1 << 20, &mut read);
        assert!(read == bytes);
        if peer_works {
            run(
                &rig,
                &mut one,
                bio(Operation::Read, 0, blocks, vec![piece(peer, 0, 1 << 20)]),
            )
            .result
            .unwrap();
            for _ in 0..1000 {
                rig.computer.relax();
            }
            rig.read_memory("nvme1", 0, &mut read);
            assert!(read == bytes);
            // What the other finds in its own memory it writes to its medium.
            run(
                &rig,
                &mut two,
                bio(Operation::Write, 5, blocks, vec![piece(peer, 0, 1 << 20)]),
            )
            .result
            .unwrap();
            let mut medium = vec![0; 1 << 20];
            rig.computer
                .read_namespace(rig.bdf("nvme1"), 1, 5 * block_bytes, &mut medium)
                .unwrap();
            assert!(medium == bytes);
        }
        // Half in its own memory, half in RAM.
        let mixed = vec![piece(own, 0, 1 << 19), piece(from, 0, 1 << 19)];
        let result = one.submit(bio(Operation::Read, 0, blocks, mixed));
        match one.limits().peer {
            PeerSupport::Mixed => drop(result.unwrap()),
            _ => assert_eq!(result.unwrap_err().why, peerdma::block::SubmitError::Mixed),
        }
        drain(&rig, &mut one);
        one.close(&mut |_| ()).unwrap();
        two.close(&mut |_| ()).unwrap();
        a.close().unwrap();
        b.close().unwrap();
        rig.computer.free(from);
        rig.assert_clean();
    }
}

#[test]
fn queues_work_from_own_and_peer_memory() {
    let rig = Rig::new("two-ssds.toml");
    let (a, b) = (rig.open("nvme0"), rig.open("nvme1"));
    let own = rig.buffer_region("nvme0").span.first();
    let peer = rig.buffer_region("nvme1").span.first();
    let options = QueueOptions {
        depth: 16,
        submissions: QueuePlace::Memory(own),
        completions: QueuePlace::Memory(peer.checked_add(4096).unwrap()),
        lists: QueuePlace::Memory(own.checked_add(1 << 20).unwrap()),
        ..QueueOptions::default()
    };
    let mut disk = rig.disk(&a, &options);
    let block_bytes = u64::from(disk.limits().block_bytes);
    let ram = rig.ram(1 << 20);
    let bytes = pattern(11, 1 << 20);
    rig.computer.write_ram(ram, &bytes).unwrap();
    let scattered: Vec<_> = (0..128).map(|page| piece(ram, (page ^ 1) * 4096, 4096)).collect();
    let blocks = (128 * 4096 / block_bytes) as u32;
    for lba in 0..40 {
        let done = run(
            &rig,
            &mut disk,
            bio(Operation::Write, lba, blocks, scattered.clone()),
        );
        assert_eq!(done.result, Ok(()));
    }
    let mut medium = vec![0; 128 * 4096];
    rig.computer
        .read_namespace(rig.bdf("nvme0"), 1, 39 * block_bytes, &mut medium)
        .unwrap();
    for (page, bytes) in bytes.chunks(4096).take(128).enumerate() {
        assert!(medium.chunks(4096).nth(page ^ 1) == Some(bytes), "page {page}");
    }
    drop((disk, a, b));
    rig.computer.free(ram);
    rig.assert_clean();
}
