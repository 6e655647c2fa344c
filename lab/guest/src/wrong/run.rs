//! A run of peerdma: started, perhaps met by an accident, ended within a time, and looked at.

use super::content::Range;
use super::controllers::{Controller, until};
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Emulated, and beside others: what has not ended by then hangs.
const LIMIT: Duration = Duration::from_secs(90);
const OUT: &str = "/tmp/out";
const ERR: &str = "/tmp/err";
/// A user without any privilege.
pub(super) const USER: u32 = 1000;

/// What to run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    program: String,
    words: Vec<String>,
    environment: Vec<(String, String)>,
    /// As a user who may lock so many KiB.
    user_kib: Option<u64>,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its exit code; 128 and the number of the signal that killed it.
    pub(super) code: i32,
    pub(super) said: String,
}

/// One that is under way.
pub(super) struct Running(Child);

impl Run {
    /// peerdma with these arguments.
    pub(super) fn new(words: &[&str]) -> Self {
        Self {
            program: "peerdma".into(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            environment: Vec::new(),
            user_kib: None,
        }
    }

    /// A copy between two controllers or block devices.
    pub(super) fn copy(from: &str, to: &str, range: Range) -> Self {
        let Range { first_block, blocks } = range;
        Self::new(&[
            "copy",
            from,
            to,
            "--yes",
            "--lba",
            &format!("{first_block}+{blocks}"),
            "--to-lba",
            &first_block.to_string(),
        ])
    }

    /// By our driver.
    pub(super) fn ours(api: &str, from: &Controller, to: &Controller, range: Range) -> Self {
        Self::copy(&from.address, &to.address, range).with(&["--vfio", api])
    }

    pub(super) fn with(mut self, words: &[&str]) -> Self {
        self.words.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// One small piece after the other, so that there is time for an accident.
    pub(super) fn slowly(self) -> Self {
        self.with(&["--chunk", "512", "--queue-depth", "1"])
    }

    pub(super) fn by(mut self, program: &str) -> Self {
        self.program = program.to_owned();
        self
    }

    pub(super) fn told(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As a user without privilege.
    pub(super) fn of_user(mut self, locked_kib: u64) -> Self {
        self.user_kib = Some(locked_kib);
        self
    }

    pub(super) fn start(&self) -> Result<Running, String> {
        let failed = |error| format!("{}: {error}", self.program);
        let mut command = match self.user_kib {
            None => Command::new(&self.program),
            Some(kib) => {
                let mut command = Command::new("sh");
                command.args([
                    "-c",
                    &format!("ulimit -l {kib} && exec \"$0\" \"$@\""),
                    &self.program,
                ]);
                command.uid(USER).gid(USER);
                command
            }
        };
        command
            .args(&self.words)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdout(File::create(OUT).map_err(failed)?);
        command.stderr(File::create(ERR).map_err(failed)?);
        Ok(Running(command.spawn().map_err(failed)?))
    }

    /// From its start to its end.
    pub(super) fn end(&self) -> Result<Ended, String> {
        self.start()?.end()
    }
}

impl Running {
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until the plan was said and data moves.
    pub(super) fn until_it_moves(&mut self) -> Result<(), String> {
        let mut ended = false;
        until("the copy has a plan", || {
            ended = matches!(self.0.try_wait(), Ok(Some(_)));
            ended || fs::metadata(OUT).is_ok_and(|out| out.len() > 0)
        })?;
        match ended {
            true => Err(format!(
                "the copy ended before anything happened to it: {}",
                said()
            )),
            false => {
                std::thread::sleep(Duration::from_millis(400));
                Ok(())
            }
        }
    }

    /// Sends it a signal, by name.
    pub(super) fn signal(&self, name: &str) -> Result<(), String> {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.id().to_string()])
            .status();
        match status {
            Ok(status) if status.success() => Ok(()),
            _ => Err(format!("SIG{name} could not be sent: the copy was over")),
        }
    }

    /// Waits for its end, and looks whether anything of it is left.
    pub(super) fn end(mut self) -> Result<Ended, String> {
        let end = Instant::now() + LIMIT;
        let status = loop {
            match self.0.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
                Ok(None) => {
                    let stack = fs::read_to_string(format!("/proc/{}/stack", self.id())).unwrap_or_default();
                    let _ = self.0.kill();
                    let _ = self.0.wait();
                    return Err(format!(
                        "it hangs: no end after {} s; {}; {stack}",
                        LIMIT.as_secs(),
                        said()
                    ));
                }
                Err(error) => return Err(error.to_string()),
            }
        };
        let ended = Ended {
            code: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            said: said(),
        };
        if ended.said.contains("panicked") {
            return Err(format!("it panicked: {}", ended.said));
        }
        nothing_left(self.id())?;
        Ok(ended)
    }
}

impl Ended {
    /// Did it end so, and say that?
    pub(super) fn expect(&self, codes: &[i32], words: &[&str]) -> Result<(), String> {
        // Long lines were broken.
        let said = self.said.split_whitespace().collect::<Vec<_>>().join(" ");
        let missing: Vec<_> = words.iter().filter(|word| !said.contains(**word)).collect();
        match codes.contains(&self.code) && missing.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "exit code {} (not of {codes:?}), words that are missing {missing:?}; it said: {said}",
                self.code
            )),
        }
    }

    /// What a probe says that it has verified, direction by direction.
    pub(super) fn verified(&self) -> Vec<String> {
        let said = self.said.split_whitespace().collect::<Vec<_>>().join(" ");
        let each = said.split("every byte arrived: ").skip(1);
        let each = each.filter_map(|rest| rest.split_once(" bytes verified"));
        each.map(|(verified, _)| format!("{verified} bytes verified"))
            .collect()
    }

    /// What it says of what went wrong, in short.
    pub(super) fn word(&self) -> String {
        const MOST: usize = 220;
        let text = self.said.split_whitespace().collect::<Vec<_>>().join(" ");
        let starts = ["error:", "NOT PROVEN", "note: the kernel wants", "Interrupted"];
        let start = starts.iter().find_map(|start| text.find(start));
        let word = start.map_or("", |start| text.split_at(start).1);
        word.chars().take(MOST).collect()
    }

    /// How many bytes it says are written, from the first on, of a copy that did not come to its end.
    pub(super) fn written_bytes(&self) -> u64 {
        let text = self.said.split_whitespace().collect::<Vec<_>>().join(" ");
        let written = text.split_once("the first ").and_then(|(_, rest)| {
            let (number, rest) = rest.split_once(" of ")?;
            rest.contains("bytes are written").then(|| number.parse().ok())?
        });
        written.unwrap_or(0)
    }
}

fn said() -> String {
    let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    format!("{}{}", text(OUT), text(ERR))
}

/// The process is gone, and no page is pinned that nobody gave back. Whether a process that goes on leaves something mapped shows elsewhere (`left`).
fn nothing_left(id: u32) -> Result<(), String> {
    if Path::new(&format!("/proc/{id}/stat")).exists() {
        return Err(format!("process {id} is still there"));
    }
    let mut counts = Ok((0, 0));
    until("all pinned pages are given back", || {
        counts = pins();
        counts
            .as_ref()
            .is_ok_and(|(acquired, released)| acquired == released)
    })
    .map_err(|why| format!("{why}: {counts:?} were pinned, and given back"))
}

/// How many pages were ever pinned, and given back (`Documentation/core-api/pin_user_pages.rst`).
fn pins() -> Result<(u64, u64), String> {
    const REFRESH: &str = "/proc/sys/vm/stat_refresh";
    const COUNTERS: &str = "/proc/vmstat";
    // Each processor counts for itself, until somebody asks.
    fs::write(REFRESH, "1").map_err(|error| format!("{REFRESH}: {error}"))?;
    let text = fs::read_to_string(COUNTERS).map_err(|error| format!("{COUNTERS}: {error}"))?;
    let count = |name: &str| {
        let mut lines = text.lines();
        let number = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok());
        number.ok_or_else(|| format!("{COUNTERS} has no {name}"))
    };
    Ok((count("nr_foll_pin_acquired")?, count("nr_foll_pin_released")?))
}
