//! Telling an Intel processor from the host bridge, where a source does not name the processor.
//!
//! Only in this direction: an Intel processor is one that Linux does *not* accept by itself, so a
//! wrong guess could only refuse too much. That a processor is AMD's is never inferred.

use crate::addr::Bdf;
use crate::pci::{ClassCode, Id};
use crate::snapshot::{Cpu, Snapshot};

const INTEL: u16 = 0x8086;

/// Intel host bridges that hypervisors show whatever the processor: 440FX (QEMU, Xen, VirtualBox), Q35,
/// 440BX (VMware, Hyper-V), X38 (VirtualBox), P965 (Parallels), the cloud hypervisors' own.
const EMULATED: [u16; 8] = [0x1237, 0x29c0, 0x7190, 0x7191, 0x7192, 0x29e0, 0x29a0, 0x0d57];

/// The processor that function 0000:00:00.0 gives away, and that function's id.
pub fn inferred_processor(snapshot: &Snapshot) -> Option<(Cpu, Id)> {
    let first = Bdf::from_devfn(0, 0, 0);
    let function = snapshot.functions().get(snapshot.position(first)?)?;
    let id = function.id()?;
    let is_host_bridge = function.class()?.class() == ClassCode::HOST_BRIDGE;
    if !is_host_bridge || id.vendor != INTEL || EMULATED.contains(&id.device) {
        return None;
    }
    let cpu = Cpu {
        vendor: "GenuineIntel".into(),
        family: 0,
    };
    Some((cpu, id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Fact;
    use crate::snapshot::{Function, Host, Warnings};

    fn machine(class: u32, vendor: u16, device: u16) -> Snapshot {
        let mut function = Function::new(Bdf::from_devfn(0, 0, 0));
        function.config.id = Fact::Known(Id { vendor, device });
        function.config.class = Fact::Known(ClassCode::new(class));
        Snapshot::new(Host::default(), [function].into(), &mut Warnings::default())
    }

    #[test]
    fn only_a_real_intel_host_bridge_gives_its_processor_away() {
        assert!(inferred_processor(&machine(0x06_0000, 0x8086, 0x09a2)).is_some());
        assert!(inferred_processor(&machine(0x06_0000, 0x8086, 0x1237)).is_none());
        assert!(inferred_processor(&machine(0x06_0000, 0x8086, 0x29c0)).is_none());
        assert!(inferred_processor(&machine(0x06_0000, 0x1022, 0x1480)).is_none());
        assert!(inferred_processor(&machine(0x06_0400, 0x8086, 0x09a2)).is_none());
    }
}
