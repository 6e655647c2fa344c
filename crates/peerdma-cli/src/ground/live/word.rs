//! What a word of the command line means on the machine that runs us.

use crate::error::Problem;
use crate::ground::end::{no_blocks, parts};
use crate::{names, select};
use peerdma::addr::Bdf;
use peerdma::snapshot::Function;
use peerdma::topology::Topology;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What a word means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// A controller that our driver is to have, and the number of a namespace where it names one.
    Controller { bdf: Bdf, namespace: Option<u64> },
    /// A block device or a file.
    Existing(PathBuf),
    /// A file that is to be made.
    New(PathBuf),
}

/// Whose memory the driver of a device is.
const VFIO: &str = "vfio-pci";
/// NVMe controllers (PCI Code and ID Assignment, 1.9).
const NVME: u16 = 0x0108;

impl Word {
    /// Reads an address (`0000:3b:00.0`, `3b:00.0/1`), the name of a block device (`nvme0n1`), or a path.
    ///
    /// # Errors
    /// A [`Problem`] where there is nothing of this name, or it cannot be used so.
    pub(crate) fn read(topology: &Topology, word: &str) -> Result<Self, Problem> {
        select::refuse_empty(word)?;
        let (controller, namespace) = parts(word);
        if controller.parse::<Bdf>().is_ok() {
            let function = topology.function(select::one(topology, controller)?);
            // Registers of another device are not those of a controller: they are not even looked at.
            if function.class().is_some_and(|class| class.class() != NVME) {
                return Err(no_blocks(word, function.bdf));
            }
            return match names::driver(function) {
                Some(VFIO) => Ok(Self::Controller {
                    bdf: function.bdf,
                    namespace,
                }),
                _ => Err(not_ours(function)),
            };
        }
        let device = Path::new("/dev").join(word);
        let is_name = !word.contains('/') && word != "." && word != "..";
        if is_name && is_block_device(&device) {
            return Ok(Self::Existing(device));
        }
        let path = Path::new(word);
        let bad = |why: &dyn std::fmt::Display, fix: &str| {
            Problem::new(format_args!("{word} cannot be used"), why, fix)
        };
        match fs::metadata(path) {
            Ok(found) if found.is_file() || found.file_type().is_block_device() => {
                Ok(Self::Existing(path.to_owned()))
            }
            Ok(_) => Err(bad(
                &"it is neither a regular file nor a block device",
                "name a file, a block device, or a controller by its address",
            )),
            Err(error) if error.kind() == ErrorKind::NotFound && is_name && !word.contains('.') => Err(bad(
                &"no block device and no file has this name",
                "look at /proc/partitions; a controller bound to vfio-pci is named by its address (3b:00.0), a file that is \
                 to be made by a path (./NAME)",
            )),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Ok(Self::New(path.to_owned()))
            }
            Err(error) => Err(bad(&error, "check the path and its permissions")),
        }
    }

    /// What it is, for who goes on with it later: where the same name might mean another place.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Controller { bdf, namespace } => match namespace {
                Some(namespace) => format!("{bdf}/{namespace}"),
                None => bdf.to_string(),
            },
            Self::Existing(path) | Self::New(path) => {
                let whole = fs::canonicalize(path).or_else(|_| {
                    let folder = match path.parent() {
                        Some(folder) if folder != Path::new("") => folder,
                        _ => Path::new("."),
                    };
                    fs::canonicalize(folder).map(|folder| folder.join(path.file_name().unwrap_or_default()))
                });
                whole
                    .unwrap_or_else(|_| path.clone())
                    .to_string_lossy()
                    .into_owned()
            }
        }
    }

    /// Is it the same place?
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Existing(one), Self::Existing(two)) => match (fs::metadata(one), fs::metadata(two)) {
                (Ok(one), Ok(two)) if one.file_type().is_block_device() => one.rdev() == two.rdev(),
                (Ok(one), Ok(two)) => (one.dev(), one.ino()) == (two.dev(), two.ino()),
                _ => false,
            },
            _ => self == other,
        }
    }
}

fn is_block_device(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device())
}

/// A function that the kernel, or nobody, has.
pub(crate) fn not_ours(function: &Function) -> Problem {
    let bdf = function.bdf;
    let driver = names::driver(function);
    Problem::new(
        format_args!("{bdf} cannot be driven by peerdma"),
        match driver {
            Some(driver) => format!("it is bound to the kernel's driver {driver}, and not to {VFIO}"),
            None => format!("it is not bound to {VFIO}"),
        },
        match (driver, names::kernel_name(function)) {
            // Its own name: another's would be another's data.
            (Some("nvme"), Some(name)) => format!(
                "name its block device ({name}n1, or another of {name}) to leave it to the kernel, or give it to {VFIO}: `sudo peerdma bind {bdf}`"
            ),
            _ => format!("give it to {VFIO}: `sudo peerdma bind {bdf}`"),
        },
    )
}
