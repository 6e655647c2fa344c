//! What the silence of a listing proves, and the facts of its text under that proof.
//!
//! `lspci` never says "there is no ACS here". That a function lacks a capability is known only where its
//! list was readable, and for the extended space only where the listing shows that this space was
//! readable at all: an unprivileged user gets `<access denied>`, and a machine without memory-mapped
//! configuration, or a dump of 256 bytes printed again, shows no extended capability anywhere.

use super::capability::List;
use super::shown::Shown;
use super::text::{Details, Verbosity};
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{BridgeKind, ClassCode, Config};
use peerdma::snapshot::{Function, IommuGroup};

/// What the listing as a whole shows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Proof {
    capability_lists: Seen,
    denied_lists: Seen,
    extended: Seen,
    express: Seen,
    drivers: Seen,
    numa_nodes: Seen,
    iommu_groups: Seen,
}

/// Does any function of the listing show it?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Seen {
    #[default]
    Never,
    Once,
}

impl Seen {
    fn note<T>(&mut self, value: Option<T>) {
        if value.is_some() {
            *self = Seen::Once;
        }
    }
}

impl Proof {
    /// Takes into account what one function shows.
    pub(super) fn note(&mut self, details: &Details) {
        let capabilities = &details.capabilities;
        self.drivers.note(details.driver.as_ref());
        self.numa_nodes.note(details.numa_node);
        self.iommu_groups.note(details.iommu_group);
        self.extended.note(capabilities.extended);
        self.express.note(capabilities.is_express().then_some(()));
        match capabilities.list {
            List::NotShown => {}
            List::Denied => self.denied_lists = Seen::Once,
            List::Shown | List::Broken => self.capability_lists = Seen::Once,
        }
    }

    /// Adds to a function what its text says; what its bytes said stays.
    pub(super) fn settle(&self, function: &mut Function, details: &Details) {
        let class = function.config.class;
        let text = self.config(class, details);
        let old = std::mem::take(&mut function.config);
        function.config = Config {
            id: old.id,
            class,
            revision: old.revision,
            subsystem: prefer(old.subsystem, text.subsystem),
            command: prefer(old.command, text.command),
            bridge: prefer(old.bridge, text.bridge),
            bars: old.bars,
            express: prefer(old.express, text.express),
            pci_x_mode_2: prefer(old.pci_x_mode_2, text.pci_x_mode_2),
            acs: prefer(old.acs, text.acs),
            ats: prefer(old.ats, text.ats),
            rebar: prefer(old.rebar, text.rebar),
            sriov: prefer(old.sriov, text.sriov),
            serial_number: prefer(old.serial_number, text.serial_number),
        };
        let os = &mut function.os;
        os.resources = details.resources();
        os.driver = silence(details.driver.clone(), self.drivers);
        let group = details.iommu_group.map(|number| IommuGroup {
            number,
            domain_type: Fact::NOT_IN_SOURCE,
        });
        // Whoever shows registers or flags shows these two as well, where they exist.
        let is_verbose = details.verbosity > Verbosity::Terse;
        if is_verbose || details.numa_node.is_some() {
            os.numa_node = silence(details.numa_node, self.numa_nodes);
        }
        if is_verbose || group.is_some() {
            os.iommu_group = silence(group, self.iommu_groups);
        }
    }

    /// What the text says of the configuration space.
    fn config(&self, class: Fact<ClassCode>, details: &Details) -> Config {
        let capabilities = &details.capabilities;
        let conventional = self.conventional_absence(details);
        let extended = self.extended_absence(class, details);
        let is_bridge = class.map(ClassCode::is_bridge_to_buses);
        let kind = match class {
            Fact::Known(class) if class.class() == ClassCode::CARDBUS_BRIDGE => BridgeKind::CardBus,
            _ => BridgeKind::Pci,
        };
        let subsystem = match (details.subsystem, is_bridge) {
            (Some(id), _) => id.map(Some),
            (None, Fact::Known(false)) if details.verbosity > Verbosity::Terse => Fact::Known(None),
            (None, Fact::Known(true)) => capabilities.subsystem.clone().fact(conventional),
            (None, _) => Fact::NOT_IN_SOURCE,
        };
        let bridge = match (details.bridge(kind), is_bridge) {
            (Some(bridge), _) => Fact::Known(Some(bridge)),
            (None, Fact::Known(false)) => Fact::Known(None),
            (None, _) => Fact::NOT_IN_SOURCE,
        };
        Config {
            subsystem,
            command: details.command.map_or(Fact::NOT_IN_SOURCE, Fact::Known),
            bridge,
            express: capabilities.express(conventional),
            pci_x_mode_2: match capabilities.pci_x {
                Shown::Not => conventional.map(|()| false),
                _ => Fact::NOT_IN_SOURCE,
            },
            acs: capabilities.acs(extended),
            ats: capabilities.ats.clone().fact(extended),
            rebar: capabilities.rebars(extended),
            sriov: capabilities.sriov(extended),
            serial_number: capabilities.serial_number.clone().fact(extended),
            ..Config::default()
        }
    }

    /// Known where a conventional capability that is not shown does not exist.
    fn conventional_absence(&self, details: &Details) -> Fact<()> {
        let lists_are_shown = self.capability_lists == Seen::Once || self.denied_lists == Seen::Once;
        match details.capabilities.list {
            List::Shown => Fact::Known(()),
            List::Denied => Fact::Unknown(Unread::AccessDenied),
            List::Broken => Fact::Unknown(Unread::Contradictory),
            List::NotShown if details.has_capabilities == Some(false) => Fact::Known(()),
            // Elsewhere lists are shown: this one is empty, whatever the status register promises.
            List::NotShown if details.verbosity > Verbosity::Terse && lists_are_shown => Fact::Known(()),
            List::NotShown => Fact::NOT_IN_SOURCE,
        }
    }

    /// Known where an extended capability that is not shown does not exist.
    fn extended_absence(&self, class: Fact<ClassCode>, details: &Details) -> Fact<()> {
        let capabilities = &details.capabilities;
        if let Fact::Unknown(why) = self.conventional_absence(details) {
            return Fact::Unknown(why);
        }
        if capabilities.extended.is_some() || self.extended == Seen::Once {
            return Fact::Known(());
        }
        // Linux looks for an extended space in these only (pci_cfg_space_size, drivers/pci/probe.c).
        let is_plain = class.map(|class| class.class() != ClassCode::HOST_BRIDGE) == Fact::Known(true)
            && capabilities.pci_x == Shown::Not;
        // A machine without any PCIe function has no extended space, and a host bridge in it none.
        let is_conventional_machine = self.express == Seen::Never
            && self.capability_lists == Seen::Once
            && self.denied_lists == Seen::Never;
        if !capabilities.is_express() && (is_plain || is_conventional_machine) {
            Fact::Known(())
        } else {
            Fact::NOT_IN_SOURCE
        }
    }

    /// Adds what silence alone proves, for a function without any details.
    pub(super) fn settle_silent(&self, function: &mut Function) {
        function.os.driver = silence(None, self.drivers);
        if let Fact::Known(false) = function.config.class.map(ClassCode::is_bridge_to_buses) {
            let bridge = std::mem::take(&mut function.config.bridge);
            function.config.bridge = prefer(bridge, Fact::Known(None));
        }
    }
}

/// What the bytes say, else what the text says; of two reasons the one that tells what to do.
fn prefer<T>(bytes: Fact<T>, text: Fact<T>) -> Fact<T> {
    match (bytes, text) {
        (bytes @ Fact::Known(_), _) => bytes,
        (_, text @ (Fact::Known(_) | Fact::Unknown(Unread::AccessDenied))) => text,
        (Fact::Unknown(Unread::NotInSource), text) => text,
        (bytes, _) => bytes,
    }
}

/// A value that is shown; where it is not and others show theirs, there is none.
fn silence<T>(value: Option<T>, others: Seen) -> Fact<Option<T>> {
    match (value, others) {
        (None, Seen::Never) => Fact::NOT_IN_SOURCE,
        (value, _) => Fact::Known(value),
    }
}
