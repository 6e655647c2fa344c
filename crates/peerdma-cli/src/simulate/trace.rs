//! Packets, one line of JSON each, into a file.

use crate::destination::{self, Existing, not_written};
use crate::error::Problem;
use peerdma_sim::machine::Sink;
use std::cell::RefCell;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::rc::Rc;

/// The file; the machine and the command hold it together, so that no error on the last bytes is lost.
#[derive(Debug, Clone)]
pub(super) struct File(Rc<RefCell<Open>>);

#[derive(Debug)]
struct Open {
    writer: BufWriter<fs::File>,
    error: Option<io::Error>,
}

impl File {
    /// Creates the file.
    ///
    /// # Errors
    /// A [`Problem`] where that cannot be.
    pub(super) fn create(path: &Path, existing: Existing) -> Result<Self, Problem> {
        let file = destination::create(path, existing).map_err(|error| not_written(path, &error))?;
        Ok(Self(Rc::new(RefCell::new(Open {
            writer: BufWriter::with_capacity(1 << 18, file),
            error: None,
        }))))
    }

    /// What the machine writes to.
    pub(super) fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    /// Writes what is still to be written.
    ///
    /// # Errors
    /// A [`Problem`] for the first error that occurred.
    pub(super) fn finish(self, path: &Path) -> Result<(), Problem> {
        let mut open = self.0.borrow_mut();
        let flushed = open.writer.flush();
        let ended = open.error.take().map_or(flushed, Err);
        ended.map_err(|error| not_written(path, &error))
    }
}

impl Sink for File {
    fn line(&mut self, json: &str) {
        let mut open = self.0.borrow_mut();
        if open.error.is_none() {
            let written = writeln!(open.writer, "{json}");
            open.error = written.err();
        }
    }
}
