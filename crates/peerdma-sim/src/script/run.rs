//! Carrying out a script.

use super::address::Addresses;
use super::error::{ScriptError, Wrong};
use super::fault;
use super::names::{Names, Side};
use super::pattern::{self, Origin};
use super::report::{Moved, Report, Told};
use super::transfer::Start;
use super::{Form, MOST_TOGETHER, Script, TransferLine};
use crate::blueprint::Blueprint;
use crate::device::accelerator::registers::{self, State, channel, channel_offset, command};
use crate::device::{Outcome, TransferId};
use crate::fabric::{BuildError, Completer, End, Explain, Route};
use crate::machine::{Machine, Options, RequestPlan};
use crate::time::Time;
use crate::tlp::{Access, AddressType, Failure, Request};
use peerdma::addr::Bdf;

/// A script could not be carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The machine cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The script and the machine do not fit together.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Transfers that have ended.
    pub ended: usize,
    /// All transfers.
    pub all: usize,
    /// Simulated time.
    pub now: Time,
}

/// Carries out a script on a new machine of this blueprint, and gives the machine back too. `options` say how to run it;
/// faults and, if it names one, the seed are those of the script. `tell` is called now and then.
///
/// # Errors
/// [`RunError`] where the machine cannot be built, or lacks what the script names.
pub fn run(
    blueprint: &Blueprint,
    script: &Script,
    mut options: Options,
    tell: &mut dyn FnMut(Progress),
) -> Result<(Report, Machine), RunError> {
    let names = Names::new(blueprint);
    options.faults = fault::plan(script, &names)?;
    options.seed = script.seed.or(options.seed);
    let mut machine = Machine::with_options(blueprint, options)?;
    let mut addresses = Addresses::new(machine.snapshot());
    let mut transfers = Vec::with_capacity(script.transfers.len());
    let mut rest = &script.transfers[..];
    while let Some((_, after)) = rest.split_first() {
        let together = after
            .iter()
            .take_while(|line| line.start == Start::Together)
            .count()
            + 1;
        let (group, others) = rest.split_at(together);
        rest = others;
        let mut jobs = Vec::with_capacity(group.len());
        for line in group {
            jobs.push(Job::new(line, &mut machine, &names, &mut addresses)?);
        }
        check_apart(&jobs)?;
        run_group(&mut machine, &mut jobs, &mut |now| {
            tell(Progress {
                ended: transfers.len(),
                all: script.transfers.len(),
                now,
            });
        })?;
        for job in jobs {
            transfers.push(job.report(&mut machine, &names)?);
        }
    }
    let report = Report {
        ended: machine.now(),
        counters: machine.counters(),
        lost_tlps: machine.losses().count(),
        refused_writes: machine.refused_writes().0,
        transfers,
    };
    Ok((report, machine))
}

/// A transfer that is carried out.
#[derive(Debug)]
struct Job<'s> {
    line: &'s TransferLine,
    to: Side,
    from: Side,
    by: Bdf,
    access: Access,
    form: Form,
    address: u64,
    /// The address that its requests carry: for a device that is made to send translated ones the translation.
    request: Request,
    way: Route,
    way_back: Option<Route>,
    started: Time,
    ended: Option<(Time, Told)>,
    engine: Option<Engine>,
}

/// Who carries it out.
#[derive(Debug, Clone, Copy)]
enum Engine {
    /// This channel of an accelerator.
    Channel(usize),
    /// A function that is made to send requests, whatever its model is.
    Raw(TransferId),
}

impl<'s> Job<'s> {
    fn new(
        line: &'s TransferLine,
        machine: &mut Machine,
        names: &Names<'_>,
        addresses: &mut Addresses,
    ) -> Result<Self, ScriptError> {
        let from = names.side(machine, &line.from, line.bytes)?;
        let to = names.side(machine, &line.to, line.bytes)?;
        let (by, access) = initiator(line, &from, &to, names)?;
        let remote = match access {
            Access::Read => &from,
            Access::Write => &to,
        };
        let mut form = line.form.unwrap_or_else(|| addresses.usual());
        if remote.owner.is_none() {
            form = Form::Host;
        }
        let is_raw = !names.has_engine(by);
        if is_raw && line.class.address_type() == AddressType::Translated {
            // Whoever sends translated requests has asked for the address before: it is the one on the bus.
            form = Form::Bus;
        }
        let address = addresses.give(machine, by, remote, form, line.bytes);
        let address = address.map_err(|wrong| wrong.at(line.at))?;
        let mut request = Request {
            requester: by,
            access,
            address,
            len_bytes: line.bytes.min(4096) as u32,
            address_type: line.class.address_type(),
            ordering: line.class.ordering(),
        };
        let fabric = machine.fabric();
        if let Some(function) = fabric.find(by) {
            let view = fabric.function(function);
            let most = match access {
                Access::Read => view.max_read_request_bytes,
                Access::Write => view.max_payload_bytes,
            };
            request.len_bytes = request.len_bytes.min(most.into());
            if !is_raw
                && request.address_type == AddressType::Translated
                && let Some(found) = fabric.translate_for_device(function, address)
            {
                request.address = found.address;
            }
        }
        let mut way = Route::new(Explain::Notes);
        fabric.route_request(&request, &mut way);
        let way_back = way_back(machine, &request, &way);
        Ok(Self {
            line,
            to,
            from,
            by,
            access,
            form,
            address,
            request,
            way,
            way_back,
            started: Time::ZERO,
            ended: None,
            engine: None,
        })
    }

    fn start(&mut self, machine: &mut Machine, is_engine: bool, channel: usize) {
        self.started = machine.now();
        if is_engine {
            self.engine = Some(Engine::Channel(channel));
            self.program(machine, channel);
            return;
        }
        let local = match self.access {
            Access::Read => self.to.place,
            Access::Write => self.from.place,
        };
        let plan = RequestPlan {
            address_type: self.request.address_type,
            ordering: self.request.ordering,
            ..RequestPlan::new(self.by, self.access, self.address, local, self.line.bytes)
        };
        self.engine = machine.request(&plan).map(Engine::Raw);
    }

    /// Writes the registers of a channel, as a driver does.
    fn program(&self, machine: &mut Machine, index: usize) {
        let (source, destination, side) = match self.access {
            Access::Read => (self.address, self.to.offset, command::SOURCE_REMOTE),
            Access::Write => (self.from.offset, self.address, command::DESTINATION_REMOTE),
        };
        let mut flags = command::START | side;
        if self.request.ordering == crate::tlp::Ordering::Relaxed {
            flags |= command::RELAXED;
        }
        if self.request.address_type == AddressType::Translated {
            flags |= command::TRANSLATED;
        }
        let mut burst = Vec::with_capacity(28);
        for value in [source, destination, self.line.bytes] {
            burst.extend(value.to_le_bytes());
        }
        burst.extend(flags.to_le_bytes());
        machine.with_device(self.by, |device, wire| {
            device.write_registers(registers::REGISTER_BAR, channel_offset(index), &burst, wire);
        });
    }

    /// Looks whether the initiator says that it is done.
    fn look(&mut self, machine: &mut Machine) {
        let said = match self.engine {
            Some(Engine::Channel(index)) => {
                let mut data = [0; 12];
                let at = channel_offset(index) + channel::STATUS;
                machine.with_device(self.by, |device, wire| {
                    device
                        .read_registers(registers::REGISTER_BAR, at, &mut data, wire)
                        .is_ok()
                });
                let [a, b, c, d, good @ ..] = data;
                said_by_channel(u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(good))
                    .map(|said| (machine.now(), said))
            }
            Some(Engine::Raw(id)) => machine.take_outcome(id).map(|(time, outcome)| {
                let said = match outcome {
                    Outcome::Done => Told::Success,
                    Outcome::Failed { good_bytes, failure } => Told::Error {
                        what: failure_word(failure),
                        good_bytes,
                    },
                };
                (time, said)
            }),
            None => None,
        };
        self.ended = self.ended.or(said);
    }

    fn report(self, machine: &mut Machine, names: &Names<'_>) -> Result<Moved, ScriptError> {
        let line = self.line;
        let fates = pattern::judge(machine.banks(), self.to.place, line.bytes, line.fill)
            .map_err(|error| Wrong::Memory(error).at(line.at))?;
        let last = self
            .address
            .saturating_add(line.bytes - 1)
            .max(self.request.address + line.bytes - 1);
        let first = self.address.min(self.request.address);
        let first_loss = (machine.losses().iter()).find(|lost| {
            lost.time >= self.started
                && lost.request.requester == self.by
                && (first..=last).contains(&lost.request.address)
        });
        let (ended, said) = self.ended.unwrap_or((machine.now(), Told::Nothing));
        Ok(Moved {
            first_loss: first_loss.copied(),
            name: line.name.clone(),
            from: line.from.value.to_string(),
            to: line.to.value.to_string(),
            bytes: line.bytes,
            by: self.by,
            by_name: names.call(self.by),
            access: self.access,
            class: line.class,
            form: self.form,
            address: self.address,
            started: self.started,
            ended,
            told: said,
            fates,
            request: self.way,
            completion: self.way_back,
            expected: line.expected,
        })
    }
}

/// Who moves the bytes, and whether it reads or writes.
fn initiator(
    line: &TransferLine,
    from: &Side,
    to: &Side,
    names: &Names<'_>,
) -> Result<(Bdf, Access), ScriptError> {
    let owner = |side: &Side| side.owner.map(|(bdf, _)| bdf);
    let (source, destination) = (owner(from), owner(to));
    let says = |text: String, at| Err(Wrong::Initiator(text).at(at));
    let asked = match &line.by {
        Some(by) => Some((names.find_said(by)?, by.at)),
        None => None,
    };
    let (by, at) = match (asked, source, destination) {
        (Some(asked), _, _) => asked,
        (None, Some(only), None) | (None, None, Some(only)) => (only, line.at),
        (None, None, None) => {
            return says(
                "both sides are RAM: no device moves anything; name a device's memory".into(),
                line.at,
            );
        }
        (None, Some(source), Some(destination)) => {
            let text = format!(
                "either side could move the bytes; write by = \"{}\" (it writes) or by = \"{}\" (it reads)",
                names.call(source),
                names.call(destination)
            );
            return says(text, line.at);
        }
    };
    match (source == Some(by), destination == Some(by)) {
        (true, false) => Ok((by, Access::Write)),
        (false, true) => Ok((by, Access::Read)),
        (true, true) => says(
            format!(
                "both sides are memory of {}: nothing would travel; name another device",
                names.call(by)
            ),
            at,
        ),
        (false, false) => says(
            format!(
                "{} owns neither side; a device moves bytes between its own memory and another's: name the owner of `from` \
                 or of `to`",
                names.call(by)
            ),
            at,
        ),
    }
}

/// What starts together may not touch where another writes: nobody could tell what became of whose bytes.
fn check_apart(jobs: &[Job<'_>]) -> Result<(), ScriptError> {
    // Bank, first byte, end; who, and whether it is written there.
    let mut ranges = Vec::with_capacity(2 * jobs.len());
    for (index, job) in jobs.iter().enumerate() {
        for (place, is_written) in [(job.from.place, false), (job.to.place, true)] {
            ranges.push((
                place.bank,
                place.offset,
                place.offset + job.line.bytes,
                index,
                is_written,
            ));
        }
    }
    ranges.sort_unstable();
    let mut furthest: Option<(_, u64, usize)> = None;
    let mut furthest_written: Option<(_, u64, usize)> = None;
    for (bank, first, end, index, is_written) in ranges {
        let before = if is_written { furthest } else { furthest_written };
        if let Some((other_bank, other_end, other)) = before
            && other_bank == bank
            && other_end > first
        {
            let [one, two] = [index.min(other), index.max(other)];
            let wrong = Wrong::Overlap {
                other_line: jobs[one].line.at.line,
            };
            return Err(wrong.at(jobs[two].line.at));
        }
        let further = |before: Option<(_, u64, usize)>| match before {
            Some((other_bank, other_end, _)) if other_bank == bank && other_end >= end => before,
            _ => Some((bank, end, index)),
        };
        furthest = further(furthest);
        if is_written {
            furthest_written = further(furthest_written);
        }
    }
    Ok(())
}

/// Fills memory, starts all at once, and lets everything happen.
fn run_group(
    machine: &mut Machine,
    jobs: &mut [Job<'_>],
    tell: &mut dyn FnMut(Time),
) -> Result<(), ScriptError> {
    for (origin, side) in [(Origin::Before, 1), (Origin::Moved, 0)] {
        for job in &*jobs {
            let place = [job.from.place, job.to.place][side];
            let filled = pattern::fill(machine.banks(), place, job.line.bytes, origin, job.line.fill);
            filled.map_err(|error| Wrong::Memory(error).at(job.line.at))?;
        }
    }
    for index in 0..jobs.len() {
        let by = jobs[index].by;
        let channel = jobs[..index].iter().filter(|before| before.by == by).count();
        let is_engine = machine
            .with::<crate::device::Accelerator, ()>(by, |_, _| ())
            .is_some();
        if is_engine && channel >= MOST_TOGETHER {
            let what = "transfers that one accelerator starts together";
            let most = MOST_TOGETHER;
            return Err(Wrong::TooMany { what, most }.at(jobs[index].line.at));
        }
        jobs[index].start(machine, is_engine, channel);
    }
    let mut steps: u64 = 0;
    loop {
        for job in jobs.iter_mut().filter(|job| job.ended.is_none()) {
            job.look(machine);
        }
        if !machine.step() {
            return Ok(());
        }
        steps += 1;
        if steps % 1024 == 0 {
            tell(machine.now());
        }
    }
}

/// The way of the completion of a read.
fn way_back(machine: &Machine, request: &Request, way: &Route) -> Option<Route> {
    let completer = match way.end {
        _ if request.access == Access::Write => return None,
        End::Function { function, .. } => Completer::Function(function),
        End::Ram { .. } => Completer::RootComplex,
        End::Interrupt | End::Requester | End::Lost(_) => return None,
    };
    let payload_bytes = match completer {
        Completer::Function(function) => machine.fabric().function(function).max_payload_bytes.into(),
        Completer::RootComplex => 64,
    };
    let mut back = Route::new(Explain::Notes);
    let payload_bytes = request.len_bytes.min(payload_bytes);
    machine
        .fabric()
        .route_completion(completer, request, way, payload_bytes, &mut back);
    Some(back)
}

fn said_by_channel(status: u32, good_bytes: u64) -> Option<Told> {
    use registers::Error;
    let what = match (State::of_status(status)?, Error::of_status(status)) {
        (State::Idle | State::Running, _) => return None,
        (State::Done, _) => return Some(Told::Success),
        (State::Failed, Some(Error::UnsupportedRequest)) => failure_word(Failure::UnsupportedRequest),
        (State::Failed, Some(Error::CompleterAbort)) => failure_word(Failure::CompleterAbort),
        (State::Failed, Some(Error::CompletionTimeout)) => failure_word(Failure::CompletionTimeout),
        (State::Failed, Some(Error::Poisoned)) => failure_word(Failure::Poisoned),
        (State::Failed, Some(Error::MasterDisabled)) => failure_word(Failure::MasterDisabled),
        (State::Failed, Some(Error::TranslationRefused)) => "translation refused",
        (State::Failed, Some(Error::BadCommand | Error::BadRange)) => "bad command",
        (State::Failed, Some(Error::Broken)) => "broken",
        (State::Failed, None) => "unknown error",
    };
    Some(Told::Error { what, good_bytes })
}

fn failure_word(failure: Failure) -> &'static str {
    match failure {
        Failure::UnsupportedRequest => "unsupported request",
        Failure::CompleterAbort => "completer abort",
        Failure::CompletionTimeout => "completion timeout",
        Failure::Poisoned => "poisoned data",
        Failure::MasterDisabled => "bus master off",
    }
}
