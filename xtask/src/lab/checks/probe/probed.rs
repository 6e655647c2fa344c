//! What probes have seen, and what is remembered of it, against the verdicts.
//!
//! Called by [`super::answers`].

use super::Driver;
use super::answers::{Judge, expect, list, number};
use crate::lab::machine::Iommu;
use serde_json::Value;

impl Judge<'_> {
    /// What a probe of this pair is to find.
    fn promised(&self, client: &str, provider: &str) -> Result<Promised, String> {
        let verdict = self.verdict(client, provider)?;
        let is_own = client == provider;
        Ok(match (self.driver, verdict) {
            (Driver::Kernel, "NOT_SUPPORTED") => Promised::Refused,
            // The one case that is QEMU's own: see `kernel_path`.
            (Driver::Kernel, "BUS_ADDR") if self.iommu == Iommu::On && !is_own => Promised::Corrupt,
            // Linux does not know, and no more does the specification: it is tried.
            (Driver::User, "NOT_SUPPORTED") => Promised::Unknown,
            _ => Promised::Agrees,
        })
    }

    pub(super) fn probe(
        &mut self,
        code: i64,
        answer: &Value,
        client: &str,
        provider: &str,
    ) -> Result<(), String> {
        let promised = self.promised(client, provider)?;
        let verdict = self.verdict(client, provider)?;
        let (exit, promise, outcome, judgement) = match promised {
            Promised::Agrees => (0, "reached", Some("delivered"), "agrees"),
            Promised::Unknown => (0, "unknown", Some("delivered"), "works-although-unknown"),
            Promised::Refused => (3, "refused", None, "refused-as-promised"),
            Promised::Corrupt => (4, "reached", Some("corrupt"), "corrupts"),
        };
        expect(
            code == exit,
            format!("it must end with {exit}: the verdict is {verdict}"),
        )?;
        expect(
            answer["initiator"] == client && answer["provider"] == provider,
            "it is of another pair",
        )?;
        expect(
            answer["by_kernel"] == (self.driver == Driver::Kernel),
            "another driver moved the data",
        )?;
        expect(answer["not_restored"].is_null(), "what was there is not back")?;
        let directions = list(&answer["directions"]);
        expect(directions.len() == 2, "it must try both directions")?;
        for one in directions {
            let said = [&one["promise"], &one["outcome"], &one["judgement"]];
            let wanted = [Value::from(promise), Value::from(outcome), Value::from(judgement)];
            let is_so = said.into_iter().eq(&wanted);
            expect(
                is_so,
                format!("{} is to be {wanted:?} and is {said:?}", one["access"]),
            )?;
            let map_type = match promised {
                _ if client == provider => Value::from("OWN_BAR"),
                Promised::Agrees | Promised::Corrupt => Value::from(verdict),
                _ => one["map_type"].clone(),
            };
            expect(
                one["map_type"] == map_type,
                format!("the map type is {}", one["map_type"]),
            )?;
            match promised {
                Promised::Corrupt => is_corruption(&one["corruption"])?,
                _ => expect(one["corruption"].is_null(), "bytes are wrong")?,
            }
            let is_delivered = outcome == Some("delivered");
            expect(
                is_delivered == (number(&one["verified_bytes"]) > 0),
                "bytes were not verified",
            )?;
            for key in ["pair", "by_ram"] {
                expect(
                    is_delivered == one[key].is_object(),
                    format!("`{key}` is not as it should be"),
                )?;
                if is_delivered {
                    are_figures(&one[key])?;
                }
            }
        }
        *match promised {
            Promised::Agrees => &mut self.sum.agree,
            Promised::Unknown => &mut self.sum.unknown,
            Promised::Refused => &mut self.sum.refused,
            Promised::Corrupt => &mut self.sum.corrupt,
        } += 1;
        Ok(())
    }

    /// Forced, a pair that the kernel refuses is refused by it.
    pub(super) fn forced(&self, code: i64, answer: &Value) -> Result<(), String> {
        for one in list(&answer["directions"]) {
            match one["promise"].as_str() {
                Some("refused") => expect(
                    one["outcome"] == "refused" && code == 3,
                    "the kernel must refuse it",
                )?,
                _ => expect(!one["outcome"].is_null(), "it was not tried")?,
            }
        }
        expect(answer["not_restored"].is_null(), "what was there is not back")
    }

    /// In words: what was seen stands among what is said of the pair.
    pub(super) fn told(&self, code: i64, text: &str, client: &str, provider: &str) -> Result<(), String> {
        expect(code == 0, "it must succeed")?;
        let joined = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = joined(text);
        for one in list(&self.answer(client, provider)?["directions"]) {
            if let Some(said) = one["said"].as_str() {
                let judgement = one["judgement"].as_str().unwrap_or_default();
                let is_there = text.contains(&joined(said)) && text.contains(judgement);
                expect(is_there, format!("it does not tell that {judgement}: {said}"))?;
            }
        }
        Ok(())
    }

    fn answer(&self, client: &str, provider: &str) -> Result<&Value, String> {
        let found = self.probed.get(&(client.to_owned(), provider.to_owned()));
        found.ok_or_else(|| "this pair was not probed".to_owned())
    }

    /// As data: what was seen, and the machine that it was seen on.
    pub(super) fn recorded(
        &self,
        code: i64,
        route: &Value,
        client: &str,
        provider: &str,
    ) -> Result<(), String> {
        expect(code == 0, "it must succeed")?;
        let verdict = self.verdict(client, provider)?;
        let said = &route["directions"][0]["read"]["map_type"];
        expect(said == verdict, "a record changed the verdict")?;
        let of_pair = |one: &&Value| {
            let is_here = one["closeness"] == "here";
            is_here && one["client"]["bdf"] == client && one["provider"]["bdf"] == provider
        };
        let record = list(&route["records"]).iter().find(of_pair);
        let record = record.ok_or("it has no record of this pair")?;
        let of_others = |one: &&Value| one["client"]["bdf"] == one["provider"]["bdf"];
        let strange = list(&route["records"]).iter().filter(of_others).count();
        expect(
            client == provider || strange == 0,
            "memory of its own is evidence of another's",
        )?;
        let answer = self.answer(client, provider)?;
        expect(
            list(&record["directions"]).len() == 2,
            "it must have both directions",
        )?;
        for (kept, seen) in list(&record["directions"])
            .iter()
            .zip(list(&answer["directions"]))
        {
            for key in ["access", "promise", "map_type", "outcome", "judgement", "said"] {
                expect(kept[key] == seen[key], format!("`{key}` is not what was seen"))?;
            }
            expect(
                kept["median_ns"] == seen["pair"]["median_ns"],
                "the latency is another",
            )?;
        }
        self.same_machine(record)
    }

    /// Does a record name the machine as the system and `topo` do?
    fn same_machine(&self, record: &Value) -> Result<(), String> {
        let machine = &self.topo["machine"];
        let cpu = &machine["cpu"]["known"];
        let cpu = format!(
            "{}:{:#x}",
            cpu["vendor"].as_str().unwrap_or_default(),
            number(&cpu["family"])
        );
        expect(
            record["cpu"] == cpu.as_str(),
            format!("the processor is not {cpu}"),
        )?;
        expect(
            record["iommu"] == machine["iommu"]["known"],
            "the IOMMU is another",
        )?;
        let release = self.facts["kernel"].as_str().unwrap_or_default();
        let kernel = record["kernel"].as_str().unwrap_or("unknown");
        expect(release.starts_with(kernel), "the kernel is another")?;
        let firmware = self.facts["firmware_version"].as_str().unwrap_or("missing");
        let told = record["firmware"].as_str().unwrap_or_default();
        expect(told.contains(firmware), format!("the firmware is not {firmware}"))?;
        expect(!list(&record["ports"]).is_empty(), "it names no port")?;
        for port in list(&record["ports"]) {
            let function = list(&self.topo["functions"])
                .iter()
                .find(|one| one["bdf"] == port["bdf"]);
            let acs = &function.ok_or("it names a port that is not there")?["acs"]["known"];
            expect(
                port["acs_control"] == acs["control"],
                format!("ACS of {} is another", port["bdf"]),
            )?;
        }
        for end in ["client", "provider"] {
            for key in ["id", "host_bridge", "root_port"] {
                expect(
                    record[end][key].is_string(),
                    format!("it lacks the {key} of the {end}"),
                )?;
            }
        }
        Ok(())
    }
}

/// What a probe is to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promised {
    Agrees,
    /// It works, which nobody knew.
    Unknown,
    Refused,
    Corrupt,
}

fn is_corruption(told: &Value) -> Result<(), String> {
    let is_text = |key: &str| told[key].as_str().is_some_and(|text| !text.is_empty());
    expect(
        told["first_offset_bytes"].is_u64(),
        "it does not say where the first wrong byte is",
    )?;
    expect(
        is_text("pattern") && is_text("looks"),
        "it does not say of which pattern, and how it looks",
    )?;
    expect(
        is_text("expected") && is_text("found"),
        "it does not say what should be there and what is",
    )?;
    expect(
        told["expected"] != told["found"],
        "what it found is what it expected",
    )?;
    expect(number(&told["wrong_bytes"]) > 0, "no byte is wrong")
}

fn are_figures(told: &Value) -> Result<(), String> {
    let [min, median, p99] = ["min_ns", "median_ns", "p99_ns"].map(|key| number(&told[key]));
    expect(
        0 < min && min <= median && median <= p99,
        "the latencies contradict each other",
    )?;
    expect(number(&told["bytes_per_second"]) > 0, "it has no bandwidth")
}

#[cfg(test)]
mod tests {
    use super::super::answers::{Captured, Sum};
    use super::*;
    use std::collections::BTreeMap;
    use std::path::Path;

    fn promised(driver: Driver, verdict: &str, iommu: Iommu, provider: &str) -> Promised {
        let judge = Judge {
            verdicts: BTreeMap::from([((provider, "client"), verdict)]),
            facts: Value::Null,
            iommu,
            driver,
            captured: Captured {
                peerdma: Path::new("none"),
                snapshot: Path::new("none"),
            },
            topo: Value::Null,
            probed: BTreeMap::new(),
            sum: Sum::default(),
        };
        judge.promised("client", provider).expect("the pair is there")
    }

    #[test]
    fn a_probe_must_tell_of_corruption_there_alone_where_qemu_is_known_to_swallow_data() {
        use Driver::{Kernel, User};
        let corrupts = |driver, verdict, iommu, provider| {
            promised(driver, verdict, iommu, provider) == Promised::Corrupt
        };
        assert!(corrupts(Kernel, "BUS_ADDR", Iommu::On, "peer"));
        assert!(!corrupts(Kernel, "BUS_ADDR", Iommu::On, "client"));
        assert!(!corrupts(Kernel, "BUS_ADDR", Iommu::Off, "peer"));
        assert!(!corrupts(Kernel, "THRU_HOST_BRIDGE", Iommu::On, "peer"));
        assert!(!corrupts(User, "BUS_ADDR", Iommu::On, "peer"));
    }

    #[test]
    fn a_probe_may_agree_only_where_the_verdict_promises_something() {
        let refused = |driver| promised(driver, "NOT_SUPPORTED", Iommu::Off, "peer");
        assert_eq!(refused(Driver::Kernel), Promised::Refused);
        assert_eq!(refused(Driver::User), Promised::Unknown);
    }

    #[test]
    fn a_corruption_without_a_place_is_not_told() {
        let mut told = serde_json::json!({
            "pattern": "addressed", "looks": "all zeros", "expected": "a5", "found": "00",
            "first_offset_bytes": 0, "wrong_bytes": 1,
        });
        assert_eq!(is_corruption(&told), Ok(()));
        told["first_offset_bytes"] = Value::Null;
        assert!(is_corruption(&told).is_err());
    }
}
