//! Commands that do the same work, timed in turns.

use crate::chore::Failure;
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// One command.
pub(super) struct Contender {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Option<(&'static str, OsString)>,
    shown: &'static str,
}

impl Contender {
    pub(super) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: None,
            shown: "",
        }
    }

    pub(super) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub(super) fn args<'a>(mut self, arguments: impl AsRef<[&'a str]>) -> Self {
        self.arguments
            .extend(arguments.as_ref().iter().map(OsString::from));
        self
    }

    pub(super) fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.environment = Some((name, value.as_ref().to_owned()));
        self
    }

    /// How the table names it.
    pub(super) fn shown(mut self, shown: &'static str) -> Self {
        self.shown = shown;
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Cargo sets this for what it runs, and the loader then searches its folders first; no user's
        // shell does.
        command.env_remove("LD_LIBRARY_PATH");
        command.args(&self.arguments);
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        if let Some((name, value)) = &self.environment {
            command.env(name, value);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
    }

    fn is_installed(&self) -> bool {
        self.command().spawn().is_ok_and(|mut child| child.wait().is_ok())
    }

    /// Runs it once.
    fn time(&self) -> Result<Duration, Failure> {
        let mut command = self.command();
        let start = Instant::now();
        let status = command.status().map_err(Failure::io(self.shown))?;
        let took = start.elapsed();
        self.succeeded(status).map(|()| took)
    }

    /// Runs it once and counts what it prints: a command that prints nothing did no work.
    fn output_bytes(&self) -> Result<u64, Failure> {
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Failure::io(self.shown))?;
        let printed = match child.stdout.take() {
            Some(mut pipe) => io::copy(&mut pipe, &mut io::sink()).map_err(Failure::io(self.shown))?,
            None => 0,
        };
        let status = child.wait().map_err(Failure::io(self.shown))?;
        self.succeeded(status)?;
        match printed {
            0 => Err(Failure::Bad(format!(
                "{}: prints nothing, so that its time means nothing",
                self.shown
            ))),
            _ => Ok(printed),
        }
    }

    /// Its peak memory, if `time` is there to tell.
    fn peak_kib(&self) -> Option<u64> {
        let report = tempfile::NamedTempFile::new().ok()?;
        let mut command = Command::new("/usr/bin/time");
        command.args(["-f", "%M", "-o"]).arg(report.path());
        command.arg(&self.program).args(&self.arguments);
        self.prepare(&mut command);
        command.status().ok()?;
        let report = std::fs::read_to_string(report.path()).ok()?;
        report.lines().last()?.trim().parse().ok()
    }

    fn succeeded(&self, status: ExitStatus) -> Result<(), Failure> {
        if status.success() {
            return Ok(());
        }
        let stderr = self
            .command()
            .stderr(Stdio::piped())
            .output()
            .map(|output| String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
            .unwrap_or_default();
        Err(Failure::Bad(format!("{}: {status}\n{stderr}", self.shown)))
    }
}

/// One of ours against any number of rivals.
pub(super) struct Contest {
    pub(super) title: &'static str,
    pub(super) ours: Contender,
    pub(super) rivals: Vec<Contender>,
}

/// How often a command runs in a turn after it has run once.
pub(super) const WARM_RUNS_PER_TURN: u32 = 4;

impl Contest {
    /// How the table names our command.
    pub(super) fn ours_shown(mut self, shown: &'static str) -> Self {
        self.ours.shown = shown;
        self
    }

    /// Runs every command in `runs` turns. In each turn it runs first right after the others, which have
    /// filled the caches with theirs; then warm, a few times, which is what the comparison goes by.
    pub(super) fn run(&self, runs: u32) -> Result<Table, Failure> {
        let (present, absent): (Vec<&Contender>, Vec<&Contender>) =
            self.rivals.iter().partition(|rival| rival.is_installed());
        let contenders: Vec<&Contender> = std::iter::once(&self.ours).chain(present).collect();
        let mut times = vec![(Vec::new(), Vec::new()); contenders.len()];
        // This warms up, too.
        let outputs = contenders
            .iter()
            .map(|contender| contender.output_bytes())
            .collect::<Result<Vec<u64>, Failure>>()?;
        for _ in 0..runs {
            for (contender, (after_others, warm)) in contenders.iter().zip(&mut times) {
                after_others.push(contender.time()?);
                for _ in 0..WARM_RUNS_PER_TURN {
                    warm.push(contender.time()?);
                }
            }
        }
        let measured = times.into_iter().zip(outputs);
        let rows = contenders.iter().zip(measured).map(
            |(contender, ((mut after_others, mut warm), output_bytes))| {
                after_others.sort_unstable();
                warm.sort_unstable();
                Row {
                    shown: contender.shown,
                    median: median(&warm),
                    best: warm.first().copied().unwrap_or_default(),
                    after_others: median(&after_others),
                    output_bytes,
                    peak_kib: contender.peak_kib(),
                }
            },
        );
        Ok(Table {
            title: self.title,
            rows: rows.collect(),
            absent: absent.iter().map(|rival| rival.shown).collect(),
        })
    }
}

/// What a contest yielded; ours is the first row.
pub(super) struct Table {
    title: &'static str,
    rows: Vec<Row>,
    absent: Vec<&'static str>,
}

struct Row {
    shown: &'static str,
    median: Duration,
    best: Duration,
    /// Median of the runs that came right after another command's.
    after_others: Duration,
    output_bytes: u64,
    peak_kib: Option<u64>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        writeln!(
            f,
            "| command | prints | median | best | after the others | peak memory | times ours |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|--:|")?;
        let ours = self.rows.first().map_or(Duration::ZERO, |row| row.median);
        for row in &self.rows {
            let mut peak = String::from("-");
            if let Some(kib) = row.peak_kib {
                peak.clear();
                write!(peak, "{:.1} MB", kib as f64 * 1024.0 / 1e6)?;
            }
            let ratio = row.median.as_secs_f64() / ours.as_secs_f64();
            writeln!(
                f,
                "| `{}` | {} kB | {} | {} | {} | {peak} | {ratio:.2} |",
                row.shown,
                row.output_bytes.div_ceil(1000),
                milliseconds(row.median),
                milliseconds(row.best),
                milliseconds(row.after_others)
            )?;
        }
        let mut rows = self.rows.iter();
        if let (Some(ours), Some(fastest)) = (rows.next(), rows.min_by_key(|row| row.median)) {
            writeln!(
                f,
                "\npeerdma takes {:.2} of the time of the fastest rival, `{}` ({:.2} right after the others).",
                ours.median.as_secs_f64() / fastest.median.as_secs_f64(),
                fastest.shown,
                ours.after_others.as_secs_f64() / fastest.after_others.as_secs_f64(),
            )?;
        }
        for shown in &self.absent {
            writeln!(f, "\n`{shown}` is not installed and took no part.")?;
        }
        Ok(())
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// The middle of sorted times; of an even number, the mean of the two in the middle.
fn median(sorted: &[Duration]) -> Duration {
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(below), Some(above)) if sorted.len().is_multiple_of(2) => (*below + *above) / 2,
        (_, Some(middle)) => *middle,
        (_, None) => Duration::ZERO,
    }
}

/// Pins this process, and with it all that it starts, to the last core it may use; tells which.
pub(super) fn pin_to_one_core() -> Option<u32> {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).ok()?;
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let core: u32 = allowed.trim().rsplit([',', '-']).next()?.parse().ok()?;
    let pinned = Command::new("taskset")
        .args(["-cp", &core.to_string(), &std::process::id().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    pinned.is_ok_and(|status| status.success()).then_some(core)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_two() {
        let times: Vec<Duration> = [1, 2, 4, 9].map(Duration::from_millis).to_vec();
        assert_eq!(median(&times), Duration::from_millis(3));
        assert_eq!(median(&times[..3]), Duration::from_millis(2));
        assert_eq!(median(&[]), Duration::ZERO);
    }

    #[test]
    fn the_table_has_ours_first_and_a_ratio_for_each() {
        let row = |shown, ms| Row {
            shown,
            median: Duration::from_millis(ms),
            best: Duration::from_millis(ms),
            after_others: Duration::from_millis(2 * ms),
            output_bytes: 7000,
            peak_kib: Some(1000),
        };
        let table = Table {
            title: "T",
            rows: vec![row("ours", 10), row("slow", 80), row("quick", 40)],
            absent: vec!["gone"],
        };
        let text = table.to_string();
        assert!(
            text.contains("| `slow` | 7 kB | 80.00 ms | 80.00 ms | 160.00 ms | 1.0 MB | 8.00 |"),
            "{text}"
        );
        assert!(
            text.contains("0.25 of the time of the fastest rival, `quick`"),
            "{text}"
        );
        assert!(text.contains("`gone` is not installed"), "{text}");
    }
}
