//! `speed ROUNDS SECONDS`: reads of 4 KiB by the kernel's driver (fio) and by ours, on the same controller in the same boot, in turns; and copies between two
//! controllers, by their memory and by way of RAM.
//!
//! Sent: `speed`, a line for each measurement: `reads NAME/DEPTH READS_PER_SECOND CPU_NS_A_READ RAM_BYTES_A_READ`,
//! and `copy NAME BYTES_PER_SECOND CPU_NS_A_MIB RAM_BYTES`.
//! The kernel needs `nvme.poll_queues=1`.

use crate::kernel_path::{self, Controller};
use crate::outbox;
use crate::say;
use crate::user_path::blocks;
use crate::verdicts::peerdma;
use serde_json::Value;
use std::fs;
use std::process::Command;

const BLOCK_BYTES: u64 = 4096;
const DEPTHS: [u16; 2] = [1, 32];
const COPY_BYTES: u64 = 16 << 20;

/// How the kernel's driver is asked, beside depth.
const RIVALS: [(&str, &[&str], &[u16]); 4] = [
    ("psync", &["--ioengine=psync"], &[1]),
    (
        "io_uring",
        &["--ioengine=io_uring", "--registerfiles", "--fixedbufs"],
        &DEPTHS,
    ),
    (
        "io_uring-polled",
        &["--ioengine=io_uring", "--registerfiles", "--fixedbufs", "--hipri"],
        &DEPTHS,
    ),
    (
        "io_uring-polled-in-batches",
        &[
            "--ioengine=io_uring",
            "--registerfiles",
            "--fixedbufs",
            "--hipri",
            "--iodepth_batch_submit=16",
            "--iodepth_batch_complete_min=1",
            "--iodepth_batch_complete_max=32",
        ],
        &[32],
    ),
];

pub(crate) fn run(rounds: &str, seconds: &str) -> Result<(), String> {
    let number = |word: &str| {
        word.parse::<u64>()
            .map_err(|_| format!("`{word}` is not a number"))
    };
    let (rounds, seconds) = (number(rounds)?, number(seconds)?);
    let mut measured = String::new();
    let mut tell = |line: String| {
        println!("{line}");
        measured.push_str(&line);
        measured.push('\n');
    };
    let mut controllers = kernel_path::controllers()?;
    for _ in 0..rounds {
        let [source, .., destination] = &controllers[..] else {
            return Err("two controllers are needed".into());
        };
        for (name, options, depths) in RIVALS {
            for depth in depths {
                let (rate, cpu) = fio(source, options, *depth, seconds)?;
                tell(format!("reads {name}/{depth} {rate:.0} {cpu:.0} {BLOCK_BYTES}"));
            }
        }
        let named = [source.address.as_str(), destination.address.as_str()];
        peerdma(&[&["bind", "--yes"], &named[..]].concat())?;
        for depth in DEPTHS {
            let (rate, cpu, ram_bytes) = ours(named[0], depth, seconds)?;
            tell(format!("reads peerdma/{depth} {rate:.0} {cpu:.0} {ram_bytes}"));
        }
        for (name, way) in [("p2p", "--require-p2p"), ("ram", "--via-ram")] {
            let (rate, cpu, ram_bytes) = copy(&named, way)?;
            tell(format!("copy {name} {rate:.0} {cpu:.0} {ram_bytes}"));
        }
        peerdma(&[&["unbind", "--yes"], &named[..]].concat())?;
        controllers = blocks::after(&controllers)?;
    }
    outbox::send("speed", measured.as_bytes())?;
    say::held("guest", &format!("{rounds} rounds of {seconds} s"));
    Ok(())
}

/// Reads by the kernel's driver: how many a second, and the CPU time of each in nanoseconds.
fn fio(disk: &Controller, options: &[&str], depth: u16, seconds: u64) -> Result<(f64, f64), String> {
    let output = Command::new("fio")
        .args([
            "--name=reads",
            "--rw=randread",
            "--direct=1",
            "--norandommap",
            "--gtod_reduce=1",
            "--time_based",
        ])
        .args(options)
        .arg(format!("--bs={BLOCK_BYTES}"))
        .arg(format!("--iodepth={depth}"))
        .arg(format!("--runtime={seconds}"))
        .arg(format!("--filename={}", disk.block))
        .arg("--minimal")
        .output()
        .map_err(|error| format!("fio: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // Terse output, version 3: error, reads a second, and the shares of CPU time of the job's run time.
    let fields: Vec<&str> = text
        .lines()
        .find(|line| line.starts_with("3;"))
        .map(|line| line.split(';').collect())
        .unwrap_or_default();
    let field = |at: usize| fields.get(at).map(|field| field.trim_end_matches('%'));
    let number = |at: usize| field(at).and_then(|field| field.parse::<f64>().ok());
    let (Some("0"), Some(rate), Some(user), Some(system)) = (field(4), number(7), number(87), number(88))
    else {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "fio {options:?}: {} {} {}",
            output.status,
            text.trim(),
            said.trim()
        ));
    };
    Ok((rate, (user + system) / 100.0 * 1e9 / rate))
}

/// The same by our driver, which looks for completions without interrupts.
fn ours(bdf: &str, depth: u16, seconds: u64) -> Result<(f64, f64, u64), String> {
    let (depth, seconds) = (depth.to_string(), seconds.to_string());
    let mut arguments = vec!["bench", bdf, "--depth", &depth, "--seconds", &seconds];
    arguments.extend(["--block", "4KiB", "--vfio", "type1", "--quiet", "--json"]);
    let answer = json(&arguments)?;
    let number = |name: &str| answer.get(name).and_then(Value::as_u64);
    match (
        number("operations"),
        number("operations_per_second"),
        number("cpu_ns_per_operation"),
        number("ram_payload_bytes"),
    ) {
        (Some(operations @ 1..), Some(rate), Some(cpu), Some(ram_bytes)) => {
            Ok((rate as f64, cpu as f64, ram_bytes / operations))
        }
        _ => Err(format!("peerdma bench: {answer}")),
    }
}

/// A copy by the command line, its bytes all different: how many bytes a second, the CPU time of a MiB, and how many bytes of data passed RAM.
fn copy(named: &[&str; 2], way: &str) -> Result<(f64, f64, u64), String> {
    let bytes = COPY_BYTES.to_string();
    let before = children_ns()?;
    let [source, destination] = named;
    let mut arguments = vec!["copy", source, destination, way, "--bytes", &bytes];
    arguments.extend(["--yes", "--quiet", "--vfio", "type1", "--json"]);
    let answer = json(&arguments)?;
    let cpu = children_ns()? - before;
    let number = |name: &str| answer.get(name).and_then(Value::as_u64);
    match (
        number("bytes_per_second"),
        number("host_ram_bytes"),
        answer.get("verified"),
    ) {
        (Some(rate), Some(ram_bytes), Some(Value::Bool(true))) => {
            Ok((rate as f64, cpu / (COPY_BYTES >> 20) as f64, ram_bytes))
        }
        _ => Err(format!("peerdma copy {way}: {answer}")),
    }
}

/// What the command line under test answers as JSON.
fn json(arguments: &[&str]) -> Result<Value, String> {
    let output = peerdma(arguments)?;
    serde_json::from_slice(&output).map_err(|error| format!("peerdma {arguments:?}: {error}"))
}

/// CPU time of all children that have ended.
fn children_ns() -> Result<f64, String> {
    const PATH: &str = "/proc/self/stat";
    /// Clock ticks a second, as the kernel tells them to every program.
    const TICK_NS: f64 = 1e7;
    let text = fs::read_to_string(PATH).map_err(|error| format!("{PATH}: {error}"))?;
    // Behind the program's name, which may hold anything: the state, and so on.
    let fields: Vec<&str> = match text.rsplit_once(')') {
        Some((_, rest)) => rest.split_ascii_whitespace().collect(),
        None => Vec::new(),
    };
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    match (ticks(13), ticks(14)) {
        (Some(user), Some(system)) => Ok((user + system) * TICK_NS),
        _ => Err(format!("{PATH}: `{}`", text.trim())),
    }
}
