//! The accelerator on a wire that leads to one flat memory.

use super::registers::{Error, State, channel, channel_offset, command};
use super::*;
use crate::blueprint::OnFailure;
use crate::device::{Direction, Transfer};
use crate::memory::Banks;
use crate::time::Time;
use crate::tlp::{Access, AddressType, Failure, Ordering};
use proptest::prelude::*;
use std::collections::VecDeque;

const MEMORY_BYTES: u64 = 1 << 24;
const FAR_BYTES: u64 = 1 << 24;
/// Where the far memory is on the bus.
const FAR: u64 = 0x10_0000_0000;

/// What a device asked its wire for.
enum Asked {
    Move(TransferId, Transfer),
    Translate(TransferId, u64),
}

struct Rig {
    banks: Banks,
    memory: BankId,
    far: BankId,
    asked: VecDeque<Asked>,
    moved: Vec<Transfer>,
    lookups: usize,
    interrupts: Vec<u16>,
    next: u64,
    /// Offset in far memory from which on every read fails.
    fails_from: u64,
    /// What translations add to an address, and for how many bytes each is.
    page_bytes: Option<u64>,
    most_outstanding_bytes: u64,
}

impl Rig {
    fn new() -> Self {
        let mut banks = Banks::new(1 << 28);
        let (memory, far) = (banks.add(MEMORY_BYTES), banks.add(FAR_BYTES));
        Self {
            banks,
            memory,
            far,
            asked: VecDeque::new(),
            moved: Vec::new(),
            lookups: 0,
            interrupts: Vec::new(),
            next: 0,
            fails_from: u64::MAX,
            page_bytes: Some(4096),
            most_outstanding_bytes: 0,
        }
    }

    fn fill(&mut self, bank: BankId, offset: u64, len: usize) -> Vec<u8> {
        let bytes: Vec<u8> = (0..len).map(|index| (index * 7 + index / 251) as u8).collect();
        self.banks.write(Place { bank, offset }, &bytes).unwrap();
        bytes
    }

    fn bytes(&self, bank: BankId, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.banks.read(Place { bank, offset }, &mut bytes).unwrap();
        bytes
    }

    fn next_id(&mut self) -> TransferId {
        self.next += 1;
        TransferId(self.next)
    }

    fn outcome(&mut self, transfer: &Transfer) -> Outcome {
        let Some(offset) = transfer
            .address
            .checked_sub(FAR)
            .filter(|offset| *offset < FAR_BYTES)
        else {
            return Outcome::Failed {
                good_bytes: 0,
                failure: Failure::UnsupportedRequest,
            };
        };
        let far = Place {
            bank: self.far,
            offset,
        };
        let good_bytes = match transfer.direction {
            Direction::In => transfer.len_bytes.min(self.fails_from.saturating_sub(offset)),
            Direction::Out => transfer.len_bytes,
        };
        let (from, to) = match transfer.direction {
            Direction::In => (far, transfer.local),
            Direction::Out => (transfer.local, far),
        };
        let mut bytes = vec![0; good_bytes as usize];
        self.banks.read(from, &mut bytes).unwrap();
        self.banks.write(to, &bytes).unwrap();
        match good_bytes == transfer.len_bytes {
            true => Outcome::Done,
            false => Outcome::Failed {
                good_bytes,
                failure: Failure::CompletionTimeout,
            },
        }
    }

    /// Answers the oldest thing that was asked for.
    fn step(&mut self, device: &mut Accelerator) -> bool {
        let outstanding = |asked: &Asked| match asked {
            Asked::Move(_, transfer) => transfer.len_bytes,
            Asked::Translate(..) => 0,
        };
        let outstanding_bytes = self.asked.iter().map(outstanding).sum();
        self.most_outstanding_bytes = self.most_outstanding_bytes.max(outstanding_bytes);
        match self.asked.pop_front() {
            None => return false,
            Some(Asked::Move(id, transfer)) => {
                let outcome = self.outcome(&transfer);
                self.moved.push(transfer);
                device.transfer_ended(id, outcome, self);
            }
            Some(Asked::Translate(id, iova)) => {
                let found = self.page_bytes.map(|page_bytes| Translation {
                    address: FAR + iova,
                    len_bytes: page_bytes - iova % page_bytes,
                    may_read: true,
                    may_write: true,
                });
                device.translation_ended(id, found, self);
            }
        }
        true
    }

    fn run(&mut self, device: &mut Accelerator) {
        while self.step(device) {}
    }
}

impl Wire for Rig {
    fn now(&self) -> Time {
        Time::ZERO
    }

    fn start(&mut self, transfer: Transfer) -> TransferId {
        let id = self.next_id();
        self.asked.push_back(Asked::Move(id, transfer));
        id
    }

    fn translate(&mut self, iova: u64, _: u64, _: Access) -> TransferId {
        let id = self.next_id();
        self.lookups += 1;
        self.asked.push_back(Asked::Translate(id, iova));
        id
    }

    fn wake_at(&mut self, _: Time, _: u64) {}

    fn interrupt(&mut self, vector: u16) {
        self.interrupts.push(vector);
    }

    fn bar_address(&self, _: u8) -> Option<u64> {
        None
    }

    fn banks(&mut self) -> &mut Banks {
        &mut self.banks
    }
}

fn device(rig: &Rig, on_failure: OnFailure) -> Accelerator {
    let kind = AcceleratorKind {
        outstanding_bytes: 64 << 10,
        on_failure,
    };
    Accelerator::new(&kind, rig.memory, MEMORY_BYTES)
}

/// Programs channel 3 as a driver does, in one burst.
fn program(rig: &mut Rig, device: &mut Accelerator, source: u64, destination: u64, len: u64, flags: u32) {
    let mut burst = Vec::new();
    for value in [source, destination, len] {
        burst.extend(value.to_le_bytes());
    }
    burst.extend((flags | command::START).to_le_bytes());
    device.write_registers(0, channel_offset(3), &burst, rig);
}

fn ended(rig: &mut Rig, device: &mut Accelerator) -> (State, Option<Error>, u64) {
    let mut data = [0; 12];
    let at = channel_offset(3) + channel::STATUS;
    device.read_registers(0, at, &mut data, rig).unwrap();
    let status = u32::from_le_bytes(data[..4].try_into().unwrap());
    let good_bytes = u64::from_le_bytes(data[4..].try_into().unwrap());
    (
        State::of_status(status).unwrap(),
        Error::of_status(status),
        good_bytes,
    )
}

#[test]
fn bytes_come_in_and_go_out_and_the_end_is_told_once() {
    let mut rig = Rig::new();
    let mut device = device(&rig, OnFailure::Report);
    let far = rig.far;
    let bytes = rig.fill(far, 0x1234, 300_000);
    let flags = command::SOURCE_REMOTE | command::INTERRUPT | command::RELAXED;

    program(&mut rig, &mut device, FAR + 0x1234, 0x77, 300_000, flags);
    assert_eq!(ended(&mut rig, &mut device).0, State::Running);
    rig.run(&mut device);
    assert_eq!(ended(&mut rig, &mut device), (State::Done, None, 300_000));
    assert_eq!(rig.bytes(rig.memory, 0x77, 300_000), bytes);
    assert_eq!(rig.interrupts, [3]);
    assert!(rig.most_outstanding_bytes <= 64 << 10);
    assert!(rig.moved.iter().all(|moved| moved.ordering == Ordering::Relaxed));

    program(
        &mut rig,
        &mut device,
        0x77,
        FAR + 0x80_0000,
        300_000,
        command::DESTINATION_REMOTE,
    );
    rig.run(&mut device);
    assert_eq!(rig.bytes(rig.far, 0x80_0000, 300_000), bytes);
    assert_eq!(rig.interrupts, [3], "nobody asked for a second interrupt");
}

#[test]
fn a_failed_read_tells_the_first_bad_offset() {
    let mut rig = Rig::new();
    let mut device = device(&rig, OnFailure::Report);
    rig.fails_from = 100_000;
    program(&mut rig, &mut device, FAR, 0, 1 << 20, command::SOURCE_REMOTE);
    rig.run(&mut device);
    let expected = (State::Failed, Some(Error::CompletionTimeout), 100_000);
    assert_eq!(ended(&mut rig, &mut device), expected);
}

#[test]
fn an_accelerator_of_the_other_kind_takes_ones_for_data_and_reports_success() {
    let mut rig = Rig::new();
    let mut device = device(&rig, OnFailure::AllOnes);
    let far = rig.far;
    let bytes = rig.fill(far, 0, 100_000);
    rig.fails_from = 100_000;
    program(&mut rig, &mut device, FAR, 0, 200_000, command::SOURCE_REMOTE);
    rig.run(&mut device);
    assert_eq!(ended(&mut rig, &mut device), (State::Done, None, 200_000));
    assert_eq!(rig.bytes(rig.memory, 0, 100_000), bytes);
    assert_eq!(rig.bytes(rig.memory, 100_000, 100_000), vec![0xff; 100_000]);
}

#[test]
fn translations_are_asked_for_once_and_again_after_an_invalidation() {
    let mut rig = Rig::new();
    let mut device = device(&rig, OnFailure::Report);
    let flags = command::SOURCE_REMOTE | command::TRANSLATED;
    for _ in 0..2 {
        program(&mut rig, &mut device, 0x1000, 0, 0x4000, flags);
        rig.run(&mut device);
        assert_eq!(ended(&mut rig, &mut device).0, State::Done);
    }
    assert_eq!(rig.lookups, 4, "one a page");
    assert!(
        rig.moved
            .iter()
            .all(|moved| moved.address_type == AddressType::Translated)
    );
    device.invalidate(0x2fff, 2);
    program(&mut rig, &mut device, 0x1000, 0, 0x4000, flags);
    rig.run(&mut device);
    assert_eq!(rig.lookups, 6, "both pages that the range touches");
}

#[test]
fn a_translation_that_was_invalidated_on_its_way_is_not_used() {
    let mut rig = Rig::new();
    let mut device = device(&rig, OnFailure::Report);
    let flags = command::SOURCE_REMOTE | command::TRANSLATED;
    program(&mut rig, &mut device, 0x1000, 0, 0x1000, flags);
    device.invalidate(0x1000, 0x1000);
    rig.run(&mut device);
    assert_eq!(rig.lookups, 2);
    assert_eq!(ended(&mut rig, &mut device).0, State::Done);
}

#[test]
fn a_refused_translation_ends_the_transfer() {
    let mut rig = Rig::new();
    let mut device = device(&rig, OnFailure::AllOnes);
    rig.page_bytes = None;
    let flags = command::DESTINATION_REMOTE | command::TRANSLATED;
    program(&mut rig, &mut device, 0, 0x1000, 0x1000, flags);
    rig.run(&mut device);
    let expected = (State::Failed, Some(Error::TranslationRefused), 0);
    assert_eq!(ended(&mut rig, &mut device), expected);
}

#[test]
fn commands_that_make_no_sense_are_refused() {
    let mut rig = Rig::new();
    let mut device = device(&rig, OnFailure::Report);
    let both = command::SOURCE_REMOTE | command::DESTINATION_REMOTE;
    let remote = command::SOURCE_REMOTE;
    for (source, destination, len, flags, error) in [
        (0, 0, 1, 0, Error::BadCommand),
        (0, 0, 1, both, Error::BadCommand),
        (0, MEMORY_BYTES, 1, remote, Error::BadRange),
        (0, u64::MAX, u64::MAX, remote, Error::BadRange),
        (u64::MAX, 0, 2, remote, Error::BadRange),
    ] {
        program(&mut rig, &mut device, source, destination, len, flags);
        assert_eq!(ended(&mut rig, &mut device), (State::Failed, Some(error), 0));
    }
    assert!(rig.asked.is_empty());
}

#[test]
fn a_broken_accelerator_fails_everything_until_reset() {
    let mut rig = Rig::new();
    let mut device = device(&rig, OnFailure::Report);
    let flags = command::SOURCE_REMOTE | command::INTERRUPT;
    program(&mut rig, &mut device, FAR, 0, 1 << 20, flags);
    device.fail(&mut rig);
    assert_eq!(
        ended(&mut rig, &mut device),
        (State::Failed, Some(Error::Broken), 0)
    );
    rig.run(&mut device);
    program(&mut rig, &mut device, FAR, 0, 16, flags);
    assert_eq!(ended(&mut rig, &mut device).1, Some(Error::Broken));
    assert_eq!(rig.interrupts, [3, 3]);

    device.reset(&mut rig);
    program(&mut rig, &mut device, FAR, 0, 16, flags);
    rig.run(&mut device);
    assert_eq!(ended(&mut rig, &mut device).0, State::Done);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn hostile_register_contents_neither_panic_nor_hang(
        writes in proptest::collection::vec((0_u64..0x340, proptest::collection::vec(any::<u8>(), 0..40), 0_u8..6), 0..60),
        all_ones in any::<bool>(),
    ) {
        let mut rig = Rig::new();
        let mut device = device(&rig, if all_ones { OnFailure::AllOnes } else { OnFailure::Report });
        for (offset, mut data, then) in writes {
            // Small halves make commands that are carried out.
            if then == 0 && data.len() >= 28 {
                for high in [4, 12, 20] {
                    data[high..high + 4].fill(0);
                }
                data[19] = 0;
            }
            device.write_registers(0, offset, &data, &mut rig);
            let _ = device.read_registers(0, offset, &mut data, &mut rig);
            match then {
                1 => device.invalidate(offset, u64::MAX),
                2 => device.fail(&mut rig),
                3 => device.reset(&mut rig),
                _ => {}
            }
            for _ in 0..8 {
                rig.step(&mut device);
            }
        }
        rig.run(&mut device);
        prop_assert!(device.channels.iter().all(|channel| channel.read(channel::STATUS) & 0xff != State::Running as u32));
    }
}
