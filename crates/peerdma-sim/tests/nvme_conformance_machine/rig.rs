//! A machine with the controller behind a switch, and no IOMMU.

use crate::bench::{Bench, CMB_BAR};
use peerdma::addr::Bdf;
use peerdma_sim::blueprint::{DeviceKind, NvmeKind};
use peerdma_sim::device::nvme::{Controller, Traits};
use peerdma_sim::device::{Abort, Device, Direction, Outcome, Region, Transfer, TransferId, Wire};
use peerdma_sim::fabric::Width;
use peerdma_sim::file;
use peerdma_sim::machine::Machine;
use peerdma_sim::memory::Banks;
use peerdma_sim::time::Time;
use peerdma_sim::tlp::Access;
use std::ops::Range;

const MACHINE: &str = r#"
[[bridge]]
[[bridge.port]]
link = "gen4 x8"
[bridge.port.switch]
[[bridge.port.switch.port]]
link = "gen4 x4"
device = { kind = "nvme", cmb = { bar = 2, size = "1 MiB" } }
[[bridge.port.switch.port]]
link = "gen4 x4"
device = { kind = "nvme", cmb = { bar = 4, size = "1 MiB" } }
"#;

/// An address where nothing is.
const NOWHERE: u64 = 1 << 45;
const COMMAND: u16 = 0x04;
const BARS: Range<u16> = 0x10..0x28;
const CAPABILITIES: u16 = 0x34;

#[derive(Debug)]
pub(crate) struct Rig {
    machine: Machine,
    controller: Bdf,
}

impl Rig {
    pub(crate) fn new(kind: &NvmeKind, traits: Traits) -> Self {
        let blueprint = file::load(MACHINE).expect("a sound machine");
        let is_first =
            |(_, kind): &(&Bdf, &DeviceKind)| matches!(kind, DeviceKind::Nvme(kind) if kind.cmb.is_some());
        let controller = *blueprint
            .devices
            .iter()
            .find(is_first)
            .expect("the first controller")
            .0;
        let mut machine = Machine::new(&blueprint).expect("a sound machine");
        let mut sizes = [0; 6];
        let id = machine.fabric().find(controller).expect("the controller");
        for (bar, size) in sizes.iter_mut().enumerate() {
            *size = machine.fabric().bar(id, bar as u8).map_or(0, |(_, bytes)| bytes);
        }
        let model = Controller::with_traits(kind, &sizes, machine.banks(), traits).expect("a sound kind");
        machine.plug(
            controller,
            Box::new(Spied {
                model,
                sent: Vec::new(),
                broken: Vec::new(),
            }),
        );
        Self { machine, controller }
    }

    fn bar(&self, bar: u8) -> u64 {
        let fabric = self.machine.fabric();
        let id = fabric.find(self.controller).expect("the controller");
        fabric.bar(id, bar).expect("a BAR").0
    }

    /// The bus address of its neighbour's buffer.
    pub(crate) fn neighbour(&self) -> u64 {
        let fabric = self.machine.fabric();
        let mut found = fabric
            .functions()
            .filter(|id| fabric.function(*id).bdf != self.controller);
        let address = found.find_map(|id| fabric.bar(id, 4).filter(|(_, bytes)| *bytes == 1 << 20));
        address.expect("a neighbour with a buffer").0
    }

    /// Sets or clears bus-master enable.
    pub(crate) fn set_command(&mut self, command: u32) {
        self.machine
            .config_write(self.controller, COMMAND, Width::Word, command);
    }

    /// Payload that host RAM gave and took.
    pub(crate) fn ram_payload_bytes(&self) -> u64 {
        self.machine.counters().ram.payload.bytes
    }

    pub(crate) fn load(&mut self, address: u64, into: &mut [u8]) {
        self.machine.cpu_read(address, into);
    }

    fn spied<R>(&mut self, call: impl FnOnce(&mut Spied) -> R) -> R {
        self.machine
            .with(self.controller, |spied: &mut Spied, _| call(spied))
            .expect("the model")
    }

    /// The bank behind a BAR that is memory: tests move much through it, and the processor is slow.
    fn memory(&mut self, bar: u8, offset: u64) -> Option<peerdma_sim::memory::Place> {
        match self.spied(|spied| spied.model.decode(bar, offset)) {
            Region::Memory { place, .. } => Some(place),
            _ => None,
        }
    }

    fn config(&mut self, offset: u16) -> u32 {
        self.machine.config_read(self.controller, offset, Width::Dword)
    }
}

impl Bench for Rig {
    fn mmio_read(&mut self, bar: u8, offset: u64, into: &mut [u8]) {
        match self.memory(bar, offset) {
            Some(place) if into.len() > 64 => self.machine.banks().read(place, into).expect("inside"),
            _ => {
                let address = self.bar(bar) + offset;
                self.machine.cpu_read(address, into);
            }
        }
    }

    fn mmio_write(&mut self, bar: u8, offset: u64, from: &[u8]) {
        match self.memory(bar, offset) {
            Some(place) if from.len() > 64 => self.machine.banks().write(place, from).expect("inside"),
            _ => {
                let address = self.bar(bar) + offset;
                self.machine.cpu_write(address, from);
            }
        }
    }

    fn memory_read(&mut self, address: u64, into: &mut [u8]) {
        self.machine.cpu_read(address, into);
    }

    fn memory_write(&mut self, address: u64, from: &[u8]) {
        self.machine.cpu_write(address, from);
    }

    fn pass(&mut self, ps: u64) {
        let until = self.machine.now().after_ps(ps);
        self.machine.run_until(until);
    }

    fn now_ps(&self) -> u64 {
        self.machine.now().as_ps()
    }

    fn interrupts(&mut self) -> Vec<u16> {
        self.machine
            .take_interrupts()
            .iter()
            .map(|interrupt| interrupt.vector)
            .collect()
    }

    fn sent(&mut self) -> Vec<Transfer> {
        self.spied(|spied| std::mem::take(&mut spied.sent))
    }

    fn break_memory(&mut self, addresses: Range<u64>) {
        self.spied(|spied| spied.broken.push(addresses));
    }

    /// As software does it: Device Control, bit 15; then BARs and Command are as they were.
    fn reset(&mut self) {
        let command = self.config(COMMAND) & 0xffff;
        let bars: Vec<(u16, u32)> = BARS
            .step_by(4)
            .map(|offset| (offset, self.config(offset)))
            .collect();
        let mut at = self.config(CAPABILITIES) as u8;
        while at != 0 && self.config(at.into()) as u8 != 0x10 {
            at = (self.config(at.into()) >> 8) as u8;
        }
        let control = u16::from(at) + 8;
        let value = self.config(control) & 0xffff;
        self.machine
            .config_write(self.controller, control, Width::Word, value | 1 << 15);
        self.pass(1_000_000);
        for (offset, value) in bars {
            self.machine
                .config_write(self.controller, offset, Width::Dword, value);
        }
        self.machine
            .config_write(self.controller, COMMAND, Width::Word, command);
        self.machine
            .config_write(self.controller, control, Width::Word, value);
    }

    fn fail(&mut self) {
        self.machine
            .with_device(self.controller, |device, wire| device.fail(wire));
    }

    fn buffer_address(&self) -> u64 {
        self.bar(CMB_BAR)
    }
}

/// A controller whose transfers are looked at, and some sent where nothing is.
#[derive(Debug)]
struct Spied {
    model: Controller,
    sent: Vec<Transfer>,
    broken: Vec<Range<u64>>,
}

impl Spied {
    fn act<R>(&mut self, wire: &mut dyn Wire, call: impl FnOnce(&mut Controller, &mut dyn Wire) -> R) -> R {
        let Self { model, sent, broken } = self;
        call(model, &mut SpiedWire { wire, sent, broken })
    }
}

impl Device for Spied {
    fn decode(&self, bar: u8, offset: u64) -> Region {
        self.model.decode(bar, offset)
    }

    fn read_registers(
        &mut self,
        bar: u8,
        offset: u64,
        data: &mut [u8],
        wire: &mut dyn Wire,
    ) -> Result<(), Abort> {
        self.act(wire, |model, wire| model.read_registers(bar, offset, data, wire))
    }

    fn write_registers(&mut self, bar: u8, offset: u64, data: &[u8], wire: &mut dyn Wire) {
        self.act(wire, |model, wire| model.write_registers(bar, offset, data, wire));
    }

    fn transfer_ended(&mut self, transfer: TransferId, outcome: Outcome, wire: &mut dyn Wire) {
        self.act(wire, |model, wire| model.transfer_ended(transfer, outcome, wire));
    }

    fn woken(&mut self, cookie: u64, wire: &mut dyn Wire) {
        self.act(wire, |model, wire| model.woken(cookie, wire));
    }

    fn reset(&mut self, wire: &mut dyn Wire) {
        self.act(wire, |model, wire| model.reset(wire));
    }

    fn fail(&mut self, wire: &mut dyn Wire) {
        self.act(wire, |model, wire| model.fail(wire));
    }
}

struct SpiedWire<'a> {
    wire: &'a mut dyn Wire,
    sent: &'a mut Vec<Transfer>,
    broken: &'a [Range<u64>],
}

impl Wire for SpiedWire<'_> {
    fn now(&self) -> Time {
        self.wire.now()
    }

    fn start(&mut self, mut transfer: Transfer) -> TransferId {
        self.sent.push(transfer);
        let end = transfer.address.saturating_add(transfer.len_bytes);
        let meets = |range: &Range<u64>| transfer.address < range.end && range.start < end;
        if transfer.direction == Direction::In && self.broken.iter().any(meets) {
            transfer.address = NOWHERE;
        }
        self.wire.start(transfer)
    }

    fn translate(&mut self, iova: u64, len: u64, access: Access) -> TransferId {
        self.wire.translate(iova, len, access)
    }

    fn wake_at(&mut self, at: Time, cookie: u64) {
        self.wire.wake_at(at, cookie);
    }

    fn interrupt(&mut self, vector: u16) {
        self.wire.interrupt(vector);
    }

    fn bar_address(&self, bar: u8) -> Option<u64> {
        self.wire.bar_address(bar)
    }

    fn banks(&mut self) -> &mut Banks {
        self.wire.banks()
    }
}
