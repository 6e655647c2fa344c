//! Sending: the next TLP of what a function is to send.

use super::Machine;
use super::arrival::Sent;
use super::gear::Bulk;
use super::link::{Class, Parcel, Passage};
use super::queue::{Item, ItemKind};
use super::sender::{Arriving, Cached, Pace, Read, Sender};
use super::split::request_bytes;
use super::trace::{Entry, Kind};
use crate::device::{Direction, Outcome, Purpose, Transfer, TransferId};
use crate::fabric::{End, Leg, Loss, Packet, Where, Why};
use crate::memory::Place;
use crate::tlp::{Access, AddressType, Failure, Ordering, Request};
use peerdma::addr::Bdf;
use peerdma::snapshot::IommuMode;

/// The header of a request whose address fits into 32 bits, and of a completion.
pub(super) const SHORT_HEADER_BYTES: u64 = 12;
const LONG_HEADER_BYTES: u64 = 16;
/// What a nominal host memory of 200 GB/s needs for a byte.
pub(super) const RAM_PS_PER_BYTE: u64 = 5;

impl Machine {
    /// Sends the next TLP of a function, and says in its pace when the one after that goes.
    pub(super) fn issue(&mut self, who: usize, bulk: &mut Bulk) {
        let left_ps = match self.core.senders[who].items.front() {
            None => {
                self.core.senders[who].pace = Pace::Idle;
                return;
            }
            Some(&Item::Interrupt { vector }) => {
                self.core.senders[who].items.pop_front();
                self.issue_interrupt(who, vector)
            }
            Some(&Item::Translate {
                id,
                iova,
                len_bytes,
                access,
            }) => {
                self.core.senders[who].items.pop_front();
                self.issue_translation(who, id, iova, len_bytes, access)
            }
            Some(Item::Transfer { id, transfer, kind }) => match transfer.direction {
                // The claimed ID is read where it lies: reading it from a copy that was just made waits for the copy.
                Direction::Out => {
                    let (transfer, claimed) = (*transfer, kind.claimed());
                    self.issue_write(who, &transfer, claimed, bulk)
                }
                Direction::In => {
                    let (id, transfer, kind, claimed) = (*id, *transfer, *kind, kind.claimed());
                    match self.issue_read(who, id, &transfer, kind, claimed) {
                        Some(left_ps) => left_ps,
                        None => return,
                    }
                }
            },
        };
        let sender = &mut self.core.senders[who];
        sender.free_ps = left_ps;
        sender.pace = match sender.items.is_empty() {
            true => Pace::Idle,
            false => Pace::At(self.core.queue.moment(left_ps)),
        };
    }

    pub(super) fn header_bytes(address: u64) -> u64 {
        match address >> 32 {
            0 => SHORT_HEADER_BYTES,
            _ => LONG_HEADER_BYTES,
        }
    }

    pub(super) fn requester(&mut self, who: usize, kind: ItemKind) -> Bdf {
        kind.claimed().unwrap_or(self.core.view(who).bdf)
    }

    fn request_of(&mut self, who: usize, transfer: &Transfer, claimed: Option<Bdf>) -> Request {
        let view = self.core.view(who);
        let may_relax = view.may_relax_ordering;
        Request {
            requester: claimed.unwrap_or(view.bdf),
            access: match transfer.direction {
                Direction::In => Access::Read,
                Direction::Out => Access::Write,
            },
            address: transfer.address,
            len_bytes: 0,
            address_type: transfer.address_type,
            ordering: match may_relax {
                true => transfer.ordering,
                false => Ordering::Strict,
            },
        }
    }

    fn parcel(request: &Request, purpose: Purpose) -> Parcel {
        Parcel {
            header_bytes: Self::header_bytes(request.address),
            data_bytes: match request.access {
                Access::Write => request.len_bytes.into(),
                Access::Read => 0,
            },
            purpose,
            is_relaxed: request.ordering == Ordering::Relaxed,
            class: match request.access {
                Access::Write => Class::Posted,
                Access::Read => Class::NonPosted,
            },
        }
    }

    /// The path of a request, with one more use: a new one, or that of the TLP before where it holds.
    pub(super) fn path_of(&mut self, who: usize, request: &Request) -> u32 {
        let core = &mut self.core;
        let is_single = core.is_single();
        if !is_single
            && let Some(cached) = core.senders[who].cached
            && cached.routes == core.routes
            && cached.covers(request, core.paths.get(cached.path).route.holds_bytes)
        {
            core.paths.share(cached.path);
            return cached.path;
        }
        let index = core.paths.take();
        let path = core.paths.get_mut(index);
        core.fabric
            .route_request_from(core.ids[who], request, &mut path.route);
        path.base = request.address;
        if request.address_type == AddressType::Untranslated
            && !core.faults.is_empty()
            && path.route.end != End::Interrupt
            && core.fabric.iommu().mode() == IommuMode::Translating
            && let Some(at) = path.route.legs.iter().position(|leg| *leg == Leg::RootComplex)
            && core
                .faults
                .iommu(path.route.requester, request.access, request.address)
        {
            path.route.legs.truncate(at + 1);
            path.route.end = End::Lost(Loss {
                at: Where::Iommu,
                why: Why::IommuFault,
                packet: Packet::Request,
            });
        }
        core.map.lay(path, &mut core.channels);
        if !is_single {
            core.paths.share(index);
            let cached = Cached {
                path: index,
                request: *request,
                routes: core.routes,
            };
            if let Some(before) = core.senders[who].cached.replace(cached) {
                core.paths.release(before.path);
            }
        }
        index
    }

    pub(super) fn walk(&mut self, path: u32, request: &Request, purpose: Purpose, tag: u32) -> Passage {
        let kind = match request.access {
            Access::Read => Kind::Read,
            Access::Write => Kind::Write,
        };
        self.walk_as(kind, path, request, purpose, tag)
    }

    pub(super) fn walk_as(
        &mut self,
        kind: Kind,
        path: u32,
        request: &Request,
        purpose: Purpose,
        tag: u32,
    ) -> Passage {
        let core = &mut self.core;
        let parcel = Self::parcel(request, purpose);
        let passage = core.channels.walk(&core.paths.get(path).way, core.now_ps, parcel);
        if core.trace.is_some() {
            let entry = Entry {
                kind,
                sent_ps: core.now_ps,
                arrived_ps: passage.arrived_ps,
                request,
                data_bytes: request.len_bytes.into(),
                tag,
                purpose,
            };
            core.tell(entry, path);
        }
        passage
    }

    fn issue_write(&mut self, who: usize, transfer: &Transfer, claimed: Option<Bdf>, bulk: &mut Bulk) -> u64 {
        let core = &mut self.core;
        let done_bytes = core.senders[who].done_bytes;
        let most = u64::from(core.view(who).max_payload_bytes);
        let rest_bytes = transfer.len_bytes.saturating_sub(done_bytes);
        if rest_bytes == 0 {
            return self.finish_write(who, self.core.now_ps, Outcome::Done);
        }
        let address = transfer.address.wrapping_add(done_bytes);
        let len_bytes = request_bytes(address, most, rest_bytes);
        let request = Request {
            address,
            len_bytes: len_bytes as u32,
            ..self.request_of(who, transfer, claimed)
        };
        let local = Place {
            bank: transfer.local.bank,
            offset: transfer.local.offset.saturating_add(done_bytes),
        };
        let path = self.path_of(who, &request);
        if let End::Lost(loss) = self.core.paths.get(path).route.end
            && loss.why == Why::MasterDisabled
        {
            self.core.paths.release(path);
            self.core.lose(self.core.now_ps, request, loss);
            let outcome = Outcome::Failed {
                good_bytes: done_bytes,
                failure: Failure::MasterDisabled,
            };
            return self.finish_write(who, self.core.now_ps, outcome);
        }
        let passage = self.walk(path, &request, transfer.purpose, 0);
        let spare_ps = match self.core.paths.get(path).way.hops.first() {
            // Who moves each TLP apart does not ask.
            _ if self.core.is_single() => 0,
            Some(hop) => self.core.channels.channels[hop.channel as usize].carry_ps(rest_bytes - len_bytes),
            None => rest_bytes - len_bytes,
        };
        let sent = Sent {
            request,
            local,
            rest_bytes,
            purpose: transfer.purpose,
            arrived_ps: passage.arrived_ps,
            next_ps: passage.left_ps + spare_ps,
        };
        self.deliver_write(path, &sent, bulk);
        self.core.paths.release(path);
        self.core.senders[who].done_bytes += len_bytes;
        match len_bytes == rest_bytes {
            true => self.finish_write(who, passage.left_ps, Outcome::Done),
            false => passage.left_ps,
        }
    }

    fn finish_write(&mut self, who: usize, ps: u64, outcome: Outcome) -> u64 {
        let sender = &mut self.core.senders[who];
        let item = sender.items.pop_front();
        sender.done_bytes = 0;
        if let Some(Item::Transfer { id, kind, .. }) = item {
            self.core.ended(who, id, kind, ps, outcome);
        }
        ps
    }

    /// Sends the next request of a read; nothing where it has to wait, which its pace tells then.
    fn issue_read(
        &mut self,
        who: usize,
        id: TransferId,
        transfer: &Transfer,
        kind: ItemKind,
        claimed: Option<Bdf>,
    ) -> Option<u64> {
        let core = &mut self.core;
        let now_ps = core.now_ps;
        let done_bytes = core.senders[who].done_bytes;
        let rest_bytes = transfer.len_bytes.saturating_sub(done_bytes);
        let has_failed = (core.senders[who].read).is_some_and(|index| {
            (core.reads[index as usize].failed).is_some_and(|failed| failed.known_ps <= now_ps)
        });
        if rest_bytes == 0 || has_failed {
            return Some(self.finish_read(who, id, transfer, kind, now_ps));
        }
        let most = u64::from(core.view(who).max_read_request_bytes);
        let address = transfer.address.wrapping_add(done_bytes);
        let len_bytes = request_bytes(address, most, rest_bytes);
        let sender = &mut core.senders[who];
        if !sender.has_room(now_ps, len_bytes) {
            sender.pace = match sender.answered.front() {
                Some((ps, _)) => Pace::At(core.queue.moment(*ps)),
                None => Pace::Blocked,
            };
            return None;
        }
        let request = Request {
            address,
            len_bytes: len_bytes as u32,
            ..self.request_of(who, transfer, claimed)
        };
        let path = self.path_of(who, &request);
        let tag = self.core.senders[who].ask(request.len_bytes);
        let index = self.open_read(who, id, kind, request, transfer);
        self.core.reads[index as usize].unanswered += 1;
        let end = self.core.paths.get(path).route.end;
        let master_disabled = matches!(end, End::Lost(loss) if loss.why == Why::MasterDisabled);
        let passage = match master_disabled {
            true => Passage {
                left_ps: now_ps + 1,
                arrived_ps: now_ps,
            },
            false => self.walk(path, &request, transfer.purpose, tag),
        };
        let arriving = Arriving {
            at: self.core.queue.moment(passage.arrived_ps),
            read: index,
            path,
            address,
            len_bytes: request.len_bytes,
            tag,
            offset: done_bytes,
            sent_ps: now_ps,
        };
        match end {
            End::Lost(loss) => self.refuse_read(who, arriving, loss),
            _ => self.core.senders[who].arrive(arriving),
        }
        self.core.senders[who].done_bytes += len_bytes;
        match len_bytes == rest_bytes {
            true => Some(self.finish_read(who, id, transfer, kind, passage.left_ps)),
            false => Some(passage.left_ps),
        }
    }

    fn open_read(
        &mut self,
        who: usize,
        id: TransferId,
        kind: ItemKind,
        request: Request,
        transfer: &Transfer,
    ) -> u32 {
        if let Some(index) = self.core.senders[who].read {
            return index;
        }
        let index = self.core.open_read(Read::new(id, kind, request, transfer));
        self.core.senders[who].read = Some(index);
        index
    }

    /// All of a read's requests are sent, or none shall be any more.
    fn finish_read(
        &mut self,
        who: usize,
        id: TransferId,
        transfer: &Transfer,
        kind: ItemKind,
        ps: u64,
    ) -> u64 {
        let request = self.request_of(who, transfer, kind.claimed());
        let index = self.open_read(who, id, kind, request, transfer);
        self.core.reads[index as usize].is_all_sent = true;
        let sender: &mut Sender = &mut self.core.senders[who];
        sender.items.pop_front();
        sender.done_bytes = 0;
        sender.read = None;
        self.core.close_read(who, index);
        ps
    }
}

impl Cached {
    /// Does the route of another request hold for this one?
    fn covers(&self, request: &Request, holds_bytes: u64) -> bool {
        let before = self.request;
        let same = Request {
            address: before.address,
            len_bytes: before.len_bytes,
            ..*request
        };
        // The size of a write decides at each receiver; that of a read nowhere.
        let same_size = request.access == Access::Read || request.len_bytes == before.len_bytes;
        let within = request.address.checked_sub(before.address);
        let fits = within
            .and_then(|within| within.checked_add(request.len_bytes.into()))
            .is_some_and(|end| end <= holds_bytes);
        same == before && same_size && fits
    }
}
