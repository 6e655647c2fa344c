//! The files `current_link_speed`, `current_link_width`, `max_link_speed` and `max_link_width`, which
//! everybody may read (drivers/pci/pci-sysfs.c, since Linux 4.13; only PCI Express functions have them).

use super::number;
use crate::tree::{Gap, Tree};
use peerdma::fact::{Fact, Unread};
use peerdma::pci::{Link, LinkRate, LinkState};

/// The link that the four files tell; `None` where the function has none (integrated into the root
/// complex).
pub(super) fn read<T: Tree>(tree: &T, folder: &T::Folder) -> Fact<Option<Link>> {
    match states(tree, folder) {
        Ok(fact) => fact,
        Err(gap) => Fact::Unknown(gap.unread()),
    }
}

/// What `pcie_get_width_cap` returns where Link Capabilities read as 0: there is no link.
const NO_WIDTH: u64 = 0xff;
/// A width field with all bits set: the function did not answer.
const NO_ANSWER: u64 = 0x3f;

fn states<T: Tree>(tree: &T, folder: &T::Folder) -> Result<Fact<Option<Link>>, Gap> {
    let width = |name: &[u8]| -> Result<_, Gap> {
        let mut text = [0; 64];
        let length = tree.read(folder, name, &mut text)?;
        Ok(text.get(..length).and_then(number::decimal))
    };
    let rate = |name: &[u8]| -> Result<_, Gap> {
        let mut text = [0; 64];
        let length = tree.read(folder, name, &mut text)?;
        let text = number::trimmed(text.get(..length).unwrap_or_default());
        Ok(std::str::from_utf8(text).ok().and_then(LinkRate::from_text))
    };
    let most_width = width(b"max_link_width")?;
    if matches!(most_width, Some(0 | NO_WIDTH)) {
        return Ok(Fact::Known(None));
    }
    let now_width = width(b"current_link_width")?;
    let (Some(most_width), Some(now_width)) = (state_width(most_width), state_width(now_width)) else {
        return Ok(Fact::Unknown(Unread::Contradictory));
    };
    let state = |rate: Option<LinkRate>, width| LinkState {
        // "Unknown" is what the kernel prints for a code that it does not know.
        rate: rate.unwrap_or(LinkRate(0)),
        width,
    };
    Ok(Fact::Known(Some(Link {
        max: state(rate(b"max_link_speed")?, most_width),
        now: state(rate(b"current_link_speed")?, now_width),
    })))
}

/// A width that a register can hold.
fn state_width(width: Option<u64>) -> Option<u8> {
    width.filter(|width| *width < NO_ANSWER).map(|width| width as u8)
}
