//! Where the blocks of a device or file lie, so that two names for the same blocks are known for what they are.
//!
//! Asked by who copies, before anything is written. A device that is built on others (dm, md) lies somewhere in each of them: where, sysfs does
//! not tell. So it shares blocks with whatever shares theirs, unless both are one part and another of a thing above them, or volumes of one LVM
//! volume group. Several paths to one namespace or logical unit are one disk, by its `wwid`; or, where Linux made that of vendor, serial and model
//! because the namespace has no identifier of its own, by subsystem and number. A loop device lies in its file, or where its block device does.

use super::place::Place;
use rustix::fs::FileType;
use std::fmt;
use std::path::{Path, PathBuf};

/// So many devices lie one below the other at most, and so many in all: Linux has fewer, a made-up sysfs may have more.
const MOST_DEEP: usize = 16;
const MOST_PIECES: usize = 512;

/// Where the blocks of a device or file lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The first is exact.
    pieces: Vec<Piece>,
    /// There is more below it than was looked at.
    goes_on: bool,
}

/// That two stretches of blocks have some in common.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overlap {
    /// They have.
    Certain {
        /// What keeps them.
        keeper: String,
    },
    /// Both are built on it, and nobody tells that they lie in different parts of it.
    Possible {
        /// What both are built on.
        keeper: String,
    },
    /// One is built on more devices than were looked at.
    Untold,
    /// Two disks are in one place by a name that is made of vendor, serial and model alone, while Linux has them for namespaces of different
    /// subsystems: two disks with one serial (clones, virtual machines), or one disk that says wrongly of what subsystem it is.
    Alike {
        /// The disks.
        names: [String; 2],
        /// What both are called.
        wwid: String,
    },
}

/// What keeps blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Keeper {
    /// A disk that says by what it is known everywhere.
    Known(String),
    /// An NVMe namespace that does not.
    Namespace { subsystem: String, nsid: u64 },
    /// The folder of a disk in sysfs.
    At(PathBuf),
    /// A file, by whatever link.
    File { device: u64, inode: u64 },
}

/// Where blocks lie in one keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    keeper: Keeper,
    /// What the keeper is called by vendor, serial and model, where it has no better name.
    serial: Option<String>,
    /// Its name, for people.
    name: String,
    start_bytes: u64,
    /// How long the part is in which it lies somewhere; nothing where its bytes lie there one after the other.
    within_bytes: Option<u64>,
    /// What lies between it and the device that was asked for.
    above: Vec<Keeper>,
    /// The volume group by which the device right above it was given its place.
    group: Option<String>,
}

/// What two pieces have in common.
enum Common {
    Keeper,
    Serial(String),
}

/// Where devices are looked up.
#[derive(Clone, Copy)]
struct Look<'a> {
    sys: &'a Path,
    /// The number of the block device with this node.
    number: fn(&Path) -> Option<(u32, u32)>,
}

/// The disk, or the file, in which a device lies from a byte on: itself, where it is no loop device.
struct Ground {
    place: Place,
    file: Option<Keeper>,
    start_bytes: u64,
}

impl Extent {
    /// Of a block device or a plain file; nothing where there is none, or the system does not tell.
    pub fn of(path: &Path) -> Option<Self> {
        if let Some((major, minor)) = number(path) {
            let sys = Path::new("/sys");
            return Some(Self::of_place(sys, number, &Place::of(sys, major, minor)?));
        }
        let keeper = file(path)?;
        Some(Self {
            pieces: vec![Piece {
                name: path.canonicalize().ok()?.display().to_string(),
                keeper,
                serial: None,
                start_bytes: 0,
                within_bytes: None,
                above: Vec::new(),
                group: None,
            }],
            goes_on: false,
        })
    }

    fn of_place(sys: &Path, number: fn(&Path) -> Option<(u32, u32)>, place: &Place) -> Self {
        let mut extent = Self {
            pieces: Vec::new(),
            goes_on: false,
        };
        extent.add(Look { sys, number }, place, None, &[], None);
        extent
    }

    /// Adds a device and what it is built on. `within_bytes` and `group` are of the device above it.
    fn add(
        &mut self,
        look: Look<'_>,
        place: &Place,
        within_bytes: Option<u64>,
        above: &[Keeper],
        group: Option<&str>,
    ) {
        let Some(ground) = look.ground(place) else {
            self.goes_on = true;
            return;
        };
        let (keeper, serial) = ground.keeper();
        // A ring of devices on each other is none of Linux's making.
        if above.contains(&keeper) {
            return;
        }
        if above.len() >= MOST_DEEP || self.pieces.len() >= MOST_PIECES {
            self.goes_on = true;
            return;
        }
        self.pieces.push(Piece {
            keeper: keeper.clone(),
            serial,
            name: place.name.clone(),
            start_bytes: ground.start_bytes,
            within_bytes,
            above: above.to_vec(),
            group: group.map(str::to_owned),
        });
        let (below, more) = ground.place.stands_on(MOST_PIECES);
        self.goes_on |= more;
        let group = ground.place.volume_group();
        let above: Vec<Keeper> = above.iter().cloned().chain([keeper]).collect();
        for device in below {
            // Of unknown length it may reach to the end.
            let within_bytes = device.len_bytes().unwrap_or(u64::MAX);
            self.add(look, &device, Some(within_bytes), &above, group.as_deref());
        }
    }

    /// Do so many bytes, from an offset in each on, have one in common, or might they?
    pub fn overlap(&self, offset: u64, other: &Self, other_offset: u64, len_bytes: u64) -> Option<Overlap> {
        if len_bytes == 0 {
            return None;
        }
        let pairs = self
            .pieces
            .iter()
            .flat_map(|one| other.pieces.iter().map(move |two| (one, two)));
        let (mut possible, mut alike) = (None, None);
        for (one, two) in pairs {
            let Some(common) = one.common(two) else { continue };
            // What one thing above both keeps apart lies apart in all that is below it.
            if one.above.iter().any(|keeper| two.above.contains(keeper)) {
                continue;
            }
            let is_of_one_group = one.group.is_some() && one.group == two.group;
            if is_of_one_group || !one.meets(offset, two, other_offset, len_bytes) {
                continue;
            }
            if let Common::Serial(wwid) = common {
                let names = [one.name.clone(), two.name.clone()];
                alike = alike.or(Some(Overlap::Alike { names, wwid }));
                continue;
            }
            let keeper = one.name.clone();
            match (one.within_bytes, two.within_bytes) {
                (None, None) => return Some(Overlap::Certain { keeper }),
                _ => possible = possible.or(Some(Overlap::Possible { keeper })),
            }
        }
        let is_untold = (self.goes_on || other.goes_on) && self.is_device() && other.is_device();
        possible.or(is_untold.then_some(Overlap::Untold)).or(alike)
    }

    fn is_device(&self) -> bool {
        let mut keepers = self.pieces.iter().map(|piece| &piece.keeper);
        keepers.all(|keeper| !matches!(keeper, Keeper::File { .. }))
    }
}

impl Look<'_> {
    /// Nothing where more loop devices lie on each other than are looked through.
    fn ground(self, place: &Place) -> Option<Ground> {
        let mut ground = Ground {
            start_bytes: place.start_bytes(),
            place: place.clone(),
            file: None,
        };
        for _ in 0..MOST_DEEP {
            let Some((path, offset)) = ground.place.backing() else {
                return Some(ground);
            };
            let on = (self.number)(&path).and_then(|(major, minor)| Place::of(self.sys, major, minor));
            let Some(on) = on else {
                ground.file = file(&path);
                if ground.file.is_some() {
                    ground.start_bytes = ground.start_bytes.saturating_add(offset);
                }
                return Some(ground);
            };
            let offset = offset.saturating_add(on.start_bytes());
            ground.start_bytes = ground.start_bytes.saturating_add(offset);
            ground.place = on;
        }
        None
    }
}

impl Ground {
    /// And what it is called by its serial, where that says nothing for certain.
    fn keeper(&self) -> (Keeper, Option<String>) {
        /// `wwid_show`, drivers/nvme/host/sysfs.c: vendor, serial, model and number, of namespaces without UUID, NGUID and EUI-64.
        const BY_SERIAL: &str = "nvme.";
        if let Some(file) = &self.file {
            return (file.clone(), None);
        }
        let at = || Keeper::At(self.place.disk().to_path_buf());
        match self.place.wwid() {
            None => (at(), None),
            Some(wwid) if wwid.starts_with(BY_SERIAL) => match self.place.namespace() {
                Some((subsystem, nsid)) => (Keeper::Namespace { subsystem, nsid }, Some(wwid)),
                None => (at(), Some(wwid)),
            },
            Some(wwid) => (Keeper::Known(wwid), None),
        }
    }
}

impl Piece {
    fn common(&self, other: &Self) -> Option<Common> {
        if self.keeper == other.keeper {
            return Some(Common::Keeper);
        }
        if let (
            Keeper::Namespace { subsystem, .. },
            Keeper::Namespace {
                subsystem: of_other, ..
            },
        ) = (&self.keeper, &other.keeper)
            && subsystem == of_other
        {
            return None;
        }
        let serial = self.serial.as_ref().filter(|_| self.serial == other.serial)?;
        Some(Common::Serial(serial.clone()))
    }

    /// Might bytes of both be the same byte of their keeper?
    fn meets(&self, offset: u64, other: &Self, other_offset: u64, len_bytes: u64) -> bool {
        let (first, end) = self.reach(offset, len_bytes);
        let (other_first, other_end) = other.reach(other_offset, len_bytes);
        first < other_end && other_first < end
    }

    fn reach(&self, offset: u64, len_bytes: u64) -> (u128, u128) {
        let start = u128::from(self.start_bytes);
        match self.within_bytes {
            None => {
                let first = start + u128::from(offset);
                (first, first + u128::from(len_bytes))
            }
            Some(within) => (start, start + u128::from(within)),
        }
    }
}

/// The number of the block device with this node.
fn number(path: &Path) -> Option<(u32, u32)> {
    let found = rustix::fs::stat(path).ok()?;
    let is_device = FileType::from_raw_mode(found.st_mode) == FileType::BlockDevice;
    is_device.then(|| (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev)))
}

/// A plain file.
fn file(path: &Path) -> Option<Keeper> {
    let found = rustix::fs::stat(path).ok()?;
    let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
    is_file.then_some(Keeper::File {
        device: found.st_dev,
        inode: found.st_ino,
    })
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certain { keeper } => write!(f, "they share blocks of {keeper}"),
            Self::Possible { keeper } => write!(
                f,
                "both are built on {keeper}, and nothing says that they lie in different parts of it"
            ),
            Self::Untold => f.write_str("one is built on more devices than can be looked through"),
            Self::Alike {
                names: [one, two],
                wwid,
            } => write!(
                f,
                "{one} and {two} have one wwid, {wwid}, of vendor, serial and model alone: they are two disks with one serial, or one"
            ),
        }
    }
}

#[cfg(test)]
#[path = "tests/extents.rs"]
mod tests;
