//! What hardware writes down of losses: Device Status and Advanced Error Reporting of the function that saw one (PCIe Base
//! 6.2), the fault log of the IOMMU, and counters for what the root complex refuses. What a requester writes down is in
//! `failed_read`.

use super::config_space::Space;
use super::iommu::{FaultReason, IommuFault};
use super::route::{Loss, Packet, Where, Why};
use super::{Fabric, FunctionId};
use crate::tlp::{Access, AddressType, Ordering, Request};

/// What the root complex refused, which no register tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostErrors {
    /// Requests for addresses that lead nowhere, or that left the address space.
    pub unsupported_requests: u64,
    /// Requests and completions that were not forwarded from device to device.
    pub not_forwarded: u64,
    /// Completions that nobody waited for.
    pub unexpected_completions: u64,
}

/// What a function has seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) why: Why,
    pub(super) packet: Packet,
    /// Somebody else reports it (PCIe Base 6.2.3.2.4).
    pub(super) is_advisory: bool,
}

/// How bad an error is (PCIe Base 6.2.2), as the bit that it sets in Device Status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Severity {
    /// Also: an error of a non-posted request that its requester will report (advisory non-fatal).
    Correctable = 1,
    NonFatal = 1 << 1,
    Fatal = 1 << 2,
}

const UNSUPPORTED_REQUEST_DETECTED: u32 = 1 << 3;

impl Fabric {
    /// Records a loss where hardware records it: Device Status and AER of the function that saw it, the fault log of
    /// the IOMMU, [`Self::host_errors`].
    pub fn record(&mut self, loss: &Loss, request: &Request) {
        match loss.at {
            Where::Function(function) => self.record_at(function, loss, request),
            Where::HostBridge { .. } => match loss.why {
                Why::NotForwarded => self.host_errors.not_forwarded += 1,
                Why::UnexpectedCompletion => self.host_errors.unexpected_completions += 1,
                _ => self.host_errors.unsupported_requests += 1,
            },
            Where::Iommu => self.record_fault(request),
            Where::Nowhere => {}
        }
    }

    /// What the root complex refused so far.
    pub fn host_errors(&self) -> HostErrors {
        self.host_errors
    }

    fn record_fault(&mut self, request: &Request) {
        let requester = self.alias(request);
        let (iova, access) = (request.address, request.access);
        let why = match request.address_type {
            AddressType::Translated => FaultReason::TranslatedByStranger,
            AddressType::Untranslated => match self.iommu.translate(requester, iova, access) {
                Err(fault) => fault.why,
                // It has been mapped since.
                Ok(_) => FaultReason::NotMapped,
            },
        };
        self.iommu.log(IommuFault {
            requester,
            iova,
            access,
            why,
        });
    }

    /// The requester ID that a request has at the root complex.
    fn alias(&self, request: &Request) -> peerdma::addr::Bdf {
        use super::bus::BusPlace;
        use super::node::Facing;
        let mut id = request.requester;
        let mut at = self.find(id);
        while let Some(function) = at {
            at = match self.bus(self.node(function).bus).place {
                BusPlace::Root(_) => None,
                BusPlace::Below { bridge, facing } => {
                    let node = self.node(bridge);
                    if facing == Facing::Conventional {
                        id = peerdma::addr::Bdf::from_devfn(node.bdf.domain(), node.secondary, 0);
                    }
                    Some(bridge)
                }
            };
        }
        id
    }

    fn record_at(&mut self, function: FunctionId, loss: &Loss, request: &Request) {
        let is_non_posted = loss.packet == Packet::Request && request.access == Access::Read;
        let is_advisory = match loss.why {
            Why::UnsupportedRequest | Why::CompleterAbort | Why::AcsViolation => is_non_posted,
            Why::UnexpectedCompletion => true,
            _ => false,
        };
        let fault = Fault {
            why: loss.why,
            packet: loss.packet,
            is_advisory,
        };
        self.log(function, fault, request);
        if loss.packet == Packet::Request && function.index() < self.nodes.len() {
            self.mark_refusal(function, loss.why, request);
        }
    }

    /// Device Status and AER of one function (PCIe Base 6.2.5).
    pub(super) fn log(&mut self, function: FunctionId, fault: Fault, request: &Request) {
        let Some((bit, by_default)) = error_of(fault.why) else {
            return;
        };
        let Some(space) = self.spaces.get_mut(function.index()) else {
            return;
        };
        let severity = match space.severity(bit).unwrap_or(by_default) {
            // What somebody else reports is correctable, if it is not fatal (PCIe Base 6.2.3.2.4).
            Severity::NonFatal if fault.is_advisory => Severity::Correctable,
            severity => severity,
        };
        let mut detected = severity as u32;
        if fault.why == Why::UnsupportedRequest {
            detected |= UNSUPPORTED_REQUEST_DETECTED;
        }
        let header = match fault.why {
            // No packet came; that of the request is kept by functions that say so, which none does.
            Why::CompletionTimeout => [0; 4],
            _ => header(fault.packet, request),
        };
        space.set_device_status(detected);
        space.log_error(bit, severity, header);
    }
}

/// The bit in Uncorrectable Error Status (PCIe Base 7.8.4.2), and how bad it is by default.
fn error_of(why: Why) -> Option<(u8, Severity)> {
    Some(match why {
        Why::Poisoned => (12, Severity::NonFatal),
        Why::CompletionTimeout => (14, Severity::NonFatal),
        Why::CompleterAbort => (15, Severity::NonFatal),
        Why::UnexpectedCompletion => (16, Severity::NonFatal),
        Why::MalformedTlp => (18, Severity::Fatal),
        Why::UnsupportedRequest => (20, Severity::NonFatal),
        Why::AcsViolation => (21, Severity::NonFatal),
        Why::MasterDisabled | Why::NoSuchRequester | Why::IommuFault | Why::NotForwarded | Why::LinkDown => {
            return None;
        }
    })
}

/// The header of a TLP as the log has it (PCIe Base 2.2.7 and 2.2.9). Tags and byte counts are not modelled: 0.
fn header(packet: Packet, request: &Request) -> [u32; 4] {
    let ordering = u32::from(request.ordering == Ordering::Relaxed) << 13;
    let id = u32::from(request.requester.bus()) << 8 | u32::from(request.requester.devfn());
    let dwords = request.len_bytes.div_ceil(4).clamp(1, 1024) & 0x3ff;
    if packet == Packet::Completion {
        const COMPLETION_WITH_DATA: u32 = 0x4a << 24;
        let lower_address = request.address as u32 & 0x7f;
        return [
            COMPLETION_WITH_DATA | ordering | dwords,
            0,
            id << 16 | lower_address,
            0,
        ];
    }
    let is_wide = request.address > u32::MAX.into();
    let format = match (request.access, is_wide) {
        (Access::Read, false) => 0x00u32,
        (Access::Read, true) => 0x20,
        (Access::Write, false) => 0x40,
        (Access::Write, true) => 0x60,
    };
    let translated = match request.address_type {
        AddressType::Untranslated => 0,
        AddressType::Translated => 0x2 << 10,
    };
    let bytes_enabled = if dwords == 1 { 0x0f } else { 0xff };
    let low = request.address as u32 & !0x3;
    let address = match is_wide {
        true => [(request.address >> 32) as u32, low],
        false => [low, 0],
    };
    [
        format << 24 | ordering | translated | dwords,
        id << 16 | bytes_enabled,
        address[0],
        address[1],
    ]
}

impl Space {
    fn set_device_status(&mut self, detected: u32) {
        let express = self.layout.express;
        if express != 0 {
            self.put(express + 8, self.get(express + 8) | detected << 16);
        }
    }

    /// What software has set for this error; nothing where there is no Advanced Error Reporting.
    fn severity(&self, bit: u8) -> Option<Severity> {
        const SEVERITY: u16 = 0x0c;
        match self.layout.aer {
            0 => None,
            aer if self.get(aer + SEVERITY) >> bit & 1 != 0 => Some(Severity::Fatal),
            _ => Some(Severity::NonFatal),
        }
    }

    /// Advanced Error Reporting: the status bit, and the header where it is the first error (PCIe Base 6.2.4.2).
    fn log_error(&mut self, bit: u8, severity: Severity, header: [u32; 4]) {
        const STATUS: u16 = 0x04;
        const MASK: u16 = 0x08;
        const CORRECTABLE_STATUS: u16 = 0x10;
        const ADVISORY_NON_FATAL: u32 = 1 << 13;
        const CONTROL: u16 = 0x18;
        const FIRST_ERROR: u32 = 0x1f;
        const HEADER_LOG: u16 = 0x1c;
        let aer = self.layout.aer;
        if aer == 0 {
            return;
        }
        if severity == Severity::Correctable {
            let status = self.get(aer + CORRECTABLE_STATUS) | ADVISORY_NON_FATAL;
            self.put(aer + CORRECTABLE_STATUS, status);
        }
        let status = self.get(aer + STATUS);
        let control = self.get(aer + CONTROL);
        let has_first = status >> (control & FIRST_ERROR) & 1 != 0;
        let is_masked = self.get(aer + MASK) >> bit & 1 != 0;
        self.put(aer + STATUS, status | 1 << bit);
        if has_first || is_masked {
            return;
        }
        self.put(aer + CONTROL, control & !FIRST_ERROR | u32::from(bit));
        for (at, dword) in (aer + HEADER_LOG..).step_by(4).zip(header) {
            self.put(at, dword);
        }
    }
}
