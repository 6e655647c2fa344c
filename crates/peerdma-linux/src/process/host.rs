//! The process as a host: RAM by atomic cells, memory of BARs by single accesses, and the time.

use super::Process;
use super::piece::Kind;
use super::sync::lock;
use crate::ring::guarded::{self, GuardedError};
use crate::sys::{Memory, barrier};
use peerdma::addr::{Address, PhysAddr};
use peerdma::device::{DeviceError, Host};
use std::cell::Cell;

/// Who polls lets others have the processor after so many times: on a machine with one, they may be who it waits for.
const PATIENCE: u32 = 64;

impl Process {
    /// Where in the RAM a range begins; nothing where not all of it lies there.
    fn in_ram(&self, at: PhysAddr, len_bytes: u64) -> Option<(&super::handle::Ram, u64)> {
        let ram = self.ram()?;
        let offset_bytes = at.to_u64().checked_sub(ram.span.first().to_u64())?;
        let end = offset_bytes.checked_add(len_bytes)?;
        (end <= ram.memory.len_bytes()).then_some((ram, offset_bytes))
    }

    /// One access to memory behind a BAR; to p2pmem by `guarded`, since its pages may vanish.
    fn on_bar<R>(
        &self,
        at: PhysAddr,
        width_bytes: u8,
        access: impl FnOnce(&Memory, u64) -> Option<R>,
        guarded: impl FnOnce(&Memory, u64) -> Result<R, GuardedError>,
    ) -> Result<R, DeviceError> {
        let no_access = DeviceError::NoAccess { at, width_bytes };
        let is_width = matches!(width_bytes, 1 | 2 | 4 | 8);
        if !is_width || !at.to_u64().is_multiple_of(width_bytes.into()) {
            return Err(no_access);
        }
        let none = DeviceError::NoSuchMemory { at };
        let piece = self.shared.registry.find(at, width_bytes.into()).ok_or(none)?;
        if piece.kind == Kind::Ram {
            return Err(none);
        }
        let (memory, start) = piece.pages.memory.as_ref().ok_or(no_access)?;
        let into = at.to_u64() - piece.span.first().to_u64();
        match piece.kind {
            Kind::P2pmem => guarded(memory, start + into).map_err(|error| match error {
                GuardedError::Gone => DeviceError::Removed,
                GuardedError::Outside { .. } => no_access,
                GuardedError::System(error) => DeviceError::System(error.raw_os_error()),
            }),
            Kind::Bar | Kind::Ram => {
                let value = access(memory, start + into).ok_or(no_access)?;
                // What it yields then is nothing.
                match memory.is_gone() {
                    true => Err(DeviceError::Removed),
                    false => Ok(value),
                }
            }
        }
    }
}

impl Host for Process {
    fn allocate(&self, len_bytes: u64, align_bytes: u64) -> Result<PhysAddr, DeviceError> {
        let none = DeviceError::NoMemory { len_bytes };
        let ram = self.ram().ok_or(none)?;
        let taken = lock(&ram.arena).take(len_bytes, align_bytes).ok_or(none)?;
        let first = PhysAddr::from_u64(taken.first);
        // Not under the lock: it may be long.
        let cleared = (taken.first.checked_sub(ram.span.first().to_u64()))
            .and_then(|offset_bytes| ram.memory.clear(offset_bytes, taken.used_bytes));
        match cleared {
            Some(()) => Ok(first),
            None => {
                lock(&ram.arena).give_back(taken.first);
                Err(none)
            }
        }
    }

    /// What could not be unmapped for a device stays taken: nobody else may get it.
    fn free(&self, at: PhysAddr) {
        let Some(ram) = self.ram() else {
            return;
        };
        let first = at.to_u64();
        let mut arena = lock(&ram.arena);
        let is_reached = |last| self.shared.spaces.is_reached(first, last);
        if arena.last_of(first).is_some_and(|last| !is_reached(last)) {
            arena.give_back(first);
        }
    }

    fn read_ram(&self, at: PhysAddr, into: &mut [u8]) -> Result<(), DeviceError> {
        if into.is_empty() {
            return Ok(());
        }
        let found = self.in_ram(at, into.len() as u64);
        let (ram, offset_bytes) = found.ok_or(DeviceError::NoSuchMemory { at })?;
        let copied = ram.memory.copy_out(offset_bytes, into);
        copied.ok_or(DeviceError::NoSuchMemory { at })
    }

    fn write_ram(&self, at: PhysAddr, from: &[u8]) -> Result<(), DeviceError> {
        if from.is_empty() {
            return Ok(());
        }
        let found = self.in_ram(at, from.len() as u64);
        let (ram, offset_bytes) = found.ok_or(DeviceError::NoSuchMemory { at })?;
        let copied = ram.memory.copy_in(offset_bytes, from);
        copied.ok_or(DeviceError::NoSuchMemory { at })
    }

    fn load_acquire(&self, at: PhysAddr) -> Result<u32, DeviceError> {
        if !at.to_u64().is_multiple_of(4) {
            return Err(DeviceError::NoAccess { at, width_bytes: 4 });
        }
        let found = self.in_ram(at, 4);
        let (ram, offset_bytes) = found.ok_or(DeviceError::NoSuchMemory { at })?;
        let loaded = ram.memory.load_acquire(offset_bytes);
        // What lies in memory of devices is little-endian.
        loaded.map(u32::from_le).ok_or(DeviceError::NoSuchMemory { at })
    }

    /// [`DeviceError::NoAccess`] too for memory that was imported and cannot be mapped into the process. p2pmem is copied by the kernel, in accesses
    /// of its choice: it is plain memory, and [`DeviceError::Removed`] once its device was unbound.
    fn load_bar(&self, at: PhysAddr, width_bytes: u8) -> Result<u64, DeviceError> {
        let load = |memory: &Memory, offset_bytes| match width_bytes {
            1 => memory.load_u8(offset_bytes).map(u64::from),
            2 => memory.load_u16(offset_bytes).map(u16::from_le).map(u64::from),
            4 => memory.load_u32(offset_bytes).map(u32::from_le).map(u64::from),
            _ => memory.load_u64(offset_bytes).map(u64::from_le),
        };
        let copy = |memory: &Memory, offset_bytes| {
            let mut bytes = [0; 8];
            let (wanted, _) = bytes.split_at_mut(usize::from(width_bytes).min(8));
            guarded::read(memory, offset_bytes, wanted).map(|()| u64::from_le_bytes(bytes))
        };
        let value = self.on_bar(at, width_bytes, load, copy);
        barrier::after_register_load();
        value
    }

    /// [`DeviceError::NoAccess`] too for memory that was imported and cannot be mapped into the process. Of a value that is wider than the
    /// store, the low bytes are stored.
    fn store_bar(&self, at: PhysAddr, width_bytes: u8, value: u64) -> Result<(), DeviceError> {
        barrier::before_register_store();
        let store = |memory: &Memory, offset_bytes| match width_bytes {
            1 => memory.store_u8(offset_bytes, value as u8),
            2 => memory.store_u16(offset_bytes, (value as u16).to_le()),
            4 => memory.store_u32(offset_bytes, (value as u32).to_le()),
            _ => memory.store_u64(offset_bytes, value.to_le()),
        };
        let copy = |memory: &Memory, offset_bytes| {
            let bytes = value.to_le_bytes();
            let (given, _) = bytes.split_at(usize::from(width_bytes).min(8));
            guarded::write(memory, offset_bytes, given)
        };
        self.on_bar(at, width_bytes, store, copy)
    }

    fn now_ns(&self) -> u64 {
        // Five centuries.
        u64::try_from(self.shared.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn relax(&self) {
        thread_local! {
            static POLLS: Cell<u32> = const { Cell::new(0) };
        }
        let polls = POLLS.get().wrapping_add(1);
        POLLS.set(polls);
        match polls.is_multiple_of(PATIENCE) {
            true => std::thread::yield_now(),
            false => std::hint::spin_loop(),
        }
    }
}
