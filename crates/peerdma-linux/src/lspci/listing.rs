//! A listing as a whole: its functions, and what it proves by what it shows elsewhere.

use super::header::Header;
use super::hex::{Dump, State};
use super::{KeepConfig, LspciError};
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
    functions: Vec<Function>,
    /// Host bridges of which 256 bytes are at hand: whether there is more depends on other functions.
    undecided: Vec<(usize, Box<[u8]>)>,
    deep: bool,
}

/// The function whose lines are being read.
struct Open {
    line: u64,
    header: Header,
}

impl Listing {
    pub(super) fn new(keep: KeepConfig) -> Self {
        Self {
            keep,
            dump: Dump::new(),
            current: None,
            functions: Vec::new(),
            undecided: Vec::new(),
            deep: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.functions.is_empty() && self.current.is_none()
    }

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
        self.current = Some(Open { line, header });
        Ok(())
    }

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

    pub(super) fn add_detail(&mut self, _line: u64, _text: &[u8], _warnings: &mut Warnings) {}

    /// Ends the function whose lines were read.
    fn close(&mut self, warnings: &mut Warnings) {
        let Some(Open { line: _, header }) = self.current.take() else {
            return;
        };
        let mut function = Function::new(header.bdf);
        let bytes = self.dump.bytes();
        if !bytes.is_empty() {
            let extent = match (bytes.len(), self.dump.state()) {
                (ConfigView::MAX_BYTES, _) => Extent::Whole,
                _ => Extent::MayGoOn,
            };
            function.config = parse(bytes, extent, header.bdf, warnings);
            self.deep |= bytes.len() > 256;
            let is_host_bridge =
                function.config.class.map(ClassCode::class) == Fact::Known(ClassCode::HOST_BRIDGE);
            if bytes.len() == 256 && self.dump.state() == State::Sound && is_host_bridge {
                self.undecided.push((self.functions.len(), bytes.into()));
            }
            if self.keep == KeepConfig::Keep {
                function.raw_config = Some(bytes.to_vec());
            }
        }
        function.config.id = function.config.id.or(header.id);
        function.config.class = function.config.class.or(header.class);
        function.config.revision = function.config.revision.or(header.revision);
        self.functions.push(function);
        self.dump.clear();
    }

    pub(super) fn finish(mut self, warnings: &mut Warnings) -> Result<Snapshot, LspciError> {
        self.close(warnings);
        Ok(Snapshot::new(Host::default(), self.functions, warnings))
    }
}

/// What the bytes mean; what is impossible in them becomes warnings.
fn parse(bytes: &[u8], extent: Extent, bdf: Bdf, warnings: &mut Warnings) -> Config {
    let mut defects = Vec::new();
    let config = Config::parse(ConfigView::new(bytes, extent), &mut defects);
    for defect in defects {
        warnings.push(bdf, format_args!("{defect:?}"));
    }
    config
}
