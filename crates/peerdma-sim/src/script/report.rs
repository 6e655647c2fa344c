//! What a script's run found out.

use super::pattern::Fates;
use super::{Class, Expected, Form};
use crate::fabric::Route;
use crate::machine::{Counters, LostTlp};
use crate::time::Time;
use crate::tlp::Access;
use peerdma::addr::Bdf;

/// What a script's run found out.
#[derive(Debug, Clone)]
pub struct Report {
    /// One for each transfer, in the order of the script.
    pub transfers: Vec<Moved>,
    /// When the last had ended.
    pub ended: Time,
    /// What links and RAM carried.
    pub counters: Counters,
    /// How many TLPs got nowhere.
    pub lost_tlps: u64,
    /// How often memory did not take what arrived.
    pub refused_writes: u64,
}

/// What became of one transfer.
#[derive(Debug, Clone)]
pub struct Moved {
    /// What the script calls it.
    pub name: Option<String>,
    /// Where bytes came from, as the script says it.
    pub from: String,
    /// Where they went, as the script says it.
    pub to: String,
    /// How many.
    pub bytes: u64,
    /// Who moved them.
    pub by: Bdf,
    /// What that is called.
    pub by_name: String,
    /// Did it read the source, or write the destination?
    pub access: Access,
    /// What kind of requests it issued.
    pub class: Class,
    /// What kind of address it was given; of RAM always [`Form::Host`].
    pub form: Form,
    /// The address that it was given.
    pub address: u64,
    /// When it started.
    pub started: Time,
    /// When the initiator was done: of a read all data had come, of a write all had left.
    pub ended: Time,
    /// What the initiator said.
    pub told: Told,
    /// What became of the bytes.
    pub fates: Fates,
    /// The way of the first request, with each decision.
    pub request: Route,
    /// The way of its completion, where it was read and arrived.
    pub completion: Option<Route>,
    /// The first of its TLPs that got nowhere.
    pub first_loss: Option<LostTlp>,
    /// What the script expected.
    pub expected: Option<Expected>,
}

/// What an initiator said of its transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It went well.
    Success,
    /// It went wrong.
    Error {
        /// What.
        what: &'static str,
        /// Bytes from the start that it calls good.
        good_bytes: u64,
    },
    /// It never said anything.
    Nothing,
}

impl Moved {
    /// Is it what the script expected? A script that expects nothing is content.
    pub fn is_as_expected(&self) -> bool {
        self.expected
            .is_none_or(|expected| expected == self.fates.whole())
    }

    /// How long the initiator was at it, in picoseconds.
    pub fn took_ps(&self) -> u64 {
        self.ended.as_ps().saturating_sub(self.started.as_ps())
    }

    /// Bytes in a second of simulated time, as the initiator sees it; nothing where it reports no success, or no time
    /// went by.
    pub fn bytes_per_second(&self) -> Option<u64> {
        if self.told != Told::Success {
            return None;
        }
        let bytes = u128::from(self.bytes) * 1_000_000_000_000;
        u64::try_from(bytes.checked_div(self.took_ps().into())?).ok()
    }
}

impl Report {
    /// Is everything as the script expected?
    pub fn is_as_expected(&self) -> bool {
        self.transfers.iter().all(Moved::is_as_expected)
    }
}
