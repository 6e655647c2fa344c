//! A listing as a whole: its functions, and what it proves by what it shows elsewhere.

use super::LspciError;
use super::header::Header;
use super::hex::{Dump, State};
use super::proof::Proof;
use super::text::Details;
use crate::keep::KeepConfig;
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::pci::{ClassCode, Config, ConfigView, Extent};
use peerdma::snapshot::{Function, Host, Snapshot, Warnings};

/// The most functions that are read: four full PCI segments. Bounds the memory that a hostile listing
/// can take.
const MOST_FUNCTIONS: usize = 1 << 18;

/// What a listing holds, function after function.
pub(super) struct Listing {
    keep: KeepConfig,
    dump: Dump,
    current: Option<Open>,
    functions: Vec<Read>,
    proof: Proof,
    bytes: Bytes,
}

/// The function whose lines are being read.
struct Open {
    line: u64,
    header: Header,
    details: Option<Box<Details>>,
}

/// A function whose lines were read; what depends on other functions is still open.
struct Read {
    line: u64,
    function: Function,
    details: Option<Box<Details>>,
    /// The 256 bytes of a host bridge: whether there are more depends on other functions.
    undecided: Option<Box<[u8]>>,
}

/// What the bytes of all functions together show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bytes {
    /// There are none.
    None,
    /// All of them conventional functions: there is no extended space to be read.
    Conventional,
    /// No more than 256 of any function, some of them PCIe: the extended space was not read.
    Shallow,
    /// More than 256 of some function, so that the extended space was read where there is one.
    Deep,
}

impl Listing {
    pub(super) fn new(keep: KeepConfig) -> Self {
        Self {
            keep,
            dump: Dump::new(),
            current: None,
            functions: Vec::new(),
            proof: Proof::default(),
            bytes: Bytes::None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.functions.is_empty() && self.current.is_none()
    }

    /// Takes the first line of a function.
    pub(super) fn begin(
        &mut self,
        line: u64,
        header: Header,
        warnings: &mut Warnings,
    ) -> Result<(), LspciError> {
        self.close(warnings);
        if self.functions.len() >= MOST_FUNCTIONS {
            return Err(LspciError::TooManyFunctions {
                line,
                most: MOST_FUNCTIONS,
            });
        }
        self.current = Some(Open {
            line,
            header,
            details: None,
        });
        Ok(())
    }

    /// Takes the lines of bytes at the start of `text` that are exactly what should follow; returns how many
    /// bytes of text and how many lines they are.
    pub(super) fn add_run(&mut self, text: &[u8]) -> (usize, u64) {
        match self.current {
            Some(_) => self.dump.add_run(text),
            None => (0, 0),
        }
    }

    /// Takes a line of bytes.
    pub(super) fn add_bytes(&mut self, line: u64, text: &[u8], warnings: &mut Warnings) {
        let Some(current) = &self.current else {
            warnings.push(
                format_args!("line {line}"),
                "bytes before the first function; left out",
            );
            return;
        };
        if let Err(fault) = self.dump.add(text) {
            let bdf = current.header.bdf;
            warnings.push(
                format_args!("line {line}"),
                format_args!(
                    "{fault}; {bdf} keeps the {} bytes before this line",
                    self.dump.bytes().len()
                ),
            );
        }
    }

    /// Takes an indented line.
    pub(super) fn add_detail(&mut self, line: u64, text: &[u8], warnings: &mut Warnings) {
        let Some(current) = &mut self.current else {
            warnings.push(
                format_args!("line {line}"),
                "a detail before the first function; left out",
            );
            return;
        };
        let text = String::from_utf8_lossy(text);
        let details = current.details.get_or_insert_default();
        if details.add(text.trim()).is_none() {
            let bdf = current.header.bdf;
            warnings.push(
                format_args!("line {line}"),
                format_args!(
                    "{:?} makes no sense; what it would say of {bdf} is unknown",
                    text.trim()
                ),
            );
        }
    }

    /// Ends the function whose lines were read.
    fn close(&mut self, warnings: &mut Warnings) {
        let Some(Open {
            line,
            header,
            details,
        }) = self.current.take()
        else {
            return;
        };
        let mut function = Function::new(header.bdf);
        let mut undecided = None;
        let bytes = self.dump.bytes();
        if !bytes.is_empty() {
            let extent = match bytes.len() {
                ConfigView::MAX_BYTES => Extent::Whole,
                _ => Extent::MayGoOn,
            };
            function.config = parse(bytes, extent, header.bdf, warnings);
            let is_conventional = function.config.express == Fact::Known(None);
            if is_conventional
                && bytes.len() == ConfigView::CONVENTIONAL_BYTES
                && self.dump.state() == State::Sound
                && function.config.class.map(ClassCode::class) == Fact::Known(ClassCode::HOST_BRIDGE)
            {
                undecided = Some(bytes.into());
            }
            self.bytes = self.bytes.max(
                match (bytes.len() > ConfigView::CONVENTIONAL_BYTES, is_conventional) {
                    (true, _) => Bytes::Deep,
                    (false, true) => Bytes::Conventional,
                    (false, false) => Bytes::Shallow,
                },
            );
            if self.keep == KeepConfig::Keep {
                function.raw_config = Some(bytes.to_vec());
            }
        }
        // A virtual function has no numbers of its own in its bytes; the first line has them.
        function.config.id = function.config.id.or(header.id);
        function.config.class = function.config.class.or(header.class);
        function.config.revision = function.config.revision.or(header.revision);
        if let Some(details) = &details {
            self.proof.note(details);
        }
        self.functions.push(Read {
            line,
            function,
            details,
            undecided,
        });
        self.dump.clear();
    }

    /// Ends the listing: settles what depends on the whole of it.
    pub(super) fn finish(mut self, warnings: &mut Warnings) -> Result<Snapshot, LspciError> {
        self.close(warnings);
        let everything_was_read = matches!(self.bytes, Bytes::Deep | Bytes::Conventional);
        for read in &mut self.functions {
            let function = &mut read.function;
            if let Some(bytes) = read.undecided.take().filter(|_| everything_was_read) {
                // Its defects were told when it was parsed first.
                let (id, view) = (function.config.id, ConfigView::new(&bytes, Extent::Whole));
                function.config = Config::parse(view, &mut Vec::new());
                function.config.id = function.config.id.or(id);
            }
            match read.details.take() {
                Some(details) => self.proof.settle(function, &details),
                None => self.proof.settle_silent(function),
            }
        }
        self.require_bus_numbers()?;
        let functions = self.functions.into_iter().map(|read| read.function).collect();
        Ok(Snapshot::new(Host::default(), functions, warnings))
    }

    /// A text with bridges and without bus numbers tells no tree: better to say so at once.
    fn require_bus_numbers(&self) -> Result<(), LspciError> {
        let shows_buses = |read: &Read| matches!(read.function.config.bridge, Fact::Known(Some(_)));
        let is_bridge =
            |read: &&Read| read.function.config.class.map(ClassCode::is_bridge_to_buses) == Fact::Known(true);
        match self.functions.iter().find(is_bridge) {
            Some(bridge) if self.bytes == Bytes::None && !self.functions.iter().any(shows_buses) => {
                Err(LspciError::NoBusNumbers { line: bridge.line })
            }
            _ => Ok(()),
        }
    }
}

/// What the bytes mean; what is impossible in them becomes warnings.
fn parse(bytes: &[u8], extent: Extent, bdf: Bdf, warnings: &mut Warnings) -> Config {
    let mut defects = Vec::new();
    let config = Config::parse(ConfigView::new(bytes, extent), &mut defects);
    for defect in defects {
        warnings.push(bdf, defect);
    }
    config
}
