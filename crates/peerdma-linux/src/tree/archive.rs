//! A tree in memory, filled from an archive by [`super::tarball`].
//!
//! Links stay links: they are followed within the tree when something is read through them, so that
//! a link can never lead to a file of the machine at hand.

use super::{EntryKind, Gap, Listing, Tree, recorded};
use crate::keep::KeepConfig;
use peerdma::pci::Extent;
use std::collections::BTreeMap;

/// Folders, small files and links, all in memory.
#[derive(Debug)]
pub struct ArchiveTree {
    nodes: Vec<Node>,
    root: Position,
    bytes: usize,
}

/// A folder, file or link of an [`ArchiveTree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(u32);

#[derive(Debug)]
enum Node {
    Folder {
        above: Position,
        entries: BTreeMap<Box<[u8]>, Position>,
    },
    File(Box<[u8]>),
    Link(Box<[u8]>),
}

/// What an archive puts into a tree.
#[derive(Debug, Clone, Copy)]
pub(super) enum Leaf<'a> {
    Folder,
    File(&'a [u8]),
    Link(&'a [u8]),
}

/// Two members of an archive that cannot both be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clash;

/// How many links are followed on one path, as in Linux.
const MOST_LINKS: u8 = 40;
const ELOOP: i32 = 40;

/// Folders that a machine's tree starts with: the root is not moved below them.
const STARTS: [&[u8]; 5] = [b"sys", b"proc", b"bus", b"devices", b"kernel"];

impl ArchiveTree {
    pub(super) fn new() -> Self {
        let root = Position(0);
        Self {
            nodes: vec![Node::Folder {
                above: root,
                entries: BTreeMap::new(),
            }],
            root,
            bytes: 0,
        }
    }

    /// How many folders, files and links there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// How many bytes files, links and names hold.
    pub(super) fn len_bytes(&self) -> usize {
        self.bytes
    }

    /// Adds what lies at `parts`, and the folders above it; of two files the later one stays.
    pub(super) fn insert(&mut self, parts: &[&[u8]], leaf: Leaf<'_>) -> Result<(), Clash> {
        let Some((name, above)) = parts.split_last() else {
            return Ok(());
        };
        let mut at = Position(0);
        for part in above {
            at = self.enter(at, part)?;
        }
        let node = match leaf {
            Leaf::Folder => return self.enter(at, name).map(|_| ()),
            Leaf::File(content) => Node::File(content.into()),
            Leaf::Link(target) => Node::Link(target.into()),
        };
        self.bytes += match &node {
            Node::File(bytes) | Node::Link(bytes) => bytes.len(),
            Node::Folder { .. } => 0,
        };
        match self.child(at, name) {
            None => self.add(at, name, node).map(|_| ()),
            Some(there) => match self.nodes.get_mut(there.0 as usize) {
                Some(old @ (Node::File(_) | Node::Link(_))) => {
                    *old = node;
                    Ok(())
                }
                _ => Err(Clash),
            },
        }
    }

    /// Moves the root down to the machine, where the archive nests it in folders of its own.
    pub(super) fn settle(&mut self) {
        while let Some(Node::Folder { entries, .. }) = self.node(self.root) {
            let mut entries = entries.iter();
            match (entries.next(), entries.next()) {
                (Some((name, only)), None)
                    if !STARTS.contains(&&**name)
                        && matches!(self.node(*only), Some(Node::Folder { .. })) =>
                {
                    self.root = *only;
                }
                _ => break,
            }
        }
    }

    /// The folder `name` in `at`, made where it is missing.
    fn enter(&mut self, at: Position, name: &[u8]) -> Result<Position, Clash> {
        match self.child(at, name) {
            None => self.add(
                at,
                name,
                Node::Folder {
                    above: at,
                    entries: BTreeMap::new(),
                },
            ),
            Some(there) => match self.node(there) {
                Some(Node::Folder { .. }) => Ok(there),
                _ => Err(Clash),
            },
        }
    }

    fn add(&mut self, at: Position, name: &[u8], node: Node) -> Result<Position, Clash> {
        let position = Position(u32::try_from(self.nodes.len()).map_err(|_| Clash)?);
        let Some(Node::Folder { entries, .. }) = self.nodes.get_mut(at.0 as usize) else {
            return Err(Clash);
        };
        entries.insert(name.into(), position);
        self.bytes += name.len();
        self.nodes.push(node);
        Ok(position)
    }

    fn node(&self, at: Position) -> Option<&Node> {
        self.nodes.get(at.0 as usize)
    }

    fn child(&self, at: Position, name: &[u8]) -> Option<Position> {
        match self.node(at)? {
            Node::Folder { entries, .. } => entries.get(name).copied(),
            _ => None,
        }
    }

    /// What lies at `path` below `at`, all links followed.
    fn resolve(&self, at: Position, path: &[u8], links: &mut u8) -> Result<Position, Gap> {
        // No path of this machine has a meaning in the tree.
        if path.starts_with(b"/") {
            return Err(Gap::Missing);
        }
        let mut at = at;
        for part in path.split(|byte| *byte == b'/') {
            let Some(Node::Folder { above, .. }) = self.node(at) else {
                return Err(Gap::Missing);
            };
            at = match part {
                b"" | b"." => at,
                b".." => *above,
                name => {
                    let there = self.child(at, name).ok_or(Gap::Missing)?;
                    match self.node(there) {
                        Some(Node::Link(target)) => {
                            *links += 1;
                            if *links > MOST_LINKS {
                                return Err(Gap::Failed(ELOOP));
                            }
                            self.resolve(at, target, links)?
                        }
                        _ => there,
                    }
                }
            };
        }
        Ok(at)
    }
}

impl Tree for ArchiveTree {
    type Folder = Position;

    fn root(&self) -> &Position {
        &self.root
    }

    fn folder(&self, at: &Position, path: &[u8]) -> Result<Position, Gap> {
        let there = self.resolve(*at, path, &mut 0)?;
        match self.node(there) {
            Some(Node::Folder { .. }) => Ok(there),
            _ => Err(Gap::Missing),
        }
    }

    fn same(&self, one: &Position, other: &Position) -> bool {
        one == other
    }

    fn list(&self, folder: &Position, listing: &mut Listing) -> Result<(), Gap> {
        listing.clear();
        let Some(Node::Folder { entries, .. }) = self.node(*folder) else {
            return Err(Gap::Missing);
        };
        for (name, position) in entries {
            let kind = match self.node(*position) {
                Some(Node::Folder { .. }) => EntryKind::Folder,
                Some(Node::File(_)) => EntryKind::File,
                Some(Node::Link(_)) => EntryKind::Link,
                None => EntryKind::Other,
            };
            listing.push(name, kind)?;
        }
        Ok(())
    }

    fn has(&self, at: &Position, name: &[u8]) -> bool {
        self.child(*at, name).is_some()
    }

    fn read(&self, at: &Position, path: &[u8], buffer: &mut [u8]) -> Result<usize, Gap> {
        let there = self.resolve(*at, path, &mut 0)?;
        match self.node(there) {
            Some(Node::File(content)) => Ok(copy(content, buffer)),
            _ => Err(Gap::Missing),
        }
    }

    fn read_whole(&self, at: &Position, path: &[u8], most_bytes: usize) -> Result<Vec<u8>, Gap> {
        let there = self.resolve(*at, path, &mut 0)?;
        match self.node(there) {
            Some(Node::File(content)) => Ok(content.get(..most_bytes).unwrap_or(content).to_vec()),
            _ => Err(Gap::Missing),
        }
    }

    fn read_config(
        &self,
        at: &Position,
        _keep: KeepConfig,
        buffer: &mut [u8],
    ) -> Result<(usize, Extent), Gap> {
        Ok(recorded(self.read(at, b"config", buffer)?))
    }

    fn link(&self, at: &Position, name: &[u8], buffer: &mut [u8]) -> Result<usize, Gap> {
        let there = self.child(*at, name).ok_or(Gap::Missing)?;
        match self.node(there) {
            Some(Node::Link(target)) => Ok(copy(target, buffer)),
            _ => Err(Gap::NotALink),
        }
    }
}

/// Copies as much as fits.
fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let length = from.len().min(to.len());
    if let (Some(from), Some(to)) = (from.get(..length), to.get_mut(..length)) {
        to.copy_from_slice(from);
    }
    length
}
