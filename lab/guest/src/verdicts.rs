//! `verdicts SETTINGS`: the kernel's answer for every ordered pair, peerdma's, and the machine as peerdma captures it, for one setting of
//! ACS after another. The host compares.
//!
//! Sent for each setting: `NAME.kernel`, `NAME.live`, `NAME.snapshot`. Needs the module `peerdma_judge`.

use crate::outbox;
use crate::pci::{self, Function};
use std::fs;
use std::process::Command;

const JUDGE: &str = "/sys/kernel/debug/peerdma_judge";
/// SV, TB, RR, CR, UF and DT: all that the module can give.
const CAPABLE: u16 = 0x5f;
/// What all functions with ACS are set to at once; the last is what Linux sets where it isolates devices.
const COMMON: [u16; 5] = [0, 0x04, 0x08, 0x5f, 0x1d];

/// `SETTINGS` is how many random settings follow those that are always tried.
pub(crate) fn run(settings: &str) -> Result<(), String> {
    let random: u32 = settings
        .parse()
        .map_err(|_| format!("`{settings}` is not a number"))?;
    take("as-booted")?;
    let own = pci::functions()?;
    let with_acs = |all: &[Function]| {
        all.iter()
            .filter(|one| one.has_acs())
            .cloned()
            .collect::<Vec<_>>()
    };
    let mut set = with_acs(&own);
    for control in COMMON {
        set_all(&set, control)?;
        take(&format!("root-ports-{control:02x}"))?;
    }
    give_acs_to_switches(&own)?;
    let all = with_acs(&pci::functions()?);
    if all.len() > set.len() {
        set = all;
        for control in COMMON {
            set_all(&set, control)?;
            take(&format!("all-ports-{control:02x}"))?;
        }
    }
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for turn in 0..random {
        for function in &set {
            let control = (numbers.next() & u64::from(CAPABLE)) as u16;
            // Half of all ports without any: what several ports do together is seen where the others do nothing.
            let is_set = numbers.next() & 1 == 1;
            function.set_acs(if is_set { control } else { 0 })?;
        }
        take(&format!("random-{turn}"))?;
    }
    Ok(())
}

/// Gives ACS to ports of switches that lack it, which are all of QEMU's; nothing is switched on.
pub(crate) fn give_acs_to_switches(functions: &[Function]) -> Result<(), String> {
    for port in functions
        .iter()
        .filter(|one| one.is_switch_port() && !one.has_acs())
    {
        let line = format!("{} {CAPABLE:x}", port.address);
        fs::write(format!("{JUDGE}/acs"), line)
            .map_err(|error| format!("ACS for {}: {error}", port.address))?;
    }
    Ok(())
}

fn set_all(functions: &[Function], control: u16) -> Result<(), String> {
    functions.iter().try_for_each(|one| one.set_acs(control))
}

/// Sends what the three say of the present setting.
fn take(name: &str) -> Result<(), String> {
    let path = format!("{JUDGE}/matrix");
    let kernel = fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    outbox::send(&format!("{name}.kernel"), &kernel)?;
    let live = peerdma(&["matrix", "--policy", "linux", "--format", "tsv"])?;
    outbox::send(&format!("{name}.live"), &live)?;
    let snapshot = peerdma(&["snapshot"])?;
    outbox::send(&format!("{name}.snapshot"), &snapshot)
}

/// What the command line under test prints.
pub(crate) fn peerdma(arguments: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new("peerdma")
        .args(arguments)
        .output()
        .map_err(|error| format!("peerdma: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "peerdma {arguments:?}: {} {}",
        output.status,
        said.trim()
    ))
}

/// The same random numbers in every guest (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }
}
