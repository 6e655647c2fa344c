//! Pages of the Identify command (NVM Express Base 5.17.2, NVM Command Set 4.1.5).

use super::command::Command;
use super::events::Events;
use super::log::{ErrorLog, put};
use super::namespace::Namespace;
use super::queue::CompletionQueue;
use super::registers::VERSION_1_4;
use super::status::Status;
use super::traits::Traits;
use crate::blueprint::Protection;

/// Bytes of every page.
pub(super) const PAGE_BYTES: usize = 4096;
/// MDTS: a command moves at most 4 KiB << this.
const MOST_PAGES_LOG2: u8 = 9;
/// A command moves at most so many bytes.
pub(super) const MOST_BYTES: u64 = 4096 << MOST_PAGES_LOG2;
/// What it is called, and the revision of its firmware.
const MODEL: &str = "peerdma simulated NVMe controller";
pub(super) const FIRMWARE: [u8; 8] = *b"1.0     ";
/// An organisation that is locally administered: nobody's.
const ORGANISATION: [u8; 3] = [0x02, 0x50, 0x44];

/// The page that a command asks for.
///
/// # Errors
/// The status that the command ends with.
pub(super) fn page(
    command: &Command,
    traits: &Traits,
    version: u32,
    namespaces: &[Namespace],
) -> Result<Vec<u8>, Status> {
    let number = command.namespace();
    let namespace = || {
        let index = number.checked_sub(1).ok_or(Status::INVALID_NAMESPACE_OR_FORMAT)?;
        namespaces
            .get(index as usize)
            .ok_or(Status::INVALID_NAMESPACE_OR_FORMAT)
    };
    match command.dword(10) as u8 {
        0x00 => Ok(namespace_page(namespace()?, number, traits)),
        0x01 => Ok(controller_page(traits, version, namespaces.len() as u32)),
        0x02 if number >= 0xffff_fffe => Err(Status::INVALID_NAMESPACE_OR_FORMAT),
        0x02 => Ok(active_namespaces(number, namespaces.len() as u32)),
        0x03 => namespace().map(|_| descriptors(number, traits)),
        // Lists of allocated namespaces and of controllers belong to namespace management, which is not offered.
        _ => Err(Status::INVALID_FIELD),
    }
}

fn controller_page(traits: &Traits, version: u32, namespaces: u32) -> Vec<u8> {
    let mut page = vec![0; PAGE_BYTES];
    let mut set = |offset: usize, from: &[u8]| put(&mut page, offset, from);
    set(0, &traits.vendor.to_le_bytes());
    set(2, &traits.subsystem_vendor.to_le_bytes());
    set(4, &text::<20>(&serial(traits)));
    set(24, &text::<40>(MODEL));
    set(64, &FIRMWARE);
    set(72, &[3]); // RAB
    // IEEE, the last byte of the organisation first
    set(73, &[ORGANISATION[2], ORGANISATION[1], ORGANISATION[0]]);
    set(77, &[MOST_PAGES_LOG2]); // MDTS
    set(80, &version.to_le_bytes());
    if version >= VERSION_1_4 {
        set(111, &[1]); // CNTRLTYPE: an I/O controller
    }
    set(258, &[3]); // ACL: four aborts at once
    set(259, &[Events::MOST as u8 - 1]); // AERL
    set(260, &[0b11]); // FRMW: one slot, read only
    set(261, &[1 << 2]); // LPA: long log pages with offsets
    set(262, &[ErrorLog::MOST as u8 - 1]); // ELPE
    set(266, &343_u16.to_le_bytes()); // WCTEMP, in Kelvin
    set(268, &353_u16.to_le_bytes()); // CCTEMP
    set(512, &[Command::BYTES_LOG2 << 4 | Command::BYTES_LOG2]); // SQES
    set(
        513,
        &[CompletionQueue::ENTRY_LOG2 << 4 | CompletionQueue::ENTRY_LOG2],
    ); // CQES
    set(516, &namespaces.to_le_bytes()); // NN
    // ONCS: Compare, Dataset Management, Write Zeroes, and the Select field of Get Features
    set(520, &0b1_1101_u16.to_le_bytes());
    // VWC: present; from 1.4 on it can tell that Flush takes all namespaces at once
    set(525, &[if version >= VERSION_1_4 { 0b111 } else { 0b1 }]);
    // SGLS: without alignment; bit buckets
    set(536, &(1_u32 | 1 << 16).to_le_bytes());
    set(
        768,
        &text_ended::<256>(&format!("nqn.2014-08.org.nvmexpress:peerdma:{}", serial(traits))),
    );
    set(2048, &500_u16.to_le_bytes()); // power state 0: at most 5 W
    page
}

fn namespace_page(namespace: &Namespace, number: u32, traits: &Traits) -> Vec<u8> {
    let mut page = vec![0; PAGE_BYTES];
    let mut set = |offset: usize, from: &[u8]| put(&mut page, offset, from);
    for offset in [0, 8, 16] {
        set(offset, &namespace.blocks.to_le_bytes()); // NSZE, NCAP, NUSE
    }
    // DLFEAT: deallocated blocks read as zeros, Write Zeroes can deallocate
    set(33, &[0b1001]);
    // NSATTR: write protected now
    set(
        99,
        &[u8::from(namespace.protection == Protection::WriteProtected)],
    );
    set(104, &unique_identifier(number, traits));
    set(128, &(u32::from(namespace.block_log2) << 16).to_le_bytes()); // LBAF0: no metadata
    page
}

fn active_namespaces(after: u32, count: u32) -> Vec<u8> {
    let mut page = vec![0; PAGE_BYTES];
    for (number, entry) in (after.saturating_add(1)..=count).zip(page.chunks_exact_mut(4)) {
        entry.copy_from_slice(&number.to_le_bytes());
    }
    page
}

fn descriptors(number: u32, traits: &Traits) -> Vec<u8> {
    const GLOBALLY_UNIQUE: u8 = 2;
    let mut page = vec![0; PAGE_BYTES];
    put(&mut page, 0, &[GLOBALLY_UNIQUE, 16]);
    put(&mut page, 4, &unique_identifier(number, traits));
    page
}

/// NGUID: an extension of the maker, the organisation, and another extension.
fn unique_identifier(number: u32, traits: &Traits) -> [u8; 16] {
    let mut all = [0; 16];
    put(&mut all, 0, &traits.identity.to_be_bytes());
    put(&mut all, 8, &ORGANISATION);
    put(&mut all, 12, &number.to_be_bytes());
    all
}

fn serial(traits: &Traits) -> String {
    format!("PDMA{:016X}", traits.identity)
}

/// ASCII, filled up with spaces.
fn text<const N: usize>(text: &str) -> [u8; N] {
    let mut all = [b' '; N];
    all.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    all
}

/// ASCII, filled up with zeros.
fn text_ended<const N: usize>(text: &str) -> [u8; N] {
    let mut all = [0; N];
    all.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    all
}
