//! What another reader of configuration space (the crate `pcics`) finds in the bytes that we write.

use super::strategy;
use super::{Acs, AcsFlags, Ats, Bar, BarKind, ClassCode, Config, Id, Rebar, Sriov};
use crate::addr::{Address, BusAddr};
use crate::fact::Fact;
use alloc::vec::Vec;
use pcics::extended_capabilities::access_control_services::{AcsCapability, AcsControl};
use pcics::extended_capabilities::{
    ExtendedCapabilities, ExtendedCapabilityError, ExtendedCapabilityKind as Kind, ResizableBar,
};
use pcics::header::{BaseAddress, BaseAddressType, Header, HeaderType};
use proptest::prelude::*;

proptest! {
    #[test]
    fn another_reader_finds_the_same(config in strategy::config()) {
        let bytes = config.emit().unwrap();
        let header = Header::try_from(&bytes[..64]).unwrap();
        let id = Id { vendor: header.vendor_id, device: header.device_id };
        prop_assert_eq!(&config.id, &Fact::Known(id));
        let class = header.class_code;
        let class = [class.interface, class.sub, class.base, 0];
        prop_assert_eq!(&config.class, &Fact::Known(ClassCode::new(u32::from_le_bytes(class))));
        prop_assert_eq!(&config.revision, &Fact::Known(header.revision_id));
        let (bars, buses): (Vec<Bar>, _) = match header.header_type {
            HeaderType::Normal(normal) => (normal.base_addresses.map(bar).collect(), None),
            HeaderType::Bridge(bridge) => (
                bridge.base_addresses.map(bar).collect(),
                Some((
                    bridge.primary_bus_number,
                    bridge.secondary_bus_number,
                    bridge.subordinate_bus_number,
                )),
            ),
            _ => return Ok(()),
        };
        prop_assert_eq!(&config.bars, &Fact::Known(bars));
        let ours = config.bridge.map(|bridge| bridge.map(|b| (b.primary, b.secondary, b.subordinate)));
        prop_assert_eq!(ours, Fact::Known(buses));
        // Its reader of the vector leaves out what does not fill a word: ours is not compared.
        let without_vector = |acs: Acs| Acs { egress: Fact::Known(None), ..acs };
        prop_assert_eq!(extended(&bytes[256..]), Config {
            acs: config.acs.map(|acs| acs.map(without_vector)),
            ats: config.ats,
            rebar: config.rebar,
            sriov: config.sriov,
            serial_number: config.serial_number,
            ..Config::default()
        });
    }
}

fn bar(bar: BaseAddress) -> Bar {
    let (kind, prefetchable, address) = match bar.base_address_type {
        BaseAddressType::IoSpace { base_address } => (BarKind::Io, false, base_address.into()),
        BaseAddressType::MemorySpace32 {
            prefetchable,
            base_address,
        } => (BarKind::Memory32, prefetchable, base_address.into()),
        BaseAddressType::MemorySpace64 {
            prefetchable,
            base_address,
        } => (BarKind::Memory64, prefetchable, base_address),
        other => panic!("we never write {other:?}"),
    };
    Bar {
        index: bar.region as u8,
        kind,
        prefetchable,
        address: BusAddr::from_u64(address),
    }
}

fn extended(bytes: &[u8]) -> Config {
    let mut acs = None;
    let mut ats = None;
    let mut rebar = Vec::new();
    let mut sriov = None;
    let mut serial_number = None;
    for capability in ExtendedCapabilities::new(bytes) {
        // Its reader of resizable BARs wants the header of the capability too, which its walk over
        // the chain does not pass on.
        let offset = match &capability {
            Ok(capability) if matches!(capability.kind, Kind::ResizableBar(_)) => capability.offset,
            Err(ExtendedCapabilityError::ResizableBar { offset, .. }) => *offset,
            _ => 0,
        };
        if offset != 0 {
            let found = ResizableBar::try_from(&bytes[usize::from(offset) - 256..]).unwrap();
            rebar.extend(found.map(|entry| Rebar {
                bar: entry.control.bar_index,
                possible: u64::from(entry.capability.support_map_from_1mb_to_128tb >> 4)
                    | u64::from(entry.control.support_map_from_256tb_to_8eb) << 28,
                current: entry.control.bar_size,
            }));
            continue;
        }
        match capability.unwrap().kind {
            Kind::AccessControlServices(found) => {
                acs = Some(Acs {
                    capable: capable(&found.acs_capability),
                    control: control(&found.acs_control),
                    egress: Fact::Known(None),
                });
            }
            Kind::AddressTranslationServices(found) => {
                ats = Some(Ats {
                    enabled: found.ats_control.enable,
                });
            }
            Kind::SingleRootIoVirtualization(found) => {
                sriov = Some(Sriov {
                    enabled: found.sriov_control.vf_enable,
                    total: found.total_vfs,
                    count: found.num_vfs,
                    first_offset: found.first_vf_offset,
                    stride: found.vf_stride,
                    device: found.vf_device_id,
                });
            }
            Kind::DeviceSerialNumber(found) => {
                let number = u64::from(found.upper_dword) << 32 | u64::from(found.lower_dword);
                serial_number = Some(number);
            }
            other => panic!("we never write {other:?}"),
        }
    }
    Config {
        acs: Fact::Known(acs),
        ats: Fact::Known(ats),
        rebar: Fact::Known(rebar),
        sriov: Fact::Known(sriov),
        serial_number: Fact::Known(serial_number),
        ..Config::default()
    }
}

fn flags(bits: [bool; 7]) -> AcsFlags {
    let set = bits.into_iter().enumerate().filter(|(_, is_set)| *is_set);
    AcsFlags::from_register(set.map(|(bit, _)| 1 << bit).sum())
}

fn capable(found: &AcsCapability) -> AcsFlags {
    flags([
        found.acs_source_validation,
        found.acs_translation_blocking,
        found.acs_p2p_request_redirect,
        found.acs_p2p_completion_redirect,
        found.acs_upstream_forwarding,
        found.acs_p2p_egress_control,
        found.acs_direct_translated_p2p,
    ])
}

fn control(found: &AcsControl) -> AcsFlags {
    flags([
        found.acs_source_validation_enable,
        found.acs_translation_blocking_enable,
        found.acs_p2p_request_redirect_enable,
        found.acs_p2p_completion_redirect_enable,
        found.acs_upstream_forwarding_enable,
        found.acs_p2p_egress_control_enable,
        found.acs_direct_translated_p2p_enable,
    ])
}
