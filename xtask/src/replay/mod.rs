//! `cargo xtask replay`: a running Linux judges machines that nobody has.
//!
//! `--out DIR` writes machines: `machines.tar` with an image of each for `lab/modules/peerdma_replay.ko`, and beside it
//! the same machines for peerdma, `NAME.lspci`. In the guest, `lab/modules/replay.sh` lets the kernel answer. `--compare DIR --answers FILE`
//! compares the answers with those of the shipped command line, pair by pair. The lab calls [`write()`] and [`compare`].

mod answers;
mod grow;
mod image;
mod machines;
mod space;

use crate::chore::{self, Failure};
use crate::kernel_truth::{answer, differences, matrices};
use crate::machine::write_lspci;
use machines::Named;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The file that the guest takes.
pub(crate) const MACHINES: &str = "machines.tar";
const IMAGE: &str = ".image";
const LISTING: &str = ".lspci";
/// How many differences of one machine are shown.
const SHOWN: usize = 5;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Writes machines here
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "compare",
        required_unless_present = "compare"
    )]
    out: Option<PathBuf>,
    /// At least so many ordered pairs in all
    #[arg(long, default_value_t = 50_000, requires = "out")]
    pairs: usize,
    /// Another number, other machines
    #[arg(long, default_value_t = 1, requires = "out")]
    seed: u64,
    /// Compares what the kernel said of the machines here
    #[arg(long, value_name = "DIR", requires_all = ["answers", "cpu"])]
    compare: Option<PathBuf>,
    /// What `replay.sh` wrote in the guest
    #[arg(long, value_name = "FILE", requires = "compare")]
    answers: Option<PathBuf>,
    /// The guest's processor
    #[arg(long, value_enum, requires = "compare")]
    cpu: Option<Processor>,
}

/// The guest's processor, as far as Linux's decision depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Processor {
    /// AMD family 17h or later: every host bridge is accepted (`-cpu EPYC`)
    Zen,
    /// Any other: the list of host bridges decides (`-cpu Skylake-Server`)
    Listed,
}

impl Processor {
    fn options(self) -> [&'static str; 4] {
        let cpu = match self {
            Self::Zen => "AuthenticAMD:0x17",
            Self::Listed => "GenuineIntel:6",
        };
        ["--kernel", "7.2", "--cpu", cpu]
    }
}

/// What was written or compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) machines: usize,
    pub(crate) functions: usize,
    pub(crate) pairs: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            machines,
            functions,
            pairs,
        } = self;
        write!(
            f,
            "{machines} machines, {functions} functions, {pairs} ordered pairs"
        )
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(folder) = &arguments.out {
        let written = write(arguments.pairs, arguments.seed, folder)?;
        println!("{written} in {}", folder.display());
    }
    if let (Some(folder), Some(answers), Some(cpu)) = (&arguments.compare, &arguments.answers, arguments.cpu)
    {
        let compared = compare(&chore::build_peerdma()?, folder, answers, cpu)?;
        println!("{compared}: every answer is the kernel's");
    }
    Ok(())
}

/// Writes machines of at least `pairs` ordered pairs to `folder`, which is made if it is not there.
///
/// # Errors
/// Where a file cannot be written, or a shipped machine cannot be read.
pub(crate) fn write(pairs: usize, seed: u64, folder: &Path) -> Result<Tally, Failure> {
    fs::create_dir_all(folder).map_err(Failure::io(folder.display()))?;
    let path = folder.join(MACHINES);
    let failed = || Failure::io(path.display());
    let mut archive = tar::Builder::new(BufWriter::new(File::create(&path).map_err(failed())?));
    let mut tally = Tally::default();
    for machine in machines::choose(pairs, seed)? {
        append(&mut archive, &machine).map_err(failed())?;
        let listing = folder.join(format!("{}{LISTING}", machine.name));
        File::create(&listing)
            .and_then(|file| write_lspci(&machine.functions, &mut BufWriter::new(file)))
            .map_err(Failure::io(listing.display()))?;
        tally.machines += 1;
        tally.functions += machine.functions.len();
        tally.pairs += machine.pairs();
    }
    let mut file = archive.into_inner().map_err(failed())?;
    file.flush().map_err(failed())?;
    Ok(tally)
}

fn append(archive: &mut tar::Builder<impl Write>, machine: &Named) -> io::Result<()> {
    let too_big = || io::Error::other(format!("{} is too big for an image", machine.name));
    let image = image::image(&machine.functions).ok_or_else(too_big)?;
    let mut header = tar::Header::new_ustar();
    header.set_size(image.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, format!("{}{IMAGE}", machine.name), &image[..])
}

/// Compares what the kernel said of the machines in `folder` with what that peerdma says.
///
/// # Errors
/// [`Failure::Bad`] with the first differences where an answer differs, is missing or should not be there.
pub(crate) fn compare(
    peerdma: &Path,
    folder: &Path,
    answers: &Path,
    cpu: Processor,
) -> Result<Tally, Failure> {
    let text = fs::read(answers).map_err(Failure::io(answers.display()))?;
    let text = String::from_utf8_lossy(&text);
    let wrong = |why: String| Failure::Bad(format!("{}: {why}", answers.display()));
    let mut answers = answers::parse(&text).map_err(wrong)?;
    let mut tally = Tally::default();
    let mut bad = Vec::new();
    for name in names(folder)? {
        let Some(truth) = answers.remove(&name[..]) else {
            bad.push(format!("{name}: the kernel was not asked"));
            continue;
        };
        let listing = folder.join(format!("{name}{LISTING}"));
        let said = answer(peerdma, &listing, &cpu.options())?;
        let compared =
            matrices::compare(truth.matrix, &said, SHOWN).map_err(|why| wrong(format!("{name}: {why}")))?;
        if compared.differing > 0 {
            bad.push(differences(&name, &compared));
        } else if let Some(misplaced) = &compared.misplaced {
            bad.push(format!("DIFFERS\t{name}\t{misplaced}"));
        }
        tally.machines += 1;
        tally.functions += truth.found;
        tally.pairs += compared.pairs;
    }
    bad.extend(
        answers
            .keys()
            .map(|name| format!("{name}: not among the machines")),
    );
    match bad.is_empty() {
        true if tally.machines > 0 => Ok(tally),
        true => Err(Failure::Missing(format!("{} holds no machine", folder.display()))),
        false => Err(Failure::Bad(bad.join("\n"))),
    }
}

/// The machines in `folder`.
fn names(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Failure::io(folder.display()))? {
        let entry = entry.map_err(Failure::io(folder.display()))?;
        if let Some(name) = entry.file_name().to_string_lossy().strip_suffix(LISTING) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
