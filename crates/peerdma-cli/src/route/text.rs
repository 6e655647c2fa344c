//! The explanation for reading.

use super::{Direction, Explanation, Record, drawing, headlines, opinions, rates, remedy, steps};
use crate::args::Policy;
use crate::layout::wrapped;
use crate::report::Out;
use crate::style::Tone;
use crate::{describe, links, names, reason};
use peerdma::fact::Fact;
use peerdma::route::linux::{Kernel, Reason, Remedy};
use peerdma::route::{Access, LinkHealth, MapType};
use peerdma::snapshot::IommuMode;
use peerdma::topology::NodeId;
use std::fmt::Write as _;

/// Writes all sections.
pub(super) fn write(explanation: &Explanation<'_>, out: &Out) -> String {
    let mut page = Page {
        explanation,
        out,
        text: String::new(),
    };
    if explanation.there.is_itself() {
        page.itself();
        page.measured();
        page.unknown();
        page.memory();
        page.iommu();
        return page.text;
    }
    headlines::write(explanation, out, &mut page.text);
    if explanation.policy != Policy::Spec {
        if explanation.there.evidence.reason != Reason::PlaceUnknown {
            page.section("The way of a request");
            let drawing = drawing::draw(explanation.topology(), &explanation.there, out);
            page.text.push_str(&drawing);
        }
        page.verdicts();
    }
    if matches!(explanation.policy, Policy::Spec | Policy::All) {
        page.steps();
    }
    page.opinions();
    page.idle();
    page.measured();
    page.slowest();
    page.bandwidth();
    page.unknown();
    page.remedy();
    page.memory();
    page.iommu();
    page.text
}

struct Page<'a> {
    explanation: &'a Explanation<'a>,
    out: &'a Out,
    text: String,
}

impl Page<'_> {
    fn section(&mut self, title: &str) {
        let title = self.out.palette.paint(Tone::Strong, title);
        let _ = write!(self.text, "\n{title}\n");
    }

    fn paragraph(&mut self, words: &str) {
        self.text.push_str(&wrapped(words, "  ", "  ", self.out.width));
    }

    fn spoken(&self, node: NodeId) -> String {
        names::spoken(self.explanation.topology().function(node))
    }

    /// What is off because nothing runs the devices.
    fn idle(&mut self) {
        let Some(idle) = &self.explanation.idle else {
            return;
        };
        self.section("What is switched off now");
        let there = &self.explanation.there;
        for words in idle.words(self.explanation.topology(), [there.client, there.provider]) {
            self.paragraph(&words);
        }
    }

    /// What probes have seen.
    fn measured(&mut self) {
        let Some(records) = &self.explanation.records else {
            return;
        };
        self.section("What probes have seen");
        if records.is_empty() {
            self.paragraph("The records hold nothing of this pair, or of such a machine.");
        }
        let seen: Vec<String> = records.iter().flat_map(Record::words).collect();
        if seen.is_empty() && !records.is_empty() {
            self.paragraph("Nothing: what is recorded was refused, and not tried.");
        }
        for words in seen {
            self.text
                .push_str(&wrapped(&words, "  - ", "    ", self.out.width));
        }
    }

    /// What there is to say of a function and its own memory.
    fn itself(&mut self) {
        let there = &self.explanation.there;
        let name = self.spoken(there.client);
        let line = format!("{name} is both ends: nothing travels, the device moves data inside.");
        self.text.push_str(&wrapped(&line, "", "  ", self.out.width));
        self.section(&self.asked());
        self.paragraph(&self.answers(there));
        let counts = "Linux counts the function's own redirect bits";
        let words = match there
            .linux_answer(Access::Read, self.explanation.class)
            .map_type()
        {
            Some(MapType::BusAddr) => format!("{}.", reason::turn(&there.evidence)),
            Some(_) => format!(
                "{counts} here too ({}) and would not even map its own memory by bus address. No request is redirected \
                 by that: none leaves the device.",
                reason::turn(&there.evidence)
            ),
            None => format!(
                "{counts} here too, and they are unknown: with one of them on it would not even map its own memory by bus \
                 address."
            ),
        };
        self.text
            .push_str(&wrapped(&words, "    ", "    ", self.out.width));
    }

    /// Which Linux it is that says what follows.
    fn asked(&self) -> String {
        match self.explanation.machine.kernel {
            Kernel::Next => "Linux with the posted rewrite (next) says".into(),
            Kernel::Unknown => "Linux says (release unknown: where 6.1 to 7.3 agree)".into(),
            release => format!("Linux {release} says"),
        }
    }

    /// `nvme0 to gpu0: read BUS_ADDR (distance 4), write BUS_ADDR (distance 4).`
    fn answers(&self, direction: &Direction) -> String {
        let each = Access::ALL.map(|access| {
            let answer = direction.linux_answer(access, self.explanation.class);
            let distance = direction.evidence.verdict.distance(answer);
            let distance = distance.map_or_else(|| "?".into(), |steps| steps.to_string());
            let verb = if access == Access::Read { "read" } else { "write" };
            format!("{verb} {answer} (distance {distance})")
        });
        format!(
            "{} to {}: {}.",
            self.spoken(direction.client),
            self.spoken(direction.provider),
            each.join(", ")
        )
    }

    fn verdicts(&mut self) {
        let explanation = self.explanation;
        self.section(&self.asked());
        let alike = explanation.there.evidence.reason == explanation.back.evidence.reason
            && explanation.there.evidence.verdict == explanation.back.evidence.verdict;
        for (index, direction) in [&explanation.there, &explanation.back].into_iter().enumerate() {
            self.paragraph(&self.answers(direction));
            let why = match (index, alike) {
                (1, true) => "for the same reason".to_owned(),
                _ => match &direction.evidence.gate {
                    None => reason::turn(&direction.evidence),
                    Some(gate) => format!(
                        "{}; {}",
                        reason::turn(&direction.evidence),
                        reason::root_complex(gate)
                    ),
                },
            };
            self.text
                .push_str(&wrapped(&format!("{why}."), "    ", "    ", self.out.width));
        }
        if explanation.there.evidence.reason == Reason::NoSharedBridge {
            self.paragraph(
                "ACS plays no part: without a switch above both, every request has to pass the root complex.",
            );
        }
    }

    /// The ways of reading and writing by the specification, there and back.
    fn steps(&mut self) {
        let (topology, out) = (self.explanation.topology(), self.out);
        self.section("By the specification, step by step");
        for direction in [&self.explanation.there, &self.explanation.back] {
            let (client, provider) = (self.spoken(direction.client), self.spoken(direction.provider));
            self.paragraph(&format!("{client} and the memory of {provider}"));
            steps::write(topology, &direction.spec, out, &mut self.text);
        }
    }

    /// Three judges side by side, and whom to believe for what.
    fn opinions(&mut self) {
        self.section("Who says what");
        opinions::write(self.explanation, self.out, &mut self.text);
    }

    fn slowest(&mut self) {
        let bottleneck = &self.explanation.links;
        let Some(link) = bottleneck.slowest.and_then(|index| bottleneck.links.get(index)) else {
            return;
        };
        self.section("The slowest link");
        let mut words = format!(
            "{} between {} and {} ({} each way before packet overhead): {}.",
            link.now,
            link.above.map_or_else(
                || "a port that is not in the source".into(),
                |above| above.to_string()
            ),
            link.below,
            links::gigabytes_per_second(link.now),
            links::explained(link)
        );
        if link.health == LinkHealth::LimitedByOneEnd {
            words.push_str(" A slot or card of another generation, no fault.");
        }
        if bottleneck.unknown > 0 {
            let _ = write!(
                words,
                " Of {} links on the way nothing is known.",
                bottleneck.unknown
            );
        }
        self.paragraph(&words);
    }

    fn bandwidth(&mut self) {
        if let Some(rates) = &self.explanation.rates {
            self.section("What the links let through (an estimate for one flow)");
            rates::write_all(self.explanation, rates, self.out, &mut self.text);
        }
    }

    fn unknown(&mut self) {
        if self.explanation.advice.is_empty() {
            return;
        }
        self.section("What is unknown");
        for advice in &self.explanation.advice {
            self.text.push_str(&wrapped(
                &format!("{}.", advice.unknown),
                "  ",
                "  ",
                self.out.width,
            ));
            self.text.push_str(&wrapped(
                &advice.settle,
                "    to settle it: ",
                "      ",
                self.out.width,
            ));
        }
    }

    fn remedy(&mut self) {
        let there = &self.explanation.there;
        match &self.explanation.remedy {
            Some(remedy) => self.redirects(remedy),
            None if there.evidence.reason == Reason::NoSharedBridge
                && self.explanation.policy != Policy::Spec
                && there
                    .linux_answer(Access::Read, self.explanation.class)
                    .surely_refused() =>
            {
                self.section("What would change it");
                self.paragraph(
                    "No setting. Both devices below one PCIe switch would reach each other without the root complex. \
                     Patching the kernel's list is no remedy: root complexes that are not listed have been seen to \
                     report success and deliver garbage.",
                );
            }
            None => {}
        }
    }

    fn redirects(&mut self, remedy: &Remedy) {
        self.section("What would change it, at a price");
        self.paragraph("From the next boot on, by the command line of the kernel (in GRUB within quotes, for the semicolon):");
        let _ = writeln!(self.text, "    {}", remedy.kernel_parameter);
        self.paragraph("At once, until the next boot, as root:");
        for (command, hop) in remedy.setpci.iter().zip(&remedy.hops) {
            let _ = writeln!(
                self.text,
                "    {command}    # {} becomes {}",
                hop.control, hop.becomes
            );
        }
        if let Some(words) = remedy::promised(remedy.then) {
            self.paragraph(&words);
        }
        for price in remedy::PRICES {
            self.paragraph(price);
        }
        if !remedy.unsure.is_empty() {
            let unsure: Vec<String> = remedy.unsure.iter().map(|bdf| bdf.to_string()).collect();
            self.paragraph(&format!(
                "ACS of {} is unknown and may redirect too.",
                unsure.join(", ")
            ));
        }
    }

    fn memory(&mut self) {
        let there = &self.explanation.there;
        let mut ends = vec![there.provider, there.client];
        ends.dedup();
        for node in ends {
            let function = self.explanation.topology().function(node);
            self.section(&format!("Memory of {}", names::spoken(function)));
            match function.bars() {
                Fact::Unknown(why) => self.paragraph(&format!("Unknown: {why}.")),
                Fact::Known(bars) => {
                    let memory: Vec<_> = bars.iter().filter(|bar| bar.kind.is_memory()).collect();
                    if memory.is_empty() {
                        self.paragraph("It has no memory BAR: there is nothing to read or write.");
                    }
                    for bar in memory {
                        self.paragraph(&describe::bar(bar));
                    }
                }
            }
            if let Fact::Known(Some(p2pmem)) = function.os.p2pmem {
                let published = if p2pmem.published {
                    "published"
                } else {
                    "not published"
                };
                self.paragraph(&format!(
                    "Offered to peers by its driver (p2pmem): {} of {}, {published}",
                    crate::layout::bytes(p2pmem.available_bytes),
                    crate::layout::bytes(p2pmem.size_bytes)
                ));
            }
        }
    }

    fn iommu(&mut self) {
        self.section("IOMMU");
        let words = match self.explanation.topology().snapshot().host.iommu {
            Fact::Known(IommuMode::Off) => "Off: devices use physical addresses.",
            Fact::Known(IommuMode::Passthrough) => {
                "Passes addresses unchanged. Linux still switches ACS redirects on at boot when an IOMMU is there."
            }
            Fact::Known(IommuMode::Translating) => {
                "Translates. Requests that turn at a switch carry bus addresses and never meet it; those through the root \
                 complex do. Linux switches ACS redirects on at boot when an IOMMU is there."
            }
            Fact::Unknown(_) => {
                "Unknown; Linux's answers do not depend on it, the specification's may (--iommu tells it)."
            }
        };
        self.paragraph(words);
        let mut ends = vec![self.explanation.there.client, self.explanation.there.provider];
        ends.dedup();
        let groups: Vec<String> = ends
            .into_iter()
            .filter_map(|node| {
                let function = self.explanation.topology().function(node);
                match &function.os.iommu_group {
                    Fact::Known(Some(group)) => {
                        Some(format!("{} in {}", names::spoken(function), group.number))
                    }
                    _ => None,
                }
            })
            .collect();
        if !groups.is_empty() {
            self.paragraph(&format!("Groups: {}.", groups.join(", ")));
        }
    }
}
