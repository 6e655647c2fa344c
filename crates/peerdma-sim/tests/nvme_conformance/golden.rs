//! Layout of the register block and of the Identify pages, field by field as the figures of the specification give them (Base 3.1.3,
//! 5.17.2.1; NVM Command Set 4.1.5.1; Base 5.17.2.3). What no row names is zero.

use crate::bench::Bench;
use crate::driver::{Cmd, DATA, Driver, kind, kind_with_buffer};
use peerdma_sim::device::nvme::Traits;

/// First byte, bytes, name in the specification, value.
type Row = (usize, usize, &'static str, Vec<u8>);

fn number(offset: usize, len: usize, name: &'static str, value: u128) -> Row {
    (offset, len, name, value.to_le_bytes()[..len].to_vec())
}

fn text(offset: usize, len: usize, name: &'static str, value: &str, filler: u8) -> Row {
    let mut bytes = value.as_bytes().to_vec();
    bytes.resize(len, filler);
    (offset, len, name, bytes)
}

fn compare(found: &[u8], rows: &[Row]) {
    let mut named = vec![false; found.len()];
    for (offset, len, name, expected) in rows {
        let range = *offset..offset + len;
        assert_eq!(&found[range.clone()], &expected[..], "{name} at {offset}");
        for (byte, named) in range.clone().zip(&mut named[range]) {
            assert!(!*named, "{name}: byte {byte} belongs to another field");
            *named = true;
        }
    }
    for (at, byte) in found.iter().enumerate().filter(|(at, _)| !named[*at]) {
        assert_eq!(*byte, 0, "byte {at} belongs to no field that is set");
    }
}

fn traits() -> Traits {
    Traits {
        identity: 0x0123_4567_89ab_cdef,
        vendor: 0x1234,
        subsystem_vendor: 0x5678,
        ..Traits::default()
    }
}

fn page(kind: &peerdma_sim::blueprint::NvmeKind, cns: u32, namespace: u32) -> Vec<u8> {
    let mut driver = Driver::off(kind, traits());
    driver.enable(0);
    driver.bench.memory_write(DATA, &[0xee; 4096]);
    let done = driver.admin(Cmd::new(6).namespace(namespace).with(10, cns).prp(DATA, 0));
    assert_eq!(done.status(), 0);
    driver.memory(DATA, 4096)
}

#[test]
fn registers_lie_where_the_specification_puts_them() {
    let mut driver = Driver::off(&kind_with_buffer(0x1f, 0), traits());
    driver.set64(0x50, 0x1234_5000 | 1);
    driver.enable(2);
    driver.set32(0x0c, 0x8000_0001);
    let mut block = vec![0; 0x1000];
    driver.bench.mmio_read(0, 0, &mut block);
    let capabilities: u128 = 4095 // MQES
        | 1 << 16 // CQR
        | 4 << 24 // TO
        | 1 << 36 // NSSRS
        | 1 << 37 // CSS: NVM command set
        | 4 << 52 // MPSMAX
        | 1 << 57; // CMBS
    compare(
        &block,
        &[
            number(0x00, 8, "CAP", capabilities),
            number(0x08, 4, "VS", 0x0001_0400),
            number(0x0c, 4, "INTMS", 0x8000_0001),
            number(0x10, 4, "INTMC", 0x8000_0001),
            number(0x14, 4, "CC", 1 | 2 << 7 | 6 << 16 | 4 << 20),
            number(0x1c, 4, "CSTS", 1),
            number(0x20, 4, "NSSR", 0),
            number(0x24, 4, "AQA", 31 | 31 << 16),
            number(0x28, 8, "ASQ", 0x1_0000),
            number(0x30, 8, "ACQ", 0x2_0000),
            number(0x38, 4, "CMBLOC", 2),
            number(0x3c, 4, "CMBSZ", 0x1f | 256 << 12),
            number(0x40, 4, "BPINFO", 0),
            number(0x50, 8, "CMBMSC", 0x1234_5001),
            number(0x58, 4, "CMBSTS", 0),
            number(0x5c, 4, "CMBEBS", 0),
            number(0xe00, 4, "PMRCAP", 0),
        ],
    );
}

#[test]
fn identify_controller_has_its_fields_in_place() {
    compare(
        &page(&kind(), 1, 0),
        &[
            number(0, 2, "VID", 0x1234),
            number(2, 2, "SSVID", 0x5678),
            text(4, 20, "SN", "PDMA0123456789ABCDEF", b' '),
            text(24, 40, "MN", "peerdma simulated NVMe controller", b' '),
            text(64, 8, "FR", "1.0", b' '),
            number(72, 1, "RAB", 3),
            number(73, 3, "IEEE", 0x02_50_44),
            number(76, 1, "CMIC", 0),
            number(77, 1, "MDTS", 9),
            number(78, 2, "CNTLID", 0),
            number(80, 4, "VER", 0x0001_0400),
            number(111, 1, "CNTRLTYPE", 1),
            number(256, 2, "OACS", 0),
            number(258, 1, "ACL", 3),
            number(259, 1, "AERL", 3),
            number(260, 1, "FRMW", 1 | 1 << 1),
            number(261, 1, "LPA", 1 << 2),
            number(262, 1, "ELPE", 63),
            number(263, 1, "NPSS", 0),
            number(266, 2, "WCTEMP", 343),
            number(268, 2, "CCTEMP", 353),
            number(320, 2, "KAS", 0),
            number(512, 1, "SQES", 0x66),
            number(513, 1, "CQES", 0x44),
            number(516, 4, "NN", 2),
            number(520, 2, "ONCS", 1 | 1 << 2 | 1 << 3 | 1 << 4),
            number(522, 2, "FUSES", 0),
            number(525, 1, "VWC", 1 | 3 << 1),
            number(526, 2, "AWUN", 0),
            number(528, 2, "AWUPF", 0),
            number(536, 4, "SGLS", 1 | 1 << 16),
            text(
                768,
                256,
                "SUBNQN",
                "nqn.2014-08.org.nvmexpress:peerdma:PDMA0123456789ABCDEF",
                0,
            ),
            number(2048, 2, "PSD0.MP", 500),
        ],
    );
}

#[test]
fn identify_namespace_has_its_fields_in_place() {
    for (number_, blocks, block_log2) in [(1_u8, 8192, 9), (2, 1024, 12)] {
        let unique = vec![
            0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x02, 0x50, 0x44, 0, 0, 0, 0, number_,
        ];
        compare(
            &page(&kind(), 0, u32::from(number_)),
            &[
                number(0, 8, "NSZE", blocks),
                number(8, 8, "NCAP", blocks),
                number(16, 8, "NUSE", blocks),
                number(24, 1, "NSFEAT", 0),
                number(25, 1, "NLBAF", 0),
                number(26, 1, "FLBAS", 0),
                number(33, 1, "DLFEAT", 1 | 1 << 3),
                (104, 16, "NGUID", unique.clone()),
                number(120, 8, "EUI64", 0),
                number(128, 4, "LBAF0", block_log2 << 16),
            ],
        );
        compare(
            &page(&kind(), 3, u32::from(number_)),
            &[
                number(0, 1, "NIDT", 2),
                number(1, 1, "NIDL", 16),
                (4, 16, "NID", unique),
            ],
        );
    }
}
