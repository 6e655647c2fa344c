//! Links in words.

use crate::style::Tone;
use peerdma::pci::LinkState;
use peerdma::route::{LinkEnds, LinkHealth};

/// Rate and width in few characters: `16 x4`, GT/s being understood.
pub(crate) fn brief(state: LinkState) -> String {
    match state.rate.tenths_of_gigatransfers() {
        0 => format!("? x{}", state.width),
        25 => format!("2.5 x{}", state.width),
        tenths => format!("{} x{}", tenths / 10, state.width),
    }
}

/// What the health of a link means to its owner.
pub(crate) fn explained(link: &LinkEnds) -> String {
    let best = link
        .best
        .known()
        .map_or_else(|| "more".to_owned(), |best| best.to_string());
    match link.health {
        LinkHealth::Full => "all that both ends can do".into(),
        LinkHealth::LimitedByOneEnd => {
            "all that these two can do together; one end alone could do more".into()
        }
        LinkHealth::Downtrained => format!(
            "full width at a lower rate than {best}: most devices do that while idle, so look again under load"
        ),
        LinkHealth::Narrowed => format!(
            "fewer lanes than {best}: a bad contact or riser, or lanes that the board gave to another slot"
        ),
        LinkHealth::Down => "no lane is up".into(),
        LinkHealth::Unknown => "one end does not tell what it could do".into(),
    }
}

/// How a link's state is to be painted.
pub(crate) fn tone(health: LinkHealth) -> Tone {
    match health {
        LinkHealth::Full | LinkHealth::LimitedByOneEnd | LinkHealth::Unknown => Tone::Strong,
        LinkHealth::Downtrained => Tone::Doubt,
        LinkHealth::Narrowed | LinkHealth::Down => Tone::Bad,
    }
}

/// Gigabytes a second in one direction, after line encoding.
pub(crate) fn gigabytes_per_second(state: LinkState) -> String {
    let megabytes = state.megabits_per_second() / 8;
    format!("{}.{} GB/s", megabytes / 1000, megabytes % 1000 / 100)
}
