//! A device whose memory is asked for, as the command line names it: what `probe`, `bench` and `copy` agree on.

use super::{Ground, Rig};
use crate::error::Problem;
use peerdma::addr::Bdf;
use peerdma::plan::DeviceMemory;

/// A device whose memory is asked for, as it was named, and its BAR.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lender<'w> {
    pub(crate) word: &'w str,
    pub(crate) bar: Option<u8>,
    /// The option that names the BAR.
    pub(crate) option: &'static str,
}

impl Lender<'_> {
    /// Its memory: a controller's buffer, or what the ground lends.
    ///
    /// # Errors
    /// A [`Problem`] where there is none, or none behind the BAR that was named.
    pub(crate) fn memory<G: Ground>(
        &self,
        rig: &Rig<G>,
        provider: Bdf,
    ) -> Result<Option<DeviceMemory>, Problem> {
        let found: Vec<DeviceMemory> = match rig.buffer(provider) {
            Some((memory, _)) => vec![memory],
            None => {
                let lent = rig.ground().lent().into_iter();
                lent.filter(|one| one.provider == provider).collect()
            }
        };
        let longest =
            |found: &[DeviceMemory]| found.iter().copied().max_by_key(|one| one.free.len_minus_one());
        let Some(bar) = self.bar else {
            return Ok(longest(&found));
        };
        let named: Vec<DeviceMemory> = found.iter().copied().filter(|one| one.bar == bar).collect();
        match (longest(&named), longest(&found)) {
            (Some(memory), _) => Ok(Some(memory)),
            (None, Some(other)) => Err(self.other(rig, bar, &other)),
            (None, None) => Ok(None),
        }
    }

    /// A BAR was named, and what can be used is another's.
    fn other<G: Ground>(&self, rig: &Rig<G>, bar: u8, used: &DeviceMemory) -> Problem {
        let Self { word, option, .. } = self;
        Problem::new(
            format_args!("{option} {bar} is no memory of {word} that can be used"),
            match rig.driver(used.provider) {
                Some(_) => format!(
                    "of an NVMe controller only its controller memory buffer is memory, and that is in BAR {}",
                    used.bar
                ),
                None => format!("what is lent of it is in BAR {}", used.bar),
            },
            format_args!("leave out {option}, or give {option} {}", used.bar),
        )
    }
}
