//! The top of a machine file: processor, IOMMU, RAM, time, firmware, host bridges.

use super::error::{MachineError, Wrong};
use super::port;
use super::table::{Table, Value};
use super::value;
use super::{BarHabit, Habits, Host, HostBridge, Machine, PayloadHabit, device};
use crate::blueprint::{Nature, Siblings, identity};
use crate::firmware::{MOST_HOST_BRIDGES, MOST_RANGES};
use peerdma::addr::{Address, BusAddr, PhysAddr, Span};
use peerdma::snapshot::{Cpu, Forwarding, HostWindow, IommuMode, KernelVersion};

/// The longest that a TLP may take through one thing: so sums over all ways, and over all that is sent, stay times.
pub(crate) const MOST_DELAY_PS: u64 = 1_000_000_000_000;
/// The longest completion timeout that there is (PCIe Base 7.5.3.16: range D).
pub(crate) const MOST_TIMEOUT_PS: u64 = 64 * MOST_DELAY_PS;

/// The machine that a file describes.
pub(super) fn machine(mut table: Table<'_, '_>) -> Result<Machine, MachineError> {
    let host = Host {
        cpu: table.take_or("cpu", Host::default_cpu(), cpu)?,
        kernel: table.take_or("kernel", Host::DEFAULT_KERNEL, kernel)?,
        iommu: table.take_or("iommu", IommuMode::Off, iommu)?,
        ram: match table.take("ram") {
            Some(value) => ram(value)?,
            None => Host::default_ram(),
        },
    };
    let nature = nature(&mut table)?;
    let firmware = table.take_or("firmware", Habits::default(), habits)?;
    let expected = "at least one [[bridge]]";
    let Some(all) = table.take("bridge") else {
        // A misspelt key says more than a missing one.
        table.finish()?;
        return Err(table.missing("bridge", expected));
    };
    let bridges = all.each_of("host bridges", MOST_HOST_BRIDGES)?;
    if bridges.is_empty() {
        return Err(all.wrong(expected));
    }
    let bridges = bridges.into_iter().map(bridge).collect::<Result<_, _>>()?;
    table.finish()?;
    Ok(Machine {
        host,
        nature,
        firmware,
        bridges,
    })
}

impl Host {
    pub(crate) const DEFAULT_KERNEL: KernelVersion = KernelVersion::new(6, 12, 0);

    /// A processor that opens no way through the root complex by itself.
    pub(crate) fn default_cpu() -> Cpu {
        Cpu {
            vendor: "GenuineIntel".into(),
            family: 6,
        }
    }

    /// 2 GiB at 0 and 2 GiB at 4 GiB.
    pub(crate) fn default_ram() -> Vec<Span<PhysAddr>> {
        let span = |first: u64, last| Span::new(PhysAddr::from_u64(first), PhysAddr::from_u64(last)).ok();
        [span(0, 0x7fff_ffff), span(0x1_0000_0000, 0x1_7fff_ffff)]
            .into_iter()
            .flatten()
            .collect()
    }
}

impl Default for Host {
    fn default() -> Self {
        Self {
            cpu: Self::default_cpu(),
            kernel: Self::DEFAULT_KERNEL,
            iommu: IommuMode::Off,
            ram: Self::default_ram(),
        }
    }
}

fn ram(value: Value<'_, '_>) -> Result<Vec<Span<PhysAddr>>, MachineError> {
    let mut ranges: Vec<Span<PhysAddr>> = Vec::new();
    for value in value.each_of("ranges of RAM", MOST_RANGES)? {
        let range = value::range(value)?;
        let meets = |other: &&Span<PhysAddr>| other.first() <= range.last() && range.first() <= other.last();
        if let Some(other) = ranges.iter().find(meets) {
            let conflict = Wrong::Conflict {
                what: format!(
                    "two ranges of RAM overlap: {:#x} to {:#x} and {:#x} to {:#x}",
                    other.first().to_u64(),
                    other.last().to_u64(),
                    range.first().to_u64(),
                    range.last().to_u64()
                ),
                instead: "let every range start behind the one before".into(),
            };
            return Err(conflict.at(value.at()));
        }
        ranges.push(range);
    }
    Ok(ranges)
}

fn cpu(value: Value<'_, '_>) -> Result<Cpu, MachineError> {
    let expected =
        "vendor and family as /proc/cpuinfo has them, such as \"AuthenticAMD:0x19\" or \"GenuineIntel:6\"";
    let cpu = value.text(expected)?.parse();
    cpu.map_err(|_| value.wrong(expected))
}

fn kernel(value: Value<'_, '_>) -> Result<KernelVersion, MachineError> {
    let expected = "a Linux release in quotation marks, such as \"6.12\"";
    let release = value.text(expected)?.parse();
    release.map_err(|_| value.wrong(expected))
}

fn iommu(value: Value<'_, '_>) -> Result<IommuMode, MachineError> {
    value.word(&[
        ("off", IommuMode::Off),
        ("passthrough", IommuMode::Passthrough),
        ("translating", IommuMode::Translating),
    ])
}

fn nature(table: &mut Table<'_, '_>) -> Result<Nature, MachineError> {
    let usual = Nature::default();
    const DELAY: &str = "a time up to one second such as \"110 ns\", \"50 ms\", or picoseconds";
    const TIMEOUT: &str = "a time up to 64 seconds such as \"50 ms\", or picoseconds";
    let delay = |value| value::time_ps(value, MOST_DELAY_PS, DELAY);
    let timeout = |value| value::time_ps(value, MOST_TIMEOUT_PS, TIMEOUT);
    let boundary = |value: Value<'_, '_>| {
        value
            .number(64, 128)
            .ok()
            .filter(|bytes| matches!(bytes, 64 | 128))
    };
    Ok(Nature {
        seed: table.take_or("seed", usual.seed, |value| value.number(0, u64::MAX))?,
        jitter_ps: table.take_or("jitter", usual.jitter_ps, delay)?,
        switch_ps: table.take_or("switch-latency", usual.switch_ps, delay)?,
        root_complex_ps: table.take_or("root-complex-latency", usual.root_complex_ps, delay)?,
        completion_timeout_ps: table.take_or("completion-timeout", usual.completion_timeout_ps, timeout)?,
        siblings: table.take_or("internal-peers", usual.siblings, |value| {
            value.word(&[("direct", Siblings::Direct), ("upstream", Siblings::Upstream)])
        })?,
        read_completion_boundary_bytes: match table.take("read-completion-boundary") {
            Some(value) => boundary(value).ok_or_else(|| value.wrong("64 or 128 (bytes)"))? as u16,
            None => usual.read_completion_boundary_bytes,
        },
    })
}

fn habits(value: Value<'_, '_>) -> Result<Habits, MachineError> {
    let usual = Habits::default();
    let mut table = value.table("firmware")?;
    let habits = Habits {
        payload: table.take_or("mps", usual.payload, |value| {
            value.word(&[
                ("safe", PayloadHabit::Safe),
                ("per-root-port", PayloadHabit::PerRootPort),
                ("as-capable", PayloadHabit::AsCapable),
            ])
        })?,
        bus_master: table.take_or("bus-master", usual.bus_master, value::switched)?,
        memory: table.take_or("memory", usual.memory, value::switched)?,
        bars: table.take_or("bars", usual.bars, |value| {
            value.word(&[("full", BarHabit::Full), ("small", BarHabit::Small)])
        })?,
    };
    table.finish()?;
    Ok(habits)
}

fn bridge(value: Value<'_, '_>) -> Result<HostBridge, MachineError> {
    let mut table = value.table("a host bridge")?;
    let bridge = HostBridge {
        at: table.at,
        name: table.take_some("name", value::name)?,
        id: match table.take("id") {
            Some(value) if value.value.get_ref().as_str() == Some("none") => None,
            Some(value) => Some(value::id(value)?),
            None => Some(identity::HOST_BRIDGE),
        },
        domain: table.take_or("domain", 0, |value| value.number(0, 0xffff))? as u32,
        bus: table
            .take_some("bus", |value| value.number(0, 255))?
            .map(|bus| bus as u8),
        numa_node: table
            .take_some("numa-node", |value| value.number(0, 1023))?
            .map(|node| node as u32),
        bus_offset: table.take_or("offset", 0, value::offset)?,
        windows: match table.take("window") {
            Some(value) => {
                let windows = value.each_of("windows of a host bridge", MOST_RANGES)?;
                windows.into_iter().map(window).collect::<Result<_, _>>()?
            }
            None => Vec::new(),
        },
        inbound_offset: table.take_or("inbound-offset", 0, value::offset)?,
        forwarding: table.take_or("forwarding", Forwarding::Everything, |value| {
            let all = [
                Forwarding::Everything,
                Forwarding::SameBridge,
                Forwarding::StoresOnly,
                Forwarding::Nothing,
            ];
            value.word(&all.map(|one| (one.name(), one)))
        })?,
        ports: port::ports(&mut table, 0)?,
        conventional: port::conventional(&mut table, 0)?,
        devices: device::devices(&mut table)?,
    };
    table.finish()?;
    Ok(bridge)
}

fn window(value: Value<'_, '_>) -> Result<HostWindow, MachineError> {
    let mut table = value.table("a window of a host bridge")?;
    let bus = table
        .take("bus")
        .ok_or_else(|| table.missing("bus", "its first bus address"))?;
    let first = value::address(bus)?;
    let cpu = table.take_or("cpu", first, value::address)?;
    let size = table
        .take("size")
        .ok_or_else(|| table.missing("size", "how long it is, such as \"1 GiB\""))?;
    let bytes = value::size(size, 1 << 52)?;
    table.finish()?;
    const MIB: u64 = 1 << 20;
    let is_whole = |number: u64| number.is_multiple_of(MIB);
    if bytes == 0 || !is_whole(bytes) || !is_whole(first) || !is_whole(cpu) {
        return Err(value.wrong("a window that starts and ends at whole MiB"));
    }
    value::last_address(cpu, bytes, size)?;
    let last = BusAddr::from_u64(value::last_address(first, bytes, size)?);
    let span = Span::new(BusAddr::from_u64(first), last);
    Ok(HostWindow {
        bus: span.map_err(|_| size.wrong("a size above 0"))?,
        phys: PhysAddr::from_u64(cpu),
    })
}
