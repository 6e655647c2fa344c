//! Who judges: Linux, the posted rewrite, or the specification, behind one face.

use crate::args::Policy;
use crate::input::Machine;
use peerdma::addr::Bdf;
use peerdma::route::linux::{self, Kernel};
use peerdma::route::spec::{self, Missing, Reason};
use peerdma::route::{Access, TlpClass, Verdict};
use peerdma::topology::{NodeId, Topology};

/// One judge.
pub(crate) enum Judge<'m> {
    Linux(linux::Judge<'m>),
    Spec(spec::Judge<'m>),
}

/// The verdicts of one provider with a list of clients; memory is kept from one provider to the next.
#[derive(Default)]
pub(crate) struct Row {
    /// By function.
    linux: linux::Row,
    /// By position in the list; empty where Linux judges.
    spec: Vec<Verdict>,
}

impl Row {
    /// The verdict for one client: a function, and its position in the list.
    pub(crate) fn verdict(&self, position: usize, client: NodeId) -> &Verdict {
        self.spec
            .get(position)
            .unwrap_or_else(|| &self.linux.verdicts()[client.index()])
    }
}

/// The three whose answers stand side by side.
pub(crate) struct Judges<'m> {
    /// The Linux of `--kernel`, else the machine's own.
    pub(crate) linux: linux::Judge<'m>,
    pub(crate) next: linux::Judge<'m>,
    pub(crate) spec: spec::Judge<'m>,
}

impl<'m> Judges<'m> {
    pub(crate) fn new(machine: &'m Machine) -> Self {
        let topology = &machine.topology;
        let kernel = match machine.kernel {
            // Asked for the rewrite alone: the machine's own release stands beside it.
            Kernel::Next => Kernel::of_machine(topology.snapshot().host.kernel),
            kernel => kernel,
        };
        Self {
            linux: linux::Judge::new(topology, kernel),
            next: linux::Judge::new(topology, Kernel::Next),
            spec: spec::Judge::new(topology),
        }
    }

    /// What each says of one pair: Linux, the rewrite, the specification.
    pub(crate) fn verdicts(&self, provider: NodeId, client: NodeId) -> [Verdict; 3] {
        [
            self.linux.verdict(provider, client),
            self.next.verdict(provider, client),
            self.spec.verdict(provider, client),
        ]
    }
}

impl<'m> Judge<'m> {
    /// The judge that a policy names; of all three the first.
    pub(crate) fn new(machine: &'m Machine, policy: Policy) -> Self {
        match policy {
            Policy::Linux | Policy::Next | Policy::All => {
                Self::Linux(linux::Judge::new(&machine.topology, machine.kernel))
            }
            Policy::Spec => Self::Spec(spec::Judge::new(&machine.topology)),
        }
    }

    pub(crate) fn topology(&self) -> &'m Topology {
        match self {
            Self::Linux(judge) => judge.topology(),
            Self::Spec(judge) => judge.topology(),
        }
    }

    pub(crate) fn verdict(&self, provider: NodeId, client: NodeId) -> Verdict {
        match self {
            Self::Linux(judge) => judge.verdict(provider, client),
            Self::Spec(judge) => judge.verdict(provider, client),
        }
    }

    /// Judges one provider with every client of the list.
    pub(crate) fn row(&self, provider: NodeId, clients: &[NodeId], row: &mut Row) {
        row.spec.clear();
        match self {
            Self::Linux(judge) => judge.row(provider, &mut row.linux),
            Self::Spec(judge) => row
                .spec
                .extend(clients.iter().map(|&client| judge.verdict(provider, client))),
        }
    }
}

/// The facts that an unknown answer of the specification lacks, one for each access.
pub(crate) fn lacking(
    judge: &spec::Judge<'_>,
    provider: NodeId,
    client: NodeId,
    class: TlpClass,
) -> impl Iterator<Item = (Bdf, Missing)> {
    Access::ALL.into_iter().filter_map(move |access| {
        match judge.evidence(provider, client, access, class).reason {
            Reason::Unknown { at, missing } => Some((at, missing)),
            _ => None,
        }
    })
}
