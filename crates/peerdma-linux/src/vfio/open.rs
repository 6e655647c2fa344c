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

/// Opens devices; those of one IOMMU group share one address space.
///
/// Without an `api`, iommufd is taken where the kernel has it, lets this user have it, and can map one device's BAR for another by it; else type 1.
///
/// # Errors
/// [`VfioError`]; nothing stays open.
pub fn open(bdfs: &[Bdf], api: Option<Api>) -> Result<Vec<(Device, Arc<dyn Backend>)>, VfioError> {
    open_beside(&[], bdfs, api)
}

/// As [`open`], with devices that are open already: new ones of their groups join their address spaces (a group can be opened only once). One that is among
/// them is given again.
///
/// # Errors
/// [`VfioError`]; nothing more is open than before.
pub fn open_beside(
    known: &[Device],
    bdfs: &[Bdf],
    api: Option<Api>,
) -> Result<Vec<(Device, Arc<dyn Backend>)>, VfioError> {
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
        if !places.is_bound(bdf) {
            return Err(VfioError::NotBound {
                bdf,
                driver: places.driver(bdf),
            });
        }
        let group = places.group(bdf).ok_or(VfioError::NoIommu { bdf })?;
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
        devices.push(Device::open(places, &space, bdf)?);
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
            .flat_map(|info| info.areas.iter().map(|area| (info.bar, area.start)));
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
