//! A function's folder in sysfs: what its entries mean.
//!
//! Which entries there are, `survey` has found out; what is not there is not looked for.

use super::groups::Groups;
use super::survey::{Physfn, Present, Survey};
use super::{link, names, number, path, resource};
use crate::keep::KeepConfig;
use crate::tree::{Gap, Listing, Tree};
use peerdma::addr::Bdf;
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{ClassCode, Config, ConfigDefect, ConfigView, Extent, Id};
use peerdma::snapshot::{Function, KernelVersion, Os, P2pmem, Warnings};

/// Reads one function after the other into the same memory.
pub(super) struct Reader<'t, T: Tree> {
    pub(super) tree: &'t T,
    keep: KeepConfig,
    groups: Groups,
    listing: Listing,
    buffer: Vec<u8>,
    defects: Vec<ConfigDefect>,
    silent: Vec<Silent>,
    survey: Survey,
    told_links: bool,
    told_groups: bool,
}

/// What the folder of a function has no entry for, although newer kernels would show one.
#[derive(Default)]
struct Silent {
    link: bool,
    group: bool,
}

/// Does configuration space tell vendor and device?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    Told,
    Hidden,
}

impl<'t, T: Tree> Reader<'t, T> {
    pub(super) fn new(tree: &'t T, keep: KeepConfig) -> Self {
        Self {
            tree,
            keep,
            groups: Groups::default(),
            listing: Listing::default(),
            // One more than a whole configuration space: nothing that is cut looks whole.
            buffer: vec![0; ConfigView::MAX_BYTES + 1],
            defects: Vec::new(),
            silent: Vec::new(),
            survey: Survey::default(),
            told_links: false,
            told_groups: false,
        }
    }

    /// Reads the function whose folder this is; who sits above it is left to the caller.
    pub(super) fn read(
        &mut self,
        folder: Result<T::Folder, Gap>,
        sys: Option<&T::Folder>,
        bdf: Bdf,
        warnings: &mut Warnings,
    ) -> Function {
        let surveyed = folder.and_then(|folder| {
            let mut os = Os::default();
            let present = self.survey.of(self.tree, &folder, &mut self.listing, &mut os)?;
            Ok((folder, present, os))
        });
        match surveyed {
            Ok((folder, present, os)) => {
                let mut function = Function::new(bdf);
                function.os = os;
                self.read_present(&folder, &present, sys, &mut function, warnings);
                function
            }
            Err(gap) => {
                warnings.push(bdf, format_args!("its folder cannot be read: {gap}"));
                self.silent.push(Silent::default());
                Function::unknown(bdf, gap.unread())
            }
        }
    }

    fn read_present(
        &mut self,
        folder: &T::Folder,
        present: &Present,
        sys: Option<&T::Folder>,
        function: &mut Function,
        warnings: &mut Warnings,
    ) {
        let identity = self.config(folder, present, function, warnings);
        function.os.resources = self.resources(folder, present, function.bdf, warnings);
        if present.link && !matches!(function.link(), Fact::Known(Some(_))) {
            function.os.link = link::read(self.tree, folder);
        }
        if present.numa_node {
            function.os.numa_node = self.numa_node(folder);
        }
        function.os.driver = match present.driver {
            false => present.no_link(),
            true => self.last_part(folder, b"driver", |name| {
                Some(String::from_utf8_lossy(name).into_owned())
            }),
        };
        let has_physfn = match present.physfn {
            Physfn::Absent => false,
            Physfn::Present => true,
            Physfn::IfHidden => identity == Identity::Hidden && self.tree.has(folder, b"physfn"),
        };
        function.os.physical_function = match has_physfn {
            false => present.no_link(),
            true => self.last_part(folder, b"physfn", path::address),
        };
        if present.iommu_group {
            let number = self.last_part(folder, b"iommu_group", |name| {
                number::decimal(name).and_then(|number| u32::try_from(number).ok())
            });
            function.os.iommu_group =
                number.map(|number| number.map(|number| self.groups.group(self.tree, sys, number)));
        }
        function.os.p2pmem = match present.p2pmem {
            false if present.subsystem && present.local_cpulist => Fact::Known(None),
            false => Fact::NOT_IN_SOURCE,
            true => self.p2pmem(folder),
        };
        names::collect(self.tree, folder, &mut self.listing, &mut function.os.names);

        self.told_links |= present.link;
        self.told_groups |= present.iommu_group || present.driver_override;
        self.silent.push(Silent {
            // A copy of chosen files proves nothing; one that has what nobody needs was not chosen.
            link: !present.link && present.subsystem && present.local_cpulist,
            group: !present.iommu_group && present.subsystem,
        });
    }

    /// Turns silence into a fact where the kernel at hand would have spoken: link files exist since Linux
    /// 4.13 for every PCI Express function, IOMMU groups since 3.6 for every function that is in one.
    pub(super) fn finish(self, functions: &mut [Function], kernel: Fact<KernelVersion>) -> Groups {
        let since = |major, minor| {
            kernel
                .known()
                .is_some_and(|kernel| kernel >= KernelVersion::new(major, minor, 0))
        };
        let links = self.told_links || since(4, 13);
        // `driver_override` came after groups did.
        let groups = self.told_groups || since(3, 6);
        for (function, silent) in functions.iter_mut().zip(self.silent) {
            if silent.link && links {
                function.os.link = Fact::Known(None);
                function.os.port_type = function.os.port_type.or(Fact::Known(None));
            }
            if silent.group && groups {
                function.os.iommu_group = Fact::Known(None);
            }
        }
        self.groups
    }

    fn config(
        &mut self,
        folder: &T::Folder,
        present: &Present,
        function: &mut Function,
        warnings: &mut Warnings,
    ) -> Identity {
        let read = match present.config {
            true => self.tree.read_config(folder, self.keep, &mut self.buffer),
            false => Err(Gap::Missing),
        };
        match read {
            Ok((length, extent)) => {
                let bytes = self.buffer.get(..length).unwrap_or_default();
                let (bytes, extent) = uncovered(bytes, extent);
                self.defects.clear();
                function.config = Config::parse(ConfigView::new(bytes, extent), &mut self.defects);
                // sysfs gives 64 bytes or all of them: a conventional function with 256 has no more.
                if bytes.len() == ConfigView::CONVENTIONAL_BYTES
                    && function.config.express == Fact::Known(None)
                {
                    self.defects.clear();
                    let view = ConfigView::new(bytes, Extent::Whole);
                    function.config = Config::parse(view, &mut self.defects);
                }
                for defect in &self.defects {
                    warnings.push(function.bdf, format_args!("{defect}"));
                }
                if self.keep == KeepConfig::Keep {
                    function.raw_config = Some(bytes.to_vec());
                }
            }
            Err(gap) => function.config = Config::unknown(gap.unread()),
        }
        self.identity(folder, &mut function.config)
    }

    /// Fills in who the function is where configuration space does not tell: a virtual function
    /// reads as vendor and device ffff.
    fn identity(&mut self, folder: &T::Folder, config: &mut Config) -> Identity {
        let identity = match config.id {
            Fact::Known(id) if id.vendor != 0xffff => Identity::Told,
            _ => Identity::Hidden,
        };
        if identity == Identity::Told && config.class.is_known() {
            return identity;
        }
        let mut number = |name: &[u8], most: u64| match self.tree.read(folder, name, &mut self.buffer) {
            Ok(length) => match self.buffer.get(..length).and_then(number::hexadecimal) {
                Some(number) if number <= most => Fact::Known(number),
                _ => Fact::Unknown(Unread::Contradictory),
            },
            Err(gap) => Fact::Unknown(gap.unread()),
        };
        let id = |vendor: Fact<u64>, device: Fact<u64>| match (vendor, device) {
            (Fact::Known(vendor), Fact::Known(device)) => Fact::Known(Id {
                vendor: vendor as u16,
                device: device as u16,
            }),
            (Fact::Unknown(why), _) | (_, Fact::Unknown(why)) => Fact::Unknown(why),
        };
        let own = id(number(b"vendor", 0xffff), number(b"device", 0xffff));
        config.id = own.or(config.id);
        config.class = config
            .class
            .or(number(b"class", 0xff_ffff).map(|bits| ClassCode::new(bits as u32)));
        config.revision = config
            .revision
            .or(number(b"revision", 0xff).map(|revision| revision as u8));
        if !config.subsystem.is_known() {
            let subsystem = id(
                number(b"subsystem_vendor", 0xffff),
                number(b"subsystem_device", 0xffff),
            );
            config.subsystem = subsystem
                .map(|id| (id.vendor != 0 || id.device != 0).then_some(id))
                .or(config.subsystem);
        }
        identity
    }

    fn resources(
        &mut self,
        folder: &T::Folder,
        present: &Present,
        bdf: Bdf,
        warnings: &mut Warnings,
    ) -> Fact<Vec<peerdma::snapshot::Resource>> {
        if !present.resource {
            return Fact::NOT_IN_SOURCE;
        }
        match self.tree.read(folder, b"resource", &mut self.buffer) {
            Ok(length) => {
                let resources = resource::parse(self.buffer.get(..length).unwrap_or_default());
                if !resources.is_known() {
                    warnings.push(
                        bdf,
                        "its file resource is not of the known form; its BARs' places are unknown",
                    );
                }
                resources
            }
            Err(gap) => Fact::Unknown(gap.unread()),
        }
    }

    fn numa_node(&mut self, folder: &T::Folder) -> Fact<Option<u32>> {
        match self.tree.read(folder, b"numa_node", &mut self.buffer) {
            Ok(length) => {
                let text = number::trimmed(self.buffer.get(..length).unwrap_or_default());
                match number::decimal(text).and_then(|node| u32::try_from(node).ok()) {
                    Some(node) => Fact::Known(Some(node)),
                    None if text == b"-1" => Fact::Known(None),
                    None => Fact::Unknown(Unread::Contradictory),
                }
            }
            Err(gap) => Fact::Unknown(gap.unread()),
        }
    }

    fn p2pmem(&mut self, folder: &T::Folder) -> Fact<Option<P2pmem>> {
        let mut number = |name: &[u8]| match self.tree.read(folder, name, &mut self.buffer) {
            Ok(length) => match self.buffer.get(..length).and_then(number::decimal) {
                Some(number) => Ok(number),
                None => Err(Unread::Contradictory),
            },
            Err(gap) => Err(gap.unread()),
        };
        let mut all = || {
            Ok(P2pmem {
                size_bytes: number(b"p2pmem/size")?,
                available_bytes: number(b"p2pmem/available")?,
                published: number(b"p2pmem/published")? != 0,
            })
        };
        match all() {
            Ok(p2pmem) => Fact::Known(Some(p2pmem)),
            Err(why) => Fact::Unknown(why),
        }
    }

    /// What the last part of a link's target means.
    fn last_part<V>(
        &mut self,
        folder: &T::Folder,
        name: &[u8],
        meaning: impl FnOnce(&[u8]) -> Option<V>,
    ) -> Fact<Option<V>> {
        match self.tree.link(folder, name, &mut self.buffer) {
            Ok(length) => {
                let target = self.buffer.get(..length).unwrap_or_default();
                let last = target.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                match meaning(last).filter(|_| !last.is_empty()) {
                    Some(value) => Fact::Known(Some(value)),
                    None => Fact::Unknown(Unread::Contradictory),
                }
            }
            // A tree copied without its links: the entry says that there is one, and not which.
            Err(gap) => Fact::Unknown(gap.unread()),
        }
    }
}

/// Notes which entries are there, and takes what names alone tell.
/// Takes off the zeros with which an archiver fills a configuration space whose file is longer than what it
/// was allowed to read: where capabilities are announced and all from byte 64 on is zero, nothing
/// beyond was read.
fn uncovered(bytes: &[u8], extent: Extent) -> (&[u8], Extent) {
    const STATUS: usize = 0x06;
    const CAPABILITIES: usize = 0x34;
    const HEADER_BYTES: usize = 0x40;
    let announced = bytes.get(STATUS).is_some_and(|status| status & 0x10 != 0)
        && bytes
            .get(CAPABILITIES)
            .is_some_and(|first| *first >= HEADER_BYTES as u8);
    match bytes.split_at_checked(HEADER_BYTES) {
        Some((header, rest)) if announced && !rest.is_empty() && rest.iter().all(|byte| *byte == 0) => {
            (header, Extent::MayGoOn)
        }
        _ => (bytes, extent),
    }
}
