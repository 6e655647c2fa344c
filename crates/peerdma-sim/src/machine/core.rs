//! All of a machine but its devices' models: what a model may touch while it acts.

use super::counters::Carried;
use super::fault::Faults;
use super::landing::{Buffers, Landings};
use super::link::Channels;
use super::loss::{Losses, LostTlp};
use super::options::Gear;
use super::path::{Map, Paths};
use super::queue::{Due, Event, Item, ItemKind, Queue};
use super::ram::Ram;
use super::sender::{Pace, Read, Sender};
use super::steady::Steady;
use super::trace::{Entry, Trace};
use super::{Interrupt, MachineSettings};
use crate::device::{Outcome, Transfer, TransferId};
use crate::fabric::{End, Fabric, FunctionId, FunctionView, Loss, Packet, Where, Why};
use crate::memory::{BankId, Banks};
use crate::time::Time;
use crate::tlp::{Failure, Request};
use std::collections::{BTreeMap, VecDeque};

/// All of a machine but its devices' models. Functions go by their index; behind the last is the processor.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) now_ps: u64,
    pub(super) settings: MachineSettings,
    pub(super) gear: Gear,
    pub(super) fabric: Fabric,
    pub(super) ids: Vec<FunctionId>,
    /// What functions are set to, as of the last change of routes.
    pub(super) views: Vec<FunctionView>,
    pub(super) views_of: u64,
    pub(super) banks: Banks,
    pub(super) ram: Ram,
    pub(super) ram_carried: Carried,
    pub(super) queue: Queue,
    pub(super) channels: Channels,
    pub(super) map: Map,
    pub(super) paths: Paths,
    pub(super) landings: Landings,
    pub(super) buffers: Buffers,
    pub(super) senders: Vec<Sender>,
    pub(super) reads: Vec<Read>,
    pub(super) free_reads: Vec<u32>,
    pub(super) faults: Faults,
    pub(super) trace: Option<Trace>,
    pub(super) losses: Losses,
    /// Of which the newest are dropped where nobody takes them.
    pub(super) interrupts: VecDeque<Interrupt>,
    pub(super) dropped_interrupts: u64,
    pub(super) outcomes: BTreeMap<TransferId, (Time, Outcome)>,
    pub(super) next_transfer: u64,
    /// Counts changes that may lead TLPs other ways.
    pub(super) routes: u64,
    /// What the batched gear knows of the flow it carries.
    pub(super) steady: Steady,
    /// Where the processor's data is while it is under way.
    pub(super) cpu_bank: BankId,
    /// Which functions answered when last asked.
    pub(super) answering: Vec<bool>,
}

impl Core {
    /// Must each TLP be handled apart?
    pub(super) fn is_single(&self) -> bool {
        self.gear == Gear::Tlp
    }

    /// The index that stands for the processor.
    pub(super) fn cpu(&self) -> usize {
        self.ids.len()
    }

    /// Routes may lead elsewhere from now on.
    pub(super) fn routes_changed(&mut self) {
        self.routes += 1;
    }

    /// What a function is set to.
    #[inline]
    pub(super) fn view(&mut self, who: usize) -> &FunctionView {
        if self.views_of != self.routes || self.views.is_empty() {
            self.look_again();
        }
        &self.views[who]
    }

    #[cold]
    fn look_again(&mut self) {
        self.views.clear();
        self.views
            .extend(self.ids.iter().map(|id| self.fabric.function(*id)));
        self.views_of = self.routes;
    }

    /// A new name for a transfer or translation.
    pub(super) fn name(&mut self) -> TransferId {
        self.next_transfer += 1;
        TransferId(self.next_transfer)
    }

    /// Puts something at the end of what a function is to send.
    pub(super) fn send(&mut self, who: usize, item: Item) {
        let sender = &mut self.senders[who];
        sender.items.push_back(item);
        if sender.pace == Pace::Idle {
            let ps = sender.free_ps.max(self.now_ps);
            sender.pace = Pace::At(self.queue.moment(ps));
            self.requeue(who);
        }
    }

    /// Starts a transfer.
    pub(super) fn start(&mut self, who: usize, transfer: Transfer, kind: ItemKind) -> TransferId {
        let id = self.name();
        self.send(who, Item::Transfer { id, transfer, kind });
        id
    }

    /// Puts a function's next actions into the queue, if they are not there.
    pub(super) fn requeue(&mut self, who: usize) {
        let Some(sender) = self.senders.get_mut(who) else {
            return;
        };
        if let Pace::At(at) = sender.pace
            && sender.queued_issue != at
        {
            sender.queued_issue = at;
            self.queue.plan(at, Due::Issue(who as u32));
        }
        if let Some(first) = sender.arriving.front()
            && sender.queued_serve != first.at
        {
            sender.queued_serve = first.at;
            self.queue.plan(first.at, Due::Serve(who as u32));
        }
    }

    /// A place for a read transfer.
    pub(super) fn open_read(&mut self, read: Read) -> u32 {
        match self.free_reads.pop() {
            Some(index) => {
                self.reads[index as usize] = read;
                index
            }
            None => {
                self.reads.push(read);
                self.reads.len() as u32 - 1
            }
        }
    }

    /// Tells of the end of a read transfer if nothing of it is open.
    pub(super) fn close_read(&mut self, who: usize, index: u32) {
        let read = self.reads[index as usize];
        if !read.is_all_sent || read.unanswered != 0 {
            return;
        }
        self.free_reads.push(index);
        let outcome = match read.failed {
            None => Outcome::Done,
            Some(failed) => Outcome::Failed {
                good_bytes: failed.offset,
                failure: failed.failure,
            },
        };
        self.ended(who, read.id, read.kind, read.end_ps.max(self.now_ps), outcome);
    }

    /// A transfer will have ended then.
    pub(super) fn ended(
        &mut self,
        who: usize,
        transfer: TransferId,
        kind: ItemKind,
        ps: u64,
        outcome: Outcome,
    ) {
        let event = Event::Ended {
            function: who as u32,
            life: self.senders[who].life,
            kind,
            transfer,
            outcome,
        };
        self.queue.push(ps, event);
    }

    /// A TLP got nowhere.
    pub(super) fn lose(&mut self, ps: u64, request: Request, loss: Loss) {
        self.fabric.record(&loss, &request);
        self.losses.push(LostTlp {
            time: Time::from_ps(ps),
            request,
            loss,
        });
    }

    /// The same, of a completion as its requester sees it, which records it when it learns of it.
    pub(super) fn lose_completion(&mut self, ps: u64, who: usize, request: Request, why: Why) {
        let at = (self.ids.get(who)).map_or(Where::Nowhere, |id| Where::Function(*id));
        self.losses.push(LostTlp {
            time: Time::from_ps(ps),
            request,
            loss: Loss {
                at,
                why,
                packet: Packet::Completion,
            },
        });
    }

    /// A read of this path has failed: whoever waits for it will have learned so then.
    pub(super) fn learn(&mut self, who: usize, path: u32, ps: u64, failure: Failure, request: Request) {
        let route = &self.paths.get(path).route;
        let (Some(requester), Some(sender)) = (self.fabric.waits_for(route, &request), self.senders.get(who))
        else {
            return;
        };
        let event = Event::Failed {
            function: who as u32,
            life: sender.life,
            requester,
            failure,
            request: Request {
                requester: route.requester,
                ..request
            },
        };
        self.queue.push(ps.max(self.now_ps), event);
    }

    /// Who refuses what a path leads to: a function, or the host bridge that the path came up to.
    pub(super) fn refuser(&self, path: u32, end: End) -> Where {
        match (end, self.paths.get(path).route.initiator) {
            (End::Function { function, .. }, _) => Where::Function(function),
            (_, Some(initiator)) => self.fabric.host_bridge_of(initiator),
            (_, None) => Where::Nowhere,
        }
    }

    /// Does a function answer now?
    pub(super) fn answers(&self, who: usize) -> bool {
        self.ids.get(who).is_some_and(|id| self.fabric.answers(*id))
    }

    /// Everything that has arrived lies in memory.
    pub(super) fn land(&mut self) {
        if self.landings.next_ps().is_some_and(|ps| ps <= self.now_ps) {
            self.landings
                .land(self.now_ps, &mut self.banks, &mut self.buffers);
        }
    }

    /// Writes a TLP into the trace.
    pub(super) fn tell(&mut self, entry: Entry<'_>, path: u32) {
        if let Some(trace) = &mut self.trace {
            trace.tlp(entry, &self.paths.get(path).route, &self.fabric);
        }
    }

    /// The function is reset, or gone: it sends and waits for nothing any more.
    pub(super) fn end_life(&mut self, who: usize) {
        let sender = &mut self.senders[who];
        sender.life += 1;
        sender.items.clear();
        sender.done_bytes = 0;
        sender.pace = Pace::Idle;
        sender.answered.clear();
        sender.tags = 0;
        sender.outstanding_bytes = 0;
        let mut reads: Vec<u32> = sender.read.take().into_iter().collect();
        for arriving in sender.arriving.drain(..) {
            reads.push(arriving.read);
            self.paths.release(arriving.path);
        }
        reads.sort_unstable();
        reads.dedup();
        self.free_reads.extend(reads);
    }
}
