//! What is switched off because nothing runs a device, and what the verdict would be once something does.
//!
//! A function that is bound to vfio-pci, or to nothing, may issue no requests, and perhaps answers none: the specification's verdict says so.
//! Whoever takes it into use switches that on; `copy` and `probe` judge as if it were.

use super::Direction;
use crate::answer::AnswersLine;
use crate::names;
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::pci::Command;
use peerdma::route::{Access, TlpClass, Verdict};
use peerdma::snapshot::{Function, Warnings};
use peerdma::topology::{NodeId, Topology};
use serde::Serialize;

/// Bits of the command register: memory is answered for, requests may be issued (7.5.1.1.3).
const MEMORY: u16 = 0b010;
const BUS_MASTER: u16 = 0b100;

/// Drivers that hold a function and do not use it.
const HOLDERS: [&str; 2] = ["vfio-pci", "pci-stub"];

/// What is off, and the specification's verdicts once it is on.
pub(super) struct Idle {
    functions: Vec<Off>,
    /// The client accesses the provider's memory, then the other way round.
    then: [Verdict; 2],
    class: TlpClass,
}

/// What is off in one function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Off {
    function: Bdf,
    /// What holds it; nothing where no driver is bound.
    driver: Option<String>,
    off: Vec<&'static str>,
    #[serde(skip)]
    spoken: String,
}

impl Idle {
    /// Of both ends; nothing where nothing is off, or something runs them.
    pub(super) fn of(topology: &Topology, there: &Direction, class: TlpClass) -> Option<Self> {
        let ends = [there.client, there.provider];
        let mut functions: Vec<Off> = ends
            .iter()
            .filter_map(|end| Off::of(topology.function(*end)))
            .collect();
        functions.dedup();
        if functions.is_empty() || there.is_itself() {
            return None;
        }
        let mut snapshot = topology.snapshot().clone();
        snapshot.edit(|function| {
            let is_off = functions.iter().any(|off| off.function == function.bdf);
            if let (true, Fact::Known(command)) = (is_off, &mut function.config.command) {
                *command = Command(command.0 | MEMORY | BUS_MASTER);
            }
        });
        let on = Topology::new(snapshot, &mut Warnings::default());
        let judge = peerdma::route::spec::Judge::new(&on);
        let verdict = |provider: NodeId, client: NodeId| {
            let node = |node| on.find(topology.function(node).bdf);
            Some(judge.verdict(node(provider)?, node(client)?))
        };
        let [client, provider] = ends;
        Some(Self {
            functions,
            then: [verdict(provider, client)?, verdict(client, provider)?],
            class,
        })
    }

    /// Sentences: what is off and why, then what would be said.
    pub(super) fn words(&self, topology: &Topology, ends: [NodeId; 2]) -> Vec<String> {
        let mut words: Vec<String> = self.functions.iter().map(Off::words).collect();
        let spoken = |node| names::spoken(topology.function(node));
        let [client, provider] = ends.map(spoken);
        let pairs = [(&client, &provider), (&provider, &client)];
        let said = pairs.into_iter().zip(&self.then).map(|((from, to), verdict)| {
            let [read, write] = Access::ALL.map(|access| verdict.answer(access, self.class).to_string());
            match read == write {
                true => format!("{from} to {to}: {read}"),
                false => format!("{from} to {to}: read {read}, write {write}"),
            }
        });
        let said: Vec<String> = said.collect();
        words.push(format!(
            "A driver switches {} on when it takes the device into use, and so do `peerdma copy` and `peerdma probe`. By the specification it would \
             then be: {}.",
            match self.functions.iter().map(|off| off.off.len()).sum::<usize>() {
                1 => "that",
                _ => "all that",
            },
            said.join("; ")
        ));
        words
    }

    /// As data.
    pub(super) fn line(&self) -> Line<'_> {
        Line {
            functions: &self.functions,
            then: self
                .then
                .each_ref()
                .map(|verdict| AnswersLine::new(verdict, self.class)),
        }
    }
}

/// The same as data.
#[derive(Serialize)]
pub(super) struct Line<'i> {
    functions: &'i [Off],
    /// In the order of `directions`.
    then: [AnswersLine; 2],
}

impl Off {
    fn of(function: &Function) -> Option<Self> {
        let driver = match &function.os.driver {
            Fact::Known(None) => None,
            Fact::Known(Some(driver)) if HOLDERS.contains(&driver.as_str()) => Some(driver.clone()),
            Fact::Known(Some(_)) | Fact::Unknown(_) => return None,
        };
        let Fact::Known(Command(bits)) = function.config.command else {
            return None;
        };
        let both = [(BUS_MASTER, "bus-master"), (MEMORY, "memory")];
        let off: Vec<_> = both
            .iter()
            .filter(|(bit, _)| bits & bit == 0)
            .map(|(_, name)| *name)
            .collect();
        (!off.is_empty()).then(|| Self {
            function: function.bdf,
            driver,
            off,
            spoken: names::spoken(function),
        })
    }

    fn words(&self) -> String {
        let what: Vec<_> = (self.off.iter())
            .map(|off| match *off {
                "memory" => "it answers at no memory address (memory enable is clear)",
                _ => "it may issue no requests (bus master enable is clear)",
            })
            .collect();
        let why = match &self.driver {
            Some(driver) => format!("it is bound to {driver}, and nothing runs it"),
            None => "no driver is bound to it".to_owned(),
        };
        format!("{}: {}, because {why}.", self.spoken, what.join(" and "))
    }
}
