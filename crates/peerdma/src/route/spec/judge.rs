//! The judge: one topology, any pair.

use super::doubts::{Doubts, Next};
use super::facts::Machine;
use super::memory::Memory;
use super::walk::{Goal, Leg, Recording, Stop, Walk};
use super::{Fate, Form, Missing, Outcome, Question, Refusal, Way};
use crate::addr::Bdf;
use crate::route::{Access, Answer, MapType, TlpClass, Verdict};
use crate::topology::{NodeId, Topology};
use alloc::vec::Vec;

/// Answers for the functions of one topology as the specification would.
///
/// # Panics
/// Where a [`NodeId`] is not one of its topology, as there.
#[derive(Debug, Clone)]
pub struct Judge<'t> {
    machine: Machine<'t>,
}

impl<'t> Judge<'t> {
    /// Puts together what the walks will ask for; time and memory linear in the number of functions, but for sorting
    /// addresses.
    pub fn new(topology: &'t Topology) -> Self {
        Self {
            machine: Machine::new(topology),
        }
    }

    /// The topology.
    pub fn topology(&self) -> &'t Topology {
        self.machine.topology
    }

    /// May `client` reach the largest memory BAR of `provider`, reading and writing, in each class of packets?
    pub fn verdict(&self, provider: NodeId, client: NodeId) -> Verdict {
        let answers = Access::ALL.map(|access| {
            let mut answers = TlpClass::ALL.map(|_| Answer::ANY);
            for class in TlpClass::ALL {
                answers[class as usize] = match (access, class) {
                    // Nothing comes back from a write whose order could matter.
                    (Access::Write, TlpClass::Relaxed) => answers[TlpClass::Strict as usize],
                    (Access::Write, TlpClass::TranslatedRelaxed) => answers[TlpClass::Translated as usize],
                    _ => self.answer(provider, client, access, class),
                };
            }
            answers
        });
        Verdict::per_access(answers, self.raw_distance(provider, client))
    }

    /// What becomes of one request for the start of the memory, with every function on its way.
    pub fn fate(&self, question: Question) -> Fate {
        self.fate_at(question, 0)
    }

    /// What becomes of one request for what lies `offset_bytes` into the BAR. That is the same from one of [`Self::seams`] to the next.
    pub fn fate_at(&self, question: Question, offset_bytes: u64) -> Fate {
        match self.memory(question.provider, question.client, question.bar) {
            Ok(memory) => self.fate_of(question, memory.from(offset_bytes)),
            Err(outcome) => Fate::without_way(outcome),
        }
    }

    /// What becomes of one request of `client` for host RAM, with every function on its way; that of [`Fate::request`] ends at the root
    /// complex, where that of [`Fate::completion`] begins.
    ///
    /// Meant is RAM that has a name for the client which means nothing else: an address that the IOMMU maps to it where that translates,
    /// otherwise the physical address less the inbound offset of its host bridge; in no window and no BAR.
    pub fn ram_fate(&self, client: NodeId, access: Access, class: TlpClass) -> Fate {
        if self.topology().root(client).is_none() {
            let (at, missing) = (self.machine.bdf(client), Missing::Place);
            return Fate::without_way(Outcome::Unknown { at, missing });
        }
        let question = Question {
            provider: client,
            client,
            bar: None,
            access,
            class,
            form: Form::HostAddress,
        };
        self.fate_of(question, Placed::RAM)
    }

    fn fate_of(&self, question: Question, memory: Placed) -> Fate {
        let mut fate = Fate::without_way(Outcome::SameFunction);
        let mut doubts = Doubts::new();
        let mut walk = Walk {
            recording: Recording::On,
            ..self.walk(&mut doubts, question, memory)
        };
        fate.outcome = outcome(walk.run(&mut fate.request));
        fate.completion = walk.steps;
        loop {
            let doubt = match doubts.next() {
                Next::Done => return fate,
                Next::TooMany => {
                    let at = self.machine.bdf(question.client);
                    let missing = Missing::TooMuch;
                    return fate.unknown(at, missing);
                }
                Next::Run(doubt) => doubt,
            };
            let mut walk = self.walk(&mut doubts, question, memory);
            let other = outcome(walk.run(&mut Vec::new()));
            if !ends_alike(fate.outcome, other) {
                // Neighbours differ by one fact alone: all that was asked before it is the same in both.
                return fate.unknown(doubt.at, doubt.missing);
            }
            if other != fate.outcome && !fate.other_refusals.contains(&other) {
                fate.other_refusals.push(other);
            }
        }
    }

    /// The map types that are possible for one access and class.
    pub(super) fn answer(&self, provider: NodeId, client: NodeId, access: Access, class: TlpClass) -> Answer {
        let memory = match self.memory(provider, client, None) {
            Ok(memory) => memory,
            Err(Outcome::SameFunction) => return Answer::known(MapType::BusAddr),
            Err(Outcome::Refused { .. }) => return Answer::known(MapType::NotSupported),
            Err(_) => return Answer::ANY,
        };
        let topology = self.topology();
        let are_apart = topology.depth(provider) > 1
            && topology.depth(client) > 1
            && topology.common_ancestor(provider, client).is_none();
        let most = match are_apart {
            true => Answer::known(MapType::ThruHostBridge).or(Answer::known(MapType::NotSupported)),
            false => Answer::ANY,
        };
        let mut doubts = Doubts::new();
        let mut possible = Answer::NONE;
        loop {
            let question = |form| Question {
                provider,
                client,
                bar: None,
                access,
                class,
                form,
            };
            possible = possible.or(self.answer_once(&mut doubts, question, memory));
            if possible == most {
                return possible;
            }
            match doubts.next() {
                Next::Done => return possible,
                Next::TooMany => return most,
                Next::Run(_) => {}
            }
        }
    }

    /// The answer for one set of values that the unknown facts have; several map types where more is unknown.
    fn answer_once(
        &self,
        doubts: &mut Doubts,
        question: impl Fn(Form) -> Question,
        memory: Placed,
    ) -> Answer {
        let mut steps = Vec::new();
        let asked = question(Form::BusAddress);
        let mut walk = self.walk(doubts, asked, memory);
        let end = walk.run(&mut steps);
        let way = walk.way;
        let through = Answer::known(MapType::ThruHostBridge);
        let refused = Answer::known(MapType::NotSupported);
        // What the bus form alone leaves possible beside what the host form makes of it.
        let open = match (end, way) {
            (Ok((Way::Direct, Way::Direct)), _) => return Answer::known(MapType::BusAddr),
            (Ok(_), _) => return through,
            (Err(Stop::Refused(..)), _) => Answer::NONE,
            (Err(Stop::Unknown(..)), Way::ThroughRootComplex) => through,
            (Err(Stop::Unknown(..)), Way::Direct) => through.or(Answer::known(MapType::BusAddr)),
        };
        if asked.class.is_translated() {
            return open.or(refused);
        }
        let mut walk = self.walk(doubts, question(Form::HostAddress), memory);
        open.or(match walk.run(&mut steps) {
            Ok(_) => through,
            Err(Stop::Refused(..)) => refused,
            Err(Stop::Unknown(..)) => through.or(refused),
        })
    }

    fn walk<'w>(&'w self, doubts: &'w mut Doubts, question: Question, memory: Placed) -> Walk<'w, 't> {
        Walk {
            machine: &self.machine,
            doubts,
            goal: memory.goal,
            provider: question.provider,
            client: question.client,
            bus_address: memory.bus_address,
            phys: memory.phys,
            size_bytes: memory.size_bytes,
            access: question.access,
            class: question.class,
            form: question.form,
            way: Way::Direct,
            recording: Recording::Off,
            steps: Vec::new(),
        }
    }

    /// Where the memory lies, or what is said without a walk.
    fn memory(&self, provider: NodeId, client: NodeId, bar: Option<u8>) -> Result<Placed, Outcome> {
        if provider == client {
            return Err(Outcome::SameFunction);
        }
        let at = self.machine.bdf(provider);
        let unknown = |node, missing| {
            let at = self.machine.bdf(node);
            Err(Outcome::Unknown { at, missing })
        };
        match self.machine.memory(provider, bar) {
            Memory::None => {
                let why = Refusal::NoMemory;
                Err(Outcome::Refused { at, why })
            }
            Memory::Unknown => unknown(provider, Missing::Bars),
            Memory::At {
                bus,
                phys,
                size_bytes,
                ..
            } => {
                for node in [provider, client] {
                    if self.topology().root(node).is_none() {
                        return unknown(node, Missing::Place);
                    }
                }
                Ok(Placed {
                    goal: Goal::Bar,
                    bus_address: bus,
                    phys,
                    size_bytes,
                })
            }
        }
    }

    /// The BAR that is taken where a question names none.
    pub fn default_bar(&self, provider: NodeId) -> Option<u8> {
        match self.machine.memory(provider, None) {
            Memory::At { bar, .. } => Some(bar),
            Memory::None | Memory::Unknown => None,
        }
    }

    /// Where in a BAR, after its first byte, requests may begin to go another way: there a window, a BAR or RAM begins or ends. In ascending
    /// order; none on a machine whose firmware laid windows around whole BARs.
    pub fn seams(&self, provider: NodeId, bar: u8) -> Vec<u64> {
        let (bus, phys, size_bytes) = match self.machine.memory(provider, Some(bar)) {
            Memory::At {
                bus,
                phys,
                size_bytes: Some(size_bytes),
                ..
            } => (bus, phys, size_bytes),
            Memory::At { .. } | Memory::None | Memory::Unknown => return Vec::new(),
        };
        self.machine.seams(bus, phys, size_bytes)
    }

    pub(super) fn bdf(&self, node: NodeId) -> Bdf {
        self.machine.bdf(node)
    }

    /// As Linux counts.
    fn raw_distance(&self, provider: NodeId, client: NodeId) -> Option<u32> {
        let topology = self.topology();
        topology.root(provider)?;
        topology.root(client)?;
        let common = topology.common_ancestor(provider, client);
        let above = common.map_or(0, |common| 2 * topology.depth(common));
        Some(topology.depth(provider) + topology.depth(client) - above)
    }
}

/// Where the memory lies.
#[derive(Debug, Clone, Copy)]
struct Placed {
    goal: Goal,
    bus_address: u64,
    phys: Option<u64>,
    size_bytes: Option<u64>,
}

impl Placed {
    const RAM: Self = Self {
        goal: Goal::Ram,
        bus_address: 0,
        phys: None,
        size_bytes: None,
    };

    fn from(self, offset_bytes: u64) -> Self {
        Self {
            goal: self.goal,
            bus_address: self.bus_address.saturating_add(offset_bytes),
            phys: self.phys.map(|phys| phys.saturating_add(offset_bytes)),
            size_bytes: self.size_bytes.map(|size| size.saturating_sub(offset_bytes)),
        }
    }
}

fn outcome(end: Leg<(Way, Way)>) -> Outcome {
    match end {
        Ok((request, completion)) => Outcome::Delivered { request, completion },
        Err(Stop::Refused(at, why)) => Outcome::Refused { at, why },
        Err(Stop::Unknown(at, missing)) => Outcome::Unknown { at, missing },
    }
}

/// Two refusals are alike whatever the reason: that the packet does not arrive is known.
fn ends_alike(a: Outcome, b: Outcome) -> bool {
    match (a, b) {
        (Outcome::Refused { .. }, Outcome::Refused { .. }) => true,
        _ => a == b,
    }
}
