//! One machine, both judges, every question.

use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::pci::PortType;
use peerdma::route::spec::{Form, Judge, Outcome, Question, Refusal, Way};
use peerdma::route::{Access, TlpClass};
use peerdma::snapshot::{Snapshot, Warnings};
use peerdma::topology::{NodeId, Place, Topology};
use peerdma_sim::blueprint::Blueprint;
use peerdma_sim::fabric::{End, Fabric, FunctionId, Loss, Packet, Where, Why};
use peerdma_sim::inquiry::{self, Fate, Inquirer};
use peerdma_sim::tlp;
use std::collections::BTreeMap;
use std::fmt;

/// What comparing has brought.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) machines: u64,
    pub(super) questions: u64,
    /// Of these: for host RAM.
    pub(super) for_ram: u64,
    /// Both say that it arrives.
    pub(super) delivered: u64,
    /// Both say that it does not, and for one reason.
    pub(super) refused: u64,
    /// The judge does not know.
    pub(super) unknown: u64,
    pub(super) different: u64,
    /// Refused before any packet travels: no memory, no address, no bus master.
    pub(super) trivial: u64,
    /// How many ended in which way.
    pub(super) ends: BTreeMap<String, u64>,
    /// How many differences of each kind.
    pub(super) kinds: BTreeMap<String, u64>,
    /// The first of each kind, in words.
    pub(super) differences: Vec<String>,
}

impl Tally {
    const MOST_DIFFERENCES: usize = 200;
    const MOST_OF_A_KIND: u64 = 2;

    pub(super) fn add(&mut self, other: Self) {
        self.machines += other.machines;
        self.questions += other.questions;
        self.for_ram += other.for_ram;
        self.delivered += other.delivered;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.different += other.different;
        let room = Self::MOST_DIFFERENCES.saturating_sub(self.differences.len());
        self.differences.extend(other.differences.into_iter().take(room));
        self.trivial += other.trivial;
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
    }

    pub(super) fn differ(&mut self, kind: String, difference: impl FnOnce() -> String) {
        self.different += 1;
        let count = self.kinds.entry(kind).or_default();
        *count += 1;
        if *count <= Self::MOST_OF_A_KIND && self.differences.len() < Self::MOST_DIFFERENCES {
            self.differences.push(difference());
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} machines, {} questions ({} for RAM): {} delivered, {} refused ({} before a packet travels), {} unknown to the judge, {} different",
            self.machines,
            self.questions,
            self.for_ram,
            self.delivered,
            self.refused,
            self.trivial,
            self.unknown,
            self.different
        )
    }
}

/// Asks both everything about a machine; `told` is what the specification's judge knows of it.
pub(super) fn compare(name: &str, blueprint: &Blueprint, told: &Snapshot) -> Tally {
    let mut tally = Tally {
        machines: 1,
        ..Tally::default()
    };
    let topology = Topology::new(told.clone(), &mut Warnings::default());
    let judge = Judge::new(&topology);
    let mut inquirer = match Inquirer::new(blueprint) {
        Ok(inquirer) => inquirer,
        Err(error) => {
            tally.differ("no fabric".into(), || {
                format!("{name}: the simulator does not take it: {error}")
            });
            return tally;
        }
    };
    let functions: Vec<(NodeId, FunctionId)> = topology
        .nodes()
        .filter_map(|node| Some((node, inquirer.fabric().find(topology.function(node).bdf)?)))
        .collect();
    for &(client, client_function) in &functions {
        super::ram::compare(name, &judge, &mut inquirer, (client, client_function), &mut tally);
        for &(provider, provider_function) in &functions {
            if client == provider {
                continue;
            }
            // Without memory one question is like the other, and so it is where a bridge asks for what lies below it.
            let is_above = topology.climb(provider).any(|above| above == client);
            let is_asked_once = is_above || judge.default_bar(provider).is_none();
            for access in Access::ALL {
                for class in TlpClass::ALL {
                    for form in [Form::BusAddress, Form::HostAddress] {
                        if class.is_translated() && form == Form::HostAddress {
                            continue;
                        }
                        let is_first =
                            (access, class, form) == (Access::Read, TlpClass::Strict, Form::BusAddress);
                        if is_asked_once && !is_first {
                            continue;
                        }
                        tally.questions += 1;
                        let question = Question {
                            provider,
                            client,
                            bar: None,
                            access,
                            class,
                            form,
                        };
                        let fate = judge.fate(question);
                        *tally.ends.entry(end(fate.outcome)).or_default() += 1;
                        tally.trivial += u64::from(is_trivial(fate.outcome));
                        if matches!(fate.outcome, Outcome::Unknown { .. }) {
                            tally.unknown += 1;
                            continue;
                        }
                        let found = inquirer.ask(asked(question, client_function, provider_function));
                        let mut possible = std::iter::once(&fate.outcome).chain(&fate.other_refusals);
                        match possible.any(|&outcome| agree(&topology, &inquirer, outcome, found)) {
                            true if matches!(fate.outcome, Outcome::Delivered { .. }) => tally.delivered += 1,
                            true => tally.refused += 1,
                            false => tally.differ(kind(&topology, question, fate.outcome, found), || {
                                format!(
                                    "{name}: {} {access:?} {class:?} {form:?} memory of {}:\n  judge:     {:?}\n    \
                                     {:?}\n    {:?}\n  simulator: {found:?}\n    {:?}\n    {:?}",
                                    topology.function(client).bdf,
                                    topology.function(provider).bdf,
                                    fate.outcome,
                                    fate.request,
                                    fate.completion,
                                    notes(&inquirer, inquirer.request()),
                                    notes(&inquirer, inquirer.completion()),
                                )
                            }),
                        }
                    }
                }
            }
        }
    }
    tally
}

/// How it ends, in a few words.
pub(super) fn end(outcome: Outcome) -> String {
    match outcome {
        Outcome::SameFunction => "same function".into(),
        Outcome::Delivered { request, completion } => {
            format!("delivered {}/{}", request.name(), completion.name())
        }
        Outcome::Refused { why, .. } => format!("refused {}", why.name()),
        Outcome::Unknown { missing, .. } => format!("unknown {}", missing.name()),
    }
}

/// Refused before any packet travels?
pub(super) fn is_trivial(outcome: Outcome) -> bool {
    let Outcome::Refused { why, .. } = outcome else {
        return false;
    };
    matches!(
        why,
        Refusal::NoMemory | Refusal::NoHostAddress | Refusal::MasterDisabled
    )
}

/// What kind of functions, and what the two say.
fn kind(topology: &Topology, question: Question, judge: Outcome, simulator: Fate) -> String {
    format!(
        "{} {:?} {}: {}",
        port_type(topology, question.client),
        question.access,
        port_type(topology, question.provider),
        both(judge, simulator)
    )
}

pub(super) fn port_type(topology: &Topology, node: NodeId) -> String {
    match topology.function(node).port_type() {
        Fact::Known(Some(port_type)) => port_type.to_string(),
        Fact::Known(None) => "conventional function".into(),
        Fact::Unknown(_) => "unknown function".into(),
    }
}

/// What the two say.
pub(super) fn both(judge: Outcome, simulator: Fate) -> String {
    let judge = match judge {
        Outcome::Refused { why, .. } => format!("{why:?}"),
        other => format!("{other:?}"),
    };
    let simulator = match simulator {
        Fate::Lost(Loss { why, packet, at }) => {
            let at = match at {
                Where::Function(_) => "function",
                Where::HostBridge { .. } => "host bridge",
                Where::Iommu => "IOMMU",
                Where::Nowhere => "nowhere",
            };
            format!("{why:?} of the {packet:?} ({at})")
        }
        Fate::Astray(End::Function { .. }) => "another function".into(),
        Fate::Astray(end) => format!("{end:?}"),
        other => format!("{other:?}"),
    };
    format!("judge {judge}, simulator {simulator}")
}

pub(super) fn notes(inquirer: &Inquirer, route: &peerdma_sim::fabric::Route) -> Vec<String> {
    let at = |place| match place {
        Where::Function(function) => inquirer.fabric().function(function).bdf.to_string(),
        Where::HostBridge { domain, bus } => format!("host bridge {domain:04x}:{bus:02x}"),
        Where::Iommu => "IOMMU".into(),
        Where::Nowhere => "nowhere".into(),
    };
    let notes = route.notes.iter();
    notes.map(|note| format!("{}: {note}", at(note.at))).collect()
}

fn asked(question: Question, client: FunctionId, provider: FunctionId) -> inquiry::Question {
    let (access, address_type, ordering) = words(question.access, question.class);
    inquiry::Question {
        client,
        provider,
        access,
        address_type,
        ordering,
        form: match question.form {
            Form::BusAddress => inquiry::Form::BusAddress,
            Form::HostAddress => inquiry::Form::HostAddress,
        },
    }
}

/// A request in the simulator's words.
pub(super) fn words(access: Access, class: TlpClass) -> (tlp::Access, tlp::AddressType, tlp::Ordering) {
    let access = match access {
        Access::Read => tlp::Access::Read,
        Access::Write => tlp::Access::Write,
    };
    let address_type = match class.is_translated() {
        true => tlp::AddressType::Translated,
        false => tlp::AddressType::Untranslated,
    };
    let ordering = match class.is_relaxed() {
        true => tlp::Ordering::Relaxed,
        false => tlp::Ordering::Strict,
    };
    (access, address_type, ordering)
}

/// Do the two say the same, as far as both have words for it?
pub(super) fn agree(topology: &Topology, inquirer: &Inquirer, judge: Outcome, simulator: Fate) -> bool {
    match (judge, simulator) {
        (
            Outcome::Delivered { request, completion },
            Fate::Delivered {
                request: found_request,
                completion: found_completion,
            },
        ) => same_way(request, found_request) && same_way(completion, found_completion),
        (Outcome::Refused { at, why }, Fate::Lost(loss)) => {
            same_reason(why, loss)
                && same_place(topology, inquirer.fabric(), gives_up(topology, at, why), loss.at)
        }
        (Outcome::Refused { why, .. }, Fate::Astray(end)) => matches!(
            (why, end),
            (Refusal::HostMemory, End::Ram { .. })
                | (Refusal::InterruptWindow, End::Interrupt)
                | (Refusal::WrongFunction, End::Function { .. })
        ),
        (Outcome::Refused { why, .. }, Fate::NoAddress) => {
            matches!(why, Refusal::NoMemory | Refusal::NoHostAddress)
        }
        _ => false,
    }
}

fn same_way(judge: Way, simulator: inquiry::Way) -> bool {
    matches!(
        (judge, simulator),
        (Way::Direct, inquiry::Way::Direct) | (Way::ThroughRootComplex, inquiry::Way::ThroughRootComplex)
    )
}

fn same_reason(judge: Refusal, simulator: Loss) -> bool {
    let expected = match judge {
        Refusal::MasterDisabled => (Packet::Request, Why::MasterDisabled),
        Refusal::PortMasterDisabled
        | Refusal::MemoryDisabled
        | Refusal::NotForwardedUpstream
        | Refusal::Unclaimed => (Packet::Request, Why::UnsupportedRequest),
        Refusal::AcsViolation(_) => (Packet::Request, Why::AcsViolation),
        Refusal::MalformedTlp => return simulator.why == Why::MalformedTlp,
        Refusal::IommuFault => (Packet::Request, Why::IommuFault),
        Refusal::NotForwarded => (Packet::Request, Why::NotForwarded),
        Refusal::UnexpectedCompletion => (Packet::Completion, Why::UnexpectedCompletion),
        Refusal::CompletionNotForwarded => (Packet::Completion, Why::NotForwarded),
        _ => return false,
    };
    (simulator.packet, simulator.why) == expected
}

/// Who gives up on a request that the judge says is refused.
///
/// Where a function does not decode memory, the judge names that function, and who gives up is who has the packet: at the
/// end of a link the device, whose first function speaks for it (no BAR or window says which it was for); elsewhere nobody
/// takes it over, and it stays with the bridge above, or with the root complex.
fn gives_up(topology: &Topology, at: Bdf, why: Refusal) -> Bdf {
    let above = || {
        let bridge = topology.upstream(topology.find(at)?)?;
        let is_link = matches!(
            topology.function(bridge).port_type(),
            Fact::Known(Some(
                PortType::ROOT_PORT | PortType::DOWNSTREAM | PortType::FROM_CONVENTIONAL
            ))
        );
        let has_it = match is_link {
            true => *topology.children(bridge).first()?,
            false => bridge,
        };
        Some(topology.function(has_it).bdf)
    };
    match why {
        Refusal::MemoryDisabled => above().unwrap_or(at),
        _ => at,
    }
}

/// The judge names the function through which a packet came into the root complex, the simulator the host bridge.
fn same_place(topology: &Topology, fabric: &Fabric, judge: Bdf, simulator: Where) -> bool {
    match simulator {
        Where::Function(function) => fabric.function(function).bdf == judge,
        Where::HostBridge { .. } | Where::Iommu => topology
            .find(judge)
            .is_some_and(|node| matches!(topology.place(node), Place::OnRoot(_))),
        Where::Nowhere => false,
    }
}
