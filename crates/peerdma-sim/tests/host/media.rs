//! What is on namespaces, laid out and looked at behind drivers' backs.

use crate::{bdf, machine, shipped};
use peerdma::device::Host;
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
fn a_file_shows_on_a_namespace_and_is_never_written() {
    let computer = shipped("two-ssds");
    let nvme = bdf(&computer, "nvme0");
    let path = std::env::temp_dir().join(format!("peerdma-host-{}", std::process::id()));
    std::fs::write(&path, vec![0x77; 300_000]).unwrap();
    computer.write_namespace(nvme, 1, 8000, &[1; 1000]).unwrap();
    computer
        .show_file(nvme, 1, std::fs::File::open(&path).unwrap())
        .unwrap();
    let mut driver = crate::open(&computer, "nvme0");
    driver.add_io_queues().unwrap();
    let (phys, dma) = driver.page(1).unwrap();
    driver.read_blocks(584, 8, dma).unwrap();
    let mut found = [1; 4096];
    computer.read_ram(phys, &mut found).unwrap();
    assert!(found[..992] == [0x77; 992] && found[992..] == [0; 4096 - 992]);
    // A write, read back.
    computer.write_ram(phys, &[2; 512]).unwrap();
    driver.command(1, 1, 1, dma, [0, 0, 0]).unwrap();
    driver.command(1, 0, 1, 0, [0, 0, 0]).unwrap();
    computer.read_namespace(nvme, 1, 0, &mut found[..1024]).unwrap();
    assert!(found[..512] == [2; 512] && found[512..1024] == [0x77; 512]);
    // Zeros across several pieces of the file, which nobody has read before.
    driver.command(1, 8, 1, 0, [64, 0, 399]).unwrap();
    driver.command(1, 0, 1, 0, [0, 0, 0]).unwrap();
    let expected: Vec<u8> = (0..240_000)
        .map(|at| {
            if (64 * 512..464 * 512).contains(&at) {
                0
            } else {
                0x77
            }
        })
        .collect();
    let mut all = vec![1; 240_000];
    computer.read_namespace(nvme, 1, 0, &mut all).unwrap();
    assert!(all[512..] == expected[512..]);
    assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == 0x77));
    std::fs::remove_file(&path).unwrap();
    let folder = std::fs::File::open(std::env::temp_dir()).unwrap();
    assert!(computer.show_file(nvme, 1, folder).is_err());
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
