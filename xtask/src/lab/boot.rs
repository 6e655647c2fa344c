//! One boot: the machine started, its console followed until the end, what it said and sent.
//!
//! Called by [`super::run`] for every [`Boot`] of the checks.

use super::machine::Machine;
use super::parts::{Parts, Qemu};
use super::report::{Line, Outcome};
use super::serial::{self, Message};
use super::{Acceleration, initramfs, qmp};
use crate::chore::Failure;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What a check wants booted.
pub(crate) struct Boot {
    /// Of its check only.
    pub(crate) name: String,
    pub(crate) machine: Machine,
    pub(crate) kernel: Kernel,
    /// More for the kernel's command line.
    pub(crate) kernel_line: String,
    /// What the guest's shell runs; `mod NAME...` loads modules, `say ok NAME TEXT` adds to the report.
    pub(crate) script: String,
    /// Files, and the names that they get in `/payload`.
    pub(crate) payload: Vec<(PathBuf, String)>,
    /// Is there a command line beside the one that ships whose ioctls can be let fail?
    pub(crate) faults: Faults,
    /// After so long it has failed; emulated, things take their time.
    pub(crate) limit: Duration,
    /// Looks at what the guest sent and adds lines to those that it said.
    pub(crate) judge: Box<Judge>,
}

impl Boot {
    /// One whose guest says all that there is to say.
    pub(crate) fn new(machine: Machine, script: impl Into<String>) -> Self {
        Self {
            name: machine.name(),
            machine,
            kernel: Kernel::Debian,
            kernel_line: String::new(),
            script: script.into(),
            payload: Vec::new(),
            faults: Faults::Never,
            limit: Duration::from_secs(300),
            judge: Box::new(|_, _| Vec::new()),
        }
    }

    /// The same on the kernel with IOMMUFD. VFIO is built into it: there is nothing to load.
    pub(crate) fn on_iommufd(self) -> Self {
        Self {
            kernel: Kernel::Iommufd,
            ..self
        }
    }
}

/// Does a boot let ioctls of peerdma fail?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Faults {
    /// No.
    Never,
    /// By `/payload/peerdma-faults`, which has that feature.
    Possible,
}

/// Which kernel boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// The one that all checks are about.
    Debian,
    /// The one with IOMMUFD, whose check has to need it; it has no modules.
    Iommufd,
}

/// The host's part of a check.
pub(crate) type Judge = dyn Fn(&Taken, &Parts) -> Vec<Line> + Send + Sync;

/// What came out of a guest.
pub(crate) struct Taken {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Where its disks (`diskN.img`) and logs lie, until the judge is done.
    pub(crate) folder: PathBuf,
}

/// What all boots of a run have in common.
pub(crate) struct Ground<'a> {
    pub(crate) qemu: &'a Qemu,
    pub(crate) kernel: &'a Path,
    pub(crate) base: &'a Path,
    pub(crate) acceleration: Acceleration,
    /// Each boot gets a folder in it.
    pub(crate) folder: &'a Path,
    pub(crate) keep: super::Keep,
    /// Set once the run is to end.
    pub(crate) stopped: &'a AtomicBool,
}

/// How many lines of the console a failure shows.
const SHOWN: usize = 12;
/// A guest that says more than this is not listened to any longer.
const MOST_LINES: usize = 200_000;

/// How often a silent guest's limit and the run's end are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How a boot ended.
enum Ended {
    /// The guest switched itself off after its script.
    Done(i32),
    /// QEMU was gone before.
    Crashed(String),
    /// It was stopped at its limit.
    Late,
}

impl Ended {
    /// Why it tells nothing of what is checked, where it may be QEMU's doing, or that of a busy host.
    fn by_accident(&self, boot: &Boot) -> Option<String> {
        match self {
            Ended::Done(_) => None,
            Ended::Crashed(how) => Some(format!("QEMU ended: {how}")),
            Ended::Late => Some(late(boot)),
        }
    }
}

fn late(boot: &Boot) -> String {
    format!("no end after {} s", boot.limit.as_secs())
}

/// Boots, and returns the lines of the report; once more where QEMU crashes or the guest takes too long: emulated machines depend on when the
/// host lets them run. What the guest has found until then stays found.
pub(crate) fn run(
    ground: &Ground<'_>,
    check: &str,
    boot: &Boot,
    parts: &Parts,
) -> Result<Vec<Line>, Failure> {
    let name = format!("{check} {}", boot.name);
    let mut before = None;
    loop {
        let folder = tempfile::Builder::new()
            .prefix("boot.")
            .tempdir_in(ground.folder)
            .map_err(Failure::io(ground.folder.display()))?;
        let mut said = Said::default();
        let kernel = match boot.kernel {
            Kernel::Debian => ground.kernel,
            Kernel::Iommufd => parts.iommufd.image().map_err(Failure::Missing)?,
        };
        let payload = payload(boot, parts);
        let ended = once(ground, kernel, (boot, &payload), folder.path(), &mut said)?;
        if let (None, Some(why)) = (&before, ended.by_accident(boot))
            && !said.has_failed()
            && !ground.stopped.load(Ordering::Relaxed)
        {
            eprintln!("lab: AGAIN {name}: {why}{}", said.last());
            before = Some(why);
            continue;
        }
        let mut lines = judged(&name, boot, folder.path(), said, &ended, parts);
        if let Some(why) = before {
            lines.push(Line::again(&name, format!("was booted twice: {why}")));
        }
        if let super::Keep::Folders = ground.keep {
            eprintln!("lab: {name} is kept in {}", folder.keep().display());
        }
        return Ok(lines);
    }
}

/// The files of a boot.
fn payload(boot: &Boot, parts: &Parts) -> Vec<(PathBuf, String)> {
    let mut payload = boot.payload.clone();
    if let (Faults::Possible, Ok(programs)) = (boot.faults, &parts.programs) {
        payload.push((programs.faulty(), "peerdma-faults".into()));
    }
    payload
}

/// What a guest said on its console.
#[derive(Default)]
struct Said {
    lines: Vec<Line>,
    console: Vec<String>,
}

impl Said {
    fn has_failed(&self) -> bool {
        self.lines.iter().any(|line| line.outcome == Outcome::Failed)
    }

    fn last(&self) -> String {
        let from = self.console.len().saturating_sub(SHOWN);
        let lines = self.console.iter().skip(from);
        lines.map(|line| format!("\n        {line}")).collect()
    }
}

fn judged(name: &str, boot: &Boot, folder: &Path, said: Said, ended: &Ended, parts: &Parts) -> Vec<Line> {
    let last = said.last();
    let mut lines = said.lines;
    match ended {
        Ended::Done(0) => {}
        Ended::Done(code) => lines.push(Line::failed("script", format!("ended with code {code}{last}"))),
        Ended::Crashed(how) => lines.push(Line::failed("boot", format!("QEMU ended: {how}{last}"))),
        Ended::Late => lines.push(Line::failed("boot", format!("{}{last}", late(boot)))),
    }
    if let Ended::Done(_) = ended {
        let outbox = fs::read(folder.join("outbox")).unwrap_or_default();
        match serial::files(&outbox) {
            Ok(files) => {
                let folder = folder.to_owned();
                lines.extend((boot.judge)(&Taken { files, folder }, parts));
            }
            Err(why) => lines.push(Line::failed("outbox", why)),
        }
    }
    if lines.is_empty() {
        lines.push(Line::failed("boot", format!("the guest said nothing{last}")));
    }
    for line in &mut lines {
        line.name = format!("{name} {}", line.name).trim_end().to_owned();
    }
    lines
}

fn once(
    ground: &Ground<'_>,
    kernel: &Path,
    (boot, payload): (&Boot, &[(PathBuf, String)]),
    folder: &Path,
    said: &mut Said,
) -> Result<Ended, Failure> {
    let initrd = folder.join("initrd");
    initramfs::write_boot(ground.base, &boot.script, payload, &initrd)?;
    let socket = folder.join("qmp");
    let mut command = ground.qemu.command();
    command.args(
        boot.machine
            .arguments(folder)
            .map_err(Failure::io(folder.display()))?,
    );
    command.args(match ground.acceleration {
        Acceleration::Tcg => ["-accel", "tcg,thread=multi"],
        Acceleration::Kvm => ["-accel", "kvm"],
    });
    command.args(["-nodefaults", "-no-user-config", "-no-reboot"]);
    command.args([
        "-display", "none", "-monitor", "none", "-serial", "stdio", "-serial",
    ]);
    command.arg(format!("file:{}", folder.join("outbox").display()));
    command.arg("-qmp");
    command.arg(format!("unix:{},server=on,wait=off", socket.display()));
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(&initrd);
    // Where guests have to wait for a processor, the kernel takes their timer for broken and panics.
    command.arg("-append").arg(format!(
        "console=ttyS0 quiet panic=-1 no_timer_check {} {}",
        boot.machine.kernel_line(),
        boot.kernel_line
    ));
    let log = folder.join("qemu.log");
    let errors = File::create(&log).map_err(Failure::io(log.display()))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .map_err(Failure::io("starting QEMU"))?;
    let mut child = Running(child);
    let Some(console) = child.0.stdout.take() else {
        return Err(Failure::Bad("QEMU has no console".into()));
    };
    let (send, lines) = mpsc::sync_channel(64);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if send.send(line).is_err() {
                break;
            }
        }
    });
    let code = follow(&lines, Instant::now() + boot.limit, &socket, ground.stopped, said);
    let ended = match code {
        Err(RecvTimeoutError::Timeout) => Ended::Late,
        Err(RecvTimeoutError::Disconnected) => {
            let status = child.0.wait().map_err(Failure::io("waiting for QEMU"))?;
            let log = fs::read_to_string(&log).unwrap_or_default();
            let word = log.lines().rfind(|line| !line.contains("warning")).unwrap_or("");
            Ended::Crashed(format!("{status} {word}"))
        }
        Ok(code) => {
            // What it sent is in the file once QEMU is gone; after its last word that takes no time.
            let until = Instant::now() + Duration::from_secs(20);
            while matches!(child.0.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ended::Done(code)
        }
    };
    drop(child);
    drop(lines);
    let _ = reader.join();
    Ok(ended)
}

/// Takes lines until the guest's last word, the console's end, or the limit.
fn follow(
    lines: &Receiver<String>,
    until: Instant,
    socket: &Path,
    stopped: &AtomicBool,
    said: &mut Said,
) -> Result<i32, RecvTimeoutError> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let line = match lines.recv_timeout(left.min(LOOK)) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) if left > LOOK && !stopped.load(Ordering::Relaxed) => continue,
            Err(ended) => return Err(ended),
        };
        match serial::message(&line) {
            Some(Message::End(code)) => return Ok(code),
            Some(Message::Line(line)) => said.lines.push(line),
            Some(Message::Qemu(command)) => {
                if let Err(why) = qmp::execute(socket, &command) {
                    said.lines.push(Line::failed("qemu", format!("{command}: {why}")));
                }
            }
            Some(Message::Up) | None => {}
        }
        said.console.push(line);
        if said.console.len() > MOST_LINES {
            return Err(RecvTimeoutError::Timeout);
        }
    }
}

/// A QEMU that does not outlive its boot, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
