//! The machine that a command is about: read, completed by options, and its trees built.

use crate::args::{MachineArgs, Policy};
use crate::capture::{self, Source};
use crate::error::Problem;
use crate::processor;
use crate::shown::plain;
use peerdma::fact::Fact;
use peerdma::route::linux::{Kernel, inferred_processor};
use peerdma::snapshot::{Cpu, IommuMode, KernelVersion, Snapshot, Warnings};
use peerdma::topology::Topology;
use peerdma_linux::KeepConfig;
use std::borrow::Cow;

/// A machine with its trees, and which kernel is asked about it.
pub(crate) struct Machine {
    pub(crate) topology: Topology,
    pub(crate) kernel: Kernel,
    pub(crate) source: Source,
    pub(crate) warnings: Warnings,
    /// The processor as the source or `--cpu` names it; the topology's may be inferred.
    pub(crate) cpu: Fact<Cpu>,
    /// What was concluded or left out, in sentences.
    pub(crate) notes: Vec<String>,
}

impl Machine {
    /// Reads the machine that the options name, for a command that asks what Linux decides.
    ///
    /// # Errors
    /// A [`Problem`] where the source cannot be read or an option makes no sense.
    pub(crate) fn open(args: &MachineArgs, policy: Policy) -> Result<Self, Problem> {
        let asked = asked_kernel(args.kernel.as_deref(), policy)?;
        let mut notes = Vec::new();
        let (snapshot, source, warnings) = read(args, KeepConfig::Drop, &mut notes)?;
        Ok(Self::of(snapshot, source, warnings, notes, asked))
    }

    /// A machine that was read before, or that is simulated.
    pub(crate) fn of(
        mut snapshot: Snapshot,
        source: Source,
        mut warnings: Warnings,
        mut notes: Vec<String>,
        asked: Option<Kernel>,
    ) -> Self {
        let cpu = snapshot.host.cpu.clone();
        infer_processor(&mut snapshot, &mut notes);
        make_plain(&mut snapshot);
        let captured = snapshot.host.kernel;
        let kernel = asked.unwrap_or_else(|| {
            if let Fact::Known(version) = captured
                && !Kernel::is_checked(version)
            {
                notes.push(unchecked(version));
            }
            Kernel::of_machine(captured)
        });
        let topology = Topology::new(snapshot, &mut warnings);
        warn_of_missing_host_bridge(&topology, &mut warnings);
        Self {
            topology,
            kernel,
            source,
            warnings,
            cpu,
            notes,
        }
    }

    /// The processor that was concluded from the host bridge, where nobody named one.
    pub(crate) fn inferred_cpu(&self) -> Option<&Cpu> {
        match (&self.cpu, &self.topology.snapshot().host.cpu) {
            (Fact::Unknown(_), Fact::Known(cpu)) => Some(cpu),
            _ => None,
        }
    }
}

/// Reads a machine and puts what the options say in the place of what its source says.
///
/// # Errors
/// A [`Problem`] where the source cannot be read or an option makes no sense.
pub(crate) fn read(
    args: &MachineArgs,
    keep: KeepConfig,
    notes: &mut Vec<String>,
) -> Result<(Snapshot, Source, Warnings), Problem> {
    let cpu = args.cpu.as_deref();
    let cpu = cpu.map(|text| processor::parse(text, notes)).transpose()?;
    let iommu = args.iommu.as_deref().map(parse_iommu).transpose()?;
    let mut warnings = Warnings::default();
    let (mut snapshot, source) = capture::read(args, keep, &mut warnings)?;
    let host = &mut snapshot.host;
    if let Some(iommu) = iommu {
        host.iommu = Fact::Known(iommu);
    }
    if let Some(cpu) = cpu {
        host.cpu = Fact::Known(cpu);
    }
    Ok((snapshot, source, warnings))
}

/// Concludes the processor where nobody names it. Only for answers: a snapshot holds what was read.
fn infer_processor(snapshot: &mut Snapshot, notes: &mut Vec<String>) {
    if !snapshot.host.cpu.is_known()
        && let Some((cpu, id)) = inferred_processor(snapshot)
    {
        notes.push(format!(
            "the processor is not in the source; its host bridge {id} at 0000:00:00.0 is Intel's, \
             so it is taken for Intel's (--cpu overrides)"
        ));
        snapshot.host.cpu = Fact::Known(cpu);
    }
}

/// Linux knows a host bridge by the first function on its root bus. A listing may lack it (an excerpt, or
/// a hidden function); the kernel's own tree, which names each function's bridge, does not.
fn warn_of_missing_host_bridge(topology: &Topology, warnings: &mut Warnings) {
    let root = topology
        .roots()
        .iter()
        .find(|root| (root.domain, root.bus) == (0, 0));
    let Some(first) = root.map(|root| topology.function(root.first)) else {
        return;
    };
    if first.bdf.devfn() != 0 && !first.upstream.is_known() {
        warnings.push(
            first.bdf,
            "it is the first function on bus 0000:00 in this listing, which may lack 0000:00:00.0; the host bridge \
             is then looked up by the wrong function",
        );
    }
}

/// Takes out of the words that commands lay out what a terminal does not show as itself.
pub(crate) fn make_plain(snapshot: &mut Snapshot) {
    let make = |word: &mut String| {
        if let Cow::Owned(plain) = plain(word) {
            *word = plain;
        }
    };
    if let Fact::Known(cpu) = &mut snapshot.host.cpu {
        make(&mut cpu.vendor);
    }
    snapshot.edit(|function| {
        function.os.names.iter_mut().for_each(make);
        if let Fact::Known(Some(driver)) = &mut function.os.driver {
            make(driver);
        }
    });
}

/// The kernel that the options name, if they do.
fn asked_kernel(kernel: Option<&str>, policy: Policy) -> Result<Option<Kernel>, Problem> {
    let asked = match kernel {
        None => None,
        Some("next") => Some(Kernel::Next),
        Some(text) => Some(Kernel::Release(parse_kernel(text)?)),
    };
    match (policy, asked) {
        (Policy::Linux | Policy::Spec | Policy::All, asked) => Ok(asked),
        (Policy::Next, None | Some(Kernel::Next)) => Ok(Some(Kernel::Next)),
        (Policy::Next, Some(release)) => Err(Problem::new(
            format_args!("--policy next and --kernel {release} contradict each other"),
            "the posted rewrite is in no release",
            "give one of the two",
        )),
    }
}

fn parse_kernel(text: &str) -> Result<KernelVersion, Problem> {
    let fix =
        "give a release from 6.1 to 7.3 such as `--kernel 6.8` or `--kernel 7.2.12`, or `--kernel next`";
    let version: KernelVersion = text.parse().map_err(|why| {
        Problem::new(
            format_args!("--kernel {text} is not a release of Linux"),
            why,
            fix,
        )
    })?;
    if !Kernel::is_checked(version) {
        return Err(Problem::new(
            format_args!("--kernel {text} is not among the releases that peerdma knows"),
            "its list of host bridges was checked for Linux 6.1 to 7.3, and lists differ from release to release",
            fix,
        ));
    }
    Ok(version)
}

fn parse_iommu(text: &str) -> Result<IommuMode, Problem> {
    text.parse().map_err(|why| {
        Problem::new(
            format_args!("--iommu {text} is not a mode of an IOMMU"),
            why,
            "give one of the three, or leave the option out",
        )
    })
}

fn unchecked(version: KernelVersion) -> String {
    if version > Kernel::NEWEST {
        format!(
            "the machine runs Linux {version}; peerdma knows releases up to 7.3 and answers as 7.3 does \
             (--kernel asks another)"
        )
    } else {
        format!(
            "the machine runs Linux {version}; peerdma knows releases from 6.1 on, so answers are given only \
             where all of them agree (--kernel asks one of them)"
        )
    }
}
