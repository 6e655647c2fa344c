//! What initiators and providers are called in output.

use peerdma::addr::Bdf;
use peerdma::topology::Topology;

/// What functions are called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'t> {
    topology: &'t Topology,
    /// An initiator that is no function.
    other: Option<(Bdf, &'t str)>,
}

impl<'t> Names<'t> {
    /// Names of the topology alone.
    pub(crate) const fn new(topology: &'t Topology) -> Self {
        Self {
            topology,
            other: None,
        }
    }

    /// The functions themselves.
    pub(crate) const fn topology(&self) -> &'t Topology {
        self.topology
    }

    /// The same, and a name for an initiator that is no function.
    pub(crate) const fn with(self, bdf: Bdf, name: &'t str) -> Self {
        Self {
            other: Some((bdf, name)),
            ..self
        }
    }

    /// A function's first name, or its address.
    pub(crate) fn call(&self, bdf: Bdf) -> String {
        if let Some((_, name)) = self.other.filter(|(other, _)| *other == bdf) {
            return name.to_owned();
        }
        let names = (self.topology.find(bdf)).map(|node| &self.topology.function(node).os.names);
        let name = names.and_then(|names| names.first());
        name.cloned().unwrap_or_else(|| bdf.to_string())
    }

    /// Name and address.
    pub(crate) fn call_at_length(&self, bdf: Bdf) -> String {
        let name = self.call(bdf);
        let is_whole = name == bdf.to_string() || self.other.is_some_and(|(other, _)| other == bdf);
        match is_whole {
            true => name,
            false => format!("{name} ({bdf})"),
        }
    }

    /// A text in which addresses of functions that have names get them.
    pub(crate) fn name_all(&self, text: &str) -> String {
        let word = |word: &str| {
            let bare = word.trim_end_matches([':', ',', ';', ')', '.']);
            match bare.parse::<Bdf>() {
                Ok(bdf) if bare.len() >= "0000:00:00.0".len() => {
                    format!("{}{}", self.call_at_length(bdf), &word[bare.len()..])
                }
                _ => word.to_owned(),
            }
        };
        text.split(' ').map(word).collect::<Vec<_>>().join(" ")
    }
}
