//! What is switched off because nothing runs a device, and what the verdict would be once something does.
//!
//! A function that is bound to vfio-pci, or to nothing, may issue no requests, and perhaps answers none: the specification's verdict says so.
//! The bridges above it may pass nothing upwards for the same reason. Whoever takes the function into use switches that on, and the kernel
//! the bridges; `copy` and `probe` judge as if it were.

use super::Direction;
use crate::answer::AnswersLine;
use crate::names;
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::route::{Access, TlpClass, Verdict};
use peerdma::snapshot::{Function, Warnings};
use peerdma::topology::{NodeId, Topology};
use serde::Serialize;

/// Drivers that hold a function and do not use it.
const HOLDERS: [&str; 2] = ["vfio-pci", "pci-stub"];

/// What is off, and the specification's verdicts once it is on.
pub(super) struct Idle {
    functions: Vec<Off>,
    /// The client accesses the provider's memory, then the other way round.
    then: [Verdict; 2],
    class: TlpClass,
}

/// What is off in one function: an end, or a bridge above one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Off {
    function: Bdf,
    /// What holds it; nothing where no driver is bound, or for a bridge none is known.
    driver: Option<String>,
    off: Vec<&'static str>,
    #[serde(skip)]
    spoken: String,
    #[serde(skip)]
    reason: Reason,
}

/// Why it is off.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    /// Whoever holds the function does not use it.
    Held(Holder),
    /// The kernel switches a bridge on when a driver enables something below it.
    Below,
}

/// Who holds a function that nothing runs.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Holder {
    Driver(String),
    Nobody,
}

impl Idle {
    /// Of both ends; nothing where nothing is off, or something runs them.
    pub(super) fn of(topology: &Topology, there: &Direction, class: TlpClass) -> Option<Self> {
        let ends = [there.client, there.provider];
        let mut functions: Vec<Off> = Vec::new();
        for end in ends {
            let Some(holder) = Holder::of(topology.function(end)) else {
                continue;
            };
            let own = Off::of(topology.function(end), Reason::Held(holder));
            let above = topology.climb(end).skip(1);
            let above = above.filter_map(|bridge| Off::of(topology.function(bridge), Reason::Below));
            for off in own.into_iter().chain(above) {
                if functions.iter().all(|known| known.function != off.function) {
                    functions.push(off);
                }
            }
        }
        if functions.is_empty() || there.is_itself() {
            return None;
        }
        let mut snapshot = topology.snapshot().clone();
        snapshot.edit(|function| {
            let is_off = functions.iter().any(|off| off.function == function.bdf);
            if let (true, Fact::Known(command)) = (is_off, &mut function.config.command) {
                *command = command.once_driven();
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
            "A driver switches {} on when it takes the device into use{}, and so do `peerdma copy` and `peerdma probe`. By the specification it would \
             then be: {}.",
            match self.functions.iter().map(|off| off.off.len()).sum::<usize>() {
                1 => "that",
                _ => "all that",
            },
            match self.functions.iter().any(|off| off.reason == Reason::Below) {
                true => " (the kernel does it for the bridges above)",
                false => "",
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

impl Holder {
    /// Nothing where something runs the function, or that is unknown.
    fn of(function: &Function) -> Option<Self> {
        match &function.os.driver {
            Fact::Known(None) => Some(Self::Nobody),
            Fact::Known(Some(driver)) if HOLDERS.contains(&driver.as_str()) => {
                Some(Self::Driver(driver.clone()))
            }
            Fact::Known(Some(_)) | Fact::Unknown(_) => None,
        }
    }
}

impl Off {
    /// Nothing where all is on, or that is unknown.
    fn of(function: &Function, reason: Reason) -> Option<Self> {
        let Fact::Known(command) = function.config.command else {
            return None;
        };
        let both = [
            (command.bus_master(), "bus-master"),
            (command.memory_enabled(), "memory"),
        ];
        let off = both.into_iter().filter(|(is_on, _)| !is_on);
        let off: Vec<_> = off.map(|(_, name)| name).collect();
        (!off.is_empty()).then(|| Self {
            function: function.bdf,
            driver: match &function.os.driver {
                Fact::Known(driver) => driver.clone(),
                Fact::Unknown(_) => None,
            },
            off,
            spoken: names::spoken(function),
            reason,
        })
    }

    fn words(&self) -> String {
        let what: Vec<_> = (self.off.iter())
            .map(|off| match (*off, &self.reason) {
                ("memory", Reason::Held(_)) => "it answers at no memory address (memory enable is clear)",
                ("memory", Reason::Below) => "it passes nothing downwards (memory enable is clear)",
                (_, Reason::Held(_)) => "it may issue no requests (bus master enable is clear)",
                (_, Reason::Below) => "it passes no requests upwards (bus master enable is clear)",
            })
            .collect();
        let why = match &self.reason {
            Reason::Held(Holder::Driver(driver)) => format!("it is bound to {driver}, and nothing runs it"),
            Reason::Held(Holder::Nobody) => "no driver is bound to it".to_owned(),
            Reason::Below => "nothing below it is in use".to_owned(),
        };
        format!("{}: {}, because {why}.", self.spoken, what.join(" and "))
    }
}
