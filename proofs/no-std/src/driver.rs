//! An NVMe controller that never becomes ready, and a host with a little RAM: enough to link the whole driver, and to see it
//! give up and give back.

use alloc::rc::Rc;
use core::cell::Cell;
use peerdma::addr::{Address, Bdf, BusAddr, PhysAddr, Span};
use peerdma::device::{BusMaster, DeviceError, Function, Host, Mmio, Presence};
use peerdma::dma::{Initiator, Ioas, PeerRoute, Refused, Routes, SingleThread, Translation};
use peerdma::memory::MemoryMap;
use peerdma::route::{Access, TlpClass};
use peerdma_nvme::{Cause, Controller, Options, QueueOptions};

/// Opening it takes as long as the controller says, ends in an error that says so, and leaves nothing behind.
pub fn gives_up() -> Option<()> {
    let machine = Machine::default();
    let ram = Span::new(PhysAddr::from_u64(0), PhysAddr::from_u64(0xf_ffff)).ok()?;
    let (map, _) = MemoryMap::new().with_ram(ram).ok()?;
    let ioas = Ioas::<SingleThread>::new(Translation::Direct, map, &[]);
    let initiator = Initiator {
        bdf: machine.bdf(),
        address_mask: u64::MAX,
        class: TlpClass::Strict,
        inbound_offset: 0,
    };
    ioas.add_initiator(initiator, &Nowhere).ok()?;
    let mapper = ioas.mapper(machine.bdf()).ok()?;
    let opened = Controller::open(machine.clone(), machine.clone(), mapper, &Options::default());
    let holds = match opened {
        // It is not to come here, but the code is to be linked.
        Ok(controller) => {
            let mapper = ioas.mapper(machine.bdf()).ok()?;
            let volume = controller.volume(1, mapper, &QueueOptions::default());
            volume.ok()?.close(&mut |_| ()).ok()?;
            false
        }
        Err(error) => matches!(
            error.cause,
            Cause::NotReady {
                after_ns: 500_000_000
            }
        ),
    };
    (holds && machine.0.held.get() == 0).then_some(())
}

#[derive(Clone, Default)]
struct Machine(Rc<Inside>);

#[derive(Default)]
struct Inside {
    now_ns: Cell<u64>,
    next: Cell<u64>,
    /// How many pieces of RAM are allocated.
    held: Cell<u32>,
}

struct Nowhere;

impl Routes for Nowhere {
    fn route(&self, _: Bdf, provider: Bdf, _: u8, _: Access, _: TlpClass) -> PeerRoute {
        PeerRoute::Refused(Refused::NoSuchFunction(provider))
    }
}

impl Mmio for Machine {
    fn len_bytes(&self) -> u64 {
        0x2000
    }

    fn read32(&self, offset: u64) -> u32 {
        // CAP: 64 entries, half a second, the NVM command set.
        match offset {
            0 => 0x0101_003f,
            4 => 0x20,
            _ => 0,
        }
    }

    fn write32(&self, _: u64, _: u32) {}

    fn read64(&self, offset: u64) -> u64 {
        u64::from(self.read32(offset)) | u64::from(self.read32(offset + 4)) << 32
    }

    fn write64(&self, _: u64, _: u64) {}
}

impl Function for Machine {
    type Mmio = Self;

    fn bdf(&self) -> Bdf {
        Bdf::from_devfn(0, 1, 0)
    }

    fn bar(&self, _: u8) -> Option<Span<PhysAddr>> {
        None
    }

    fn bar_address(&self, _: u8) -> Option<BusAddr> {
        None
    }

    fn registers(&self, _: u8) -> Result<Self, DeviceError> {
        Ok(self.clone())
    }

    fn set_bus_master(&self, _: BusMaster) -> Result<(), DeviceError> {
        Ok(())
    }

    fn reset(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn presence(&self) -> Presence {
        Presence::Present
    }
}

impl Host for Machine {
    fn allocate(&self, len_bytes: u64, _: u64) -> Result<PhysAddr, DeviceError> {
        let at = self.0.next.get();
        self.0.next.set(at + len_bytes.next_multiple_of(0x1_0000));
        self.0.held.set(self.0.held.get() + 1);
        Ok(PhysAddr::from_u64(at))
    }

    fn free(&self, _: PhysAddr) {
        self.0.held.set(self.0.held.get().saturating_sub(1));
    }

    fn read_ram(&self, _: PhysAddr, into: &mut [u8]) -> Result<(), DeviceError> {
        into.fill(0);
        Ok(())
    }

    fn write_ram(&self, _: PhysAddr, _: &[u8]) -> Result<(), DeviceError> {
        Ok(())
    }

    fn load_acquire(&self, _: PhysAddr) -> Result<u32, DeviceError> {
        Ok(0)
    }

    fn load_bar(&self, at: PhysAddr, _: u8) -> Result<u64, DeviceError> {
        Err(DeviceError::NoSuchMemory { at })
    }

    fn store_bar(&self, at: PhysAddr, _: u8, _: u64) -> Result<(), DeviceError> {
        Err(DeviceError::NoSuchMemory { at })
    }

    fn now_ns(&self) -> u64 {
        self.0.now_ns.get()
    }

    fn relax(&self) {
        self.0.now_ns.set(self.0.now_ns.get() + 10_000_000);
    }
}
