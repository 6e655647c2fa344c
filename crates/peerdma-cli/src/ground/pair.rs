//! One end, and perhaps the memory of another device: what `probe` and `bench` use of a machine.

use super::live::{Live, Need, Pool, Wanted, Word};
use super::{End, Ground, Lender, Rig};
use crate::args::{MachineArgs, Policy, VfioArg};
use crate::error::Problem;
use crate::input::Machine;
use crate::{machine_file, names, select};
use peerdma::addr::Bdf;
use peerdma::plan::DeviceMemory;
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use peerdma_linux::ring::{BlockDevice, Mode, NOBODY, OpenOptions, Write};
use peerdma_linux::vfio::Api;
use peerdma_sim::host::Computer;
use peerdma_sim::machine::Options;
use std::path::Path;

/// One end, and perhaps the memory of another device, ready to be used.
pub(crate) struct Pair<G: Ground> {
    pub(crate) rig: Rig<G>,
    pub(crate) end: End,
    pub(crate) blocks: u64,
    pub(crate) block_bytes: u64,
    /// The memory that was asked for.
    pub(crate) memory: Option<DeviceMemory>,
}

/// What the words of a command line mean on the machine that runs us: nothing is opened yet.
pub(crate) struct Meant<'w> {
    machine: Machine,
    word: &'w str,
    end: Word,
    lender: Option<Lender<'w>>,
    provider: Option<Bdf>,
}

/// How a live machine's devices are used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) write: Write,
    pub(crate) mode: Mode,
    pub(crate) vfio: Option<VfioArg>,
}

/// What devices use of RAM: reserved, and locked only as it is used.
const RAM_BYTES: u64 = 256 << 20;
/// Memory of a pool of the kernel's that is taken: as much as that, but not below the least.
const POOL_BYTES: (u64, u64) = (8 << 20, 64 << 10);

impl Pair<Computer> {
    /// On the machine of a file.
    ///
    /// # Errors
    /// A [`Problem`]
    pub(crate) fn simulated(
        machine: &Path,
        word: &str,
        lender: Option<Lender<'_>>,
        seed: u64,
    ) -> Result<Self, Problem> {
        let mut blueprint = machine_file::load(machine)?.blueprint;
        let topology = Topology::new(blueprint.snapshot.clone(), &mut Warnings::default());
        let end = End::of_blueprint(&blueprint, &topology, word)?;
        let provider = lender.map(|lender| bdf(&topology, lender.word)).transpose()?;
        let kind = end.kind(&mut blueprint);
        let (blocks, block_bytes) = kind.map_or((0, 1), |kind| (kind.blocks, kind.block_bytes.into()));
        let options = Options {
            seed: Some(seed),
            ..Options::default()
        };
        let computer = Computer::new(&blueprint, options).map_err(|error| {
            Problem::new(
                format_args!("{} cannot be switched on", machine.display()),
                error,
                "mend that in the machine file",
            )
        })?;
        Self::started(&computer, end, (blocks, block_bytes), provider, lender)
    }
}

impl<'w> Meant<'w> {
    /// Looks the words up.
    ///
    /// # Errors
    /// A [`Problem`] where there is nothing of this name.
    pub(crate) fn read(word: &'w str, lender: Option<Lender<'w>>) -> Result<Self, Problem> {
        let machine = Machine::open(&MachineArgs::default(), Policy::Linux)?;
        let end = Word::read(&machine.topology, word)?;
        if let Word::New(path) = &end {
            return Err(Problem::new(
                format_args!("{word} cannot be used"),
                format_args!("{} does not exist", path.display()),
                "name a block device (nvme0n1), a file, or a controller bound to vfio-pci by its address (3b:00.0)",
            ));
        }
        let provider = lender.map(|lender| bdf(&machine.topology, lender.word));
        Ok(Self {
            provider: provider.transpose()?,
            machine,
            word,
            end,
            lender,
        })
    }
}

impl Pair<Live> {
    /// On the machine that runs us.
    ///
    /// # Errors
    /// A [`Problem`]
    pub(crate) fn live(meant: Meant<'_>, how: Manner) -> Result<Self, Problem> {
        let Meant {
            machine,
            word,
            end: meant,
            lender,
            provider,
        } = meant;
        let topology = &machine.topology;
        let mut wanted = Wanted {
            ram_bytes: RAM_BYTES,
            mode: how.mode,
            api: how.vfio.map(|api| match api {
                VfioArg::Type1 => Api::Type1,
                VfioArg::Iommufd => Api::Iommufd,
            }),
            ..Wanted::default()
        };
        let mut opened = None;
        match &meant {
            Word::Controller { bdf, .. } => {
                wanted.functions.push(*bdf);
                match provider.filter(|provider| provider != bdf) {
                    Some(provider) if is_nvme(topology, provider) => wanted.functions.push(provider),
                    Some(provider) => wanted.lender = Some((provider, lender.and_then(|lender| lender.bar))),
                    None => {}
                }
            }
            Word::Existing(path) | Word::New(path) => {
                let device = open(path, how.write)?;
                if let Some(provider) = provider {
                    refuse(topology, word, &device, provider)?;
                    wanted.pools.push(Pool {
                        provider,
                        most_bytes: POOL_BYTES.0,
                        least_bytes: POOL_BYTES.1,
                        need: Need::Must,
                    });
                }
                opened = Some((
                    End::of_kernel(word, &device, 0),
                    (device.blocks(), u64::from(device.block_bytes())),
                ));
                wanted.volumes.push(device);
            }
        }
        let live = Live::open(machine, wanted)?;
        match (meant, opened) {
            (Word::Controller { bdf, namespace }, _) => {
                // Namespaces are known when the driver has started.
                let unnamed = End {
                    name: word.to_owned(),
                    initiator: bdf,
                    place: super::Place::Namespace(0),
                };
                let mut pair = Self::started(&live, unnamed, (0, 1), provider, lender)?;
                let namespaces = pair.rig.driver(bdf).map_or(&[][..], |driver| driver.namespaces());
                let ids: Vec<u32> = namespaces.iter().map(|one| one.id).collect();
                let end = End::of_controller(word, bdf, namespace, &ids)?;
                let found = namespaces
                    .iter()
                    .find(|one| end.place == super::Place::Namespace(one.id));
                (pair.blocks, pair.block_bytes) =
                    found.map_or((0, 1), |one| (one.blocks, one.block_bytes.into()));
                pair.end = end;
                Ok(pair)
            }
            (_, Some((end, shape))) => Self::started(&live, end, shape, provider, lender),
            (_, None) => Err(Problem::new(
                format_args!("{word} cannot be used"),
                "it was not opened",
                "this is a defect; report it",
            )),
        }
    }
}

impl<G: Ground> Pair<G> {
    /// Starts the drivers, and finds the memory.
    fn started(
        ground: &G,
        end: End,
        (blocks, block_bytes): (u64, u64),
        provider: Option<Bdf>,
        lender: Option<Lender<'_>>,
    ) -> Result<Self, Problem> {
        let is_ours = matches!(end.place, super::Place::Namespace(_));
        let own = is_ours.then_some(end.initiator);
        let other = provider.filter(|provider| ground.is_controller(*provider));
        let controllers: Vec<Bdf> = own.into_iter().chain(other).collect();
        let mut initiators = vec![end.initiator];
        initiators.extend(&controllers);
        let rig = Rig::new(ground, &*ground.routes(), &initiators, &controllers)?;
        let memory = match (provider, lender) {
            (Some(provider), Some(lender)) => Some(memory(&rig, provider, lender)?),
            _ => None,
        };
        Ok(Self {
            rig,
            end,
            blocks,
            block_bytes,
            memory,
        })
    }
}

/// The memory of a device.
fn memory<G: Ground>(rig: &Rig<G>, provider: Bdf, lender: Lender<'_>) -> Result<DeviceMemory, Problem> {
    lender.memory(rig, provider)?.ok_or_else(|| {
        Problem::new(
            format_args!("{} has no memory that can be used", lender.word),
            match rig.driver(provider) {
                Some(_) => {
                    "the controller has no controller memory buffer, or none that can be enabled".to_owned()
                }
                None => format!("no BAR of {provider} is memory that may be written"),
            },
            "name another device, or another of its BARs; `peerdma topo -v` shows them",
        )
    })
}

fn bdf(topology: &Topology, word: &str) -> Result<Bdf, Problem> {
    Ok(topology.function(select::one(topology, word)?).bdf)
}

fn is_nvme(topology: &Topology, bdf: Bdf) -> bool {
    let class = (topology.find(bdf)).and_then(|node| topology.function(node).class());
    class.is_some_and(|class| class.class() == 0x0108)
}

/// What the kernel cannot do for its own block devices.
fn refuse(topology: &Topology, word: &str, device: &BlockDevice, provider: Bdf) -> Result<(), Problem> {
    let function = topology.find(provider).map(|node| topology.function(node));
    let bad = |why: String, fix: &str| {
        let what = format!("{word} cannot use memory of {provider}");
        Err(Problem::new(what, why, fix))
    };
    if function.and_then(names::driver) == Some("vfio-pci") {
        return bad(
            "the kernel serves the one, and vfio-pci has the other: the kernel reaches no memory of such a device".into(),
            "bind both to vfio-pci (`peerdma bind`), or leave both to the kernel",
        );
    }
    if device.initiator() == NOBODY || !device.takes_peer_memory() {
        return bad(
            format!("no PCI function behind {word} takes memory of others"),
            "name a block device of an NVMe controller",
        );
    }
    Ok(())
}

fn open(path: &Path, write: Write) -> Result<BlockDevice, Problem> {
    BlockDevice::open(path, OpenOptions { write }).map_err(|error| {
        let text = error.to_string();
        let (why, fix) = text.split_once("; ").unwrap_or((&text, "look at it"));
        Problem::new(format_args!("{} cannot be used", path.display()), why, fix)
    })
}
