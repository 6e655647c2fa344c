//! A controller: opening it, what it is, and closing it.

use crate::admin::{Admin, Asker, End};
use crate::buffer::{self, Buffer, BufferControl};
use crate::command::{Command, Identify};
use crate::control::Control;
use crate::error::{Cause, Error};
use crate::identify::{self, Info, More, Namespace, PAGE_BYTES, Page};
use crate::options::{BufferUse, Options, QueueOptions};
use crate::phase::{Ended, Next, Standing};
use crate::queue::Queue;
use crate::register::{self, Capabilities, State};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use peerdma::addr::Bdf;
use peerdma::device::{BusMaster, Function, Host, Mmio};
use peerdma::dma::{Locks, Mapper};

/// An NVMe controller that this driver has for itself.
///
/// Dropping it closes it; volumes that are still open then fail.
pub struct Controller<F: Function, H: Host + Clone, L: Locks> {
    shared: Arc<Shared<F, H, L>>,
    info: Info,
    namespaces: Vec<Namespace>,
    buffer: Option<Buffer>,
}

/// What the controller's handle and its queues share.
pub(crate) struct Shared<F: Function, H, L: Locks> {
    pub(crate) bdf: Bdf,
    pub(crate) control: L::Lock<Control<F, H, L>>,
    /// How often the controller was stopped.
    pub(crate) generation: Arc<AtomicU32>,
}

/// Pages larger than this are not taken: queues are aligned to them. The largest page of a CPU that people have is 64 KiB.
const MOST_PAGE_BYTES: u64 = 1 << 20;
/// More namespaces than this are not looked at.
const MOST_NAMESPACES: usize = 1024;

impl<F: Function, H: Host + Clone, L: Locks> Controller<F, H, L> {
    /// Takes a controller into use: stops it if it runs, starts it, and asks what it is.
    ///
    /// # Errors
    /// [`Error`]; the controller is stopped, and nothing is left allocated or mapped.
    pub fn open(function: F, host: H, mapper: Mapper<L>, options: &Options) -> Result<Self, Error> {
        let bdf = function.bdf();
        Self::open_inside(function, host, mapper, *options).map_err(|cause| cause.of(bdf))
    }

    fn open_inside(function: F, host: H, mut mapper: Mapper<L>, options: Options) -> Result<Self, Cause> {
        let bdf = function.bdf();
        if mapper.initiator() != bdf {
            let initiator = mapper.initiator();
            return Err(Cause::ForeignMapper { initiator });
        }
        let registers = function.registers(0)?;
        let capabilities = check(&registers)?;
        let page_bytes = capabilities.least_page_bytes();
        let stride_bytes = capabilities.doorbell_stride_bytes();
        let admin = Admin::new(&host, &mut mapper, page_bytes, stride_bytes)?;
        let buffer = match options.buffer {
            BufferUse::Leave => None,
            BufferUse::Enable => {
                let control = match capabilities.has_buffer_control() {
                    true => BufferControl::BaseRegister,
                    false => BufferControl::BarAddress,
                };
                buffer::enable(&function, &registers, control)
            }
        };
        let generation = Arc::new(AtomicU32::new(0));
        let parts = (function, registers);
        let mut control = Control::new(parts, host, mapper, capabilities, options, generation.clone());
        control.admin = Some(admin);
        control.buffer = buffer;
        let now_ns = control.host.now_ns();
        control.stop(Next::Start, now_ns);
        let told = wait_until_running(&mut control).and_then(|()| look_around(&mut control));
        match told {
            Ok((info, namespaces)) => {
                control.aborts = info.aborts;
                let shared = Arc::new(Shared {
                    bdf,
                    control: L::lock(control),
                    generation,
                });
                Ok(Self {
                    shared,
                    info,
                    namespaces,
                    buffer,
                })
            }
            Err(cause) => {
                // Why it did not open says more than what closing it adds.
                let _ = close(&mut control);
                Err(cause)
            }
        }
    }

    /// Its address.
    pub fn bdf(&self) -> Bdf {
        self.shared.bdf
    }

    /// What it is and can.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Its active namespaces, those included of which there can be no volume; at most 1024.
    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    /// Its memory that others may use as well. Tell its base to [`peerdma::dma::Ioas::set_own_base`] before anything of it is mapped.
    pub fn buffer(&self) -> Option<&Buffer> {
        self.buffer.as_ref()
    }

    /// Was it reset by somebody else since it was opened, or do its registers not answer? It is looked at now, too. What was in its memory
    /// may be lost then, and what others moved there or from there.
    pub fn was_disturbed(&self) -> bool {
        L::with(&self.shared.control, |control| {
            let now_ns = control.host.now_ns();
            control.step(now_ns);
            control.was_disturbed()
        })
    }

    /// A volume of a namespace, on a queue pair of its own.
    ///
    /// # Errors
    /// [`Error`]; nothing is left allocated or mapped.
    pub fn volume(
        &self,
        namespace_id: u32,
        mapper: Mapper<L>,
        options: &QueueOptions,
    ) -> Result<Queue<F, H, L>, Error> {
        let of_here = |cause: Cause| cause.of(self.shared.bdf);
        let namespace = self.namespaces.iter().find(|one| one.id == namespace_id);
        let namespace = *namespace.ok_or(of_here(Cause::NoSuchNamespace { id: namespace_id }))?;
        if let Some(why) = namespace.unusable {
            let id = namespace_id;
            return Err(of_here(Cause::Namespace { id, why }));
        }
        Queue::open(
            self.shared.clone(),
            &self.info,
            self.buffer,
            namespace,
            mapper,
            options,
        )
        .map_err(of_here)
    }

    /// Shuts it down. Volumes that are still open fail.
    ///
    /// # Errors
    /// [`Error`] where something of its memory is still mapped.
    pub fn close(self) -> Result<(), Error> {
        let bdf = self.shared.bdf;
        L::with(&self.shared.control, close).map_err(|cause| cause.of(bdf))
    }
}

impl<F: Function, H: Host + Clone, L: Locks> Drop for Controller<F, H, L> {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = L::with(&self.shared.control, close);
    }
}

impl<F: Function, H: Host + Clone, L: Locks> fmt::Debug for Controller<F, H, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller")
            .field("bdf", &self.shared.bdf)
            .field("info", &self.info)
            .field("namespaces", &self.namespaces)
            .field("buffer", &self.buffer)
            .finish_non_exhaustive()
    }
}

impl<F: Function, H, L: Locks> fmt::Debug for Shared<F, H, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generation = self.generation.load(Ordering::Relaxed);
        f.debug_struct("Shared")
            .field("bdf", &self.bdf)
            .field("generation", &generation)
            .finish_non_exhaustive()
    }
}

/// Can the driver work with what the registers say?
fn check<M: Mmio>(registers: &M) -> Result<Capabilities, Cause> {
    let wrong = |what| Err(Cause::Registers { what });
    let capabilities = Capabilities(registers.read64(register::CAP));
    if capabilities.0 == u64::MAX || State(registers.read32(register::CSTS)).is_gone() {
        return Err(Cause::Removed);
    }
    if capabilities.0 == 0 {
        return wrong(
            "CAP reads as 0, which no controller says: its memory does not answer (somebody resets it, or has switched its memory off)",
        );
    }
    if capabilities.command_set().is_none() {
        return Err(Cause::NoNvmCommandSet);
    }
    if capabilities.most_entries() < 2 {
        return wrong("CAP.MQES allows queues of one entry; there are none below two");
    }
    if capabilities.least_page_bytes() > MOST_PAGE_BYTES {
        return wrong("CAP.MPSMIN asks for pages of more than 1 MiB");
    }
    let stride_bytes = capabilities.doorbell_stride_bytes();
    if register::last_queue(registers.len_bytes(), stride_bytes).is_none_or(|last| last < 1) {
        return wrong("BAR 0 ends before the doorbells of an I/O queue pair (CAP.DSTRD)");
    }
    Ok(capabilities)
}

fn wait_until_running<F: Function, H: Host, L: Locks>(control: &mut Control<F, H, L>) -> Result<(), Cause> {
    loop {
        let now_ns = control.host.now_ns();
        control.step(now_ns);
        match control.standing() {
            Standing::Run => return Ok(()),
            Standing::Ended(_) => return Err(control.cause()),
            Standing::Wait => control.host.relax(),
        }
    }
}

/// Asks what the controller and its namespaces are.
fn look_around<F: Function, H: Host, L: Locks>(
    control: &mut Control<F, H, L>,
) -> Result<(Info, Vec<Namespace>), Cause> {
    const LIST_ADDED: u32 = 0x0001_0100;
    const CONTROLLER: &str = "Identify Controller";
    let version = control.registers.read32(register::VS);
    let page = ask_page(control, Identify::Controller, CONTROLLER)?;
    let least_page_bytes = control.capabilities.least_page_bytes();
    let info = identify::controller(&page, version, least_page_bytes);
    let mut ids = Vec::new();
    if version >= LIST_ADDED {
        let mut more = More::Above(0);
        while let More::Above(after) = more {
            let page = ask_page(
                control,
                Identify::ActiveAbove(after),
                "Identify Active Namespaces",
            )?;
            more = identify::active_namespaces(&page, after, &mut ids, MOST_NAMESPACES);
        }
    } else {
        let most = identify::most_namespaces(&page).min(MOST_NAMESPACES as u32);
        ids.extend(1..=most);
    }
    let mut namespaces = Vec::with_capacity(ids.len());
    for id in ids {
        let page = ask_page(control, Identify::Namespace(id), "Identify Namespace")?;
        namespaces.push(identify::namespace(&page, id));
    }
    Ok((info, namespaces))
}

/// Asks for a page, and waits for it.
fn ask_page<F: Function, H: Host, L: Locks>(
    control: &mut Control<F, H, L>,
    what: Identify,
    command: &'static str,
) -> Result<Page, Cause> {
    let address = control.admin.as_ref().map(|admin| admin.addresses()[2]);
    let address = address.ok_or(Cause::AdminLost { command })?;
    let now_ns = control.host.now_ns();
    let asked = control.ask(Command::identify(what, address), Asker::Waits, now_ns);
    let asked = asked.ok_or(Cause::AdminLost { command })?;
    loop {
        let now_ns = control.host.now_ns();
        control.step(now_ns);
        match control.end_of(asked) {
            None if control.standing() == Standing::Run => control.host.relax(),
            Some(End::Done(_)) => break,
            Some(End::Refused(status)) => return Err(Cause::Admin { command, status }),
            None | Some(End::Lost) => match control.standing() {
                Standing::Ended(_) => return Err(control.cause()),
                _ => return Err(Cause::AdminLost { command }),
            },
        }
    }
    let mut page = [0; PAGE_BYTES];
    if let Some(admin) = &control.admin {
        admin.read_page(&control.host, &mut page)?;
    }
    Ok(page)
}

/// Shuts the controller down in good order if it goes, and in any case stops it; gives its memory back.
fn close<F: Function, H: Host, L: Locks>(control: &mut Control<F, H, L>) -> Result<(), Cause> {
    if control.admin.is_none() {
        return Ok(());
    }
    if control.standing() == Standing::Run {
        shut_down(control);
    }
    let now_ns = control.host.now_ns();
    control.stop(Next::End(Ended::Closed), now_ns);
    let ended = loop {
        let now_ns = control.host.now_ns();
        control.step(now_ns);
        match control.standing() {
            Standing::Ended(ended) => break ended,
            _ => control.host.relax(),
        }
    };
    if ended == Ended::Loose {
        return Err(Cause::StillMapped);
    }
    let _ = control.function.set_bus_master(BusMaster::Off);
    match control.admin.take() {
        Some(admin) => admin.release(&control.host, &mut control.mapper),
        None => Ok(()),
    }
}

/// CC.SHN, and waits for CSTS.SHST (NVM Express Base 2.0, 3.6.1).
fn shut_down<F: Function, H: Host, L: Locks>(control: &mut Control<F, H, L>) {
    let configuration = control.registers.read32(register::CC) & !register::SHUT_DOWN_MASK;
    control
        .registers
        .write32(register::CC, configuration | register::SHUT_DOWN);
    let now_ns = control.host.now_ns();
    let until_ns = now_ns.saturating_add(control.options.shutdown_timeout_ns);
    loop {
        let state = State(control.registers.read32(register::CSTS));
        let over = state.is_gone() || state.is_fatal() || state.is_shut_down();
        if over || control.host.now_ns() >= until_ns {
            return;
        }
        control.host.relax();
    }
}
