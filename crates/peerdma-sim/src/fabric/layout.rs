//! Where the structures of a configuration space are: found once, since chains of capabilities never change.

/// Offsets of capabilities; 0 where the function has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Layout {
    pub(super) header: HeaderKind,
    pub(super) express: u16,
    pub(super) aer: u16,
    pub(super) acs: u16,
    pub(super) ats: u16,
    pub(super) rebar: u16,
    pub(super) sriov: u16,
    /// Bytes of configuration space: 256, or 4096 with the extended part.
    pub(super) size_bytes: u16,
}

/// The kind of header (PCIe Base 7.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum HeaderKind {
    #[default]
    Function,
    Bridge,
    CardBus,
}

impl Layout {
    const HEADER_TYPE: usize = 0x0e;
    const EXPRESS: u8 = 0x10;
    const EXTENDED_START: u16 = 0x100;
    const AER: u16 = 0x0001;
    /// Beyond all that is emitted; the chain may jump.
    const AER_PLACE: u16 = 0x200;
    /// With the registers of root ports (PCIe Base 7.8.4).
    const AER_BYTES: u16 = 0x38;

    /// Finds what `bytes` hold.
    pub(super) fn find(bytes: &[u8]) -> Self {
        let header = match bytes.get(Self::HEADER_TYPE).map_or(0, |byte| byte & 0x7f) {
            1 => HeaderKind::Bridge,
            2 => HeaderKind::CardBus,
            _ => HeaderKind::Function,
        };
        let mut layout = Self {
            header,
            size_bytes: 256,
            ..Self::default()
        };
        let byte = |at: u16| bytes.get(usize::from(at)).copied().unwrap_or(0);
        let mut at = byte(if header == HeaderKind::CardBus { 0x14 } else { 0x34 });
        // At most so many capabilities have room.
        for _ in 0..48 {
            if at < 0x40 {
                break;
            }
            if byte(at.into()) == Self::EXPRESS {
                layout.express = at.into();
                layout.size_bytes = 4096;
                break;
            }
            at = byte(u16::from(at) + 1) & !0x3;
        }
        for (capability, at) in Self::extended(bytes) {
            layout.size_bytes = 4096;
            match capability {
                Self::AER => layout.aer = at,
                0x000d => layout.acs = at,
                0x000f => layout.ats = at,
                0x0010 => layout.sriov = at,
                0x0015 => layout.rebar = at,
                _ => {}
            }
        }
        layout
    }

    /// The extended capabilities, with their offsets.
    fn extended(bytes: &[u8]) -> Vec<(u16, u16)> {
        let mut found = Vec::new();
        let mut at = Self::EXTENDED_START;
        while found.len() < 64 && at >= Self::EXTENDED_START {
            let start = usize::from(at);
            let Some(&[a, b, c, d]) = bytes.get(start..start + 4) else {
                break;
            };
            let header = u32::from_le_bytes([a, b, c, d]);
            if header == 0 {
                break;
            }
            found.push((header as u16, at));
            at = (header >> 20) as u16 & !0x3;
        }
        found
    }

    /// Appends an Advanced Error Reporting capability (PCIe Base 7.8.4) to a space that has none.
    pub(super) fn append_aer(bytes: &mut [u8]) {
        const UNCORRECTABLE_SEVERITY: u32 = 0x0046_2030;
        let last = Self::extended(bytes).last().map(|&(_, at)| at);
        let place = match last {
            None => Self::EXTENDED_START,
            Some(last) => Self::AER_PLACE.max(last.saturating_add(Self::AER_PLACE)),
        };
        let start = usize::from(place);
        if bytes.len() < start + usize::from(Self::AER_BYTES) {
            return;
        }
        if let Some(last) = last {
            let link = usize::from(last) + 2;
            let version = u16::from_le_bytes([bytes[link], bytes[link + 1]]) & 0xf;
            bytes[link..link + 2].copy_from_slice(&(version | place << 4).to_le_bytes());
        }
        let header = u32::from(Self::AER) | 2 << 16;
        bytes[start..start + 4].copy_from_slice(&header.to_le_bytes());
        bytes[start + 0xc..start + 0x10].copy_from_slice(&UNCORRECTABLE_SEVERITY.to_le_bytes());
    }
}
