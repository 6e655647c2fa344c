//! How an initiator reaches the memory of a BAR, and host RAM: asked once, when initiator and region meet.

use crate::addr::{Address, Bdf, Iova, Span};
use crate::route::spec::{Form, Judge, Missing, Outcome, Question, Refusal, Way};
use crate::route::{Access, MapType, TlpClass};
use alloc::vec::Vec;
use core::fmt;

/// A function that issues requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Initiator {
    /// Its address.
    pub bdf: Bdf,
    /// The highest address that it can issue.
    pub address_mask: u64,
    /// The kind of its packets.
    pub class: TlpClass,
    /// What its host bridge adds, modulo 2^64, to an address that comes up from it and that no IOMMU translates.
    pub inbound_offset: u64,
}

/// How a function names its own memory, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnBase {
    /// Which BAR.
    pub bar: u8,
    /// Where in the BAR the memory that it can name begins, in bytes.
    pub offset_bytes: u64,
    /// How much it can name.
    pub len_bytes: u64,
    /// What the device calls its first byte: for an NVMe controller CMBMSC.CBA, or the bus address of the first byte.
    pub base: u64,
}

/// What a function calls its own memory, as addresses that it may issue; nothing where it is empty or wraps.
pub(super) fn own_span(own: OwnBase) -> Option<Span<Iova>> {
    let last = own.base.checked_add(own.len_bytes.checked_sub(1)?)?;
    Span::new(Iova::from_u64(own.base), Iova::from_u64(last)).ok()
}

/// Does each of these name something, and none a byte, or by an address, that another does, too?
pub(super) fn are_sound(bases: &[OwnBase]) -> bool {
    let ends = |own: &OwnBase| {
        let last_in_bar = own.offset_bytes.checked_add(own.len_bytes)?;
        let span = own_span(*own).filter(|_| own.bar <= 5)?;
        let bytes = (own.bar, own.offset_bytes, last_in_bar - 1);
        Some((bytes, (0, span.first().to_u64(), span.last().to_u64())))
    };
    let Some(ends) = bases.iter().map(ends).collect::<Option<Vec<_>>>() else {
        return false;
    };
    let are_apart = |mut spans: Vec<(u8, u64, u64)>| {
        spans.sort_unstable();
        let mut pairs = spans.iter().zip(spans.iter().skip(1));
        pairs.all(|(one, next)| one.0 != next.0 || one.2 < next.1)
    };
    let (bytes, addresses) = ends.into_iter().unzip();
    are_apart(bytes) && are_apart(addresses)
}

/// How one initiator reaches one BAR, for one access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerRoute {
    /// It reaches it.
    Reached {
        /// How.
        map_type: MapType,
        /// Which of the two addresses its requests must carry.
        form: Form,
    },
    /// It does not, or nobody can say.
    Refused(Refused),
}

/// Why a peer, or host RAM, is not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// A request does not arrive, or nothing comes back.
    Stopped {
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
    /// The machine has no such function.
    NoSuchFunction(Bdf),
    /// The memory is the function's own, and it has no name for this part of it ([`OwnBase`]).
    NotNamed(Bdf),
    /// Whoever judges says that the function is reached, by a map type that says that it is not.
    NotSupported(Bdf),
    /// Nobody can say whether the system's kernel reaches the function: it decides by facts that are not known here.
    Undecided(Bdf),
    /// Parts of the function's BAR are reached in different ways: no window holds all of it, or other memory covers a part.
    InParts(Bdf),
}

/// Who judges routes.
pub trait Routes {
    /// How `initiator` reaches BAR `bar` of `provider`; never asked where they are the same.
    fn route(&self, initiator: Bdf, provider: Bdf, bar: u8, access: Access, class: TlpClass) -> PeerRoute;

    /// Does `initiator` reach host RAM, by an address that leads nowhere else? It is taken to where nobody judges it.
    ///
    /// # Errors
    /// Why it does not, or why nobody can say.
    fn ram(&self, initiator: Bdf, access: Access, class: TlpClass) -> Result<(), Refused> {
        let _ = (initiator, access, class);
        Ok(())
    }
}

/// The judge of the specification.
#[derive(Debug)]
pub struct SpecRoutes<'j, 't> {
    judge: &'j Judge<'t>,
}

impl<'j, 't> SpecRoutes<'j, 't> {
    /// Routes as `judge` sees them.
    pub fn new(judge: &'j Judge<'t>) -> Self {
        Self { judge }
    }
}

impl Routes for SpecRoutes<'_, '_> {
    fn route(&self, initiator: Bdf, provider: Bdf, bar: u8, access: Access, class: TlpClass) -> PeerRoute {
        let topology = self.judge.topology();
        let find = |bdf| {
            topology
                .find(bdf)
                .ok_or(PeerRoute::Refused(Refused::NoSuchFunction(bdf)))
        };
        let (client, provider) = match (find(initiator), find(provider)) {
            (Ok(client), Ok(provider)) => (client, provider),
            (Err(refused), _) | (_, Err(refused)) => return refused,
        };
        let question = Question {
            provider,
            client,
            bar: Some(bar),
            access,
            class,
            form: Form::BusAddress,
        };
        let start = self.route_at(question, 0);
        let seams = self.judge.seams(provider, bar);
        let mut parts = seams.iter().copied().take(MOST_SEAMS + 1).enumerate();
        let at = topology.function(provider).bdf;
        parts
            .try_fold(start, |all, (number, offset_bytes)| {
                let part = self.route_at(question, offset_bytes);
                match (all, part) {
                    (PeerRoute::Refused(_), _) => Err(all),
                    (_, PeerRoute::Refused(_)) => Err(part),
                    _ if all != part || number >= MOST_SEAMS => Err(PeerRoute::Refused(Refused::InParts(at))),
                    _ => Ok(all),
                }
            })
            .unwrap_or_else(|refused| match refused {
                PeerRoute::Refused(Refused::InParts(_)) => {
                    self.in_one_form(question, &seams).unwrap_or(refused)
                }
                _ => refused,
            })
    }

    fn ram(&self, initiator: Bdf, access: Access, class: TlpClass) -> Result<(), Refused> {
        let client = self.judge.topology().find(initiator);
        let client = client.ok_or(Refused::NoSuchFunction(initiator))?;
        match self.judge.ram_fate(client, access, class).outcome {
            Outcome::Delivered { .. } | Outcome::SameFunction => Ok(()),
            Outcome::Refused { at, why } => Err(Refused::Stopped { at, why }),
            Outcome::Unknown { at, missing } => Err(Refused::Unknown { at, missing }),
        }
    }
}

/// Parts of a BAR that are asked about; on a sound machine there is one.
const MOST_SEAMS: usize = 64;

impl SpecRoutes<'_, '_> {
    /// The route to all parts of a BAR by the form that reaches each of them, though it is not the best for each; the longest way gives the map
    /// type.
    fn in_one_form(&self, question: Question, seams: &[u64]) -> Option<PeerRoute> {
        let starts = || core::iter::once(0).chain(seams.iter().copied());
        let reached = |form| {
            let question = Question { form, ..question };
            starts().try_fold(MapType::BusAddr, |longest, offset_bytes| {
                match self.judge.fate_at(question, offset_bytes).outcome {
                    Outcome::Delivered {
                        request: Way::Direct,
                        completion: Way::Direct,
                    } => Some(longest),
                    Outcome::Delivered { .. } => Some(MapType::ThruHostBridge),
                    _ => None,
                }
            })
        };
        if seams.len() > MOST_SEAMS {
            return None;
        }
        let bus = reached(Form::BusAddress).map(|map_type| (map_type, Form::BusAddress));
        let host = || {
            let is_reached = !question.class.is_translated() && reached(Form::HostAddress).is_some();
            is_reached.then_some((MapType::ThruHostBridge, Form::HostAddress))
        };
        let (map_type, form) = bus.or_else(host)?;
        Some(PeerRoute::Reached { map_type, form })
    }

    /// The route to what lies so far into the BAR.
    fn route_at(&self, question: Question, offset_bytes: u64) -> PeerRoute {
        let class = question.class;
        let ask = |form| {
            let question = Question { form, ..question };
            self.judge.fate_at(question, offset_bytes).outcome
        };
        let bus = ask(Form::BusAddress);
        let reached = |map_type, form| PeerRoute::Reached { map_type, form };
        if let Outcome::Delivered {
            request: Way::Direct,
            completion: Way::Direct,
        } = bus
        {
            return reached(MapType::BusAddr, Form::BusAddress);
        }
        // The bus address may not arrive, or pass the root complex: there, the host's own address is the one that is meant.
        let host = match class.is_translated() {
            true => bus,
            false => ask(Form::HostAddress),
        };
        match (host, bus) {
            (Outcome::Delivered { .. }, _) if !class.is_translated() => {
                reached(MapType::ThruHostBridge, Form::HostAddress)
            }
            (_, Outcome::Delivered { .. } | Outcome::SameFunction) => {
                reached(MapType::ThruHostBridge, Form::BusAddress)
            }
            (Outcome::Unknown { at, missing }, _) | (_, Outcome::Unknown { at, missing }) => {
                PeerRoute::Refused(Refused::Unknown { at, missing })
            }
            (
                Outcome::Refused { .. } | Outcome::Delivered { .. } | Outcome::SameFunction,
                Outcome::Refused { at, why },
            ) => PeerRoute::Refused(Refused::Stopped { at, why }),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped { at, why } => write!(f, "at {at}: {why}"),
            Self::Unknown { at, missing } => write!(f, "unknown, for want of a fact of {at}: {missing}"),
            Self::NoSuchFunction(bdf) => write!(f, "the machine has no function {bdf}"),
            Self::NotSupported(bdf) => {
                write!(f, "the way to {bdf} is NOT_SUPPORTED: whoever decides refuses it")
            }
            Self::Undecided(bdf) => write!(
                f,
                "unknown, for want of a fact by which the kernel decides on the way to {bdf}; ask as root, who may read all of \
                 configuration space"
            ),
            Self::InParts(bdf) => write!(f, "parts of the memory of {bdf} are reached in different ways"),
            Self::NotNamed(bdf) => write!(f, "{bdf} has no name for this part of its own memory"),
        }
    }
}
