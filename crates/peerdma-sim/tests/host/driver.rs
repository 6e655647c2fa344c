//! A small NVMe driver that knows the traits of `peerdma` and the specification, and nothing of the simulator.

use peerdma::addr::{Address, Iova, PhysAddr};
use peerdma::device::{BusMaster, DeviceError, Function, Host, Mmio};
use peerdma::iommu::{Rights, Target, Translations};

pub(crate) const PAGE_BYTES: u64 = 4096;
const ENTRIES: u32 = 8;

/// How the controller reaches RAM.
pub(crate) enum Reach {
    Direct { inbound_offset: u64 },
    Translated(Box<dyn Translations>),
}

pub(crate) struct Driver<F: Function, H: Host> {
    pub(crate) function: F,
    pub(crate) host: H,
    pub(crate) reach: Reach,
    registers: F::Mmio,
    next_iova: u64,
    /// RAM, and what it was mapped at.
    pages: Vec<(PhysAddr, u64)>,
    queues: Vec<Queue>,
}

#[derive(Clone, Copy)]
struct Queue {
    submission: PhysAddr,
    completion: PhysAddr,
    tail: u32,
    head: u32,
    phase: u32,
}

/// Status field of a completion entry, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    Status(u32),
    TimeOut,
    Device(DeviceError),
}

impl From<DeviceError> for Failed {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl<F: Function, H: Host> Driver<F, H> {
    /// Resets the controller, and brings it up with an admin queue.
    pub(crate) fn open(function: F, host: H, reach: Reach) -> Result<Self, Failed> {
        function.reset()?;
        function.set_bus_master(BusMaster::On)?;
        let registers = function.registers(0)?;
        let mut driver = Self {
            function,
            host,
            reach,
            registers,
            next_iova: 1 << 44,
            pages: Vec::new(),
            queues: Vec::new(),
        };
        let (submission, submission_dma) = driver.page(1)?;
        let (completion, completion_dma) = driver.page(1)?;
        driver.queues.push(Queue::new(submission, completion));
        driver
            .registers
            .write32(0x24, (ENTRIES - 1) << 16 | (ENTRIES - 1));
        driver.registers.write64(0x28, submission_dma);
        driver.registers.write64(0x30, completion_dma);
        driver.registers.write32(0x14, 4 << 20 | 6 << 16 | 1);
        let until = driver.host.now_ns() + 2_000_000_000;
        while driver.registers.read32(0x1c) & 3 != 1 {
            if driver.host.now_ns() > until {
                return Err(Failed::TimeOut);
            }
            driver.host.relax();
        }
        Ok(driver)
    }

    /// So many pages of RAM that the controller reaches, and how.
    pub(crate) fn page(&mut self, count: u64) -> Result<(PhysAddr, u64), DeviceError> {
        let len_bytes = count * PAGE_BYTES;
        let phys = self.host.allocate(len_bytes, PAGE_BYTES)?;
        let dma = match &mut self.reach {
            Reach::Direct { inbound_offset } => phys.to_u64().wrapping_sub(*inbound_offset),
            Reach::Translated(space) => {
                let iova = Iova::from_u64(self.next_iova);
                self.next_iova += len_bytes;
                let mapped = space.map(iova, phys, len_bytes, Rights::ReadWrite, Target::Ram);
                mapped.map_err(|_| DeviceError::System(12))?;
                iova.to_u64()
            }
        };
        self.pages.push((phys, dma));
        Ok((phys, dma))
    }

    /// Adds an I/O queue pair, whose number is 1.
    pub(crate) fn add_io_queues(&mut self) -> Result<(), Failed> {
        let (submission, submission_dma) = self.page(1)?;
        let (completion, completion_dma) = self.page(1)?;
        let size = (ENTRIES - 1) << 16 | 1;
        self.command(0, 5, 0, completion_dma, [size, 1, 0])?;
        self.command(0, 1, 0, submission_dma, [size, 1 << 16 | 1, 0])?;
        self.queues.push(Queue::new(submission, completion));
        Ok(())
    }

    /// Identify: 4096 bytes.
    pub(crate) fn identify(&mut self, namespace: u32, structure: u32) -> Result<Vec<u8>, Failed> {
        let (phys, dma) = self.page(1)?;
        self.command(0, 6, namespace, dma, [structure, 0, 0])?;
        let mut data = vec![0; PAGE_BYTES as usize];
        self.host.read_ram(phys, &mut data)?;
        Ok(data)
    }

    /// Reads blocks of the first namespace to up to a page.
    pub(crate) fn read_blocks(&mut self, first: u32, count: u32, dma: u64) -> Result<(), Failed> {
        self.command(1, 2, 1, dma, [first, 0, count - 1])
    }

    pub(crate) fn command(
        &mut self,
        queue: usize,
        opcode: u32,
        namespace: u32,
        dma: u64,
        rest: [u32; 3],
    ) -> Result<(), Failed> {
        self.submit(queue, opcode, namespace, dma, rest)?;
        self.complete(queue)
    }

    pub(crate) fn submit(
        &mut self,
        number: usize,
        opcode: u32,
        namespace: u32,
        dma: u64,
        rest: [u32; 3],
    ) -> Result<(), Failed> {
        let mut entry = [0; 64];
        let mut put = |at: usize, value: u32| entry[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
        put(0, opcode | self.queues[number].tail << 16);
        put(1, namespace);
        put(6, dma as u32);
        put(7, (dma >> 32) as u32);
        for (at, value) in (10..).zip(rest) {
            put(at, value);
        }
        let queue = &mut self.queues[number];
        let at = queue.submission.checked_add(u64::from(queue.tail) * 64).unwrap();
        self.host.write_ram(at, &entry)?;
        queue.tail = (queue.tail + 1) % ENTRIES;
        self.registers.write32(0x1000 + number as u64 * 8, queue.tail);
        Ok(())
    }

    pub(crate) fn complete(&mut self, number: usize) -> Result<(), Failed> {
        let queue = &mut self.queues[number];
        let at = queue
            .completion
            .checked_add(u64::from(queue.head) * 16 + 12)
            .unwrap();
        let until = self.host.now_ns() + 1_000_000_000;
        let status = loop {
            let dword = self.host.load_acquire(at)?;
            if dword >> 16 & 1 == queue.phase {
                assert!(dword & 0xffff < ENTRIES);
                break dword >> 17;
            }
            if self.host.now_ns() > until {
                return Err(Failed::TimeOut);
            }
            self.host.relax();
        };
        queue.head = (queue.head + 1) % ENTRIES;
        if queue.head == 0 {
            queue.phase ^= 1;
        }
        self.registers.write32(0x1004 + number as u64 * 8, queue.head);
        match status {
            0 => Ok(()),
            status => Err(Failed::Status(status)),
        }
    }

    /// Resets the controller, and gives back all that was taken.
    pub(crate) fn close(mut self) {
        self.function.reset().unwrap();
        for (phys, dma) in std::mem::take(&mut self.pages) {
            if let Reach::Translated(space) = &mut self.reach {
                space.unmap(Iova::from_u64(dma), PAGE_BYTES).unwrap();
            }
            self.host.free(phys);
        }
    }
}

impl Queue {
    fn new(submission: PhysAddr, completion: PhysAddr) -> Self {
        Self {
            submission,
            completion,
            tail: 0,
            head: 0,
            phase: 1,
        }
    }
}
