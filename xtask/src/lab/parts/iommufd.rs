//! A kernel with IOMMUFD, which Debian's have off: Debian's source, compiled by Debian's compiler with `lab/kernel/iommufd.config`, and kept.
//!
//! Called by [`super::get`] where a check boots it. Compiled in a folder of unpacked packages of its own, which is gone afterwards.

use super::apt::Apt;
use super::{Arguments, Part, Root, given};
use crate::chore::{self, Failure};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The image, as far as this run has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Iommufd {
    Image(PathBuf),
    /// It was to be there, and this is why it is not.
    Missing(String),
    /// None is kept, and none was to be built.
    NotBuilt,
}

/// What a run wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// No check boots it.
    Nothing,
    /// If it is there it is used.
    IfThere,
    /// It is built if it is not there.
    Build,
}

impl Iommufd {
    /// Why there is none and what to do, if there is none.
    pub(crate) fn image(&self) -> Part<&Path> {
        match self {
            Self::Image(path) => Ok(path),
            Self::Missing(why) => Err(why.clone()),
            Self::NotBuilt => Err(
                "no kernel with IOMMUFD is kept: --full builds one, --kernel-iommufd PATH gives one".into(),
            ),
        }
    }
}

/// The source, of the series that the lab's other kernel is of.
const SOURCE: &str = "linux-source-7.2";
/// What compiles it.
const PACKAGES: [&str; 22] = [
    SOURCE,
    "base-files",
    "bc",
    "binutils",
    "bison",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "flex",
    "gcc-14",
    "grep",
    "gzip",
    "libc6-dev",
    "libelf-dev",
    "m4",
    "make",
    "mawk",
    "perl-base",
    "sed",
    "tar",
    "xz-utils",
];

/// What compiles it, in the root; `$jobs` stands before it. Headers of graphics hardware are a quarter of the source.
const RECIPE: &str = r#"
set -e
mkdir /build/linux
tar -xJf /usr/src/linux-source-7.2.tar.xz -C /build/linux --no-same-owner --strip-components=1 --exclude='*/drivers/gpu/drm/amd/include'
cd /build/linux
run() { make -s CC=gcc-14 HOSTCC=gcc-14 KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab "$@"; }
run tinyconfig
cat /build/config >>.config
run olddefconfig
# What this version does not know, or cannot have, is dropped without a word.
for option in IOMMUFD VFIO_PCI VFIO_GROUP VFIO_DEVICE_CDEV VFIO_PCI_DMABUF INTEL_IOMMU BLK_DEV_NVME PCI_P2PDMA; do
    grep -qx "CONFIG_$option=y" .config || { echo "this version does not take CONFIG_$option"; exit 1; }
done
run -j "$jobs" bzImage
"#;
const IMAGE: &str = "build/linux/arch/x86/boot/bzImage";

/// Takes the image that is given or kept, or builds it. Whatever goes wrong is why it is missing.
pub(super) fn get(arguments: &Arguments, cache: &Path, wish: Wish) -> Iommufd {
    let got = match (wish, &arguments.kernel_iommufd) {
        (Wish::Nothing, _) => return Iommufd::NotBuilt,
        (_, Some(path)) => given(path).map_err(Failure::Missing),
        (Wish::IfThere, None) => match config().and_then(|config| kept(cache, &config, None)) {
            Ok(None) => return Iommufd::NotBuilt,
            Ok(Some(image)) => Ok(image),
            Err(why) => Err(why),
        },
        (Wish::Build, None) => kept_or_built(arguments, cache),
    };
    match got {
        Ok(image) => Iommufd::Image(image),
        Err(why) => Iommufd::Missing(format!("a kernel with IOMMUFD: {why}")),
    }
}

fn kept_or_built(arguments: &Arguments, cache: &Path) -> Result<PathBuf, Failure> {
    let config = config()?;
    if let (Some(image), false) = (kept(cache, &config, None)?, arguments.refresh) {
        return Ok(image);
    }
    let apt = Apt::set_up(&cache.join("apt"), arguments.mirror.as_deref())?;
    let version = apt.version(SOURCE)?;
    if let Some(image) = kept(cache, &config, Some(&version))? {
        return Ok(image);
    }
    eprintln!("lab: building a kernel with IOMMUFD of {SOURCE} {version}: some minutes, once");
    let started = Instant::now();
    let folder = cache.join(FOLDER);
    fs::create_dir_all(&folder).map_err(Failure::io(folder.display()))?;
    let files = apt.download(&PACKAGES.map(str::to_owned))?;
    let root = Root::unpack(folder.join("root"), &files)?;
    let built = compile(&root, &config, super::super::jobs(arguments));
    let image = built.and_then(|()| keep(&folder, &root, &name(&version, &config)));
    // A gigabyte and a half that nothing needs any longer.
    let _ = fs::remove_dir_all(root.path(""));
    let image = image?;
    eprintln!("lab: built in {} s", started.elapsed().as_secs());
    Ok(image)
}

fn compile(root: &Root, config: &str, jobs: usize) -> Result<(), Failure> {
    let place = root.path("build/config");
    fs::write(&place, config).map_err(Failure::io(place.display()))?;
    root.check_shell()?;
    let output = root.shell(&format!("jobs={jobs}; {{ {RECIPE} }} 2>&1"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let last: Vec<&str> = said.lines().rev().take(8).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(Failure::Missing(format!(
        "its build ended with {}: {}",
        output.status,
        last.join(" | ")
    )))
}

/// Takes the image out of the root; images of other versions and configurations go.
fn keep(folder: &Path, root: &Root, name: &str) -> Result<PathBuf, Failure> {
    let (built, half, image) = (root.path(IMAGE), folder.join("half"), folder.join(name));
    fs::copy(&built, &half).map_err(Failure::io(built.display()))?;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_file() && entry.path() != half {
            let _ = fs::remove_file(entry.path());
        }
    }
    fs::rename(&half, &image).map_err(Failure::io(image.display()))?;
    Ok(image)
}

/// Where images are kept, in the cache.
const FOLDER: &str = "iommufd";

/// The image of this configuration that an earlier run built: of this version, or of any.
fn kept(cache: &Path, config: &str, version: Option<&str>) -> Result<Option<PathBuf>, Failure> {
    let folder = cache.join(FOLDER);
    if !folder.exists() {
        return Ok(None);
    }
    let entries = fs::read_dir(&folder).map_err(Failure::io(folder.display()))?;
    let suffix = name("", config);
    let is_it = |path: &PathBuf| {
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        match version {
            Some(version) => file == name(version, config),
            None => file.ends_with(&suffix),
        }
    };
    Ok(entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.is_file() && is_it(path)))
}

fn config() -> Result<String, Failure> {
    let path = chore::repository().join("lab/kernel/iommufd.config");
    fs::read_to_string(&path).map_err(Failure::io(path.display()))
}

/// Names an image by all that it is made of.
fn name(version: &str, config: &str) -> String {
    let made_of = [config, RECIPE, &PACKAGES.join(" ")].concat();
    format!("{version}-{:016x}", hash(made_of.as_bytes()))
}

/// FNV-1a, 64 bits: the same on every machine, by every compiler.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_again_by_its_configuration_and_not_by_another() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(kept(cache.path(), "a", None).unwrap(), None);
        let folder = cache.path().join(FOLDER);
        fs::create_dir_all(&folder).unwrap();
        let image = folder.join(name("7.2.12-1~bpo13+1", "a"));
        fs::write(&image, "").unwrap();
        assert_eq!(kept(cache.path(), "a", None).unwrap(), Some(image.clone()));
        assert_eq!(
            kept(cache.path(), "a", Some("7.2.12-1~bpo13+1")).unwrap(),
            Some(image)
        );
        assert_eq!(kept(cache.path(), "a", Some("7.2.13-1")).unwrap(), None);
        assert_eq!(kept(cache.path(), "b", None).unwrap(), None);
    }

    #[test]
    fn the_hash_is_the_one_that_others_compute() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
