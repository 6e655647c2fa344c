//! What is asked of every machine: `topo`, `route` and `check` as the matrix says, nothing written unasked, and measurements.
//!
//! Called by [`super`]; probes and their records are judged in [`super::probed`].

use super::Driver;
use crate::lab::machine::Iommu;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// What was counted.
#[derive(Default)]
pub(super) struct Sum {
    pub(super) routes: usize,
    pub(super) agree: usize,
    pub(super) unknown: usize,
    pub(super) refused: usize,
    pub(super) corrupt: usize,
    pub(super) unasked: usize,
    pub(super) benches: usize,
    pub(super) disks: usize,
    pub(super) checks: usize,
    pub(super) forced: usize,
    /// Records that were asked for, in words or as data.
    pub(super) remembered: usize,
}

/// How much a guest is to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) routes: usize,
    pub(super) probes: usize,
    pub(super) unasked: usize,
    pub(super) benches: usize,
    pub(super) disks: usize,
}

impl Sum {
    /// Nothing is proven by what was not asked: `asked` is what it is to be.
    pub(super) fn words(&self, asked: &Asked) -> Result<String, String> {
        let Self {
            routes,
            agree,
            unknown,
            refused,
            corrupt,
            unasked,
            benches,
            disks,
            checks,
            forced,
            remembered,
        } = self;
        let probes = agree + unknown + refused + corrupt;
        let seen = Asked {
            routes: *routes,
            probes,
            unasked: *unasked,
            benches: *benches,
            disks: *disks,
        };
        if seen != *asked {
            return Err(format!("the guest asked {seen:?}, and was to ask {asked:?}"));
        }
        // Of every route also a check; of every probe the record, in words and as data; of a refused one what it does when it is forced.
        if (*checks, *remembered, *forced) != (*routes, 2 * probes, *refused) {
            return Err(format!(
                "{checks} checks, {remembered} records asked for, {forced} forced: not of each of {routes} routes, {probes} probes, {refused} refused"
            ));
        }
        Ok(format!(
            "{routes} routes as the matrix, live and from the snapshot; probes: {agree} agree, {unknown} work though unknown, {refused} refused, \
             {corrupt} told as corrupt, all remembered; {unasked} that might not write did not; {benches} measurements; {disks} disks as before"
        ))
    }
}

/// Every answer of one guest is held against what is known of it.
pub(super) struct Judge<'a> {
    pub(super) verdicts: BTreeMap<(&'a str, &'a str), &'a str>,
    pub(super) facts: Value,
    pub(super) iommu: Iommu,
    pub(super) driver: Driver,
    pub(super) captured: Captured<'a>,
    pub(super) topo: Value,
    /// Answers of probes, by client and provider.
    pub(super) probed: BTreeMap<(String, String), Value>,
    pub(super) sum: Sum,
}

impl Judge<'_> {
    pub(super) fn one(&mut self, asked: &Value) -> Result<(), String> {
        let text = |key: &str| asked[key].as_str().unwrap_or_default();
        let (client, provider) = (text("client"), text("provider"));
        let code = asked["code"].as_i64().ok_or("it was killed")?;
        match text("what") {
            "topo" => self.topo(code, json(text("out"))?),
            "route" => self.route(code, &json(text("out"))?, client, provider),
            "check" => {
                self.sum.checks += 1;
                self.check(code, &json(text("out"))?, client, provider)
            }
            "unasked" => {
                expect(code == 2, "it must end with exit code 2")?;
                expect(asked["sectors"] == 0, "it wrote to a disk")?;
                expect(text("out").is_empty(), "it answered as if it had been done")?;
                expect(
                    json(text("err"))?["schema"] == "peerdma.error/1",
                    "it says no reason",
                )?;
                self.sum.unasked += 1;
                Ok(())
            }
            "probe" => {
                let answer = json(text("out"))?;
                self.probe(code, &answer, client, provider)?;
                self.probed
                    .insert((client.to_owned(), provider.to_owned()), answer);
                Ok(())
            }
            "forced" => {
                self.sum.forced += 1;
                self.forced(code, &json(text("out"))?)
            }
            "told" => {
                self.sum.remembered += 1;
                self.told(code, text("out"), client, provider)
            }
            "recorded" => {
                self.sum.remembered += 1;
                self.recorded(code, &json(text("out"))?, client, provider)
            }
            "bench" | "bench-polled" | "bench-via" => {
                self.sum.benches += 1;
                bench(code, &json(text("out"))?, text("what"))
            }
            other => Err(format!("nobody knows what `{other}` is")),
        }
    }

    pub(super) fn verdict(&self, client: &str, provider: &str) -> Result<&str, String> {
        let verdict = self.verdicts.get(&(provider, client)).copied();
        verdict.ok_or_else(|| format!("the matrix has no pair of {client} and {provider}"))
    }

    fn topo(&mut self, code: i64, answer: Value) -> Result<(), String> {
        expect(code == 0, "it must succeed")?;
        let mut found: Vec<&Value> = list(&answer["functions"]).iter().map(|one| &one["bdf"]).collect();
        found.sort_by_key(|bdf| bdf.as_str());
        let there: Vec<&Value> = list(&self.facts["functions"]).iter().collect();
        expect(
            !there.is_empty() && found == there,
            "it has other functions than sysfs",
        )?;
        self.topo = answer;
        Ok(())
    }

    fn route(&mut self, code: i64, answer: &Value, client: &str, provider: &str) -> Result<(), String> {
        expect(code == 0, "it must succeed")?;
        for (number, [client, provider]) in [[client, provider], [provider, client]].into_iter().enumerate() {
            let direction = &answer["directions"][number];
            let verdict = self.verdict(client, provider)?;
            for access in ["read", "write"] {
                let said = &direction[access]["map_type"];
                expect(
                    said == verdict,
                    format!("it says {said} where the matrix says {verdict}"),
                )?;
            }
        }
        let from = self.captured.ask(&["route", client, provider, "--json"])?;
        expect(from.0 == 0, "from the snapshot it fails")?;
        for key in ["policy", "tlp", "directions", "links", "unknown", "remedy"] {
            let is_same = from.1[key] == answer[key];
            expect(is_same, format!("from the snapshot it has another `{key}`"))?;
        }
        self.sum.routes += 1;
        Ok(())
    }

    fn check(&self, code: i64, answer: &Value, client: &str, provider: &str) -> Result<(), String> {
        let verdict = self.verdict(client, provider)?;
        let (promised, outcome) = match verdict {
            "NOT_SUPPORTED" => (1, "FAIL"),
            _ => (0, "OK"),
        };
        expect(
            code == promised,
            format!("it must end with {promised}: the verdict is {verdict}"),
        )?;
        let pair = &answer["pairs"][0];
        expect(
            pair["outcome"] == outcome && pair["read"] == verdict,
            "its pair says something else",
        )?;
        let from = self
            .captured
            .ask(&["check", client, provider, "--one-way", "--json"])?;
        expect(
            from.0 == code && from.1["pairs"] == answer["pairs"],
            "from the snapshot it differs",
        )
    }
}

/// The machine on the host, as the guest captured it.
pub(super) struct Captured<'a> {
    pub(super) peerdma: &'a Path,
    pub(super) snapshot: &'a Path,
}

impl Captured<'_> {
    fn ask(&self, arguments: &[&str]) -> Result<(i64, Value), String> {
        let output = Command::new(self.peerdma)
            .args(arguments)
            .arg("--from")
            .arg(self.snapshot)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("peerdma: {error}"))?;
        let code = output.status.code().ok_or("it was killed on the host")?;
        Ok((code.into(), json(&String::from_utf8_lossy(&output.stdout))?))
    }
}

fn bench(code: i64, told: &Value, what: &str) -> Result<(), String> {
    expect(code == 0 && told["failure"].is_null(), "it must succeed")?;
    let bytes = number(&told["bytes"]);
    let is_counted = bytes > 0 && bytes == number(&told["operations"]) * number(&told["block_bytes"]);
    expect(is_counted, "operations and bytes contradict each other")?;
    let through_ram = if what == "bench-via" { 0 } else { bytes };
    expect(
        number(&told["ram_payload_bytes"]) == through_ram,
        "other bytes passed through RAM",
    )?;
    expect(
        told["polled"] == (what == "bench-polled"),
        "it is not polled as asked",
    )?;
    let times = ["min_ns", "median_ns", "p99_ns", "p999_ns"].map(|key| number(&told[key]));
    expect(
        times[0] > 0 && times.is_sorted(),
        "the latencies contradict each other",
    )
}

pub(super) fn expect(holds: bool, why: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why.into()) }
}

pub(super) fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// 0 where it is none.
pub(super) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

pub(super) fn words(arguments: &Value) -> String {
    let words: Vec<&str> = list(arguments).iter().filter_map(Value::as_str).collect();
    words.join(" ")
}
