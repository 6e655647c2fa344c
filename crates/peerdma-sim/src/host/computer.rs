//! The handle of a simulated machine, and what a driver needs of a host.

use super::arena::Arena;
use super::refusal::{Refusals, Step};
use crate::blueprint::Blueprint;
use crate::fabric::{BuildError, IoasId};
use crate::machine::{Machine, Options};
use crate::memory::{Banks, MemoryError, Place};
use crate::time::Time;
use peerdma::addr::{Address, Bdf, PhysAddr, Span};
use peerdma::device::{DeviceError, Host};
use peerdma::fact::Fact;
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A simulated machine, shared by all who drive its devices: clones are the same machine.
#[derive(Debug, Clone)]
pub struct Computer {
    pub(super) shared: Rc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) machine: RefCell<Machine>,
    /// What was plugged in where, when the machine was switched on.
    pub(super) topology: Topology,
    pub(super) arena: RefCell<Arena>,
    pub(super) refusals: RefCell<Refusals>,
    /// Who uses which address space.
    pub(super) attached: RefCell<BTreeMap<Bdf, IoasId>>,
    /// How far time goes on when next nothing happens.
    idle_ps: Cell<u64>,
}

/// How far time goes on where nothing happens: at first, and at most. Who polls for long waits for a time-out.
const IDLE_PS: (u64, u64) = (1_000_000, 1_000_000_000);
/// Up to so many bytes memory is there when it is given; of more, as with other hosts, when it is written.
const COMMITTED_BYTES: u64 = 64 << 20;

impl Computer {
    /// Switches on the machine of a blueprint.
    ///
    /// # Errors
    /// [`BuildError`] where no such machine can be.
    pub fn new(blueprint: &Blueprint, options: Options) -> Result<Self, BuildError> {
        let machine = Machine::with_options(blueprint, options)?;
        let snapshot = blueprint.snapshot.clone();
        let arena = match &snapshot.host.ram {
            Fact::Known(spans) => Arena::new(spans),
            Fact::Unknown(_) => Arena::default(),
        };
        let shared = Shared {
            machine: RefCell::new(machine),
            topology: Topology::new(snapshot, &mut Warnings::default()),
            arena: RefCell::new(arena),
            refusals: RefCell::default(),
            attached: RefCell::default(),
            idle_ps: Cell::new(IDLE_PS.0),
        };
        Ok(Self {
            shared: Rc::new(shared),
        })
    }

    /// What was plugged in where, as the machine was switched on.
    pub fn topology(&self) -> &Topology {
        &self.shared.topology
    }

    /// Does something to the machine itself, behind the back of drivers.
    ///
    /// # Panics
    /// Where `call` uses this machine's handle, or anything that holds one.
    pub fn with<R>(&self, call: impl FnOnce(&mut Machine) -> R) -> R {
        call(&mut self.shared.machine.borrow_mut())
    }

    /// Lets the `nth` step of this kind from now on fail, from 1.
    pub fn refuse(&self, step: Step, nth: u64) {
        self.shared.refusals.borrow_mut().refuse(step, nth);
    }

    /// How often a step of this kind was tried so far.
    pub fn attempts(&self, step: Step) -> u64 {
        self.shared.refusals.borrow().count(step)
    }

    /// RAM that was allocated and not freed.
    pub fn allocations(&self) -> Vec<Span<PhysAddr>> {
        let arena = self.shared.arena.borrow();
        let span = |(first, last)| Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).ok();
        arena.taken().filter_map(span).collect()
    }

    pub(super) fn is_allowed(&self, step: Step) -> bool {
        self.shared.refusals.borrow_mut().allow(step)
    }

    /// Where all of a range of RAM is.
    fn ram(machine: &Machine, at: PhysAddr, len_bytes: u64) -> Result<Option<Place>, DeviceError> {
        if len_bytes == 0 {
            return Ok(None);
        }
        match machine.ram(at.to_u64()) {
            Some((place, follow_bytes)) if follow_bytes >= len_bytes => Ok(Some(place)),
            _ => Err(DeviceError::NoSuchMemory { at }),
        }
    }

    /// May the CPU touch a BAR so?
    fn check_bar(&self, at: PhysAddr, width_bytes: u8) -> Result<(), DeviceError> {
        let is_width = matches!(width_bytes, 1 | 2 | 4 | 8);
        if !is_width || !at.to_u64().is_multiple_of(width_bytes.into()) || self.is_name(at) {
            return Err(DeviceError::NoAccess { at, width_bytes });
        }
        match self.is_in_window(at) && self.shared.machine.borrow().ram(at.to_u64()).is_none() {
            true => Ok(()),
            false => Err(DeviceError::NoSuchMemory { at }),
        }
    }
}

/// Lets all memory of a range come into being, and be zero.
fn furnish(banks: &mut Banks, place: Place, len_bytes: u64) -> Result<(), MemoryError> {
    banks.clear(place, len_bytes)?;
    if len_bytes > COMMITTED_BYTES {
        return Ok(());
    }
    let unit = Banks::unit_bytes();
    let mut offset = place.offset;
    while offset < place.offset + len_bytes {
        banks.write(Place { offset, ..place }, &[0])?;
        offset = (offset / unit + 1) * unit;
    }
    Ok(())
}

impl Host for Computer {
    /// Fails too where the [`FaultPlan`](crate::machine::FaultPlan) lets the memory not come into being.
    fn allocate(&self, len_bytes: u64, align_bytes: u64) -> Result<PhysAddr, DeviceError> {
        let none = DeviceError::NoMemory { len_bytes };
        if !self.is_allowed(Step::Allocation) {
            return Err(none);
        }
        let mut arena = self.shared.arena.borrow_mut();
        let first = arena.take(len_bytes, align_bytes).ok_or(none)?;
        let taken_bytes = arena.len_bytes(first).unwrap_or(len_bytes);
        let mut machine = self.shared.machine.borrow_mut();
        let place = Self::ram(&machine, PhysAddr::from_u64(first), taken_bytes);
        let furnished = match place {
            Ok(Some(place)) => furnish(machine.banks(), place, taken_bytes).is_ok(),
            Ok(None) | Err(_) => false,
        };
        if !furnished {
            arena.give_back(first);
            return Err(none);
        }
        Ok(PhysAddr::from_u64(first))
    }

    fn free(&self, at: PhysAddr) {
        let freed = self.shared.arena.borrow_mut().give_back(at.to_u64());
        let Some(len_bytes) = freed else {
            return;
        };
        let mut machine = self.shared.machine.borrow_mut();
        if let Ok(Some(place)) = Self::ram(&machine, at, len_bytes) {
            // Gives memory back; what is allocated is zero in any case.
            let _ = machine.banks().clear(place, len_bytes);
        }
    }

    fn read_ram(&self, at: PhysAddr, into: &mut [u8]) -> Result<(), DeviceError> {
        let mut machine = self.shared.machine.borrow_mut();
        match Self::ram(&machine, at, into.len() as u64)? {
            Some(place) => (machine.banks().read(place, into)).map_err(|_| DeviceError::NoSuchMemory { at }),
            None => Ok(()),
        }
    }

    /// Where no more memory may come into being (the budget is spent, or the fault plan says so) it fails with
    /// [`DeviceError::NoMemory`]: RAM of a machine that exists does not, and what was allocated only does beyond 64 MiB.
    fn write_ram(&self, at: PhysAddr, from: &[u8]) -> Result<(), DeviceError> {
        let mut machine = self.shared.machine.borrow_mut();
        let len_bytes = from.len() as u64;
        match Self::ram(&machine, at, len_bytes)? {
            Some(place) => {
                (machine.banks().write(place, from)).map_err(|_| DeviceError::NoMemory { len_bytes })
            }
            None => Ok(()),
        }
    }

    fn load_acquire(&self, at: PhysAddr) -> Result<u32, DeviceError> {
        if !at.to_u64().is_multiple_of(4) {
            return Err(DeviceError::NoAccess { at, width_bytes: 4 });
        }
        let mut bytes = [0; 4];
        self.read_ram(at, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn load_bar(&self, at: PhysAddr, width_bytes: u8) -> Result<u64, DeviceError> {
        self.check_bar(at, width_bytes)?;
        let mut bytes = [0; 8];
        let (loaded, _) = bytes.split_at_mut(width_bytes.into());
        self.shared.machine.borrow_mut().cpu_read(at.to_u64(), loaded);
        Ok(u64::from_le_bytes(bytes))
    }

    fn store_bar(&self, at: PhysAddr, width_bytes: u8, value: u64) -> Result<(), DeviceError> {
        self.check_bar(at, width_bytes)?;
        let bytes = value.to_le_bytes();
        let (stored, _) = bytes.split_at(width_bytes.into());
        self.shared.machine.borrow_mut().cpu_write(at.to_u64(), stored);
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        self.shared.machine.borrow().now().as_ps() / 1000
    }

    /// On to the next thing that happens. Where nothing will, time goes on by a microsecond, and by ever longer steps up to a
    /// millisecond while that is so.
    fn relax(&self) {
        let mut machine = self.shared.machine.borrow_mut();
        let idle_ps = match machine.step_or_land() {
            true => IDLE_PS.0,
            false => {
                let idle_ps = self.shared.idle_ps.get();
                let until = Time::after_ps(machine.now(), idle_ps);
                machine.run_until(until);
                (2 * idle_ps).min(IDLE_PS.1)
            }
        };
        self.shared.idle_ps.set(idle_ps);
    }
}
