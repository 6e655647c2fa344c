//! One emulated machine: what is plugged where, which processor, what its IOMMU does; told to QEMU as arguments.
//!
//! Checks take a [`Topology`] from [`super::topologies`] and make a [`Machine`] of it; [`super::boot`] starts it.

use std::fs::File;
use std::io;
use std::path::Path;

/// Disks are files without content: what is not written takes no room.
const DISK_BYTES: u64 = 128 << 20;

/// What QEMU is asked to emulate.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) topology: Topology,
    pub(crate) processor: Processor,
    pub(crate) iommu: Iommu,
    pub(crate) memory_mib: u32,
}

/// A model of processor that QEMU knows by this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Processor {
    /// AMD Zen: Linux takes every host bridge of it to forward.
    Epyc,
    /// Intel, of no model that Linux lists.
    SkylakeServer,
    /// Of AMD by its name, and older than Zen.
    Qemu64,
}

impl Processor {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Processor::Epyc => "EPYC",
            Processor::SkylakeServer => "Skylake-Server",
            Processor::Qemu64 => "qemu64",
        }
    }
}

/// What the IOMMU does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Iommu {
    Off,
    /// It is on, and devices of the kernel pass it untranslated.
    Passthrough,
    /// It translates.
    On,
}

impl Iommu {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Iommu::Off => "off",
            Iommu::Passthrough => "pt",
            Iommu::On => "on",
        }
    }
}

/// Where a device is plugged: the bus below a port, or the root complex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bus(String);

/// What is plugged where.
#[derive(Debug, Clone)]
pub(crate) struct Topology {
    pub(crate) name: &'static str,
    devices: Vec<String>,
    objects: Vec<String>,
    /// Identifiers of disks, each a file of its own in the folder of a boot.
    disks: Vec<String>,
    ports: u32,
    next_device: u32,
    /// Host bridges that pass the IOMMU by need one that leaves interrupts alone.
    has_bypass: bool,
}

impl Topology {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            devices: Vec::new(),
            objects: Vec::new(),
            disks: Vec::new(),
            ports: 0,
            next_device: 2,
            has_bypass: false,
        }
    }

    /// The bus of the first host bridge.
    pub(crate) fn root() -> Bus {
        Bus("pcie.0".into())
    }

    /// Another host bridge, whose bus has this number.
    pub(crate) fn host_bridge(&mut self, bus_number: u8) -> Bus {
        self.add_host_bridge(bus_number, "")
    }

    /// Another host bridge, whose devices no IOMMU stands before.
    pub(crate) fn host_bridge_without_iommu(&mut self, bus_number: u8) -> Bus {
        self.has_bypass = true;
        self.add_host_bridge(bus_number, ",bypass_iommu=on")
    }

    fn add_host_bridge(&mut self, bus_number: u8, options: &str) -> Bus {
        let id = format!("host{bus_number}");
        let address = self.root_address();
        self.devices.push(format!(
            "pxb-pcie,id={id},bus_nr={bus_number},bus=pcie.0,addr={address}{options}"
        ));
        Bus(id)
    }

    /// A root port on a host bridge; the only kind of port with ACS of its own in QEMU.
    pub(crate) fn root_port(&mut self, bridge: &Bus) -> Bus {
        let (id, place) = self.port("root");
        let address = if bridge.0 == "pcie.0" {
            format!(",addr={}", self.root_address())
        } else {
            String::new()
        };
        self.devices
            .push(format!("pcie-root-port,id={id},bus={}{place}{address}", bridge.0));
        Bus(id)
    }

    /// A switch below a port: its upstream side, where downstream ports are plugged.
    pub(crate) fn switch(&mut self, below: &Bus) -> Bus {
        self.ports += 1;
        let id = format!("switch{}", self.ports);
        self.devices
            .push(format!("x3130-upstream,id={id},bus={}", below.0));
        Bus(id)
    }

    /// A port of a switch.
    pub(crate) fn downstream(&mut self, switch: &Bus) -> Bus {
        let (id, place) = self.port("down");
        self.devices
            .push(format!("xio3130-downstream,id={id},bus={}{place}", switch.0));
        Bus(id)
    }

    /// A bridge to conventional PCI below a port.
    pub(crate) fn conventional(&mut self, below: &Bus) -> Bus {
        self.ports += 1;
        let id = format!("pci{}", self.ports);
        self.devices
            .push(format!("pcie-pci-bridge,id={id},bus={}", below.0));
        Bus(id)
    }

    /// A conventional bridge below a conventional bus, in this slot.
    pub(crate) fn conventional_bridge(&mut self, below: &Bus, slot: u8) -> Bus {
        self.ports += 1;
        let id = format!("pci{}", self.ports);
        self.devices.push(format!(
            "pci-bridge,id={id},chassis_nr={},bus={},addr={slot:x}.0",
            self.ports, below.0
        ));
        Bus(id)
    }

    /// An NVMe controller with a disk, and a controller memory buffer of so many MiB (even, 0 for none).
    pub(crate) fn nvme(&mut self, below: &Bus, cmb_mib: u32) {
        self.nvme_with(below, cmb_mib, "");
    }

    /// As many NVMe controllers as functions of one device.
    pub(crate) fn nvme_functions(&mut self, below: &Bus, functions: u8, cmb_mib: u32) {
        // Function 0 makes the device visible: it comes last, so that QEMU accepts the others.
        for function in (0..functions).rev() {
            self.nvme_with(below, cmb_mib, &format!(",multifunction=on,addr=0.{function}"));
        }
    }

    /// The same with more options of QEMU's, as `,mdts=9`.
    pub(crate) fn nvme_with(&mut self, below: &Bus, cmb_mib: u32, options: &str) {
        let disk = format!("disk{}", self.disks.len() + 1);
        let buffer = match cmb_mib {
            0 => String::new(),
            size => format!(",cmb_size_mb={size}"),
        };
        self.devices.push(format!(
            "nvme,id=nvme-{disk},serial={disk},drive={disk},bus={}{buffer}{options}",
            below.0
        ));
        self.disks.push(disk);
    }

    /// A function whose BAR is plain memory; `options` as `,addr=1.0`.
    pub(crate) fn memory(&mut self, below: &Bus, mib: u32, options: &str) {
        let id = format!("memory{}", self.objects.len() + 1);
        self.objects
            .push(format!("memory-backend-ram,id={id},size={mib}M,share=on"));
        self.devices
            .push(format!("ivshmem-plain,memdev={id},bus={}{options}", below.0));
    }

    /// QEMU's teaching device: registers, and a DMA engine.
    pub(crate) fn edu(&mut self, below: &Bus, options: &str) {
        self.devices.push(format!("edu,bus={}{options}", below.0));
    }

    /// How many NVMe controllers it has.
    pub(crate) fn controllers(&self) -> usize {
        self.disks.len()
    }

    /// How many of them have memory of their own that others can use.
    pub(crate) fn lenders(&self) -> usize {
        self.count("cmb_size_mb=")
    }

    /// How many functions are nothing but memory.
    pub(crate) fn memories(&self) -> usize {
        self.objects.len()
    }

    /// Has it a port of a switch, to which ACS can be given?
    pub(crate) fn has_switch(&self) -> bool {
        self.count("xio3130-downstream,") > 0
    }

    fn count(&self, word: &str) -> usize {
        self.devices.iter().filter(|device| device.contains(word)).count()
    }

    fn port(&mut self, kind: &str) -> (String, String) {
        self.ports += 1;
        let number = self.ports;
        (
            format!("{kind}{number}"),
            format!(",chassis={number},slot={number}"),
        )
    }

    /// The next free slot of the first host bridge; 1f is the chipset's.
    fn root_address(&mut self) -> String {
        let device = self.next_device;
        self.next_device += 1;
        format!("{device:x}.0")
    }
}

impl Machine {
    pub(crate) fn new(topology: Topology, processor: Processor, iommu: Iommu) -> Self {
        Self {
            topology,
            processor,
            iommu,
            memory_mib: 768,
        }
    }

    /// `topology/processor/iommu`.
    pub(crate) fn name(&self) -> String {
        let (processor, iommu) = (self.processor.name(), self.iommu.name());
        format!("{}/{processor}/{iommu}", self.topology.name)
    }

    /// QEMU's arguments; makes the disks in `folder`.
    pub(crate) fn arguments(&self, folder: &Path) -> io::Result<Vec<String>> {
        let topology = &self.topology;
        let mut all: Vec<String> = Vec::new();
        let mut add = |option: &str, value: String| all.extend([option.to_owned(), value]);
        let chip = if self.iommu == Iommu::Off || topology.has_bypass {
            "q35"
        } else {
            "q35,kernel-irqchip=split"
        };
        add("-machine", chip.into());
        add("-cpu", self.processor.name().into());
        // More than one processor is where the emulation is least stable, and no check is about it.
        add("-smp", "1".into());
        add("-m", self.memory_mib.to_string());
        if self.iommu != Iommu::Off {
            let interrupts = if topology.has_bypass { "off" } else { "on" };
            add(
                "-device",
                format!("intel-iommu,intremap={interrupts},caching-mode=on"),
            );
        }
        for object in &topology.objects {
            add("-object", object.clone());
        }
        for disk in &topology.disks {
            let path = folder.join(format!("{disk}.img"));
            File::create(&path)?.set_len(DISK_BYTES)?;
            // A comma in a file name would begin another option.
            let file = path.display().to_string().replace(',', ",,");
            add(
                "-drive",
                format!("file={file},if=none,id={disk},format=raw,cache=unsafe"),
            );
        }
        for device in &topology.devices {
            add("-device", device.clone());
        }
        Ok(all)
    }

    /// What the kernel's command line says of the IOMMU.
    pub(crate) fn kernel_line(&self) -> &'static str {
        match self.iommu {
            Iommu::Off => "",
            Iommu::Passthrough => "intel_iommu=on iommu=pt",
            Iommu::On => "intel_iommu=on",
        }
    }
}
