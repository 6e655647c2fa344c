//! Why a verdict is what it is: the fates of both forms, and what follows from them.

use super::{Fate, Form, Judge, Missing, Outcome, Question, Refusal, Way};
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
        let reason = reason(bus_form.outcome, host, answer);
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

fn reason(bus: Outcome, host: Option<Outcome>, answer: Answer) -> Reason {
    let through = |form| Reason::ThroughRootComplex { form };
    match (bus, host) {
        (Outcome::SameFunction, _) => Reason::SameFunction,
        (
            Outcome::Delivered {
                request: Way::Direct,
                completion: Way::Direct,
            },
            _,
        ) => Reason::Direct,
        // The bus form may or may not arrive, through the root complex, and where it does not, the host form does.
        (Outcome::Unknown { .. }, host) if answer.map_type() == Some(MapType::ThruHostBridge) => {
            match host {
                Some(Outcome::Delivered { .. }) => through(Form::HostAddress),
                _ => through(Form::BusAddress),
            }
        }
        (Outcome::Unknown { at, missing }, _) => Reason::Unknown { at, missing },
        (_, Some(Outcome::Delivered { .. })) => through(Form::HostAddress),
        (Outcome::Delivered { .. }, _) => through(Form::BusAddress),
        (_, Some(Outcome::Unknown { at, missing })) => Reason::Unknown { at, missing },
        (_, Some(Outcome::Refused { at, why })) | (Outcome::Refused { at, why }, _) => {
            Reason::Refused { at, why }
        }
    }
}
