//! Answering: what becomes of a read request that has reached its completer.

use super::Machine;
use super::gear::{Bulk, Piece};
use super::issue::RAM_PS_PER_BYTE;
use super::reply::{Replied, Reply};
use super::sender::{Arriving, Pace};
use super::split::completion_bytes;
use super::trace::{Kind, Status};
use crate::device::{Purpose, Region};
use crate::fabric::{Completer, Direction, End, Leg, Loss, Packet, Why};
use crate::memory::Place;
use crate::tlp::{Failure, Request};

/// What a completer has found.
enum Found {
    Memory {
        place: Place,
        follow_bytes: u64,
    },
    /// Register contents, in a buffer.
    Registers {
        buffer: u32,
    },
    /// It refuses.
    Refused(Why),
    /// It is not there any more.
    Gone,
}

impl Machine {
    /// The first read request of a function that is under way has reached its completer.
    pub(super) fn serve(&mut self, who: usize, bulk: &mut Bulk) {
        let Some(arriving) = self.core.senders[who].arriving.pop_front() else {
            return;
        };
        let (end, holds_bytes) = self.core.paths.get(arriving.path).end_at(arriving.address);
        let found = self.look_up(end, &arriving);
        let read = self.core.reads[arriving.read as usize];
        let request = Request {
            address: arriving.address,
            len_bytes: arriving.len_bytes,
            ..read.request
        };
        let completer = match end {
            End::Function { function, .. } => Completer::Function(function),
            _ => Completer::RootComplex,
        };
        let refusal = |why| Loss {
            at: self.core.refuser(arriving.path, end),
            why,
            packet: Packet::Request,
        };
        let refused = match found {
            Found::Refused(why) => Some(refusal(why)),
            Found::Gone => Some(refusal(Why::LinkDown)),
            Found::Memory { .. } | Found::Registers { .. } => None,
        };
        let mut answer = Answer {
            completer,
            who,
            status: match refused {
                Some(loss) => Status::of(loss.seen_by_reader()),
                None => Status::Successful,
            },
            request,
            tag: arriving.tag,
            purpose: read.purpose,
            failed: None,
            is_late: false,
            sent_ps: self.core.now_ps,
            end_ps: self.core.now_ps,
            timeout_ps: arriving
                .sent_ps
                .saturating_add(self.core.settings.completion_timeout_ps),
        };
        if let Some(loss) = refused {
            self.core.lose(self.core.now_ps, request, loss);
            self.refuse(arriving.path, loss, &mut answer);
        } else {
            let most = self.completion_payload_bytes(arriving.path, completer);
            // Only a root complex may break them at 64 bytes (PCIe Base 2.3.1.1).
            let boundary = match completer {
                Completer::Function(_) => 128,
                Completer::RootComplex => self.core.settings.completion_boundary_bytes,
            };
            let len_bytes = u64::from(arriving.len_bytes);
            let rest_bytes = (read.len_bytes).saturating_sub(arriving.offset);
            let mut done = 0;
            while done < len_bytes {
                let bytes = completion_bytes(arriving.address + done, most, boundary, len_bytes - done);
                if let Some(arrived_ps) = self.complete(arriving.path, bytes, done, &mut answer) {
                    let to = Place {
                        bank: read.local.bank,
                        offset: read.local.offset.saturating_add(arriving.offset + done),
                    };
                    match found {
                        Found::Memory { place, follow_bytes } => {
                            let from = Place {
                                bank: place.bank,
                                offset: place.offset + done,
                            };
                            let rest_bytes = rest_bytes - done;
                            let span_bytes = rest_bytes
                                .min(follow_bytes - done)
                                .min(holds_bytes.saturating_sub(done));
                            let piece = Piece {
                                from,
                                to,
                                len_bytes: bytes,
                                span_bytes,
                                arrived_ps,
                                unseen_until_ps: self.unseen_until_ps(
                                    who,
                                    arriving.read,
                                    rest_bytes,
                                    span_bytes,
                                    bytes,
                                ),
                                owner: who as u32,
                            };
                            self.deliver(&piece, bulk);
                        }
                        Found::Registers { buffer } => {
                            self.hand_over(buffer, done, bytes, to, arrived_ps, who)
                        }
                        Found::Refused(_) | Found::Gone => {}
                    }
                }
                done += bytes;
            }
        }
        if let Found::Registers { buffer } = found {
            self.core.buffers.release(buffer);
        }
        self.core.paths.release(arriving.path);
        self.answered(who, &arriving, answer.end_ps, answer.failed);
    }

    /// Until when nothing that this function does next can see data that a completion brings: what follows is not
    /// asked for before so much was answered. Once all of the read was asked for, what follows may go out at any time;
    /// and with jitter the first bytes may come last.
    fn unseen_until_ps(&self, who: usize, read: u32, rest_bytes: u64, span_bytes: u64, bytes: u64) -> u64 {
        let sender = &self.core.senders[who];
        let is_asking = sender.read == Some(read);
        let following = sender.items.len().saturating_sub(usize::from(is_asking));
        let is_last = following == 0 && span_bytes == rest_bytes;
        let is_in_order = is_asking && !self.core.channels.has_jitter();
        match is_last || (is_in_order && span_bytes - bytes >= sender.most_outstanding_bytes) {
            true => u64::MAX,
            false => 0,
        }
    }

    fn look_up(&mut self, end: End, arriving: &Arriving) -> Found {
        let len_bytes = u64::from(arriving.len_bytes);
        match end {
            End::Ram { phys } => {
                let carried = &mut self.core.ram_carried;
                carried.add(
                    self.core.reads[arriving.read as usize].purpose,
                    len_bytes,
                    len_bytes,
                );
                carried.busy_ps += len_bytes * RAM_PS_PER_BYTE;
                match self.core.ram.find(phys) {
                    Some((place, follow_bytes)) if follow_bytes >= len_bytes => {
                        Found::Memory { place, follow_bytes }
                    }
                    _ => Found::Refused(Why::UnsupportedRequest),
                }
            }
            End::Function {
                function,
                bar,
                offset,
            } => {
                let who = function.index();
                if !self.core.answers(who) {
                    return Found::Gone;
                }
                let Some(Some(device)) = self.devices.get(who) else {
                    return Found::Refused(Why::UnsupportedRequest);
                };
                match device.decode(bar, offset) {
                    Region::Memory {
                        place,
                        len_bytes: follow_bytes,
                    } if follow_bytes >= len_bytes => Found::Memory { place, follow_bytes },
                    Region::Memory { .. } | Region::Nothing => Found::Refused(Why::UnsupportedRequest),
                    Region::Registers => self.read_registers(who, bar, offset, arriving.len_bytes),
                }
            }
            _ => Found::Refused(Why::UnsupportedRequest),
        }
    }

    fn read_registers(&mut self, who: usize, bar: u8, offset: u64, len_bytes: u32) -> Found {
        let buffer = self.core.buffers.take(len_bytes as usize);
        let mut data = self.core.buffers.lend(buffer);
        data.fill(0);
        let read = self.with_index(who, |device, wire| {
            device.read_registers(bar, offset, &mut data, wire)
        });
        self.core.buffers.restore(buffer, data);
        match read {
            Some(Ok(())) => Found::Registers { buffer },
            refused => {
                self.core.buffers.release(buffer);
                Found::Refused(match refused {
                    Some(_) => Why::CompleterAbort,
                    None => Why::UnsupportedRequest,
                })
            }
        }
    }

    /// Part of a buffer of register contents is under way.
    fn hand_over(&mut self, buffer: u32, from: u64, bytes: u64, to: Place, arrived_ps: u64, who: usize) {
        let core = &mut self.core;
        let part = core.buffers.take(bytes as usize);
        let all = core.buffers.lend(buffer);
        let range = from as usize..(from + bytes) as usize;
        if let Some(bytes) = all.get(range) {
            core.buffers.get_mut(part).copy_from_slice(bytes);
        }
        core.buffers.restore(buffer, all);
        core.landings.push(arrived_ps, to, part, bytes as u32, who as u32);
    }

    /// How much a completer puts into one completion: for RAM, what the root port below it is set to.
    fn completion_payload_bytes(&mut self, path: u32, completer: Completer) -> u64 {
        let core = &mut self.core;
        let legs = core.paths.get(path).route.legs.iter().rev();
        let port = |leg: &Leg| match *leg {
            Leg::Link {
                link,
                direction: Direction::Up,
            } => Some(core.fabric.link(link).port),
            _ => None,
        };
        let function = match completer {
            Completer::Function(function) => Some(function),
            Completer::RootComplex => legs.into_iter().find_map(port),
        };
        function.map_or(256, |function| {
            core.view(function.index()).max_payload_bytes.into()
        })
    }

    /// Sends one completion; the time of its arrival, if it arrives whole.
    fn complete(&mut self, path: u32, bytes: u64, offset: u64, answer: &mut Answer) -> Option<u64> {
        let reply = Reply {
            kind: Kind::Completion(answer.status),
            completer: answer.completer,
            request: Request {
                address: answer.request.address + offset,
                ..answer.request
            },
            tag: answer.tag,
            purpose: answer.purpose,
            bytes,
            sent_ps: answer.sent_ps,
        };
        match self.reply(path, answer.who, &reply) {
            Replied::Arrived { ps } => {
                answer.end_ps = answer.end_ps.max(ps);
                Some(ps)
            }
            Replied::Poisoned { ps } => {
                answer.end_ps = answer.end_ps.max(ps);
                answer.fail(offset, Failure::Poisoned);
                let request = Request {
                    len_bytes: bytes as u32,
                    ..reply.request
                };
                self.core.learn(answer.who, path, ps, Failure::Poisoned, request);
                None
            }
            Replied::Lost => {
                self.time_out(path, offset, answer);
                None
            }
        }
    }

    /// Some of an answer never comes.
    fn time_out(&mut self, path: u32, offset: u64, answer: &mut Answer) {
        let failure = Failure::CompletionTimeout;
        answer.end_ps = answer.end_ps.max(answer.timeout_ps);
        answer.fail(offset, failure);
        if !answer.is_late {
            answer.is_late = true;
            self.core
                .learn(answer.who, path, answer.timeout_ps, failure, answer.request);
        }
    }

    /// Answers a request that was given up so, or leaves it unanswered.
    fn refuse(&mut self, path: u32, loss: Loss, answer: &mut Answer) {
        let failure = loss.seen_by_reader();
        match failure {
            Failure::MasterDisabled => answer.fail(0, failure),
            Failure::CompletionTimeout | Failure::Poisoned => self.time_out(path, 0, answer),
            Failure::UnsupportedRequest | Failure::CompleterAbort => {
                if let Some(ps) = self.complete(path, 0, 0, answer) {
                    answer.fail(0, failure);
                    self.core.learn(answer.who, path, ps, failure, answer.request);
                }
            }
        }
    }

    /// A read request of which it is known at once that it gets nowhere.
    pub(super) fn refuse_read(&mut self, who: usize, arriving: Arriving, loss: Loss) {
        let read = self.core.reads[arriving.read as usize];
        let request = Request {
            address: arriving.address,
            len_bytes: arriving.len_bytes,
            ..read.request
        };
        self.core.lose(arriving.at.ps, request, loss);
        let mut answer = Answer {
            completer: loss.completer(),
            who,
            status: Status::of(loss.seen_by_reader()),
            request,
            tag: arriving.tag,
            purpose: read.purpose,
            failed: None,
            is_late: false,
            sent_ps: arriving.at.ps,
            end_ps: arriving.at.ps,
            timeout_ps: arriving
                .sent_ps
                .saturating_add(self.core.settings.completion_timeout_ps),
        };
        self.refuse(arriving.path, loss, &mut answer);
        self.core.paths.release(arriving.path);
        self.answered(who, &arriving, answer.end_ps, answer.failed);
    }

    /// It is known how and when the last answer to a request comes.
    fn answered(&mut self, who: usize, arriving: &Arriving, end_ps: u64, failed: Option<(u64, Failure)>) {
        let core = &mut self.core;
        let read = &mut core.reads[arriving.read as usize];
        read.unanswered -= 1;
        read.end_ps = read.end_ps.max(end_ps);
        if let Some((within, failure)) = failed {
            read.fail(arriving.offset + within, failure, end_ps);
        }
        let sender = &mut core.senders[who];
        sender.answer(end_ps, arriving.len_bytes);
        if sender.pace == Pace::Blocked
            && let Some((ps, _)) = sender.answered.front()
        {
            sender.pace = Pace::At(core.queue.moment((*ps).max(core.now_ps)));
        }
        core.close_read(who, arriving.read);
    }
}

/// The answer to one read request, as it comes together.
struct Answer {
    completer: Completer,
    /// The sender of the request.
    who: usize,
    status: Status,
    request: Request,
    tag: u32,
    purpose: Purpose,
    /// The first bytes that do not come, and why.
    failed: Option<(u64, Failure)>,
    /// Some of it does not come in time.
    is_late: bool,
    sent_ps: u64,
    end_ps: u64,
    timeout_ps: u64,
}

impl Answer {
    fn fail(&mut self, offset: u64, failure: Failure) {
        if self.failed.is_none_or(|(before, _)| offset < before) {
            self.failed = Some((offset, failure));
        }
    }
}
