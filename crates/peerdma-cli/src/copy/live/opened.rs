//! Both ends of a copy on this machine, as far as they are open, and what is to be taken of the machine for them.

use super::super::carry;
use super::super::request::{self, Blocked, Ends, Request};
use crate::args::{CopyArgs, VfioArg};
use crate::copy::amount;
use crate::error::Problem;
use crate::ground::live::{Live, Need, Pool, Wanted, Word};
use crate::ground::{End, Ground, Place, Rig};
use peerdma::addr::Bdf;
use peerdma::topology::Topology;
use peerdma_linux::ring::{BlockDevice, Holder, NOBODY, OpenOptions, Write};
use peerdma_linux::vfio::Api;
use std::path::{Path, PathBuf};

/// What devices use of RAM: reserved, and locked only as it is used.
const RAM_BYTES: u64 = 1 << 30;
const PAGE_BYTES: u64 = 4096;

/// Both ends, as far as they are open.
pub(super) struct Opened {
    sides: [Side; 2],
}

/// One end.
enum Side {
    /// Our driver is to have its controller.
    Ours { bdf: Bdf, namespace: Option<u64> },
    /// The kernel serves it.
    Kernel(Kernel),
    /// It is to be made.
    New(PathBuf),
}

/// What the kernel serves.
struct Kernel {
    device: Option<BlockDevice>,
    end: End,
    blocked: Blocked,
    takes_peer_memory: bool,
    /// Who else may write it meanwhile.
    in_use: Option<String>,
}

impl Opened {
    /// Opens what the kernel serves.
    pub(super) fn new(args: &CopyArgs, words: &[Word; 2]) -> Result<Self, Problem> {
        let [source, destination] = words;
        let source = Side::new(source, &args.source, Write::No, 0)?;
        let place = usize::from(matches!(source, Side::Kernel(_)));
        let destination = Side::new(destination, &args.destination, Write::Existing, place)?;
        if let Side::Kernel(kernel) = &source
            && args.what.bytes.is_none()
            && args.what.lba.is_none()
        {
            kernel.refuse_tail(&args.source)?;
        }
        Ok(Self {
            sides: [source, destination],
        })
    }

    fn is_mixed(&self) -> bool {
        self.sides.iter().any(Side::is_ours) && !self.sides.iter().all(Side::is_ours)
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_mixed() {
            notes.push(
                "one end is driven by peerdma and the other by the kernel: all that both can use is host RAM"
                    .into(),
            );
        }
        if let Side::Kernel(source) = &self.sides[0] {
            notes.extend(source.in_use.clone());
        }
        notes
    }

    fn initiators(&self) -> Vec<Bdf> {
        self.sides.iter().map(Side::initiator).collect()
    }

    /// What is to be taken of the machine.
    pub(super) fn wanted(
        &mut self,
        args: &CopyArgs,
        topology: &Topology,
        via: Option<Bdf>,
    ) -> Result<Wanted, Problem> {
        let chunk_bytes = match &args.way.chunk {
            None => request::CHUNK_BYTES,
            Some(text) => amount::bytes("--chunk", text)?.min(1 << 30),
        };
        let mut wanted = Wanted {
            api: args.live.vfio.map(|api| match api {
                VfioArg::Type1 => Api::Type1,
                VfioArg::Iommufd => Api::Iommufd,
            }),
            // Two pieces to compare, and those under way.
            ram_bytes: RAM_BYTES.max(4 * chunk_bytes.next_multiple_of(PAGE_BYTES) + RAM_BYTES / 4),
            ..Wanted::default()
        };
        let ours = self.sides.iter().filter(|side| side.is_ours());
        wanted.functions = ours.map(Side::initiator).collect();
        if let Some(via) = via.filter(|_| self.is_mixed()) {
            return Err(Problem::new(
                format_args!(
                    "{} cannot be copied to {} by way of {via}",
                    args.source, args.destination
                ),
                "one end is driven by peerdma and the other by the kernel: all that both can use is host RAM",
                "bind both ends to vfio-pci (`peerdma bind`), or leave both to the kernel, or leave out --via",
            ));
        }
        let is_ours = wanted.functions.len() == 2;
        if let Some(via) = via.filter(|via| is_ours && !self.initiators().contains(via)) {
            match is_controller(topology, via) {
                true => wanted.functions.push(via),
                false => wanted.lender = Some((via, args.live.via_bar)),
            }
        }
        if wanted.functions.is_empty() && !args.way.via_ram {
            wanted.pools = self.pools(
                via,
                chunk_bytes,
                args.way.queue_depth.unwrap_or(request::QUEUE_DEPTH),
            );
        }
        for side in &mut self.sides {
            if let Side::Kernel(kernel) = side {
                wanted.volumes.extend(kernel.device.take());
            }
        }
        Ok(wanted)
    }

    /// Whose p2pmem is used: the device's that was named; else those of the ends, where the kernel can.
    fn pools(&self, via: Option<Bdf>, chunk_bytes: u64, depth: u16) -> Vec<Pool> {
        let least_bytes = chunk_bytes.next_multiple_of(PAGE_BYTES);
        let pool = |provider, need| Pool {
            provider,
            most_bytes: least_bytes.saturating_mul(depth.into()),
            least_bytes,
            need,
        };
        let can = self.sides.iter().all(Side::takes_peer_memory);
        match via {
            Some(via) => vec![pool(via, Need::Must)],
            None if can => {
                let mut providers = self.initiators();
                providers.dedup();
                providers.into_iter().map(|bdf| pool(bdf, Need::May)).collect()
            }
            None => Vec::new(),
        }
    }

    /// Starts the drivers.
    pub(super) fn start(&self, live: &Live, via: Option<Bdf>) -> Result<Rig<Live>, Problem> {
        let ours = self.sides.iter().filter(|side| side.is_ours());
        let mut controllers: Vec<Bdf> = ours.map(Side::initiator).collect();
        controllers.extend(via.filter(|via| live.is_controller(*via)));
        carry::start(live, &self.initiators(), &controllers)
    }

    /// Both ends, now that drivers tell of namespaces.
    pub(super) fn ends(&self, args: &CopyArgs, words: &[Word; 2], rig: &Rig<Live>) -> Result<Ends, Problem> {
        let [source, destination] = &self.sides;
        let (source, source_blocked) = source.end(&args.source, rig)?;
        let (destination, destination_blocked) = destination.end(&args.destination, rig)?;
        request::refuse_same(&source, &destination)?;
        Ok(Ends {
            source,
            destination,
            shapes: [source_blocked, destination_blocked],
            pattern: None,
            files: words.each_ref().map(|word| Some(word.identity())),
        })
    }

    /// Makes the file that is to be made, now that its length is known, and gives its path.
    pub(super) fn make(&self, live: &Live, request: &Request) -> Result<Option<PathBuf>, Problem> {
        let [_, Side::New(path)] = &self.sides else {
            return Ok(None);
        };
        let len_bytes = request.destination_offset.saturating_add(request.len_bytes);
        let device = open(path, Write::Create { len_bytes })?;
        live.add_volume(device);
        Ok(Some(path.clone()))
    }
}

impl Side {
    fn new(word: &Word, name: &str, write: Write, place: usize) -> Result<Self, Problem> {
        Ok(match word {
            Word::Controller { bdf, namespace } => Self::Ours {
                bdf: *bdf,
                namespace: *namespace,
            },
            Word::New(path) => Self::New(path.clone()),
            Word::Existing(path) => {
                let device = open(path, write)?;
                let holders: Vec<String> = device.holders().iter().map(Holder::to_string).collect();
                Self::Kernel(Kernel {
                    in_use: (!holders.is_empty()).then(|| {
                        format!(
                            "the source is in use ({}): what is written there meanwhile may be in the copy or not, or make it fail; \
                             unmount it, or make it read-only, for a copy of one moment",
                            holders.join("; ")
                        )
                    }),
                    end: End::of_kernel(name, &device, place),
                    blocked: Blocked {
                        blocks: device.blocks(),
                        block_bytes: device.block_bytes().into(),
                    },
                    takes_peer_memory: device.takes_peer_memory(),
                    device: Some(device),
                })
            }
        })
    }

    fn is_ours(&self) -> bool {
        matches!(self, Self::Ours { .. })
    }

    fn initiator(&self) -> Bdf {
        match self {
            Self::Ours { bdf, .. } => *bdf,
            Self::Kernel(kernel) => kernel.end.initiator,
            Self::New(_) => NOBODY,
        }
    }

    fn takes_peer_memory(&self) -> bool {
        match self {
            Self::Kernel(kernel) => kernel.takes_peer_memory,
            Self::Ours { .. } | Self::New(_) => false,
        }
    }

    fn end(&self, name: &str, rig: &Rig<Live>) -> Result<(End, Blocked), Problem> {
        match self {
            Self::Kernel(kernel) => Ok((kernel.end.clone(), kernel.blocked)),
            // As large as it must be; its blocks are known when it is made.
            Self::New(_) => {
                let end = End {
                    name: name.to_owned(),
                    initiator: NOBODY,
                    place: Place::Own(rig.ground().volumes()),
                };
                let blocked = Blocked {
                    blocks: i64::MAX.unsigned_abs() / 512,
                    block_bytes: 512,
                };
                Ok((end, blocked))
            }
            Self::Ours { bdf, namespace } => {
                let namespaces = rig.driver(*bdf).map_or(&[][..], |driver| driver.namespaces());
                let ids: Vec<u32> = namespaces.iter().map(|one| one.id).collect();
                let end = End::of_controller(name, *bdf, *namespace, &ids)?;
                let is_it = |id| end.place == Place::Namespace(id);
                let found = namespaces.iter().find(|one| is_it(one.id));
                let blocked = Blocked {
                    blocks: found.map_or(0, |one| one.blocks),
                    block_bytes: found.map_or(1, |one| one.block_bytes.into()),
                };
                Ok((end, blocked))
            }
        }
    }
}

impl Kernel {
    /// What is no whole block at the end of a file would be left behind.
    fn refuse_tail(&self, name: &str) -> Result<(), Problem> {
        let len_bytes = self.device.as_ref().map_or(0, BlockDevice::len_bytes);
        let whole_bytes = self.blocked.blocks.saturating_mul(self.blocked.block_bytes);
        match len_bytes == whole_bytes {
            true => Ok(()),
            false => Err(Problem::new(
                format_args!("{name} cannot be copied whole"),
                format_args!(
                    "its {len_bytes} bytes are no whole number of blocks of {} bytes",
                    self.blocked.block_bytes
                ),
                format_args!(
                    "give --bytes {whole_bytes} to leave the rest behind, or make it longer (`truncate -s %{} FILE`)",
                    self.blocked.block_bytes
                ),
            )),
        }
    }
}

fn open(path: &Path, write: Write) -> Result<BlockDevice, Problem> {
    let opened = BlockDevice::open(path, OpenOptions { write });
    opened.map_err(|error| {
        let text = error.to_string();
        let (why, fix) = text.split_once("; ").unwrap_or((&text, "look at it"));
        Problem::new(format_args!("{} cannot be used", path.display()), why, fix)
    })
}

fn is_controller(topology: &Topology, bdf: Bdf) -> bool {
    let class = topology
        .find(bdf)
        .and_then(|node| topology.function(node).class());
    class.is_some_and(|class| class.class() == 0x0108)
}
