//! Every answer on its way to who asked: completions with data and without, and translation completions.

use super::Machine;
use super::fault::Fate;
use super::issue::SHORT_HEADER_BYTES;
use super::link::{Class, Parcel};
use super::path::CompletionPath;
use super::trace::{Entry, Kind};
use crate::device::Purpose;
use crate::fabric::{Completer, End, Why};
use crate::tlp::{Ordering, Request};

/// One answer that is to be sent.
pub(super) struct Reply {
    pub(super) kind: Kind,
    pub(super) completer: Completer,
    /// What is answered, from the first byte on that this answer brings.
    pub(super) request: Request,
    pub(super) tag: u32,
    pub(super) purpose: Purpose,
    pub(super) bytes: u64,
    pub(super) sent_ps: u64,
}

/// What became of an answer.
pub(super) enum Replied {
    Arrived { ps: u64 },
    Poisoned { ps: u64 },
    Lost,
}

impl Machine {
    /// Sends an answer to a request of `who`, whose own way was `path`.
    pub(super) fn reply(&mut self, path: u32, who: usize, reply: &Reply) -> Replied {
        let way = self.completion_path(path, reply);
        let core = &mut self.core;
        let parcel = Parcel {
            header_bytes: SHORT_HEADER_BYTES,
            data_bytes: reply.bytes,
            purpose: reply.purpose,
            is_relaxed: reply.request.ordering == Ordering::Relaxed,
            class: Class::Completion,
        };
        let passage = core
            .channels
            .walk(&core.paths.get(way).way, reply.sent_ps, parcel);
        if core.trace.is_some() {
            let entry = Entry {
                kind: reply.kind,
                sent_ps: reply.sent_ps,
                arrived_ps: passage.arrived_ps,
                request: &reply.request,
                data_bytes: reply.bytes,
                tag: reply.tag,
                purpose: reply.purpose,
            };
            core.tell(entry, way);
        }
        let replied = self.arrives(path, way, who, reply, passage.arrived_ps);
        self.core.paths.release(way);
        replied
    }

    /// What becomes of an answer that would arrive then.
    fn arrives(&mut self, path: u32, way: u32, who: usize, reply: &Reply, ps: u64) -> Replied {
        let core = &mut self.core;
        if let End::Lost(loss) = core.paths.get(way).route.end {
            core.lose(ps, reply.request, loss);
            return Replied::Lost;
        }
        if core.faults.is_empty() {
            return Replied::Arrived { ps };
        }
        let from = match reply.completer {
            Completer::Function(function) => Some(core.fabric.function(function).bdf),
            Completer::RootComplex => None,
        };
        match core.faults.completion(from, Some(reply.request.requester)) {
            Some(Fate::Lost) => {
                core.lose_completion(ps, who, reply.request, Why::CompletionTimeout);
                Replied::Lost
            }
            // Without data there is nothing to poison.
            Some(Fate::Poisoned) if reply.bytes != 0 => {
                core.lose_completion(ps, who, reply.request, Why::Poisoned);
                let asked = &core.paths.get(path).route;
                let requester = core.fabric.waits_for(asked, &reply.request);
                let back = &core.paths.get(way).route;
                core.fabric.record_poison_passing(back, requester, &reply.request);
                Replied::Poisoned { ps }
            }
            Some(Fate::Poisoned) | None => Replied::Arrived { ps },
        }
    }

    /// The path of an answer, with one more use.
    fn completion_path(&mut self, path: u32, reply: &Reply) -> u32 {
        let core = &mut self.core;
        let is_single = core.is_single();
        if !is_single
            && let Some(known) = core.paths.get(path).completion
            && known.payload_bytes == reply.bytes
            && known.routes == core.routes
        {
            core.paths.share(known.path);
            return known.path;
        }
        let index = core.paths.take();
        let (asked, way) = core.paths.pair(path, index);
        core.fabric.route_completion(
            reply.completer,
            &reply.request,
            &asked.route,
            reply.bytes as u32,
            &mut way.route,
        );
        core.map.lay(way, &mut core.channels);
        if !is_single {
            core.paths.share(index);
            let known = CompletionPath {
                path: index,
                payload_bytes: reply.bytes,
                routes: core.routes,
            };
            if let Some(before) = core.paths.get_mut(path).completion.replace(known) {
                core.paths.release(before.path);
            }
        }
        index
    }
}
