//! What is on namespaces, laid out and looked at behind drivers' backs.

use crate::{bdf, machine, shipped};
use peerdma_sim::host::{Area, Pattern};

#[test]
fn the_end_of_a_namespace_that_is_no_page_compares_as_all_else() {
    let computer = machine(
        r#"
        [[bridge]]
        port = { device = { kind = "nvme", name = "nvme0", namespace = [{ size = 66560 }] } }
        "#,
    );
    let nvme = bdf(&computer, "nvme0");
    let before = computer.state();
    let data = [0x11; 1536];
    computer.write_namespace(nvme, 1, 66560 - 1536, &data).unwrap();
    let area = Area::Namespace { bdf: nvme, number: 1 };
    assert_eq!(before.with_bytes(area, 66560 - 1536, &data), computer.state());
}

#[test]
fn a_pattern_tells_its_offset_and_its_seed() {
    let computer = shipped("two-ssds");
    let nvme = bdf(&computer, "nvme0");
    computer
        .fill_namespace(nvme, 1, 100..200_000, Pattern::Seeded(3))
        .unwrap();
    let differs = |span, seed, base| {
        computer
            .differs_from(nvme, 1, span, Pattern::Seeded(seed), base)
            .unwrap()
    };
    assert_eq!(differs(100..200_000, 3, 100), None);
    assert_eq!(differs(130_003..140_000, 3, 130_003), None);
    assert!(differs(100..200_000, 4, 100).is_some_and(|(at, ..)| at < 108));
    assert!(differs(100..200_000, 3, 108).is_some_and(|(at, ..)| at < 108));
    computer.write_namespace(nvme, 1, 150_000, &[0, 0, 0]).unwrap();
    let (at, expected, found) = differs(100..200_000, 3, 100).unwrap();
    assert!((150_000..150_003).contains(&at) && expected != 0 && found == 0);
}
