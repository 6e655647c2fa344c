//! Opening devices: which interface, which groups, in which order.

use super::backend::{Api, Backend, Source};
use super::device::Device;
use super::error::VfioError;
use super::iommufd::Iommufd;
use super::place::Places;
use super::space::Space;
use super::type1::Type1;
use peerdma::addr::Bdf;
use peerdma::iommu::Rights;
use rustix::fd::AsFd;
use std::sync::Arc;

/// A device, and the address space that it lives in.
pub type Opened = (Device, Arc<dyn Backend>);

/// Opens devices; those of one IOMMU group share one address space.
///
/// Without an `api`, iommufd is taken where the kernel has it, lets this user have it, and can map one device's BAR for another by it; else type 1.
///
/// # Errors
/// [`VfioError`]; nothing stays open.
pub fn open(bdfs: &[Bdf], api: Option<Api>) -> Result<Vec<Opened>, VfioError> {
    open_beside(&[], bdfs, api)
}

/// As [`open`], with devices that are open already: new ones of their groups join their address spaces (a group can be opened only once). One that is among
/// them is given again.
///
/// A device is bound anew, and has another group, whenever somebody likes, but not while it is open: the groups of `known` hold, and those of new
/// ones are looked at again when they are open.
///
/// # Errors
/// [`VfioError`]; nothing more is open than before. [`VfioError::GroupChanged`] where a device was bound anew meanwhile: try again.
pub fn open_beside(known: &[Device], bdfs: &[Bdf], api: Option<Api>) -> Result<Vec<Opened>, VfioError> {
    let places = Places::default();
    let targets = bdfs
        .iter()
        .map(|bdf| Target::find(&places, *bdf))
        .collect::<Result<Vec<_>, _>>()?;
    let api = api.or(known.first().map(|device| device.backend().api()));
    let devices = match api {
        Some(api) => open_by(&places, known, &targets, api),
        None => open_by_any(&places, &targets),
    }?;
    let with_backend = |device: Device| {
        let backend = device.backend();
        (device, backend)
    };
    Ok(devices.into_iter().map(with_backend).collect())
}

/// A function to be opened.
#[derive(Debug, Clone, Copy)]
struct Target {
    bdf: Bdf,
    group: u32,
}

impl Target {
    fn find(places: &Places, bdf: Bdf) -> Result<Self, VfioError> {
        if !places.function(bdf).exists() {
            return Err(VfioError::NoDevice { bdf });
        }
        let group = places.group(bdf).ok_or(VfioError::NoIommu { bdf })?;
        if !places.is_bound(bdf) {
            return Err(VfioError::NotBound {
                bdf,
                driver: places.driver(bdf),
            });
        }
        Ok(Self { bdf, group })
    }
}

fn open_by_any(places: &Places, targets: &[Target]) -> Result<Vec<Device>, VfioError> {
    let has_files = targets
        .iter()
        .all(|target| places.device_file(target.bdf).is_some());
    if !has_files || !places.iommu().exists() {
        return open_by(places, &[], targets, Api::Type1);
    }
    match open_by(places, &[], targets, Api::Iommufd) {
        Ok(devices) if can_share(&devices) => Ok(devices),
        Ok(devices) => {
            // A device is closed before it is opened in another way.
            drop(devices);
            open_by(places, &[], targets, Api::Type1).or_else(|_| open_by(places, &[], targets, Api::Iommufd))
        }
        Err(error) => open_by(places, &[], targets, Api::Type1).map_err(|_| error),
    }
}

fn open_by(
    places: &Places,
    known: &[Device],
    targets: &[Target],
    api: Api,
) -> Result<Vec<Device>, VfioError> {
    // The devices are dropped before the address spaces where it ends early.
    let mut spaces: Vec<Arc<dyn Space>> = known.iter().map(|device| device.space().clone()).collect();
    let mut devices: Vec<Device> = Vec::with_capacity(targets.len());
    for Target { bdf, group } in targets.iter().copied() {
        if let Some(device) = known.iter().chain(&devices).find(|device| device.bdf() == bdf) {
            devices.push(device.clone());
            continue;
        }
        let space = match spaces.iter().find(|space| space.group() == group) {
            Some(space) => space.clone(),
            None => {
                let space = open_space(places, group, bdf, api)?;
                spaces.push(space.clone());
                space
            }
        };
        let opened = Device::open(places, &space, bdf);
        // Its group was read before it was open. While it is, it stays in it; and what else came of it does not matter where it was another's.
        match (opened, places.group(bdf)) {
            (opened, Some(now)) if now == group => devices.push(opened?),
            (Err(error), None) => return Err(error),
            (_, now) => {
                let before = group;
                return Err(VfioError::GroupChanged { bdf, before, now });
            }
        }
    }
    Ok(devices)
}

fn open_space(places: &Places, group: u32, bdf: Bdf, api: Api) -> Result<Arc<dyn Space>, VfioError> {
    Ok(match api {
        Api::Type1 => Arc::new(Type1::open(places, group, bdf)?),
        Api::Iommufd => Arc::new(Iommufd::open(places, group)?),
    })
}

/// Does iommufd map a BAR of any of these devices? Linux does from 7.1 on, with a dma-buf. Tried, because no version and no flag tells it.
fn can_share(devices: &[Device]) -> bool {
    let page_bytes = rustix::param::page_size() as u64;
    let mut pages = devices.iter().flat_map(|device| {
        let areas = device
            .bars()
            .iter()
            .flat_map(|info| info.areas.iter().map(|area| (info.bar, area.offset_bytes)));
        areas.map(move |(bar, offset_bytes)| (device, bar, offset_bytes))
    });
    let is_shared = |(device, bar, offset_bytes): (&Device, u8, u64)| {
        let backend = device.backend();
        let iova = backend.apertures().first()?.first();
        let dma_buf = device.dma_buf(bar, offset_bytes, page_bytes).ok()?;
        let source = Source::DmaBuf {
            fd: dma_buf.as_fd(),
            offset_bytes: 0,
        };
        backend.map(iova, source, page_bytes, Rights::ReadWrite).ok()?;
        backend.unmap(iova, page_bytes).ok()
    };
    // Devices without memory to share are as well served by either.
    pages.clone().next().is_none() || pages.any(|page| is_shared(page).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::ioctl::script;
    use crate::vfio::{Member, uapi};
    use std::fs;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    const FIRST: Bdf = Bdf::from_devfn(0, 1, 0);
    const SECOND: Bdf = Bdf::from_devfn(0, 1, 1);

    /// A machine of folders and links.
    struct Machine {
        folder: TempDir,
        places: Places,
    }

    impl Machine {
        fn new() -> Self {
            let folder = TempDir::new().unwrap();
            let places = Places {
                sys: folder.path().join("sys"),
                dev: folder.path().join("dev"),
            };
            fs::create_dir_all(places.dev.join("vfio")).unwrap();
            Self { folder, places }
        }

        fn add(&self, bdf: Bdf, driver: Option<&str>, group: Option<u32>) {
            let function = self.places.function(bdf);
            fs::create_dir_all(&function).unwrap();
            if let Some(driver) = driver {
                symlink(
                    self.folder.path().join("drivers").join(driver),
                    function.join("driver"),
                )
                .unwrap();
            }
            if let Some(group) = group {
                let number = self.places.sys.join(format!("kernel/iommu_groups/{group}"));
                fs::create_dir_all(number.join("devices")).unwrap();
                symlink(&number, function.join("iommu_group")).unwrap();
                symlink(&function, number.join("devices").join(bdf.to_string())).unwrap();
            }
        }

        fn open(&self, bdf: Bdf) -> VfioError {
            let target = match Target::find(&self.places, bdf) {
                Ok(target) => target,
                Err(error) => return error,
            };
            open_by_any(&self.places, &[target]).unwrap_err()
        }
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let machine = Machine::new();
        assert_eq!(machine.open(FIRST), VfioError::NoDevice { bdf: FIRST });
        machine.add(FIRST, None, None);
        assert_eq!(machine.open(FIRST), VfioError::NoIommu { bdf: FIRST });
        machine.add(SECOND, Some("nvme"), Some(4));
        let error = machine.open(SECOND);
        assert_eq!(
            error,
            VfioError::NotBound {
                bdf: SECOND,
                driver: Some("nvme".into())
            }
        );
        assert!(error.fix().contains("peerdma bind 0000:01:00.1"), "{error}");
    }

    #[test]
    fn files_that_are_missing_are_named_with_their_modules() {
        let machine = Machine::new();
        machine.add(FIRST, Some("vfio-pci"), Some(4));
        let error = machine.open(FIRST);
        assert_eq!(
            error.what(),
            format!("{} cannot be opened", machine.places.container().display())
        );
        assert!(error.fix().contains("modprobe"), "{error}");
        let forced = open_by(
            &machine.places,
            &[],
            &[Target { bdf: FIRST, group: 4 }],
            Api::Iommufd,
        );
        assert!(matches!(
            forced,
            Err(VfioError::ModuleMissing {
                modules: "iommufd",
                ..
            })
        ));
    }

    #[test]
    fn those_who_keep_a_group_from_user_space_are_told_from_those_who_do_not() {
        let machine = Machine::new();
        machine.add(FIRST, Some("vfio-pci"), Some(4));
        machine.add(Bdf::from_devfn(0, 0, 0), Some("pcieport"), Some(4));
        machine.add(Bdf::from_devfn(0, 1, 2), None, Some(4));
        machine.add(SECOND, Some("nvme"), Some(4));
        let nvme = Member {
            name: SECOND.to_string(),
            driver: Some("nvme".into()),
        };
        assert_eq!(machine.places.obstacles(4), [nvme]);
        let error = VfioError::NotViable {
            group: 4,
            others: machine.places.obstacles(4),
        };
        assert!(error.why().ends_with("0000:01:00.1 (nvme)"), "{error}");
    }

    /// A kernel that gives every device away, with a configuration space of 256 bytes; `at_bind` happens when one is bound.
    fn play(at_bind: impl Fn() + 'static) {
        script::play(move |request, bytes| {
            match request {
                uapi::DEVICE_BIND_IOMMUFD => at_bind(),
                uapi::DEVICE_GET_REGION_INFO if bytes[8] == 7 => {
                    bytes[16..24].copy_from_slice(&256_u64.to_ne_bytes());
                }
                _ => {}
            }
            Ok(0)
        });
    }

    #[test]
    fn a_device_that_changed_its_group_meanwhile_is_in_no_other_groups_address_space() {
        let machine = Machine::new();
        let devices = machine.places.dev.join("vfio/devices");
        fs::create_dir_all(&devices).unwrap();
        fs::write(machine.places.iommu(), "").unwrap();
        for (bdf, name) in [(FIRST, "vfio0"), (SECOND, "vfio1")] {
            machine.add(bdf, Some("vfio-pci"), Some(4));
            fs::create_dir_all(machine.places.function(bdf).join("vfio-dev").join(name)).unwrap();
            fs::write(devices.join(name), [0; 256]).unwrap();
        }
        let target = |bdf| Target { bdf, group: 4 };
        play(|| {});
        let known = open_by(&machine.places, &[], &[target(FIRST)], Api::Iommufd).unwrap();
        let open = || open_by(&machine.places, &known, &[target(SECOND)], Api::Iommufd);
        let second = open().unwrap();
        assert!(std::sync::Arc::ptr_eq(known[0].space(), second[0].space()));
        drop(second);
        for now in [Some(9), None] {
            let link = machine.places.function(SECOND).join("iommu_group");
            play(move || {
                let _ = fs::remove_file(&link);
                if let Some(now) = now {
                    symlink(format!("../../kernel/iommu_groups/{now}"), &link).unwrap();
                }
            });
            let moved = VfioError::GroupChanged {
                bdf: SECOND,
                before: 4,
                now,
            };
            assert_eq!(open().unwrap_err(), moved);
        }
    }

    #[test]
    fn a_file_that_is_no_vfio_is_an_error() {
        let machine = Machine::new();
        machine.add(FIRST, Some("vfio-pci"), Some(4));
        fs::write(machine.places.container(), "").unwrap();
        assert!(matches!(machine.open(FIRST), VfioError::System { .. }));
    }
}
