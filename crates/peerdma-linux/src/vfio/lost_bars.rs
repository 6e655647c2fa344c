//! A device whose BARs have lost their addresses, and how it gets them back.
//!
//! Somebody resets a device (`reset` in sysfs) while VFIO opens or closes it. Both save its configuration space before and put it back afterwards, and only a part
//! of that is under one lock (`vfio_pci_core_enable` and `vfio_pci_core_disable` in drivers/vfio/pci/vfio_pci_core.c): what is put back may be what was read in
//! the middle of the other's reset, with BARs of zeros. From then on each closing puts the zeros back, and the device answers nobody. The kernel
//! still knows where the BARs are to be (`resource`), and root may write them. That has to be while the device is closed, since VFIO keeps what it finds when it
//! opens it. But it is opened first: what another process has open is left alone, and what has its addresses is not written to.
//!
//! Called by [`super::device`].

use super::config::{COMMAND, MEMORY};
use super::error::VfioError;
use super::place::Places;
use super::space::Space;
use peerdma::addr::{Address, Bdf, PhysAddr};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

/// The first BAR register (PCI Local Bus 3.0, 6.1), and bytes of each.
const FIRST: u64 = 0x10;
const REGISTER_BYTES: u64 = 4;
/// How many there are.
const BARS: u8 = 6;

/// How often a device is opened that somebody resets meanwhile, and how long is waited in between: more than a reset by function takes, together.
const TRIES: usize = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// Opens a device, with addresses in its BARs.
///
/// # Errors
/// [`VfioError::LostBars`], and all of [`Space::open_device`]
pub(super) fn open(places: &Places, space: &Arc<dyn Space>, bdf: Bdf) -> Result<OwnedFd, VfioError> {
    for _ in 0..TRIES {
        match space.open_device(places, bdf) {
            Ok(fd) if find(places, bdf).is_empty() => return Ok(fd),
            // Nobody else has it. Closed, it can be mended.
            Ok(fd) => {
                drop(fd);
                restore(places, bdf)?;
            }
            // Somebody resets it at this moment.
            Err(VfioError::System {
                errno: Errno::AGAIN, ..
            }) => {}
            Err(error) => return Err(error),
        }
        std::thread::sleep(PAUSE);
    }
    match find(places, bdf).is_empty() {
        true => Err(VfioError::System {
            doing: format!("open {bdf}, which somebody resets"),
            errno: Errno::AGAIN,
        }),
        false => Err(VfioError::LostBars { bdf }),
    }
}

/// A BAR that has an address for the kernel, and none in its registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lost {
    bar: u8,
    phys: PhysAddr,
}

fn find(places: &Places, bdf: Bdf) -> Vec<Lost> {
    // Virtual functions have no such registers.
    if places.function(bdf).join("physfn").exists() {
        return Vec::new();
    }
    let registers = places.registers(bdf);
    let address = |bar: u8| {
        let register = registers.iter().find(|register| register.index == bar);
        register.map(|register| register.address.to_u64())
    };
    let resources = places.resources(bdf).into_iter();
    let lost: Vec<_> = resources
        .filter_map(|resource| {
            let phys = resource.span.known()?.first();
            let has_address = resource.kind.is_memory() && resource.index < BARS && phys.to_u64() != 0;
            let is_lost = has_address && address(resource.index).unwrap_or(0) == 0;
            is_lost.then_some(Lost {
                bar: resource.index,
                phys,
            })
        })
        .collect();
    // A register of zeros and nothing else may be none at all: addresses can come from elsewhere (Enhanced Allocation). Beside one that is there it is lost.
    match lost.iter().any(|lost| address(lost.bar).is_some()) {
        true => lost,
        false => Vec::new(),
    }
}

/// Gives BARs that have lost them their addresses back.
fn restore(places: &Places, bdf: Bdf) -> Result<(), VfioError> {
    let lost = find(places, bdf);
    if lost.is_empty() {
        return Ok(());
    }
    // Elsewhere an address on the bus is another than the one that the kernel tells.
    match cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
        true => awake(places, bdf, || write(places, bdf, &lost)).map_err(|_| VfioError::LostBars { bdf }),
        false => Err(VfioError::LostBars { bdf }),
    }
}

/// Does something while the device does not sleep. VFIO's devices do while nobody has them, and what is written then the kernel replaces by what it saved
/// before they fell asleep.
fn awake(places: &Places, bdf: Bdf, inside: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let control = places.function(bdf).join("power/control");
    // A kernel without power management has no such file, and no device that sleeps.
    let Ok(before) = fs::read(&control) else {
        return inside();
    };
    // Where it may not be kept awake, it may be awake all the same: the next opening tells whether it was mended.
    let is_kept_awake = fs::write(&control, "on").is_ok();
    let done = inside();
    if is_kept_awake {
        // It only costs power where it stays awake.
        let _ = fs::write(&control, before);
    }
    done
}

fn write(places: &Places, bdf: Bdf, lost: &[Lost]) -> io::Result<()> {
    let path = places.function(bdf).join("config");
    let config = OpenOptions::new().read(true).write(true).open(path)?;
    // While an address is half written, nothing is to answer at it. Who opens the device switches its memory on.
    let mut command = [0; 2];
    config.read_exact_at(&mut command, COMMAND.into())?;
    let off = u16::from_le_bytes(command) & !MEMORY;
    config.write_all_at(&off.to_le_bytes(), COMMAND.into())?;
    for Lost { bar, phys } in lost {
        let at = FIRST + u64::from(*bar) * REGISTER_BYTES;
        let mut low = [0; 4];
        config.read_exact_at(&mut low, at)?;
        // The low bits say what it is, and cannot be written.
        let kind = u32::from_le_bytes(low) & 0xf;
        let [address, upper] = [phys.to_u64() as u32, (phys.to_u64() >> 32) as u32];
        if kind & 0b110 == 0b100 {
            config.write_all_at(&upper.to_le_bytes(), at + REGISTER_BYTES)?;
        }
        config.write_all_at(&(address | kind).to_le_bytes(), at)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::backend::{Api, Backend, Source};
    use super::*;
    use peerdma::addr::{Iova, Span};
    use peerdma::iommu::Rights;

    /// Lets a device be opened, unless another process has it.
    #[derive(Debug)]
    struct Fake {
        refusal: Option<Errno>,
    }

    impl Backend for Fake {
        fn api(&self) -> Api {
            Api::Type1
        }

        fn page_bytes(&self) -> u64 {
            4096
        }

        fn apertures(&self) -> Vec<Span<Iova>> {
            Vec::new()
        }

        fn map(&self, _: Iova, _: Source<'_>, _: u64, _: Rights) -> Result<(), Errno> {
            Err(Errno::OPNOTSUPP)
        }

        fn unmap(&self, _: Iova, _: u64) -> Result<(), Errno> {
            Err(Errno::NOENT)
        }
    }

    impl Space for Fake {
        fn group(&self) -> u32 {
            1
        }

        fn open_device(&self, _: &Places, bdf: Bdf) -> Result<OwnedFd, VfioError> {
            match self.refusal {
                Some(errno) => Err(VfioError::System {
                    doing: format!("open {bdf}"),
                    errno,
                }),
                None => Ok(tempfile::tempfile().unwrap().into()),
            }
        }
    }

    fn space(refusal: Option<Errno>) -> Arc<dyn Space> {
        Arc::new(Fake { refusal })
    }

    const RESOURCE: &str = "0x00000001fe200000 0x00000001fe203fff 0x0000000000140204\n\
        0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
        0x00000000fb000000 0x00000000fbffffff 0x0000000000040200\n\
        0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
        0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
        0x0000000000000000 0x0000000000000000 0x0000000000000000\n";

    fn machine(bars: [u32; 3]) -> (tempfile::TempDir, Places, Bdf) {
        let folder = tempfile::tempdir().unwrap();
        let places = Places {
            sys: folder.path().into(),
            dev: folder.path().into(),
        };
        let bdf: Bdf = "0000:03:00.0".parse().unwrap();
        let function = places.function(bdf);
        fs::create_dir_all(&function).unwrap();
        let mut config = [0; 64];
        config[..6].copy_from_slice(&[0x36, 0x1b, 0x10, 0, 2, 1]);
        for (index, bar) in bars.iter().enumerate() {
            config[0x10 + index * 4..][..4].copy_from_slice(&bar.to_le_bytes());
        }
        fs::write(function.join("config"), config).unwrap();
        fs::write(function.join("resource"), RESOURCE).unwrap();
        (folder, places, bdf)
    }

    fn bars(places: &Places, bdf: Bdf) -> [u32; 3] {
        let config = fs::read(places.function(bdf).join("config")).unwrap();
        [0x10, 0x14, 0x18].map(|at| u32::from_le_bytes(config[at..at + 4].try_into().unwrap()))
    }

    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    #[test]
    fn a_bar_that_lost_its_address_gets_back_what_the_kernel_knows() {
        let (_folder, places, bdf) = machine([4, 0, 0]);
        let control = places.function(bdf).join("power/control");
        fs::create_dir(places.function(bdf).join("power")).unwrap();
        fs::write(&control, "auto\n").unwrap();
        assert_eq!(find(&places, bdf).len(), 2);
        restore(&places, bdf).unwrap();
        assert_eq!(bars(&places, bdf), [0xfe20_0004, 1, 0xfb00_0000]);
        assert_eq!(find(&places, bdf), []);
        assert_eq!(fs::read_to_string(&control).unwrap(), "auto\n");
    }

    #[test]
    fn a_device_that_another_process_has_open_is_not_written_to() {
        let (_folder, places, bdf) = machine([4, 0, 0]);
        let path = places.function(bdf).join("config");
        let before = fs::read(&path).unwrap();
        let refused = open(&places, &space(Some(Errno::BUSY)), bdf);
        assert!(matches!(
            refused,
            Err(VfioError::System {
                errno: Errno::BUSY,
                ..
            })
        ));
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    #[test]
    fn a_device_is_opened_with_its_addresses_also_where_it_may_not_be_kept_awake() {
        let (_folder, places, bdf) = machine([4, 0, 0]);
        fs::create_dir(places.function(bdf).join("power")).unwrap();
        // It can be read, and not written, by root neither.
        std::os::unix::fs::symlink("/proc/version", places.function(bdf).join("power/control")).unwrap();
        open(&places, &space(None), bdf).unwrap();
        assert_eq!(bars(&places, bdf), [0xfe20_0004, 1, 0xfb00_0000]);
    }

    #[test]
    fn a_device_that_has_its_addresses_is_not_written_to() {
        let (_folder, places, bdf) = machine([0xfe20_0004, 1, 0xfb00_0000]);
        let path = places.function(bdf).join("config");
        let before = fs::read(&path).unwrap();
        open(&places, &space(None), bdf).unwrap();
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_virtual_function_has_no_addresses_to_lose() {
        let (_folder, places, bdf) = machine([4, 0, 0]);
        fs::create_dir(places.function(bdf).join("physfn")).unwrap();
        restore(&places, bdf).unwrap();
        assert_eq!(bars(&places, bdf), [4, 0, 0]);
    }
}
