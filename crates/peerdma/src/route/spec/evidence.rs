//! Why a verdict is what it is: the fates of both forms, and what follows from them.

use super::{Fate, Form, Judge, Missing, Outcome, Question, Refusal};
use crate::addr::Bdf;
use crate::route::{Access, Answer, MapType, TlpClass};
use crate::topology::NodeId;

/// An answer with all that it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Whose memory it is.
    pub provider: NodeId,
    /// Who reads or writes it.
    pub client: NodeId,
    /// What is done.
    pub access: Access,
    /// The kind of packets.
    pub class: TlpClass,
    /// The BAR that was judged: the largest; nothing where the provider has none that anyone knows.
    pub bar: Option<u8>,
    /// The answer, as [`Judge::verdict`] gives it.
    pub answer: Answer,
    /// What becomes of a request that carries the bus address.
    pub bus_form: Fate,
    /// What becomes of one that carries the address of host memory; nothing for translated requests.
    pub host_form: Option<Fate>,
    /// What decided.
    pub reason: Reason,
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Reason {
    /// The function asks for its own memory: nothing travels.
    SameFunction,
    /// Request and completions turn around below the root complex.
    Direct,
    /// The request, its completions or both pass the root complex, in this form.
    ThroughRootComplex {
        /// The form of the request that arrives.
        form: Form,
    },
    /// Neither form arrives; this is what becomes of the last one that Linux would try.
    Refused {
        /// The function that stops it.
        at: Bdf,
        /// Why.
        why: Refusal,
    },
    /// It depends on a fact that is not known.
    Unknown {
        /// The function whose fact it is.
        at: Bdf,
        /// The fact.
        missing: Missing,
    },
}

impl Judge<'_> {
    /// The answer for one pair, access and class, and why it is so.
    pub fn evidence(&self, provider: NodeId, client: NodeId, access: Access, class: TlpClass) -> Evidence {
        let fate = |form| {
            self.fate(Question {
                provider,
                client,
                bar: None,
                access,
                class,
                form,
            })
        };
        let bus_form = fate(Form::BusAddress);
        let host_form = (!class.is_translated()).then(|| fate(Form::HostAddress));
        let answer = self.answer(provider, client, access, class);
        let host = host_form.as_ref().map(|fate| fate.outcome);
        let reason = reason(self.bdf(client), bus_form.outcome, host, answer);
        Evidence {
            provider,
            client,
            access,
            class,
            bar: self.default_bar(provider),
            answer,
            bus_form,
            host_form,
            reason,
        }
    }
}

fn reason(client: Bdf, bus: Outcome, host: Option<Outcome>, answer: Answer) -> Reason {
    let outcomes = [host, Some(bus)];
    let mut outcomes = outcomes.into_iter().flatten();
    let unknown = outcomes.clone().find_map(|outcome| match outcome {
        Outcome::Unknown { at, missing } => Some(Reason::Unknown { at, missing }),
        _ => None,
    });
    let refused = outcomes.find_map(|outcome| match outcome {
        Outcome::Refused { at, why } => Some(Reason::Refused { at, why }),
        _ => None,
    });
    let open = match bus {
        Outcome::Unknown { at, missing } => Some(Reason::Unknown { at, missing }),
        _ => unknown,
    };
    let known = match answer.map_type() {
        Some(MapType::BusAddr) if bus == Outcome::SameFunction => Some(Reason::SameFunction),
        Some(MapType::BusAddr) => Some(Reason::Direct),
        // Which way completions take may be unknown, and that the request arrives known.
        Some(MapType::ThruHostBridge) => Some(Reason::ThroughRootComplex {
            form: match host {
                None | Some(Outcome::Refused { .. }) => Form::BusAddress,
                Some(_) => Form::HostAddress,
            },
        }),
        Some(MapType::NotSupported) => refused,
        None => open,
    };
    // The forms together can have more unknown facts than are tried, and each by itself fewer.
    known.or(open).unwrap_or(Reason::Unknown {
        at: client,
        missing: Missing::TooMuch,
    })
}
