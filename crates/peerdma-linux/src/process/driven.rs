//! The machine as it is while this process drives what it took: what routes are to be judged by.
//!
//! A snapshot of a machine whose devices nobody drives shows them, and what is above them, switched off: the kernel lets a function, and every
//! bridge above it, answer and pass requests upwards when somebody opens it (`pci_enable_device_flags` and `pci_enable_bridge` in
//! `drivers/pci/pci.c`, called by vfio-pci). And no register tells what a host bridge forwards. Whoever is about to move data asks
//! [`Process::driven`] after it took its functions, and judges by the answer. The command line does, and every driver should.

use super::Process;
use super::sync::lock;
use crate::sysfs::registers;
use peerdma::addr::{Address, Bdf};
use peerdma::dma::{KernelRoutes, PeerRoute, Refused, Routes, SpecRoutes};
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{Bar, Command};
use peerdma::route::linux::{Belief, Kernel, believed};
use peerdma::route::{Access, TlpClass, linux, spec};
use peerdma::snapshot::Warnings;
use peerdma::topology::Topology;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A machine as it is while this process drives what it took.
#[derive(Debug, Clone)]
pub struct Driven {
    topology: Topology,
    beliefs: Vec<Belief>,
    taken: BTreeSet<Bdf>,
    kernel: Kernel,
}

impl Process {
    /// The machine as it is while drivers in this process drive the functions that it has now, to be judged by:
    ///
    /// - a function that was taken answers for its memory and may issue requests, as its driver will let it
    ///   ([`peerdma::device::Function::set_bus_master`]);
    /// - BARs of one that had lost their addresses (somebody reset it) and were given them back when it was opened have them;
    /// - what is above one is as its command register says now, which every user may read; unknown where it cannot be read;
    /// - what a host bridge forwards is taken from the list by which `kernel` trusts host bridges, where the machine does not tell. That is somebody's
    ///   word and no fact: show [`Driven::beliefs`]. A bridge that is not listed stays unknown, and what hangs on it is refused.
    ///
    /// All else is as [`Self::topology`] says. Functions that are taken later are not in it: ask anew.
    pub fn driven(&self, kernel: Kernel) -> Driven {
        let seen = &self.shared.topology;
        let taken: BTreeSet<Bdf> = lock(&self.shared.devices).taken().collect();
        let nodes = || taken.iter().filter_map(|bdf| seen.find(*bdf));
        let above = nodes().flat_map(|node| seen.climb(node).skip(1));
        let above: BTreeSet<Bdf> = above.map(|node| seen.function(node).bdf).collect();
        let folder = self.shared.sys.join("bus/pci/devices");
        let command = |bdf: Bdf| (bdf, command(&folder.join(bdf.to_string()).join("config")));
        let now: BTreeMap<Bdf, Fact<Command>> = above.into_iter().map(command).collect();

        let (mut snapshot, mut beliefs) = believed(seen, kernel);
        snapshot.edit(|function| {
            let command = &mut function.config.command;
            if let Some(now) = now.get(&function.bdf) {
                *command = *now;
            }
            if !taken.contains(&function.bdf) {
                return;
            }
            if let Fact::Known(command) = command {
                *command = command.once_driven();
            }
            if let Fact::Known(then) = &mut function.config.bars {
                let now = registers::bars(&folder.join(function.bdf.to_string()));
                if with_address(&now) > with_address(then) {
                    *then = now;
                }
            }
        });
        let roots = nodes().filter_map(|node| seen.roots().get(seen.root(node)?.index()));
        let roots: BTreeSet<_> = roots.map(|root| (root.domain, root.bus)).collect();
        beliefs.retain(|belief| roots.contains(&(belief.domain, belief.bus)));
        Driven {
            // Nothing is warned of that was not when the topology was first put together.
            topology: Topology::new(snapshot, &mut Warnings::default()),
            beliefs,
            taken,
            kernel,
        }
    }
}

impl Driven {
    /// The machine, for judges.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// What is taken for true of the host bridges above the functions, and on whose word: to be shown to whoever relies on it.
    pub fn beliefs(&self) -> &[Belief] {
        &self.beliefs
    }

    /// The functions that the process had.
    pub fn taken(&self) -> &BTreeSet<Bdf> {
        &self.taken
    }

    /// How initiators of this machine reach memory, for [`peerdma::dma::Ioas::add_initiator`].
    pub fn routes(&self) -> DrivenRoutes<'_> {
        DrivenRoutes {
            hardware: spec::Judge::new(&self.topology),
            kernel: linux::Judge::new(&self.topology, self.kernel),
            taken: &self.taken,
        }
    }
}

/// Routes of a machine that a process drives a part of: by the specification where this process programs the device, by the kernel's own
/// rules where the kernel does.
#[derive(Debug)]
pub struct DrivenRoutes<'d> {
    hardware: spec::Judge<'d>,
    kernel: linux::Judge<'d>,
    taken: &'d BTreeSet<Bdf>,
}

impl Routes for DrivenRoutes<'_> {
    fn route(&self, initiator: Bdf, provider: Bdf, bar: u8, access: Access, class: TlpClass) -> PeerRoute {
        match self.taken.contains(&initiator) {
            true => SpecRoutes::new(&self.hardware).route(initiator, provider, bar, access, class),
            false => {
                let routes = KernelRoutes::new(&self.kernel, &self.hardware);
                routes.route(initiator, provider, bar, access, class)
            }
        }
    }

    fn ram(&self, initiator: Bdf, access: Access, class: TlpClass) -> Result<(), Refused> {
        match self.taken.contains(&initiator) {
            true => match SpecRoutes::new(&self.hardware).ram(initiator, access, class) {
                // The kernel has let the function go only with an address space by which it reaches this process's memory: what keeps it from
                // there is known for certain or is not there.
                Err(Refused::Unknown { .. }) => Ok(()),
                judged => judged,
            },
            // The kernel sees to it.
            false => Ok(()),
        }
    }
}

/// The command register in a function's configuration space as it is now (PCI Local Bus 3.0, 6.1: vendor, device, command).
fn command(config: &Path) -> Fact<Command> {
    let mut header = [0; 6];
    let read = File::open(config).and_then(|mut file| file.read_exact(&mut header));
    match (read, header) {
        // A function that has gone answers with ones.
        (Ok(()), [0xff, 0xff, ..]) => Fact::Unknown(Unread::Unreadable),
        (Ok(()), [.., low, high]) => Fact::Known(Command(u16::from_le_bytes([low, high]))),
        (Err(error), _) => Fact::Unknown(match error.kind() {
            io::ErrorKind::NotFound => Unread::NotInSource,
            io::ErrorKind::PermissionDenied => Unread::AccessDenied,
            _ => Unread::Unreadable,
        }),
    }
}

fn with_address(bars: &[Bar]) -> usize {
    bars.iter().filter(|bar| bar.address.to_u64() != 0).count()
}
