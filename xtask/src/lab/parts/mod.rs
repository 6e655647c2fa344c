//! What the lab is made of, and where it has it from.
//!
//! Called by [`super::run`] once. A part that cannot be had is kept as the reason why: only checks that need it are missing.

mod apt;
mod build;
mod iommufd;
mod kernel;
mod root;
mod sources;

pub(crate) use build::Programs;
pub(crate) use iommufd::{Iommufd, Wish};
pub(crate) use root::Root;

use super::Arguments;
use super::report::Line;
use crate::chore::Failure;
use apt::Apt;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A part, or why it cannot be had and what to do.
pub(crate) type Part<T> = Result<T, String>;

/// Everything that boots are made of.
pub(crate) struct Parts {
    /// The emulator.
    pub(crate) qemu: Part<Qemu>,
    /// The image of the kernel.
    pub(crate) kernel: Part<PathBuf>,
    /// The image of a kernel with IOMMUFD.
    pub(crate) iommufd: Iommufd,
    /// The kernel's own modules, as files that can be loaded, by name.
    pub(crate) kernel_modules: BTreeMap<String, PathBuf>,
    /// The modules of `lab/modules`, compiled, by name.
    pub(crate) modules: Part<BTreeMap<String, PathBuf>>,
    /// A static busybox.
    pub(crate) busybox: Part<PathBuf>,
    /// The programs under test and the lab's own, linked statically.
    pub(crate) programs: Part<Programs>,
    /// Debian's packages, for programs of which the guest gets a copy.
    pub(crate) debian: Part<Root>,
}

impl Parts {
    /// Were Debian's packages there to be had, a kernel among them? If not, why.
    pub(crate) fn fetched(&self) -> Part<()> {
        self.debian.as_ref().map_err(Clone::clone)?;
        self.kernel.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// A line for each part.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let line = |name: &str, part: Part<String>| match part {
            Ok(text) => Line::held(format!("part {name}"), text),
            Err(why) => Line::missing(format!("part {name}"), why),
        };
        let brief = |part: &Part<PathBuf>| part.as_ref().map_err(Clone::clone).map(|path| name_of(path));
        let modules = self.modules.as_ref().map_err(Clone::clone);
        let programs = self.programs.as_ref().map_err(Clone::clone);
        let iommufd = match &self.iommufd {
            Iommufd::NotBuilt => None,
            _ => Some(line("kernel with IOMMUFD", self.iommufd.image().map(name_of))),
        };
        let others = [
            line(
                "qemu",
                self.qemu.as_ref().map_err(Clone::clone).and_then(Qemu::version),
            ),
            line("kernel", brief(&self.kernel)),
            line("busybox", brief(&self.busybox)),
            line(
                "modules",
                modules.map(|built| built.keys().cloned().collect::<Vec<_>>().join(" ")),
            ),
            line(
                "programs",
                programs.map(|programs| format!("peerdma and lab-guest, static, {}", programs.target)),
            ),
        ];
        others.into_iter().chain(iommufd).collect()
    }
}

/// The last two names of a path: enough to tell a kernel by, and none of the cache's place.
fn name_of(path: &Path) -> String {
    let names: Vec<_> = path
        .iter()
        .rev()
        .take(2)
        .map(|name| name.to_string_lossy())
        .collect();
    names.into_iter().rev().collect::<Vec<_>>().join("/")
}

/// QEMU, as a file of the host or out of the unpacked packages.
#[derive(Debug, Clone)]
pub(crate) enum Qemu {
    Host(PathBuf),
    Unpacked(Root),
}

impl Qemu {
    /// The first line of what it says of itself.
    fn version(&self) -> Part<String> {
        let output = self.command().arg("--version").output();
        let output = output.map_err(|error| format!("QEMU does not start: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        match text.lines().next() {
            Some(line) if output.status.success() => Ok(line.to_owned()),
            _ => Err(format!(
                "QEMU does not start: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )),
        }
    }

    /// A command that runs it; on Linux it dies with the thread that started it.
    pub(crate) fn command(&self) -> Command {
        let inner = match self {
            Qemu::Host(path) => Command::new(path),
            Qemu::Unpacked(root) => {
                let mut command = root.program("usr/bin/qemu-system-x86_64");
                for folder in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
                    command.arg("-L").arg(root.path(folder));
                }
                command
            }
        };
        // The signal at the parent's death is set by a program of its own: it takes unsafe code here.
        if Command::new("setpriv").arg("--version").output().is_err() {
            return inner;
        }
        let mut outer = Command::new("setpriv");
        outer.args(["--pdeathsig", "KILL", "--"]);
        outer.arg(inner.get_program()).args(inner.get_args());
        outer
    }
}

/// What is unpacked besides the kernel: what the guest runs, and what compiles modules.
const PACKAGES: [&str; 15] = [
    "base-files",
    "busybox-static",
    "fio",
    "pciutils",
    "dash",
    "coreutils",
    "findutils",
    "grep",
    "sed",
    "mawk",
    "make",
    "gcc-14",
    "binutils",
    "diffutils",
    "perl-base",
];

const QEMU_PACKAGES: [&str; 3] = ["qemu-system-x86", "seabios", "ipxe-qemu"];

/// Modules of the kernel that the guest may load, in an order in which they can be.
pub(crate) const KERNEL_MODULES: [&str; 11] = [
    "irqbypass",
    "vfio",
    "vfio_iommu_type1",
    "iommufd",
    "vfio-pci-core",
    "vfio-pci",
    "virtio_blk",
    "nvmet",
    "nvme-loop",
    "configfs",
    "uio",
];

/// Makes the folder in which parts are kept, and tries whether files can be made in it.
pub(crate) fn make_folder(cache: &Path) -> Result<(), Failure> {
    let made = fs::create_dir_all(cache).and_then(|()| tempfile::tempfile_in(cache));
    made.map(drop).map_err(|error| {
        Failure::Arguments(format!(
            "lab: parts cannot be kept in {}: {error}: name a folder that can be written by --cache DIR",
            cache.display()
        ))
    })
}

/// Gets everything; `cache` is where it is kept, `wish` is about the kernel with IOMMUFD.
///
/// Fails where something of ours does not compile.
pub(crate) fn get(arguments: &Arguments, cache: &Path, wish: Wish) -> Result<Parts, Failure> {
    let cache = &cache.canonicalize().map_err(Failure::io(cache.display()))?;
    let (unpacked, programs) = std::thread::scope(|scope| {
        let programs = scope.spawn(|| build::programs(&cache.join("build")));
        let unpacked = unpacked(arguments, cache);
        if !programs.is_finished() {
            eprintln!("lab: Debian's packages are settled, the programs are still being compiled");
        }
        let programs = programs.join();
        let panicked = |_| Err(Failure::Bad("building panicked".into()));
        (unpacked, programs.unwrap_or_else(panicked))
    });
    let programs = part(programs)?;
    let unpacked = part(unpacked)?;
    let of_debian =
        |take: fn(&Unpacked) -> Part<PathBuf>| unpacked.as_ref().map_err(Clone::clone).and_then(take);
    let busybox = match &arguments.busybox {
        Some(path) => given(path),
        None => of_debian(|unpacked| given(&unpacked.root.path("usr/bin/busybox"))),
    };
    let kernel = match &arguments.kernel {
        Some(path) => given(path),
        None => of_debian(|unpacked| Ok(unpacked.root.path(unpacked.kernel()?.image()))),
    };
    let iommufd = iommufd::get(arguments, cache, wish);
    let qemu = match &arguments.qemu {
        Some(path) => given(path).map(Qemu::Host),
        None => of_debian(|unpacked| given(&unpacked.root.path("usr/bin/qemu-system-x86_64")))
            .and_then(|_| Ok(Qemu::Unpacked(unpacked.clone()?.root))),
    };
    let (kernel_modules, modules) = match &arguments.kernel {
        Some(_) => {
            let why = "modules are for a kernel of Debian: leave --kernel out";
            (Ok(BTreeMap::new()), Err(why.to_owned()))
        }
        None => {
            let compiled = unpacked.as_ref().map_err(Clone::clone);
            let compiled = match compiled.and_then(|of| Ok((&of.root, of.kernel()?))) {
                Ok((root, version)) => part(build::modules(root, &version))?,
                Err(why) => Err(why),
            };
            let own = match &unpacked {
                Ok(of) => of.kernel.as_ref().map(|version| (version, &of.root)),
                Err(_) => None,
            };
            let folder = cache.join("modules");
            let own = own.map_or(Ok(BTreeMap::new()), |(version, root)| {
                kernel::modules(root, version, &folder)
            });
            (own, compiled)
        }
    };
    let kernel_modules = kernel_modules?;
    Ok(Parts {
        qemu,
        kernel,
        iommufd,
        kernel_modules,
        modules,
        busybox,
        programs,
        debian: unpacked.map(|unpacked| unpacked.root),
    })
}

/// What is missing is missing; what went wrong, such as our own code that does not compile, ends the run.
fn part<T>(got: Result<T, Failure>) -> Result<Part<T>, Failure> {
    match got {
        Ok(part) => Ok(Ok(part)),
        Err(Failure::Missing(why)) => Ok(Err(why)),
        Err(failure) => Err(failure),
    }
}

/// The unpacked packages, and the version of the kernel among them.
#[derive(Clone)]
struct Unpacked {
    root: Root,
    kernel: Option<kernel::Version>,
}

impl Unpacked {
    fn kernel(&self) -> Part<kernel::Version> {
        let none =
            "the archive has no cloud kernel of the series 7.2 in its backports: give one with --kernel";
        self.kernel.clone().ok_or_else(|| none.to_owned())
    }
}

/// Fetches and unpacks, or finds what an earlier run unpacked.
fn unpacked(arguments: &Arguments, cache: &Path) -> Result<Unpacked, Failure> {
    let folder = cache.join("root");
    // Which kernel it holds; written last, so that a half unpacked root is not taken for a whole one.
    let done = cache.join("root.done");
    if let (Ok(text), false) = (fs::read_to_string(&done), arguments.refresh) {
        return Ok(Unpacked {
            root: Root::at(folder),
            kernel: kernel::Version::read(text.trim()),
        });
    }
    eprintln!("lab: fetching packages of Debian into {}", cache.display());
    let apt = Apt::set_up(&cache.join("apt"), arguments.mirror.as_deref())?;
    let mut packages: Vec<String> = PACKAGES.map(str::to_owned).to_vec();
    if arguments.qemu.is_none() {
        packages.extend(QEMU_PACKAGES.map(str::to_owned));
    }
    let kernel = kernel::newest(&apt)?;
    if let (Some(version), None) = (&kernel, &arguments.kernel) {
        packages.extend(version.packages(&apt)?);
    }
    let files = apt.download(&packages)?;
    eprintln!("lab: unpacking {} packages", files.len());
    if done.exists() {
        fs::remove_file(&done).map_err(Failure::io(done.display()))?;
    }
    let root = Root::unpack(folder, &files)?;
    let name = kernel.as_ref().map_or("", |version| version.name());
    fs::write(&done, name).map_err(Failure::io(done.display()))?;
    Ok(Unpacked { root, kernel })
}

fn given(path: &Path) -> Part<PathBuf> {
    if path.is_file() {
        Ok(path.to_owned())
    } else {
        Err(format!("{} is not a file", path.display()))
    }
}
