//! A trace: every TLP as one line of JSON.

use crate::device::Purpose;
use crate::fabric::{Decision, Direction, End, Fabric, Leg, Note, Route, Where};
use crate::tlp::{AddressType, Failure, Ordering, Request};
use std::fmt::{self, Write as _};
use std::io;

/// Who is told of every TLP.
pub trait Sink: fmt::Debug {
    /// One TLP, as one object of JSON without an end of line.
    fn line(&mut self, json: &str);
}

/// Writes lines to a writer. An error ends the trace; [`Self::into_inner`] tells it.
pub struct Lines<W> {
    writer: W,
    error: Option<io::Error>,
}

impl<W: io::Write> Lines<W> {
    /// Lines to this writer.
    pub fn new(writer: W) -> Self {
        Self { writer, error: None }
    }

    /// The writer.
    ///
    /// # Errors
    /// The first that occurred on writing.
    pub fn into_inner(mut self) -> io::Result<W> {
        self.writer.flush()?;
        self.error.map_or(Ok(self.writer), Err)
    }
}

impl<W> fmt::Debug for Lines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<W: io::Write> Sink for Lines<W> {
    fn line(&mut self, json: &str) {
        if self.error.is_none() {
            let written = self
                .writer
                .write_all(json.as_bytes())
                .and_then(|()| self.writer.write_all(b"\n"));
            self.error = written.err();
        }
    }
}

/// What kind of TLP a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    Completion(Status),
    /// A translation request (ATS).
    Translation,
    TranslationCompletion(Status),
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Completion(_) => "completion",
            Self::Translation => "translation",
            Self::TranslationCompletion(_) => "translation-completion",
        }
    }
}

/// The status of a completion (PCIe Base 2.2.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Successful,
    UnsupportedRequest,
    CompleterAbort,
}

impl Status {
    /// What tells the requester of a failure.
    pub(super) const fn of(failure: Failure) -> Self {
        match failure {
            Failure::CompleterAbort => Self::CompleterAbort,
            _ => Self::UnsupportedRequest,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Successful => "SC",
            Self::UnsupportedRequest => "UR",
            Self::CompleterAbort => "CA",
        }
    }
}

/// What a line tells beside the route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) kind: Kind,
    pub(super) sent_ps: u64,
    pub(super) arrived_ps: u64,
    pub(super) request: &'a Request,
    pub(super) data_bytes: u64,
    pub(super) tag: u32,
    pub(super) purpose: Purpose,
}

/// A sink, and the line that is being written.
#[derive(Debug)]
pub(super) struct Trace {
    sink: Box<dyn Sink>,
    line: String,
}

impl Trace {
    pub(super) fn new(sink: Box<dyn Sink>) -> Self {
        Self {
            sink,
            line: String::new(),
        }
    }

    pub(super) fn tlp(&mut self, entry: Entry<'_>, route: &Route, fabric: &Fabric) {
        self.line.clear();
        // Writing to a string does not fail.
        let _ = Self::write(&mut self.line, entry, route, fabric);
        self.sink.line(&self.line);
    }

    fn write(line: &mut String, entry: Entry<'_>, route: &Route, fabric: &Fabric) -> fmt::Result {
        let request = entry.request;
        let address_type = match request.address_type {
            AddressType::Untranslated => "untranslated",
            AddressType::Translated => "translated",
        };
        let purpose = match entry.purpose {
            Purpose::Payload => "payload",
            Purpose::Queue => "queue",
        };
        write!(
            line,
            r#"{{"sent_ps":{},"arrived_ps":{},"kind":"{}","requester":"{}","address":"{:#x}","len_bytes":{},"#,
            entry.sent_ps,
            entry.arrived_ps,
            entry.kind.word(),
            request.requester,
            request.address,
            entry.data_bytes,
        )?;
        if let Kind::Completion(status) | Kind::TranslationCompletion(status) = entry.kind {
            write!(line, r#""status":"{}","#, status.word())?;
        }
        write!(
            line,
            r#""address_type":"{address_type}","relaxed":{},"tag":{},"purpose":"{purpose}","way":["#,
            request.ordering == Ordering::Relaxed,
            entry.tag,
        )?;
        for (index, leg) in route.legs.iter().enumerate() {
            line.push_str(if index == 0 { "\"" } else { ",\"" });
            Self::leg(line, *leg, fabric)?;
            line.push('"');
        }
        line.push_str("],\"decisions\":[");
        // It is routed like an interrupt, but the IOMMU takes it before anybody could take it for one.
        let is_told = |note: &&Note| entry.kind != Kind::Translation || note.decision != Decision::Interrupt;
        for (index, note) in route.notes.iter().filter(is_told).enumerate() {
            line.push_str(if index == 0 { "{\"at\":\"" } else { ",{\"at\":\"" });
            Self::place(line, note.at, fabric)?;
            line.push_str("\",\"what\":\"");
            let start = line.len();
            write!(line, "{}", note.decision)?;
            // Quotation marks, if ever a decision is told with some.
            if line[start..].contains(['"', '\\']) {
                let told = line[start..].replace('\\', "\\\\").replace('"', "\\\"");
                line.replace_range(start.., &told);
            }
            line.push_str("\"}");
        }
        line.push_str("],\"end\":\"");
        match route.end {
            End::Function {
                function,
                bar,
                offset,
            } => {
                write!(line, "{} BAR {bar} + {offset:#x}", fabric.function(function).bdf)?;
            }
            End::Ram { phys } => write!(line, "RAM {phys:#x}")?,
            End::Interrupt if entry.kind == Kind::Translation => line.push_str("IOMMU"),
            End::Interrupt => line.push_str("interrupt"),
            End::Requester => line.push_str("requester"),
            End::Lost(loss) => {
                line.push_str("lost\",\"lost_at\":\"");
                Self::place(line, loss.at, fabric)?;
                write!(line, "\",\"why\":\"{:?}", loss.why)?;
            }
        }
        line.push_str("\"}");
        Ok(())
    }

    fn leg(line: &mut String, leg: Leg, fabric: &Fabric) -> fmt::Result {
        match leg {
            Leg::Link { link, direction } => {
                let port = fabric.function(fabric.link(link).port).bdf;
                match direction {
                    Direction::Up => write!(line, "up to {port}"),
                    Direction::Down => write!(line, "down from {port}"),
                }
            }
            Leg::Switch { upstream_port } => write!(line, "switch {}", fabric.function(upstream_port).bdf),
            Leg::RootComplex => line.write_str("root complex"),
            Leg::ConventionalBus { bridge } => write!(line, "bus below {}", fabric.function(bridge).bdf),
        }
    }

    fn place(line: &mut String, place: Where, fabric: &Fabric) -> fmt::Result {
        match place {
            Where::Function(function) => write!(line, "{}", fabric.function(function).bdf),
            Where::HostBridge { domain, bus } => write!(line, "host bridge {domain:04x}:{bus:02x}"),
            Where::Iommu => line.write_str("IOMMU"),
            Where::Nowhere => line.write_str("nowhere"),
        }
    }
}
