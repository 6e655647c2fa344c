//! What was there before a function was taken, written down so that another run can put it back.

use super::Obstacle;
use peerdma::addr::Bdf;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where records are kept: gone with the next boot, as bindings are.
pub const DEFAULT_STATE: &str = "/run/peerdma/bind";

/// Version of the form.
const VERSION: u32 = 1;
/// A record is a few lines.
const MOST_BYTES: u64 = 4096;

/// How a function stood before it was bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    peerdma_binding: u32,
    /// The function.
    pub bdf: Bdf,
    /// Its driver; nothing where it had none.
    pub driver: Option<String>,
    /// Its `driver_override`; nothing where none was set.
    pub driver_override: Option<String>,
    /// The boot in which this was so, where the kernel tells.
    pub boot: Option<String>,
}

impl Record {
    pub(super) fn new(
        bdf: Bdf,
        driver: Option<String>,
        driver_override: Option<String>,
        boot: Option<String>,
    ) -> Self {
        Self {
            peerdma_binding: VERSION,
            bdf,
            driver,
            driver_override,
            boot,
        }
    }

    /// The file of a function's record.
    pub fn path(state: &Path, bdf: Bdf) -> PathBuf {
        state.join(bdf.to_string())
    }

    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads a function's record; nothing where there is none.
    pub(super) fn read(path: &Path, bdf: Bdf, boot: Option<&str>) -> Result<Option<Self>, Obstacle> {
        let bad = |why: String| Obstacle::BadRecord {
            file: path.display().to_string(),
            why,
        };
        let mut text = Vec::new();
        match File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(bad(error.to_string())),
        }
        let record: Self = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        if record.peerdma_binding != VERSION {
            return Err(bad(format!(
                "its version is {}, this peerdma reads {VERSION}",
                record.peerdma_binding
            )));
        }
        if record.bdf != bdf {
            return Err(bad(format!("it is about {}", record.bdf)));
        }
        // The names become parts of paths and are written to the kernel.
        let names = [&record.driver, &record.driver_override];
        if let Some(name) = names.into_iter().flatten().find(|name| !is_driver(name)) {
            return Err(bad(format!("{name:?} is no name of a driver")));
        }
        match (&record.boot, boot) {
            (Some(then), Some(now)) if then != now => Err(bad(
                "it was written before the last boot, which undid the binding".into(),
            )),
            _ => Ok(Some(record)),
        }
    }
}

fn is_driver(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_graphic() && c != '/' || c == ' ';
    !name.is_empty() && name.len() < 256 && !name.starts_with('.') && name.chars().all(is_plain)
}
