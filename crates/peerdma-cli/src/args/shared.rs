//! Options that several commands share.

use clap::{ValueEnum, ValueHint};
use peerdma::route::TlpClass;
use std::path::PathBuf;

/// Which machine, and what is known of it beside its source.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "The machine")]
pub(crate) struct MachineArgs {
    /// A capture instead of this machine: peerdma snapshot, lspci -vvv or -xxxx, sysfs tree or archive; - is stdin
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath, conflicts_with = "sysfs")]
    pub(crate) from: Option<PathBuf>,
    /// A simulated machine: a machine file, or the name of one that ships (two-ssds, gpu-box, redirect, ...)
    #[arg(long, value_name = "FILE|NAME", value_hint = ValueHint::FilePath, conflicts_with_all = ["from", "sysfs"])]
    pub(crate) machine: Option<PathBuf>,
    /// Another root folder of sysfs than /sys
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) sysfs: Option<PathBuf>,
    /// The processor as /proc/cpuinfo names it: AuthenticAMD:0x19, GenuineIntel:6
    #[arg(long, value_name = "VENDOR:FAMILY")]
    pub(crate) cpu: Option<String>,
    /// The Linux release that is asked: 6.1 to 7.3, or `next` for the posted rewrite
    #[arg(long, value_name = "X.Y|next")]
    pub(crate) kernel: Option<String>,
    /// What the IOMMU does: on (translating), pt (passthrough), off
    #[arg(long, value_name = "on|pt|off")]
    pub(crate) iommu: Option<String>,
    /// No warnings and notes
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Who decides, and about which packets.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Who decides")]
pub(crate) struct VerdictArgs {
    /// linux: what --kernel names (a release or next), else the machine's own release; next: short for --kernel next;
    /// spec: the hardware, by the rules of PCI Express alone; all: the three side by side
    #[arg(long, value_enum, default_value_t = Policy::Linux)]
    pub(crate) policy: Policy,
    /// The class of packets; only `next` and `spec` tell them apart
    #[arg(long, value_enum, default_value_t = Tlp::Strict)]
    pub(crate) tlp: Tlp,
}

/// Whose rules decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// Linux: the one of --kernel, else the machine's own
    Linux,
    /// The posted rewrite that tells packet classes apart; contradicts --kernel X.Y
    Next,
    /// The PCI Express specification: what the hardware does, whatever Linux decides
    Spec,
    /// Linux, the rewrite and the specification side by side
    All,
}

impl Policy {
    /// Its name in output and on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Next => "next",
            Self::Spec => "spec",
            Self::All => "all",
        }
    }
}

/// How a command that uses a volume is run, and how it tells of it.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Write without asking
    #[arg(short, long, conflicts_with = "machine")]
    pub(crate) yes: bool,
    /// How controllers are had from the kernel; without it: iommufd where the kernel offers it for them, else type1
    #[arg(long, value_enum, value_name = "API", conflicts_with = "machine")]
    pub(crate) vfio: Option<VfioArg>,
    /// No warnings, notes and progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// How VFIO is asked for devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VfioArg {
    /// Groups and containers
    Type1,
    /// Device files and iommufd
    Iommufd,
}

/// How output looks.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print JSON (schemas: docs/json.md); errors are JSON too
    #[arg(long)]
    pub(crate) json: bool,
    /// Colours
    #[arg(long, value_enum, default_value_t = ColorWhen::Auto, value_name = "WHEN")]
    pub(crate) color: ColorWhen,
}

/// When output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Also into pipes and files
    Always,
    /// Nowhere
    Never,
}

/// The packet class as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tlp {
    /// Untranslated requests, completions in order: a device without special settings
    Strict,
    /// Completions with relaxed ordering
    Relaxed,
    /// Requests with addresses that the device translated before (ATS)
    Translated,
    /// Both
    TranslatedRelaxed,
}

impl From<Tlp> for TlpClass {
    fn from(tlp: Tlp) -> Self {
        match tlp {
            Tlp::Strict => Self::Strict,
            Tlp::Relaxed => Self::Relaxed,
            Tlp::Translated => Self::Translated,
            Tlp::TranslatedRelaxed => Self::TranslatedRelaxed,
        }
    }
}
