use super::*;
use proptest::prelude::*;

const BYTES: u64 = 8192;

#[test]
fn an_access_outside_of_the_memory_or_not_aligned_touches_nothing() {
    let memory = Memory::anonymous(BYTES).unwrap();
    for offset in [BYTES, BYTES - 3, u64::MAX, u64::MAX - 3, 1, 2] {
        assert_eq!(memory.load_u32(offset), None);
        assert_eq!(memory.store_u32(offset, u32::MAX), None);
        assert_eq!(memory.load_acquire(offset), None);
        assert_eq!(memory.store_release(offset, 1), None);
    }
    for offset in [BYTES, BYTES - 7, u64::MAX, 4] {
        assert_eq!(memory.load_u64(offset), None);
        assert_eq!(memory.store_u64(offset, u64::MAX), None);
    }
    assert_eq!(memory.load_u16(BYTES - 1), None);
    assert_eq!(memory.store_u16(1, 1), None);
    assert_eq!(memory.load_u8(BYTES), None);
    assert_eq!(memory.store_u8(BYTES, 1), None);
    assert_eq!(memory.copy_in(BYTES - 1, &[1, 2]), None);
    assert_eq!(memory.copy_out(u64::MAX, &mut [1]), None);
    assert_eq!(memory.clear(1, BYTES), None);
    let mut all = vec![1; BYTES as usize];
    memory.copy_out(0, &mut all).unwrap();
    assert_eq!(all, vec![0; BYTES as usize]);
    assert_eq!(Memory::anonymous(0).err(), Some(Errno::INVAL));
    assert_eq!(Memory::anonymous(u64::MAX).err(), Some(Errno::INVAL));
}

#[test]
fn each_width_loads_what_it_stored_and_its_neighbours_stay() {
    let memory = Memory::anonymous(BYTES).unwrap();
    memory.store_u64(8, 0x0807_0605_0403_0201).unwrap();
    memory.store_u8(8, 0xa1).unwrap();
    memory.store_u16(10, 0xa4a3).unwrap();
    memory.store_u32(12, 0xa8a7_a6a5).unwrap();
    assert_eq!(memory.load_u64(8), Some(0xa8a7_a6a5_a4a3_02a1));
    assert_eq!(memory.load_u8(9), Some(2));
    assert_eq!(memory.load_u16(8), Some(0x02a1));
    assert_eq!(memory.load_u32(8), Some(0xa4a3_02a1));
    memory.store_release(BYTES - 4, 7).unwrap();
    assert_eq!(memory.load_acquire(BYTES - 4), Some(7));
}

#[test]
fn a_child_has_none_of_it() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(BYTES).unwrap();
    let shown = Memory::of_file(rustix::fd::AsFd::as_fd(&file), 0, BYTES).unwrap();
    let own = Memory::anonymous(BYTES).unwrap();
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    for memory in [&shown, &own] {
        // Neighbours of a kind are shown as one.
        let mut flags = None;
        let mut is_here = false;
        for line in smaps.lines() {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            let number = |text| u64::from_str_radix(text, 16).ok();
            if let Some((Some(first), Some(end))) = range.map(|(first, end)| (number(first), number(end))) {
                is_here = (first..end).contains(&memory.address());
            } else if let (true, Some(words)) = (is_here, line.strip_prefix("VmFlags:")) {
                flags = Some(words.to_owned());
            }
        }
        assert!(flags.unwrap().split_whitespace().any(|flag| flag == "dc"));
    }
}

#[test]
fn a_file_is_shown_from_its_offset_on() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(BYTES).unwrap();
    let all = Memory::of_file(rustix::fd::AsFd::as_fd(&file), 0, BYTES).unwrap();
    let rest = Memory::of_file(rustix::fd::AsFd::as_fd(&file), 4096, 4096).unwrap();
    rest.store_u32(4, 0x1234).unwrap();
    assert_eq!(all.load_u32(4100), Some(0x1234));
}

proptest! {
    #[test]
    fn copies_move_exactly_their_bytes(
        steps in prop::collection::vec((0..BYTES + 20, prop::collection::vec(any::<u8>(), 0..70), any::<bool>()), 1..40),
    ) {
        let memory = Memory::anonymous(BYTES).unwrap();
        let mut model = vec![0_u8; BYTES as usize];
        for (offset, bytes, clears) in steps {
            let end = offset as usize + bytes.len();
            let fits = end <= model.len();
            let done = match clears {
                true => memory.clear(offset, bytes.len() as u64),
                false => memory.copy_in(offset, &bytes),
            };
            prop_assert_eq!(done.is_some(), fits);
            if let Some(part) = model.get_mut(offset as usize..end) {
                match clears {
                    true => part.fill(0),
                    false => part.copy_from_slice(&bytes),
                }
                let mut back = vec![0xee; bytes.len()];
                memory.copy_out(offset, &mut back).unwrap();
                prop_assert_eq!(&back[..], &*part);
            }
        }
        let mut all = vec![0xee; BYTES as usize];
        memory.copy_out(0, &mut all).unwrap();
        prop_assert_eq!(all, model);
    }
}
