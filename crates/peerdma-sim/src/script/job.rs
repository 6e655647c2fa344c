//! One transfer that is carried out: who moves the bytes, at which address, and what came of it.

use super::address::Addresses;
use super::error::{ScriptError, Wrong};
use super::names::{Names, Side};
use super::pattern::{self, Pattern};
use super::report::{Moved, Told};
use super::{Form, TransferLine};
use crate::device::accelerator::registers::{self, State, channel, channel_offset, command};
use crate::device::{Outcome, TransferId};
use crate::fabric::{Completer, End, Explain, Route};
use crate::machine::{Machine, RequestPlan};
use crate::time::Time;
use crate::tlp::{Access, AddressType, Failure, Ordering, Request};
use peerdma::addr::Bdf;

/// A transfer that is carried out.
#[derive(Debug)]
pub(super) struct Job<'s> {
    pub(super) line: &'s TransferLine,
    pub(super) to: Side,
    pub(super) from: Side,
    pub(super) by: Bdf,
    /// What its source is filled with.
    pub(super) pattern: Pattern,
    access: Access,
    form: Form,
    address: u64,
    /// The address that its requests carry: for a device that is made to send translated ones the translation.
    request: Request,
    way: Route,
    way_back: Option<Route>,
    started: Time,
    pub(super) ended: Option<(Time, Told)>,
    engine: Option<Engine>,
}

/// Who is to carry a transfer out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Carrier {
    /// This channel of its accelerator.
    Channel(usize),
    /// The function itself, whatever its model is.
    Function,
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
    pub(super) fn new(
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
            if !view.may_relax_ordering {
                request.ordering = Ordering::Strict;
            }
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
            pattern: Pattern {
                seed: line.fill,
                skipped_bytes: 0,
            },
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

    pub(super) fn start(&mut self, machine: &mut Machine, carrier: Carrier) {
        self.started = machine.now();
        if let Carrier::Channel(channel) = carrier {
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
        if self.request.ordering == Ordering::Relaxed {
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
    pub(super) fn look(&mut self, machine: &mut Machine) {
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

    pub(super) fn report(self, machine: &mut Machine, names: &Names<'_>) -> Result<Moved, ScriptError> {
        let line = self.line;
        let fates = pattern::judge(machine.banks(), self.to.place, line.bytes, self.pattern)
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
