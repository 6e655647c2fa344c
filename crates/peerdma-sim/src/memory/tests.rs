//! Promises of memory: what was written is read, budgets and fault plans hold.

use super::*;

#[test]
fn what_was_written_is_read_across_chunks_and_the_rest_is_zero() {
    let mut banks = Banks::new(1 << 20);
    let bank = banks.add(u64::MAX);
    let at = Place {
        bank,
        offset: 3 * Banks::CHUNK_BYTES - 2,
    };
    banks.write(at, &[1, 2, 3, 4]).unwrap();
    let mut found = [9; 6];
    banks
        .read(
            Place {
                offset: at.offset - 1,
                ..at
            },
            &mut found,
        )
        .unwrap();
    assert_eq!(found, [0, 1, 2, 3, 4, 0]);
}

#[test]
fn what_was_cleared_is_zero_costs_nothing_and_its_neighbours_stay() {
    let mut banks = Banks::new(4 * Banks::CHUNK_BYTES);
    let bank = banks.add(1 << 40);
    let place = |offset| Place { bank, offset };
    for round in 0..8 {
        banks
            .write(place(round), &vec![7; 4 * Banks::CHUNK_BYTES as usize - 16])
            .unwrap();
        banks.clear(place(round + 2), 1 << 39).unwrap();
        let mut found = [9; 4];
        banks.read(place(round), &mut found).unwrap();
        assert_eq!(found, [7, 7, 0, 0]);
    }
    assert_eq!(banks.held_bytes, Banks::CHUNK_BYTES);
    banks.write(place(100), &[5; 100]).unwrap();
    banks.clear(place(110), 20).unwrap();
    let mut found = [0; 100];
    banks.read(place(100), &mut found).unwrap();
    assert!(found[10..30].iter().all(|&byte| byte == 0) && found[9] == 5 && found[30] == 5);
    assert!(banks.clear(place(1 << 40), 1).is_err());
}

#[test]
fn no_bank_is_left_and_no_budget_is_exceeded() {
    let mut banks = Banks::new(Banks::CHUNK_BYTES);
    let bank = banks.add(4 * Banks::CHUNK_BYTES);
    let place = |offset| Place { bank, offset };
    assert!(matches!(
        banks.write(place(4 * Banks::CHUNK_BYTES - 1), &[0; 2]),
        Err(MemoryError::OutOfBank { .. })
    ));
    assert!(matches!(
        banks.read(place(u64::MAX), &mut [0; 2]),
        Err(MemoryError::OutOfBank { .. })
    ));
    banks.write(place(0), &[1]).unwrap();
    assert!(matches!(
        banks.write(place(Banks::CHUNK_BYTES), &[1]),
        Err(MemoryError::Budget { .. })
    ));
}

#[test]
fn what_is_prepared_is_not_counted_until_the_machine_writes_there() {
    let mut banks = Banks::new(1 << 20);
    let bank = banks.add(1 << 20);
    let place = |chunk: u64| Place {
        bank,
        offset: chunk * Banks::CHUNK_BYTES,
    };
    banks.fail_allocations(vec![1, 3]);
    for chunk in 0..4 {
        banks.prepare(place(chunk), &[7]).unwrap();
    }
    assert_eq!(banks.write(place(3), &[1]), Err(MemoryError::Forbidden));
    assert_eq!(banks.write(place(3), &[2]), Ok(()));
    assert_eq!(banks.write(place(3), &[3]), Ok(()));
    banks.prepare(place(3), &[4]).unwrap();
    assert_eq!(banks.write(place(3), &[5]), Ok(()));
    banks.clear(place(0), Banks::CHUNK_BYTES).unwrap();
    assert_eq!(banks.write(place(0), &[1]), Err(MemoryError::Forbidden));
    assert_eq!(banks.write(place(0), &[2]), Ok(()));
    assert_eq!(banks.asked, 4);
    assert_eq!(banks.write(place(0), &[2]), Ok(()));
    assert_eq!(banks.asked, 4);
}

proptest::proptest! {
    #[test]
    fn a_copy_is_what_reading_and_then_writing_gives(
        from in 0..200_000u64, to in 0..200_000u64, len in 0..150_000u64, is_same in proptest::bool::ANY, seed in 0..255u8,
    ) {
        let overlap = is_same && from < to + len && to < from + len;
        proptest::prop_assume!(!overlap);
        let fill: Vec<u8> = (0..150_000u32).map(|index| (index / 7) as u8 ^ seed).collect();
        let run = |copies: bool| {
            let mut banks = Banks::new(1 << 24);
            let ids = [banks.add(400_000), banks.add(400_000)];
            let at = |bank: usize, offset| Place { bank: ids[bank], offset };
            banks.write(at(0, from), &fill).unwrap();
            let target = usize::from(!is_same);
            if copies {
                banks.copy(at(0, from), at(target, to), len).unwrap();
            } else {
                let mut data = vec![0; len as usize];
                banks.read(at(0, from), &mut data).unwrap();
                banks.write(at(target, to), &data).unwrap();
            }
            let mut found = vec![0; 800_000];
            let (one, other) = found.split_at_mut(400_000);
            banks.read(at(0, 0), one).unwrap();
            banks.read(at(1, 0), other).unwrap();
            (found, banks.held_bytes)
        };
        proptest::prop_assert!(run(true) == run(false));
    }
}
