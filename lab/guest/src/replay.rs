//! `replay IMAGE...`: machines that exist as configuration space only, each started by the kernel and judged by it.
//!
//! Sent for each image: `NAME.kernel`. Needs the modules `peerdma_judge` and `peerdma_replay`.

use crate::outbox;
use crate::say;
use std::fs;
use std::path::Path;

const MACHINE: &str = "/sys/kernel/debug/peerdma_replay/machine";
const MATRIX: &str = "/sys/kernel/debug/peerdma_judge/matrix";
const FIRST_DOMAIN: &str = "/sys/kernel/debug/peerdma_judge/first_domain";

pub(crate) fn run(images: &[&str]) -> Result<(), String> {
    // The guest's own machine is in the domains below.
    write(FIRST_DOMAIN, b"0x1000")?;
    for image in images {
        let name = Path::new(image)
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let content = read(image)?;
        write(MACHINE, &content)?;
        let found = String::from_utf8_lossy(&read(MACHINE)?).trim().to_owned();
        let mut numbers = found.split(' ').filter_map(|word| word.parse::<u32>().ok());
        if numbers.next() != numbers.next() {
            say::failed(
                &name,
                &format!("the kernel did not find the whole machine: {found}"),
            );
        }
        outbox::send(&format!("{name}.kernel"), &read(MATRIX)?)?;
    }
    say::held("guest", &format!("{} machines started and judged", images.len()));
    Ok(())
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{path}: {error}"))
}

fn write(path: &str, content: &[u8]) -> Result<(), String> {
    fs::write(path, content).map_err(|error| format!("{path}: {error}"))
}
