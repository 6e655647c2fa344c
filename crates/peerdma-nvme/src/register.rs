//! The controller's registers (NVM Express Base 2.0, 3.1.3): where they are, and what their bits mean.

/// CAP.
pub(crate) const CAP: u64 = 0x00;
/// VS.
pub(crate) const VS: u64 = 0x08;
/// INTMS.
pub(crate) const INTMS: u64 = 0x0c;
/// CC.
pub(crate) const CC: u64 = 0x14;
/// CSTS.
pub(crate) const CSTS: u64 = 0x1c;
/// AQA.
pub(crate) const AQA: u64 = 0x24;
/// ASQ.
pub(crate) const ASQ: u64 = 0x28;
/// ACQ.
pub(crate) const ACQ: u64 = 0x30;
/// CMBLOC.
pub(crate) const CMBLOC: u64 = 0x38;
/// CMBSZ.
pub(crate) const CMBSZ: u64 = 0x3c;
/// CMBMSC.
pub(crate) const CMBMSC: u64 = 0x50;
/// CMBSTS.
pub(crate) const CMBSTS: u64 = 0x58;
/// CRTO.
pub(crate) const CRTO: u64 = 0x68;
/// The first doorbell.
const DOORBELLS: u64 = 0x1000;

/// Units of CAP.TO and CRTO.
const TIMEOUT_UNIT_NS: u64 = 500_000_000;

/// CAP (3.1.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities(pub(crate) u64);

impl Capabilities {
    /// MQES: the most entries of an I/O queue.
    pub(crate) fn most_entries(self) -> u32 {
        (self.0 & 0xffff) as u32 + 1
    }

    /// TO: how long CSTS.RDY may take to follow CC.EN. None of it still gets one unit.
    pub(crate) fn timeout_ns(self) -> u64 {
        (self.0 >> 24 & 0xff).max(1) * TIMEOUT_UNIT_NS
    }

    /// CRMS.CRWMS: CRTO tells how long it takes.
    pub(crate) fn has_ready_timeouts(self) -> bool {
        self.0 >> 59 & 1 != 0
    }

    /// DSTRD: bytes from one doorbell to the next.
    pub(crate) fn doorbell_stride_bytes(self) -> u64 {
        4 << (self.0 >> 32 & 0xf)
    }

    /// CSS: what CC.CSS has to be for the NVM command set; nothing where it is not there.
    pub(crate) fn command_set(self) -> Option<u32> {
        const NVM: u64 = 1;
        const SEVERAL: u64 = 1 << 6;
        match self.0 >> 37 & 0xff {
            css if css & SEVERAL != 0 => Some(0b110),
            css if css & NVM != 0 => Some(0),
            _ => None,
        }
    }

    /// MPSMIN, in bytes.
    pub(crate) fn least_page_bytes(self) -> u64 {
        4096 << (self.0 >> 48 & 0xf)
    }

    /// CMBS: there is a CMBMSC.
    pub(crate) fn has_buffer_control(self) -> bool {
        self.0 >> 57 & 1 != 0
    }
}

/// How long CSTS.RDY may take to follow CC.EN by CRTO.CRWMT (3.1.3.20).
pub(crate) fn ready_timeout_ns(crto: u32) -> u64 {
    u64::from(crto & 0xffff) * TIMEOUT_UNIT_NS
}

/// CC (3.1.3.5): enabled, entries of 64 and 16 bytes, round robin (AMS 0).
pub(crate) fn configuration(page_bytes: u64, command_set: u32) -> u32 {
    const ENTRY_SIZES: u32 = 6 << 16 | 4 << 20;
    let page_log2 = page_bytes.trailing_zeros().saturating_sub(12);
    1 | command_set << 4 | page_log2 << 7 | ENTRY_SIZES
}

/// CC.EN.
pub(crate) const ENABLE: u32 = 1;
/// CC.SHN: a normal shutdown.
pub(crate) const SHUT_DOWN: u32 = 1 << 14;
/// CC.SHN as a whole.
pub(crate) const SHUT_DOWN_MASK: u32 = 3 << 14;

/// CSTS (3.1.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(pub(crate) u32);

impl State {
    /// Is this what a device that is gone reads as? Its reserved bits are zeros in one that is there.
    pub(crate) fn is_gone(self) -> bool {
        self.0 == u32::MAX
    }

    /// RDY.
    pub(crate) fn is_ready(self) -> bool {
        self.0 & 1 != 0
    }

    /// CFS.
    pub(crate) fn is_fatal(self) -> bool {
        self.0 & 2 != 0
    }

    /// SHST: the shutdown is complete.
    pub(crate) fn is_shut_down(self) -> bool {
        self.0 >> 2 & 3 == 2
    }
}

/// Whose doorbell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doorbell {
    /// A submission queue's: its tail.
    Tail(u16),
    /// A completion queue's: its head.
    Head(u16),
}

impl Doorbell {
    /// Where it is (PCIe Transport 1.0, 3.1.2.1).
    pub(crate) fn offset(self, stride_bytes: u64) -> u64 {
        let number = match self {
            Self::Tail(queue) => 2 * u64::from(queue),
            Self::Head(queue) => 2 * u64::from(queue) + 1,
        };
        DOORBELLS + number * stride_bytes
    }
}

/// The highest queue whose doorbells lie in a BAR of this size; nothing where not even those of the admin queues do.
pub(crate) fn last_queue(bar_bytes: u64, stride_bytes: u64) -> Option<u16> {
    let pairs = bar_bytes.checked_sub(DOORBELLS)? / (2 * stride_bytes);
    Some(pairs.checked_sub(1)?.min(u64::from(u16::MAX) - 1) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doorbells_lie_where_the_stride_puts_them() {
        assert_eq!(Doorbell::Tail(0).offset(4), 0x1000);
        assert_eq!(Doorbell::Head(0).offset(4), 0x1004);
        assert_eq!(Doorbell::Tail(3).offset(16), 0x1000 + 6 * 16);
        assert_eq!(last_queue(0x2000, 4), Some(511));
        assert_eq!(last_queue(0x1008, 4), Some(0));
        assert_eq!(last_queue(0x1007, 4), None);
        assert_eq!(last_queue(0, 4), None);
        assert_eq!(last_queue(u64::MAX, 4), Some(u16::MAX - 1));
    }

    #[test]
    fn capabilities_read_as_the_specification_says() {
        let cap = Capabilities(0xfff | 4 << 24 | 2 << 32 | 1 << 37 | 1 << 48 | 1 << 57);
        assert_eq!(cap.most_entries(), 4096);
        assert_eq!(cap.timeout_ns(), 2_000_000_000);
        assert_eq!(cap.doorbell_stride_bytes(), 16);
        assert_eq!(cap.command_set(), Some(0));
        assert_eq!(cap.least_page_bytes(), 8192);
        assert!(cap.has_buffer_control());
        assert_eq!(Capabilities(1 << 43 | 1 << 37).command_set(), Some(6));
        assert_eq!(Capabilities(1 << 44).command_set(), None);
        assert_eq!(configuration(8192, 0), 0x0046_0081);
    }
}
