//! An NVMe controller (NVM Express Base 2.0, NVM Command Set 1.0; it reports version 1.4, or 1.3 with a buffer of that time) that any driver could drive.
//!
//! ```text
//! BAR 0   registers (`registers`, `control`), doorbells (`doorbell`), from 2000h on an MSI-X table as plain memory
//! BAR n   the controller memory buffer, if there is one (`cmb`)
//!
//! doorbell -> fetch -> admin, io            what is this command? a status at once, or a job
//!                        -> pointer, prp, sgl   where is its data?
//!                        -> transfer            move it: list fetches, media, data, effects
//!                        -> complete            completion entry, interrupt
//! ```
//!
//! What software cannot see is simple: media are banks with a latency, commands on the same blocks go one after the other
//! in the order in which they were fetched, so that no block is ever torn, and all commands share [`work::SLOTS`] slots. A command is only
//! fetched where its completion queue will have room for it.
//!
//! Failures: a list or data that did not come ends the command with Data Transfer Error; nothing is claimed of the blocks
//! that it was to write. A submission entry that cannot be fetched, or a completion entry that cannot be written, sets CSTS.CFS: no
//! completion queue could tell (Base 9.5). Only a reset helps then.

mod admin;
mod admin_queues;
mod cmb;
mod command;
mod complete;
mod control;
mod doorbell;
mod events;
mod features;
mod fetch;
mod identify;
mod io;
mod log;
mod media;
mod namespace;
mod pointer;
mod prp;
mod queue;
mod registers;
mod sgl;
mod status;
mod traits;
mod transfer;
mod work;

pub use media::{MediaError, NamespaceView};
pub use status::Status;
pub use traits::{NvmeError, Traits};

use super::{Abort, Device, Outcome, Region, TransferId, Wire};
use crate::blueprint::NvmeKind;
use crate::fabric::BuildError;
use crate::memory::{BankId, Banks, Place};
use cmb::Cmb;
use features::Features;
use namespace::Namespace;
use peerdma::snapshot::Function;
use queue::{CompletionQueue, SubmissionQueue};
use registers::{DOORBELLS, DOORBELLS_END, Registers};
use std::collections::HashMap;
use work::{Wake, Works};

/// An NVMe controller.
#[derive(Debug)]
pub struct Controller {
    traits: Traits,
    registers: Registers,
    phase: Phase,
    cmb: Option<Cmb>,
    namespaces: Vec<Namespace>,
    features: Features,
    /// By their numbers; the first are the admin queues.
    submission: Vec<Option<SubmissionQueue>>,
    completion: Vec<Option<CompletionQueue>>,
    /// The queue that has its turn.
    turn: usize,
    works: Works,
    transfers: HashMap<TransferId, Purpose>,
    wakes: HashMap<u64, Wake>,
    events: events::Events,
    errors: log::ErrorLog,
    counts: log::Counts,
    /// Vectors that are masked and would have been raised.
    suppressed: u32,
    /// Where entries and lists go that it fetches, and come from that it writes.
    scratch: BankId,
    /// The memory behind the registers.
    table: BankId,
    table_bytes: u64,
}

/// How far it is between off and on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Off,
    Starting,
    On,
    /// Reset, and waiting for its own transfers to end.
    Stopping {
        delay: Delay,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delay {
    Running,
    Over,
}

/// What one of its transfers is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Fetch {
        queue: u16,
        count: u64,
    },
    List {
        slot: usize,
    },
    Data {
        slot: usize,
    },
    Post {
        slot: usize,
    },
    /// Of a time before the reset.
    Nothing,
}

impl Controller {
    /// Bytes that BAR 0 should have.
    pub const REGISTER_BAR_BYTES: u64 = 16 << 10;
    /// Bytes of BAR 0 without which there is no controller whose doorbells are usually far apart: the registers, the
    /// doorbells of the admin queues and of one pair.
    pub const LEAST_REGISTER_BAR_BYTES: u64 = Self::least_register_bytes(0);
    /// Where the MSI-X table begins in BAR 0.
    pub const MSIX_TABLE_OFFSET: u64 = DOORBELLS_END;
    /// Where the MSI-X pending bits begin in BAR 0.
    pub const MSIX_PENDING_OFFSET: u64 = 0x3000;
    /// The most namespaces that it can have.
    pub const MOST_NAMESPACES: usize = 1024;

    /// A controller as it is after power on, with the usual traits. `bars` are the sizes of its base address registers in bytes, 0 for those
    /// that are not there.
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn new(kind: &NvmeKind, bars: &[u64; 6], banks: &mut Banks) -> Result<Self, NvmeError> {
        Self::with_traits(kind, bars, banks, Traits::default())
    }

    /// A controller as it is after power on. Opens the files of its namespaces for reading and writing.
    ///
    /// # Errors
    /// [`NvmeError`]
    pub fn with_traits(
        kind: &NvmeKind,
        bars: &[u64; 6],
        banks: &mut Banks,
        mut traits: Traits,
    ) -> Result<Self, NvmeError> {
        check(kind, bars, &traits)?;
        // A captured BAR may be small.
        let doorbells = (bars[0].min(DOORBELLS_END) - DOORBELLS) >> (3 + traits.doorbell_stride_log2);
        traits.io_queues = traits.io_queues.min((doorbells - 1) as u16);
        let cmb = kind.cmb.map(|cmb| {
            let size_bytes = bars[usize::from(cmb.bar)];
            Cmb::new(cmb, banks.add(size_bytes), size_bytes)
        });
        let namespaces = (1..)
            .zip(&kind.namespaces)
            .map(|(number, kind)| Namespace::new(number, kind, banks));
        let namespaces = namespaces.collect::<Result<Vec<_>, _>>()?;
        let table_bytes = bars[0].saturating_sub(DOORBELLS_END);
        let queues = usize::from(traits.io_queues) + 1;
        Ok(Self {
            registers: Registers::default(),
            phase: Phase::Off,
            cmb,
            namespaces,
            features: Features::new(traits.io_queues, traits.vectors),
            submission: (0..queues).map(|_| None).collect(),
            completion: (0..queues).map(|_| None).collect(),
            turn: 0,
            works: Works::new(),
            transfers: HashMap::new(),
            wakes: HashMap::new(),
            events: events::Events::default(),
            errors: log::ErrorLog::default(),
            counts: log::Counts::default(),
            suppressed: 0,
            scratch: banks.add(Works::scratch_bytes()),
            table: banks.add(table_bytes),
            table_bytes,
            traits,
        })
    }

    /// The registers, the doorbells of the admin queues, and those of one pair.
    const fn least_register_bytes(doorbell_stride_log2: u8) -> u64 {
        DOORBELLS + (2 << (3 + doorbell_stride_log2))
    }

    /// The addresses that mean its buffer at this moment.
    fn buffer(&self, wire: &dyn Wire) -> Option<cmb::Window> {
        let cmb = self.cmb.as_ref()?;
        cmb.window(wire.bar_address(cmb.kind.bar))
    }
}

/// The controller at a place of a machine, which tells it from all others there.
pub(super) fn furnish(
    function: &Function,
    kind: &NvmeKind,
    bars: &[(u8, u64)],
    banks: &mut Banks,
) -> Result<Controller, BuildError> {
    let mut sizes = [0; 6];
    for (bar, size_bytes) in bars {
        if let Some(size) = sizes.get_mut(usize::from(*bar)) {
            *size = *size_bytes;
        }
    }
    let (bdf, config) = (function.bdf, &function.config);
    let traits = Traits {
        identity: u64::from(bdf.domain()) << 16 | u64::from(bdf.bus()) << 8 | u64::from(bdf.devfn()),
        vendor: config.id.as_ref().known().map_or(0, |id| id.vendor),
        // A function without a subsystem reads zeros there.
        subsystem_vendor: config.subsystem.known().flatten().map_or(0, |id| id.vendor),
        ..Traits::default()
    };
    Controller::with_traits(kind, &sizes, banks, traits).map_err(|source| BuildError::Nvme {
        function: bdf,
        source,
    })
}

impl Device for Controller {
    fn decode(&self, bar: u8, offset: u64) -> Region {
        if let Some(cmb) = self.cmb.as_ref().filter(|cmb| cmb.kind.bar == bar) {
            let place = Place {
                bank: cmb.bank,
                offset,
            };
            return match cmb.size_bytes().checked_sub(offset) {
                Some(len_bytes @ 1..) => Region::Memory { place, len_bytes },
                _ => Region::Nothing,
            };
        }
        match offset.checked_sub(DOORBELLS_END) {
            _ if bar != 0 => Region::Nothing,
            None => Region::Registers,
            Some(offset) if offset < self.table_bytes => {
                let place = Place {
                    bank: self.table,
                    offset,
                };
                Region::Memory {
                    place,
                    len_bytes: self.table_bytes - offset,
                }
            }
            Some(_) => Region::Nothing,
        }
    }

    fn read_registers(
        &mut self,
        bar: u8,
        offset: u64,
        data: &mut [u8],
        _: &mut dyn Wire,
    ) -> Result<(), Abort> {
        if bar != 0 {
            return Err(Abort);
        }
        for (at, byte) in (offset..).zip(data) {
            let dword = self.registers.dword(at & !3, &self.traits, self.cmb.as_ref());
            *byte = dword.to_le_bytes()[(at & 3) as usize];
        }
        Ok(())
    }

    /// Registers take aligned dwords, one or several; the specification leaves other writes undefined, and nothing happens.
    fn write_registers(&mut self, bar: u8, offset: u64, data: &[u8], wire: &mut dyn Wire) {
        if bar != 0 || !offset.is_multiple_of(4) || !data.len().is_multiple_of(4) {
            return;
        }
        for (at, bytes) in (offset..).step_by(4).zip(data.chunks_exact(4)) {
            let value = bytes
                .iter()
                .rev()
                .fold(0, |all, &byte| all << 8 | u32::from(byte));
            match at {
                ..DOORBELLS => self.write_register(at, value, wire),
                _ => self.ring(at - DOORBELLS, value, wire),
            }
        }
    }

    fn transfer_ended(&mut self, transfer: TransferId, outcome: Outcome, wire: &mut dyn Wire) {
        let Some(purpose) = self.transfers.remove(&transfer) else {
            return;
        };
        if self.registers.fatal.is_set() {
            self.stop_if_idle(wire);
            return;
        }
        match purpose {
            Purpose::Fetch { queue, count } => self.fetched(queue, count, outcome, wire),
            Purpose::List { slot } => self.list_came(slot, outcome, wire),
            Purpose::Data { slot } => self.data_moved(slot, outcome, wire),
            Purpose::Post { slot } => self.posted(slot, outcome, wire),
            Purpose::Nothing => self.stop_if_idle(wire),
        }
        self.pump(wire);
    }

    fn woken(&mut self, cookie: u64, wire: &mut dyn Wire) {
        match self.wakes.remove(&cookie) {
            None => {}
            Some(Wake::Start) => self.started(wire),
            Some(Wake::Stop) => {
                if let Phase::Stopping { delay } = &mut self.phase {
                    *delay = Delay::Over;
                }
                self.stop_if_idle(wire);
            }
            Some(Wake::ShutDown) => self.registers.shutdown = registers::Shutdown::Complete,
            Some(Wake::Media { slot, serial }) if !self.registers.fatal.is_set() => {
                self.media_ready(slot, serial, wire);
            }
            Some(Wake::Media { .. }) => {}
        }
        self.pump(wire);
    }

    /// Function level reset: all but CMBMSC (Base 3.7.2). Transfers under way are forgotten; the machine drops them.
    fn reset(&mut self, _: &mut dyn Wire) {
        self.power_on();
    }

    fn fail(&mut self, _: &mut dyn Wire) {
        self.registers.fatal = registers::Flag::Set;
    }
}

/// Can there be such a controller?
fn check(kind: &NvmeKind, bars: &[u64; 6], traits: &Traits) -> Result<(), NvmeError> {
    let within = |what, is: u64, min, max| match (min..=max).contains(&is) {
        true => Ok(()),
        false => Err(NvmeError::Trait { what, is, min, max }),
    };
    let stride = traits.doorbell_stride_log2;
    within("the doorbell stride", u64::from(stride), 0, 9)?;
    let most_queues = ((DOORBELLS_END - DOORBELLS) >> (3 + stride)) - 1;
    within(
        "the number of I/O queues",
        u64::from(traits.io_queues),
        1,
        most_queues.min(1024),
    )?;
    within(
        "the number of interrupt vectors",
        u64::from(traits.vectors),
        1,
        2048,
    )?;
    within(
        "the number of namespaces",
        kind.namespaces.len() as u64,
        0,
        Controller::MOST_NAMESPACES as u64,
    )?;
    let need_bytes = Controller::least_register_bytes(stride);
    if bars[0] < need_bytes {
        return Err(NvmeError::RegistersDoNotFit {
            have_bytes: bars[0],
            need_bytes,
        });
    }
    kind.cmb.as_ref().map_or(Ok(()), |cmb| cmb::check(cmb, bars))
}
