//! Configuration spaces that are odd where Linux's decision looks: the list of extended capabilities, and what
//! decides whether there is one.

use crate::machine::config::{Config, Port};
use crate::machine::random::Random;

/// A whole configuration space.
pub(super) type Space = Box<[u8; 4096]>;

const POWER_MANAGEMENT: usize = 0x40;
const EXPRESS: usize = 0x70;
const PCI_X: usize = 0x50;
const EXTENDED: u16 = 0x100;
const ACS: u16 = 0x0d;
/// Capabilities that enumeration reads and that never make it wait: error reporting, serial number, power budget,
/// latency, second PCI Express, containment, L1 substates. Not those of vendors (`0b`, `23`): Linux 7.2 looks for them in
/// a way that never ends where a list goes round in a circle.
const OTHERS: [u16; 7] = [0x01, 0x03, 0x04, 0x18, 0x19, 0x1d, 0x1e];

/// What a function's conventional capabilities say of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Nature {
    /// The kind in its PCI Express capability; nothing where it lacks that.
    express: Option<u8>,
    /// Its PCI-X capability.
    pci_x: Option<PciX>,
}

/// What a PCI-X capability says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PciX {
    /// The first generation, without an extended space.
    First,
    /// 266 MHz: the second generation, with one.
    Second,
    /// 533 MHz, of the second generation too.
    Fastest,
}

impl PciX {
    /// The highest byte of the status register.
    const fn status(self) -> u8 {
        match self {
            Self::First => 0x00,
            Self::Second => 0x40,
            Self::Fastest => 0x80,
        }
    }
}

impl Nature {
    pub(super) const ENDPOINT: Self = Self::express(0);
    pub(super) const ROOT_PORT: Self = Self::express(4);
    pub(super) const UPSTREAM: Self = Self::express(5);
    pub(super) const DOWNSTREAM: Self = Self::express(6);
    pub(super) const TO_CONVENTIONAL: Self = Self::express(Self::FORWARD);
    pub(super) const FROM_CONVENTIONAL: Self = Self::express(Self::REVERSE);
    pub(super) const INTEGRATED: Self = Self::express(9);
    pub(super) const CONVENTIONAL: Self = Self {
        express: None,
        pci_x: None,
    };
    /// PCI Express to PCI or PCI-X bridge.
    const FORWARD: u8 = 7;
    /// PCI or PCI-X to PCI Express bridge.
    const REVERSE: u8 = 8;

    const fn express(kind: u8) -> Self {
        Self {
            express: Some(kind),
            pci_x: None,
        }
    }

    pub(super) const fn with(self, pci_x: PciX) -> Self {
        Self {
            pci_x: Some(pci_x),
            ..self
        }
    }

    /// As a bridge it leads to a link.
    pub(super) fn leads_to_a_link(self) -> bool {
        self.express == Some(Self::REVERSE)
    }
}

/// A function that is no bridge.
pub(super) fn function(id: (u16, u16), class: u32, nature: Nature, random: &mut Random) -> Space {
    finish(Config::endpoint(id.0, id.1, class), nature, random)
}

/// A bridge, its buses not set yet.
pub(super) fn bridge(id: (u16, u16), nature: Nature, random: &mut Random) -> Space {
    finish(Config::port(id.0, id.1, Port::Root), nature, random)
}

fn finish(config: Config, nature: Nature, random: &mut Random) -> Space {
    let mut space = config.finish();
    set_nature(&mut space, nature);
    extend(&mut space, random);
    space
}

fn set_nature(space: &mut Space, nature: Nature) {
    // Power management, then PCI-X, then PCI Express, as far as they are there.
    let mut link = POWER_MANAGEMENT + 1;
    space[link] = 0;
    if let Some(pci_x) = nature.pci_x {
        space[link] = PCI_X as u8;
        space[PCI_X] = 0x07;
        space[PCI_X + 7] = pci_x.status();
        link = PCI_X + 1;
    }
    if let Some(kind) = nature.express {
        space[link] = EXPRESS as u8;
        space[EXPRESS + 2] = kind << 4 | 2;
    }
}

/// Writes a list of extended capabilities: in any order of places, with ACS once, twice or not at all, now and then
/// with an end that is none.
fn extend(space: &mut Space, random: &mut Random) {
    space[usize::from(EXTENDED)..].fill(0);
    let mut places = vec![EXTENDED];
    for _ in 0..random.between(0, 5) {
        let place =
            EXTENDED + 0x40 * u16::from(random.between(1, 0x3b)) + 4 * u16::from(random.between(0, 3));
        if places.iter().all(|&other| other.abs_diff(place) >= 0x20) {
            places.push(place);
        }
    }
    let count = places.len();
    let acs_at = random
        .chance(60)
        .then(|| usize::from(random.between(0, 31)) % count);
    let again_at = random
        .chance(8)
        .then(|| usize::from(random.between(0, 31)) % count);
    for (index, &place) in places.iter().enumerate() {
        let is_acs = acs_at == Some(index) || again_at == Some(index);
        let id = if is_acs { ACS } else { random.one_of(&OTHERS) };
        let next = match places.get(index + 1) {
            Some(&next) => next,
            None => end(&places, acs_at.or(again_at), random),
        };
        put(space, place, id);
        put(space, place + 2, next << 4 | 1);
        if is_acs {
            acs(space, place, random);
        }
    }
    // Nothing is reached where the first header is zero.
    if random.chance(2) {
        put(space, EXTENDED, 0);
        put(space, EXTENDED + 2, 0);
    }
}

/// What the last capability leads to: mostly nothing, else a place that ends the search in another way. A circle only
/// where ACS is found on the way: of one without, Linux says that there is no ACS, and peerdma that it cannot be known.
fn end(places: &[u16], acs_at: Option<usize>, random: &mut Random) -> u16 {
    match random.between(0, 19) {
        0 if acs_at.is_some() => random.one_of(places),
        1 => u16::from(random.between(1, 0x3f)) << 2,
        2 => 0xffc,
        _ => 0,
    }
}

fn acs(space: &mut Space, at: u16, random: &mut Random) {
    let capable =
        random.one_of(&[0x1f, 0x5f, 0x5d, 0x0c, 0x7f, 0x00]) | u16::from(random.between(0, 16)) << 8;
    let control = match random.between(0, 6) {
        0..=3 => 0,
        4 => 0x1d,
        5 => random.one_of(&[0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40]),
        // Reserved bits too: Linux tests three bits whatever the others are.
        _ => u16::from(random.between(0, 0xff)) << 8 | u16::from(random.between(0, 0xff)),
    };
    put(space, at + 4, capable);
    put(space, at + 6, control);
}

fn put(space: &mut Space, at: u16, value: u16) {
    let at = usize::from(at);
    space[at..at + 2].copy_from_slice(&value.to_le_bytes());
}
