//! Where the blocks of a device or file lie, so that two names for the same blocks are known for what they are.
//!
//! Asked by who copies, before anything is written. A device that is built on others (dm, md) lies somewhere in each of them: where, sysfs does
//! not tell. So it shares blocks with whatever shares theirs, unless both are one part and another of a thing above them, or volumes of one LVM
//! volume group. Several paths to one namespace or logical unit are one disk, by its `wwid`.

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
}

/// What keeps blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Keeper {
    /// A disk that says by what it is known everywhere.
    Known(String),
    /// The folder of a disk in sysfs, or a file.
    At(PathBuf),
}

/// Where blocks lie in one keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    keeper: Keeper,
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

impl Extent {
    /// Of a block device or a plain file; nothing where there is none, or the system does not tell.
    pub fn of(path: &Path) -> Option<Self> {
        let found = rustix::fs::stat(path).ok()?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::BlockDevice => {
                let number = found.st_rdev;
                let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
                Some(Self::of_place(&Place::of(Path::new("/sys"), major, minor)?))
            }
            FileType::RegularFile => {
                let file = path.canonicalize().ok()?;
                Some(Self {
                    pieces: vec![Piece {
                        name: file.display().to_string(),
                        keeper: Keeper::At(file),
                        start_bytes: 0,
                        within_bytes: None,
                        above: Vec::new(),
                        group: None,
                    }],
                    goes_on: false,
                })
            }
            _ => None,
        }
    }

    fn of_place(place: &Place) -> Self {
        let mut extent = Self {
            pieces: Vec::new(),
            goes_on: false,
        };
        extent.add(place, None, &[], None);
        extent
    }

    /// Adds a device and what it is built on. `within_bytes` and `group` are of the device above it.
    fn add(&mut self, place: &Place, within_bytes: Option<u64>, above: &[Keeper], group: Option<&str>) {
        let (folder, start_bytes) = place.keeper();
        let keeper = match place.wwid() {
            Some(wwid) => Keeper::Known(wwid),
            None => Keeper::At(folder),
        };
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
            name: place.name.clone(),
            start_bytes,
            within_bytes,
            above: above.to_vec(),
            group: group.map(str::to_owned),
        });
        let (below, more) = place.stands_on(MOST_PIECES);
        self.goes_on |= more;
        let group = place.volume_group();
        let above: Vec<Keeper> = above.iter().cloned().chain([keeper]).collect();
        for device in below {
            // Of unknown length it may reach to the end.
            let within_bytes = device.len_bytes().unwrap_or(u64::MAX);
            self.add(&device, Some(within_bytes), &above, group.as_deref());
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
        let mut possible = None;
        for (one, two) in pairs.filter(|(one, two)| one.keeper == two.keeper) {
            // What one thing above both keeps apart lies apart in all that is below it.
            if one.above.iter().any(|keeper| two.above.contains(keeper)) {
                continue;
            }
            let is_of_one_group = one.group.is_some() && one.group == two.group;
            if is_of_one_group || !one.meets(offset, two, other_offset, len_bytes) {
                continue;
            }
            let keeper = one.name.clone();
            match (one.within_bytes, two.within_bytes) {
                (None, None) => return Some(Overlap::Certain { keeper }),
                _ => possible = possible.or(Some(Overlap::Possible { keeper })),
            }
        }
        let is_untold = (self.goes_on || other.goes_on) && self.is_device() && other.is_device();
        possible.or(is_untold.then_some(Overlap::Untold))
    }

    fn is_device(&self) -> bool {
        let mut keepers = self.pieces.iter().map(|piece| &piece.keeper);
        keepers.all(|keeper| match keeper {
            Keeper::Known(_) => true,
            Keeper::At(path) => path.is_dir(),
        })
    }
}

impl Piece {
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

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certain { keeper } => write!(f, "they share blocks of {keeper}"),
            Self::Possible { keeper } => write!(
                f,
                "both are built on {keeper}, and nothing says that they lie in different parts of it"
            ),
            Self::Untold => f.write_str("one is built on more devices than can be looked through"),
        }
    }
}

#[cfg(test)]
#[path = "tests/extents.rs"]
mod tests;
