//! What is no transfer: interrupts, translation requests and their answers, writes to registers.

use super::Machine;
use super::queue::{Event, ItemKind};
use super::reply::{Replied, Reply};
use super::trace::{Kind, Status};
use super::wire::Port;
use crate::device::{Device, Purpose, Region, TransferId, Translation};
use crate::fabric::{Completer, End, Loss, Packet, Where, Why};
use crate::tlp::{Access, AddressType, Failure, Ordering, Request};

/// Where interrupts are written, in vain, below a host bridge whose offset lets no address lead to where processors take
/// them.
const NO_OFFSET_ADDRESS: u64 = 0xfee0_0000;
const INTERRUPT_BYTES: u32 = 4;

impl Machine {
    fn interrupt_address(&self, who: usize) -> u64 {
        let function = self.core.ids.get(who);
        let address = function.and_then(|function| self.core.fabric.interrupt_address(*function));
        address.unwrap_or(NO_OFFSET_ADDRESS)
    }

    pub(super) fn issue_interrupt(&mut self, who: usize, vector: u16) -> u64 {
        let request = Request {
            requester: self.requester(who, ItemKind::Device),
            access: Access::Write,
            address: self.interrupt_address(who),
            len_bytes: INTERRUPT_BYTES,
            address_type: AddressType::Untranslated,
            ordering: Ordering::Strict,
        };
        let path = self.path_of(who, &request);
        let end = self.core.paths.get(path).route.end;
        if matches!(end, End::Lost(loss) if loss.why == Why::MasterDisabled) {
            self.core.paths.release(path);
            return self.core.now_ps;
        }
        let passage = self.walk(path, &request, Purpose::Queue, 0);
        match end {
            End::Interrupt => self.interrupt_later(&request, vector, passage.arrived_ps),
            End::Lost(loss) => self.core.lose(passage.arrived_ps, request, loss),
            // The address leads elsewhere on this machine: no interrupt comes of it, and nothing is written there.
            _ => {
                let loss = self.nobody_there(path, end);
                self.core.lose(passage.arrived_ps, request, loss);
            }
        }
        self.core.paths.release(path);
        passage.left_ps
    }

    /// A translation request (PCIe Base 10.2.2) goes the way of an interrupt: up, past all that could take it.
    pub(super) fn issue_translation(
        &mut self,
        who: usize,
        id: TransferId,
        iova: u64,
        len_bytes: u64,
        access: Access,
    ) -> u64 {
        let request = Request {
            requester: self.requester(who, ItemKind::Device),
            access: Access::Write,
            address: self.interrupt_address(who),
            len_bytes: 0,
            address_type: AddressType::Untranslated,
            ordering: Ordering::Strict,
        };
        let path = self.path_of(who, &request);
        let life = self.core.senders[who].life;
        let asked = Request {
            access: Access::Read,
            address: iova,
            ..request
        };
        let lost = match self.core.paths.get(path).route.end {
            End::Lost(loss) => Some(loss),
            _ => None,
        };
        if lost.is_some_and(|loss| loss.seen_by_reader() == Failure::MasterDisabled) {
            self.core.paths.release(path);
            let event = Event::Translated {
                function: who as u32,
                life,
                transfer: id,
                found: None,
            };
            self.core.queue.push(self.core.now_ps, event);
            return self.core.now_ps;
        }
        let passage = self.walk_as(Kind::Translation, path, &asked, Purpose::Queue, 0);
        let event = Event::Asked {
            function: who as u32,
            life,
            transfer: id,
            iova,
            len_bytes,
            access,
            path,
        };
        self.core.queue.push(passage.arrived_ps, event);
        passage.left_ps
    }

    /// The translation agent answers (PCIe Base 10.2.3).
    pub(super) fn translate(&mut self, event: Event) {
        let Event::Asked {
            function,
            life,
            transfer,
            iova,
            len_bytes,
            access,
            path,
        } = event
        else {
            return;
        };
        let who = function as usize;
        let request = Request {
            requester: self.core.view(who).bdf,
            access: Access::Read,
            address: iova,
            len_bytes: 0,
            address_type: AddressType::Untranslated,
            ordering: Ordering::Strict,
        };
        let lost = match self.core.paths.get(path).route.end {
            End::Lost(loss) => Some(loss),
            _ => None,
        };
        let found = match lost {
            Some(_) => None,
            None => self.translation_of(who, iova, len_bytes, access),
        };
        let now_ps = self.core.now_ps;
        let failure = lost.map(|loss| loss.seen_by_reader());
        let timeout_ps = now_ps.saturating_add(self.core.settings.completion_timeout_ps);
        let reply = Reply {
            kind: Kind::TranslationCompletion(failure.map_or(Status::Successful, Status::of)),
            completer: lost.map_or(Completer::RootComplex, |loss| loss.completer()),
            request,
            tag: 0,
            purpose: Purpose::Queue,
            bytes: 0,
            sent_ps: now_ps,
        };
        if let Some(loss) = lost {
            self.core.lose(now_ps, request, loss);
        }
        let replied = match failure {
            Some(Failure::CompletionTimeout | Failure::Poisoned | Failure::MasterDisabled) => Replied::Lost,
            // An answer without rights is a success as well (PCIe Base 10.2.3.2).
            Some(Failure::UnsupportedRequest | Failure::CompleterAbort) | None => {
                self.reply(path, who, &reply)
            }
        };
        let (arrived_ps, found, failure) = match replied {
            Replied::Arrived { ps } | Replied::Poisoned { ps } => (ps, found, failure),
            Replied::Lost => (timeout_ps, None, Some(Failure::CompletionTimeout)),
        };
        if let Some(failure) = failure {
            self.core.learn(who, path, arrived_ps, failure, request);
        }
        self.core.paths.release(path);
        let event = Event::Translated {
            function,
            life,
            transfer,
            found,
        };
        self.core.queue.push(arrived_ps, event);
    }

    /// What the translation agent says of an address.
    fn translation_of(&self, who: usize, iova: u64, len_bytes: u64, access: Access) -> Option<Translation> {
        let function = self.core.ids.get(who)?;
        let found = self.core.fabric.translate_for_device(*function, iova)?;
        let is_allowed = match access {
            Access::Read => found.may_read,
            Access::Write => found.may_write,
        };
        is_allowed.then(|| Translation {
            len_bytes: found.len_bytes.min(len_bytes.max(1)),
            ..found
        })
    }

    /// A write has reached a BAR.
    pub(super) fn take_write(&mut self, who: usize, bar: u8, offset: u64, buffer: u32, request: Request) {
        if let Some(sender) = self.core.senders.get_mut(who) {
            sender.writes_arriving = sender.writes_arriving.saturating_sub(1);
        }
        let answers = self.core.answers(who);
        let region = match self.devices.get(who) {
            Some(Some(device)) if answers => device.decode(bar, offset),
            _ => Region::Nothing,
        };
        let data = self.core.buffers.lend(buffer);
        let is_taken = match region {
            Region::Memory { place, len_bytes } if len_bytes >= data.len() as u64 => {
                if let Err(error) = self.core.banks.write(place, &data) {
                    self.core.landings.refuse(error);
                }
                true
            }
            Region::Memory { .. } | Region::Nothing => false,
            Region::Registers => {
                let write = |device: &mut dyn Device, wire: &mut Port<'_>| {
                    device.write_registers(bar, offset, &data, wire);
                };
                self.with_index(who, write).is_some()
            }
        };
        self.core.buffers.put_back(buffer, data);
        if !is_taken && let Some(function) = self.core.ids.get(who).copied() {
            let why = match answers {
                true => Why::UnsupportedRequest,
                false => Why::LinkDown,
            };
            let at = Where::Function(function);
            let packet = Packet::Request;
            self.core
                .lose(self.core.now_ps, request, Loss { at, why, packet });
        }
    }
}
