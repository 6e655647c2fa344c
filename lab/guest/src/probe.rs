//! `probe kernel|user few|all`: the command line's questions about pairs, as an operator asks them, and what it answers.
//!
//! Nothing is judged here. Sent: `asked`, a line of JSON a question (`what`, `client`, `provider`, `code`, `out`, `err`, `sectors`: what the kernel's
//! disks were told to write meanwhile), `matrix`, `snapshot`, `facts` (what the system says of itself), and `records` (what `--record` wrote).
//! Before anything else the end of every disk gets numbers of its own: the host looks whether they are still there.
//!
//! `kernel` leaves controllers with the kernel's driver; `user` has `peerdma bind` lend them, and needs VFIO's modules.

use crate::kernel_path::{Controller, controllers};
use crate::outbox;
use crate::pci;
use crate::verdicts::peerdma;
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::process::{Command, Stdio};

/// What is filled of a disk, at its end; no probe here is given more.
const FILLED_BYTES: u64 = 2 << 20;
const RECORDS: &str = "/tmp/records";
const NOT_ASKED: &str = "/tmp/not-asked";
/// The most bytes of one transfer: of several pages, and no more, for the processor is emulated that looks at each.
const MOST_BYTES: &str = "16KiB";
/// How a probe ends that tries nothing.
const REFUSED: i32 = 3;
const OPERATIONS: &str = "64";

/// Who drives the controllers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Driver {
    Kernel,
    User,
}

/// Which pairs are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Some from the first controller on, and verdicts of controllers.
    Few,
    /// Every ordered pair.
    All,
}

pub(crate) fn run(driver: &str, scope: &str) -> Result<(), String> {
    let driver = match driver {
        "kernel" => Driver::Kernel,
        "user" => Driver::User,
        other => return Err(format!("`{other}` is neither kernel nor user")),
    };
    let scope = match scope {
        "few" => Scope::Few,
        "all" => Scope::All,
        other => return Err(format!("`{other}` is neither few nor all")),
    };
    let controllers = controllers()?;
    for one in &controllers {
        fill(one)?;
    }
    if driver == Driver::User {
        let named: Vec<&str> = controllers.iter().map(|one| one.address.as_str()).collect();
        peerdma(&[&["bind", "--yes"], &named[..]].concat())?;
    }
    let live = peerdma(&["matrix", "--policy", "linux", "--format", "tsv"])?;
    outbox::send("matrix", &live)?;
    outbox::send("snapshot", &peerdma(&["snapshot"])?)?;
    outbox::send("facts", facts()?.to_string().as_bytes())?;
    let mut asked = Asked::default();
    asked.ask("topo", ["-", "-"], &["topo", "--json"], None)?;
    ask_verdicts(&mut asked, &controllers, scope)?;
    ask_probes(&mut asked, &controllers, driver, scope)?;
    ask_benches(&mut asked, &controllers, driver)?;
    let records = fs::read(RECORDS).map_err(|error| format!("{RECORDS}: {error}"))?;
    outbox::send("records", &records)?;
    outbox::send("asked", asked.lines.as_bytes())
}

/// `route` and `check` of pairs.
fn ask_verdicts(asked: &mut Asked, controllers: &[Controller], scope: Scope) -> Result<(), String> {
    let is_controller = |address: &str| controllers.iter().any(|one| one.address == address);
    let functions: Vec<String> = (pci::functions()?.into_iter())
        .map(|one| one.address)
        .filter(|address| scope == Scope::All || is_controller(address))
        .collect();
    for client in &functions {
        for provider in &functions {
            let pair = [client.as_str(), provider.as_str()];
            asked.ask("route", pair, &["route", client, provider, "--json"], None)?;
            asked.ask(
                "check",
                pair,
                &["check", client, provider, "--one-way", "--json"],
                None,
            )?;
        }
    }
    Ok(())
}

/// Pairs are probed, once more without leave to, and their records are asked for.
fn ask_probes(
    asked: &mut Asked,
    controllers: &[Controller],
    driver: Driver,
    scope: Scope,
) -> Result<(), String> {
    let mut pairs = Vec::new();
    for (number, client) in controllers.iter().enumerate() {
        for (other, provider) in controllers.iter().enumerate() {
            // The first controller with its own memory, its neighbour's and the last one's, and the way back.
            let last = controllers.len() - 1;
            let is_of_few = (number == 0 && (other <= 1 || other == last)) || (number == last && other == 0);
            if scope == Scope::All || is_of_few {
                pairs.push((client, provider));
            }
        }
    }
    let lends = |one: &Controller| driver == Driver::User || !one.memory.is_empty();
    pairs.retain(|(_, provider)| lends(provider));
    for (number, (client, provider)) in pairs.iter().enumerate() {
        let pair = [client.address.as_str(), provider.address.as_str()];
        let volume = volume(client, driver);
        let probe = ["probe", volume, pair[1], "--json", "--bytes", MOST_BYTES];
        if number < 2 {
            let unasked = [&probe[..], &["--record", NOT_ASKED]].concat();
            asked.ask("unasked", pair, &unasked, None)?;
            // Somebody's `yes` in a pipe is no answer to a question that nobody read.
            asked.ask("unasked", pair, &unasked, Some("y\n"))?;
            if fs::exists(NOT_ASKED).unwrap_or(true) {
                return Err(format!("a probe that may not write left a record in {NOT_ASKED}"));
            }
        }
        let granted = [&probe[..], &["--yes", "--record", RECORDS]].concat();
        let code = asked.ask("probe", pair, &granted, None)?;
        if code == Some(REFUSED) {
            let forced = [&probe[..], &["--yes", "--no-figures", "--force-route"]].concat();
            asked.ask("forced", pair, &forced, None)?;
        }
    }
    for (client, provider) in pairs {
        let pair = [client.address.as_str(), provider.address.as_str()];
        let route = ["route", pair[0], pair[1], "--color", "never"];
        asked.ask(
            "told",
            pair,
            &[&route[..], &["--records", RECORDS]].concat(),
            None,
        )?;
        let json = [&route[..], &["--records", RECORDS, "--json"]].concat();
        asked.ask("recorded", pair, &json, None)?;
    }
    Ok(())
}

/// `bench` of the first controller: data in RAM, in its own memory, polled; and writes that nobody allowed.
fn ask_benches(asked: &mut Asked, controllers: &[Controller], driver: Driver) -> Result<(), String> {
    let Some(one) = controllers.iter().find(|one| !one.memory.is_empty()) else {
        return Ok(());
    };
    let pair = [one.address.as_str(), one.address.as_str()];
    let bench = ["bench", volume(one, driver), "--json", "--operations", OPERATIONS];
    asked.ask("bench", pair, &bench, None)?;
    asked.ask("bench-polled", pair, &[&bench[..], &["--polled"]].concat(), None)?;
    asked.ask(
        "bench-via",
        pair,
        &[&bench[..], &["--via", pair[0]]].concat(),
        None,
    )?;
    asked.ask("unasked", pair, &[&bench[..], &["--rw", "write"]].concat(), None)?;
    Ok(())
}

/// As the command line takes it.
fn volume(one: &Controller, driver: Driver) -> &str {
    match driver {
        Driver::Kernel => &one.block,
        Driver::User => &one.address,
    }
}

/// What was asked, and what was answered.
#[derive(Default)]
struct Asked {
    lines: String,
}

impl Asked {
    fn ask(
        &mut self,
        what: &str,
        [client, provider]: [&str; 2],
        arguments: &[&str],
        said: Option<&str>,
    ) -> Result<Option<i32>, String> {
        let failed = |error| format!("peerdma {arguments:?}: {error}");
        let before = written_sectors();
        let mut process = Command::new("peerdma")
            .args(arguments)
            .stdin(said.map_or_else(Stdio::null, |_| Stdio::piped()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let (Some(said), Some(mut stdin)) = (said, process.stdin.take()) {
            // It may have ended without reading: that is for the host to judge.
            let _ = stdin.write_all(said.as_bytes());
        }
        let output = process.wait_with_output().map_err(failed)?;
        let line = json!({
            "what": what,
            "client": client,
            "provider": provider,
            "arguments": arguments,
            "code": output.status.code(),
            "out": String::from_utf8_lossy(&output.stdout),
            "err": String::from_utf8_lossy(&output.stderr),
            "sectors": written_sectors().saturating_sub(before),
        });
        self.lines.push_str(&line.to_string());
        self.lines.push('\n');
        Ok(output.status.code())
    }
}

/// What all of the kernel's disks were told to write so far (`Documentation/block/stat.rst`); none where another drives them.
fn written_sectors() -> u64 {
    let disks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let written = disks.filter_map(|disk| {
        let text = fs::read_to_string(disk.path().join("stat")).ok()?;
        text.split_whitespace().nth(6)?.parse::<u64>().ok()
    });
    written.sum()
}

/// What the system says of itself, by ways that are not peerdma's.
fn facts() -> Result<Value, String> {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
    let kernel =
        read("/proc/sys/kernel/osrelease").map_err(|error| format!("the kernel's release: {error}"))?;
    let addresses: Vec<String> = pci::functions()?.into_iter().map(|one| one.address).collect();
    Ok(json!({
        "kernel": kernel,
        "firmware_version": read("/sys/class/dmi/id/bios_version").ok(),
        "functions": addresses,
    }))
}

/// Numbers that follow from the disk and the place, as the host knows them.
fn fill(one: &Controller) -> Result<(), String> {
    let failed = |error| format!("{}: {error}", one.block);
    let mut disk = OpenOptions::new().write(true).open(&one.block).map_err(failed)?;
    let end = disk.seek(SeekFrom::End(0)).map_err(failed)?;
    let from = end
        .checked_sub(FILLED_BYTES)
        .ok_or_else(|| format!("{} is too small", one.block))?;
    let start = (one.disk.bytes()).fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let content: Vec<u8> = (0..FILLED_BYTES as u32 / 4)
        .flat_map(|place| start.wrapping_add(place.wrapping_mul(0x9e37_79b9)).to_be_bytes())
        .collect();
    disk.seek(SeekFrom::Start(from)).map_err(failed)?;
    disk.write_all(&content).map_err(failed)?;
    disk.sync_all().map_err(failed)
}
