//! Bytes on the wire: what one unit of a transfer puts on a link, in each direction.
//!
//! Called by [`super::Estimator`] only. Sources: PCIe Base 2.2 (headers), 3.5 and 3.6 (DLLPs, sequence
//! number, LCRC), 4.2.1 to 4.2.3 (framing and encoding).

use crate::pci::LinkRate;
use crate::route::Access;

/// A header with a 32-bit address, and every completion's.
pub(super) const SHORT_HEADER_BYTES: u8 = 12;

/// A header with a 64-bit address.
pub(super) const LONG_HEADER_BYTES: u8 = 16;

/// What each packet brings about on the other direction of a link: an acknowledgement and a flow-control
/// update, of 6 bytes with a CRC of 2 or a token of 2.
const DLLP_BYTES: u64 = 16;

/// A stream of one kind of access, as its two ends are set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) access: Access,
    /// The largest payload that whoever sends the data may use: the client of a write, the provider of a
    /// read. Not 0.
    pub(super) max_payload_bytes: u16,
    /// The largest read that the client may request. Not 0.
    pub(super) max_read_request_bytes: u16,
    pub(super) request_header_bytes: u8,
}

/// The smallest part of a stream that repeats: one write, or one read request with its completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    /// What the device gets out of it.
    pub(super) payload_bytes: u64,
    /// From the client to the provider.
    forward: Packets,
    /// From the provider to the client.
    backward: Packets,
}

/// Packets on one direction of a link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Packets {
    count: u64,
    /// Headers and payload.
    bytes: u64,
}

/// Bytes on both directions of a link for each unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// In the direction from client to provider.
    pub(super) forward_bytes: u64,
    pub(super) backward_bytes: u64,
}

impl Stream {
    /// The payload of each packet that carries data.
    pub(super) fn payload_bytes(self) -> u16 {
        match self.access {
            Access::Write => self.max_payload_bytes,
            Access::Read => self.max_payload_bytes.min(self.max_read_request_bytes),
        }
    }

    pub(super) fn unit(self) -> Unit {
        let request = |payload_bytes: u64| Packets {
            count: 1,
            bytes: u64::from(self.request_header_bytes) + payload_bytes,
        };
        let each = u64::from(self.payload_bytes()).max(1);
        match self.access {
            Access::Write => Unit {
                payload_bytes: each,
                forward: request(each),
                backward: Packets::default(),
            },
            Access::Read => {
                let payload_bytes = u64::from(self.max_read_request_bytes).max(1);
                let count = payload_bytes.div_ceil(each);
                Unit {
                    payload_bytes,
                    forward: request(0),
                    backward: Packets {
                        count,
                        bytes: payload_bytes + count * u64::from(SHORT_HEADER_BYTES),
                    },
                }
            }
        }
    }
}

impl Unit {
    /// What crossing a link of this rate once puts on it.
    pub(super) fn load(self, rate: LinkRate) -> Load {
        let direction = |here: Packets, there: Packets| {
            here.bytes + here.count * framing_bytes(rate) + there.count * DLLP_BYTES
        };
        Load {
            forward_bytes: direction(self.forward, self.backward),
            backward_bytes: direction(self.backward, self.forward),
        }
    }
}

/// What the lower layers put around a packet. Up to 5 GT/s: 2 framing symbols, a sequence number of 2
/// bytes, an LCRC of 4. Up to 32 GT/s: a token of 4 bytes that holds the sequence number, and the LCRC. At
/// 64 GT/s nothing: the FLIT around has all of it. No ECRC and no prefixes are counted.
fn framing_bytes(rate: LinkRate) -> u64 {
    const FLIT: LinkRate = LinkRate(6);
    if rate == FLIT { 0 } else { 8 }
}
