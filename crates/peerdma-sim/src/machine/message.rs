//! What is no transfer: interrupts, translation requests and their answers, writes to registers.

use super::Machine;
use super::queue::{Event, ItemKind};
use super::reply::{Replied, Reply};
use super::trace::{Kind, Status};
use super::wire::Port;
use crate::device::{Device, Purpose, Region, TransferId, Translation};
use crate::fabric::{Completer, End, Why};
use crate::tlp::{Access, AddressType, Ordering, Request};

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
        self.core.paths.release(path);
        match end {
            End::Interrupt => self.interrupt_later(&request, vector, passage.arrived_ps),
            End::Lost(loss) => self.core.lose(passage.arrived_ps, request, loss),
            // The address leads elsewhere on this machine: no interrupt comes of it, and nothing is written there.
            _ => self
                .core
                .lose(passage.arrived_ps, request, Self::nobody_there(end)),
        }
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
        if let End::Lost(loss) = self.core.paths.get(path).route.end {
            self.core.paths.release(path);
            let wait_ps = match loss.why {
                Why::MasterDisabled => 0,
                _ => self.core.settings.completion_timeout_ps,
            };
            let event = Event::Translated {
                function: who as u32,
                life,
                transfer: id,
                found: None,
            };
            self.core.queue.push(self.core.now_ps + wait_ps, event);
            return self.core.now_ps;
        }
        let asked = Request {
            access: Access::Read,
            address: iova,
            ..request
        };
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
        let found = (self.core.ids.get(function as usize))
            .and_then(|id| self.core.fabric.translate_for_device(*id, iova))
            .filter(|found| match access {
                Access::Read => found.may_read,
                Access::Write => found.may_write,
            })
            .map(|found| Translation {
                len_bytes: found.len_bytes.min(len_bytes.max(1)),
                ..found
            });
        let now_ps = self.core.now_ps;
        let reply = Reply {
            // An answer without rights is a success as well (PCIe Base 10.2.3.2).
            kind: Kind::TranslationCompletion(Status::Successful),
            completer: Completer::RootComplex,
            request: Request {
                requester: self.core.view(function as usize).bdf,
                access: Access::Read,
                address: iova,
                len_bytes: 0,
                address_type: AddressType::Untranslated,
                ordering: Ordering::Strict,
            },
            tag: 0,
            purpose: Purpose::Queue,
            bytes: 0,
            sent_ps: now_ps,
        };
        let (arrived_ps, found) = match self.reply(path, function as usize, &reply) {
            Replied::Arrived { ps } | Replied::Poisoned { ps } => (ps, found),
            Replied::Lost => (now_ps + self.core.settings.completion_timeout_ps, None),
        };
        self.core.paths.release(path);
        let event = Event::Translated {
            function,
            life,
            transfer,
            found,
        };
        self.core.queue.push(arrived_ps, event);
    }

    /// A write has reached a BAR.
    pub(super) fn take_write(&mut self, who: usize, bar: u8, offset: u64, buffer: u32, request: Request) {
        if let Some(sender) = self.core.senders.get_mut(who) {
            sender.writes_arriving = sender.writes_arriving.saturating_sub(1);
        }
        let region = match self.devices.get(who) {
            Some(Some(device)) => device.decode(bar, offset),
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
            let end = End::Function {
                function,
                bar,
                offset,
            };
            self.core.lose(self.core.now_ps, request, Self::nobody_there(end));
        }
    }
}
