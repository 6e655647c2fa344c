//! What each seed of the fuzz target for configuration space means. Replaying seeds shows that no promise
//! is broken; this shows that they are understood.

use peerdma::fact::Fact;
use peerdma::pci::{Config, ConfigView, Extent};
use std::fs;
use std::path::Path;

/// What a seed means.
#[derive(Debug, PartialEq)]
struct Meaning<S = &'static str, D = &'static [&'static str]> {
    seed: S,
    /// Vendor and device.
    id: S,
    /// Kind of port; none in a conventional function.
    port: S,
    /// ACS control and capability registers, where the function has no more than these bytes.
    acs: S,
    /// The same where there may be more.
    acs_if_cut: S,
    /// What is impossible.
    defects: D,
}

const CUT_AT_64: &str = "unknown: configuration space was read only up to 64 bytes";
const OUT_OF_REACH: &str = "unknown: extended configuration space is out of reach";
const CUT_AT_256: &str = "unknown: configuration space was read only up to 256 bytes";
const CONTRADICTORY: &str = "unknown: the source contradicts itself";
const LOOP_AT_40: &str = "the chain of capabilities never ends: it comes back to 0x040";
const LOOP_AT_100: &str = "the chain of capabilities never ends: it comes back to 0x100";
const NOBODY_ONES: &str = "the header at 0x00e reads all ones: no function answers there";
const NOBODY_ZEROS: &str = "the header at 0x000 is all zeros: no function answers there";

/// One a seed, in the order of names: a new seed gets its line here.
const MEANINGS: &[Meaning] = &[
    Meaning {
        seed: "acs-twice",
        id: "8086:2030",
        port: "root port",
        acs: "0x00 of 0x5d",
        acs_if_cut: "0x00 of 0x5d",
        defects: &[],
    },
    Meaning {
        seed: "capability-loop",
        id: "8086:1592",
        port: "endpoint",
        acs: OUT_OF_REACH,
        acs_if_cut: CUT_AT_256,
        defects: &[LOOP_AT_40],
    },
    Meaning {
        seed: "capability-of-ones",
        id: "8086:2030",
        port: "none",
        acs: "none",
        acs_if_cut: "none",
        defects: &[],
    },
    Meaning {
        seed: "cardbus",
        id: "8086:1592",
        port: "none",
        acs: "none",
        acs_if_cut: "none",
        defects: &[],
    },
    Meaning {
        seed: "conventional",
        id: "8086:1592",
        port: "endpoint",
        acs: OUT_OF_REACH,
        acs_if_cut: CUT_AT_256,
        defects: &[],
    },
    Meaning {
        seed: "downstream-port",
        id: "1000:c030",
        port: "switch downstream port",
        acs: "none",
        acs_if_cut: "none",
        defects: &[],
    },
    Meaning {
        seed: "endpoint",
        id: "8086:1592",
        port: "endpoint",
        acs: "0x00 of 0x5f",
        acs_if_cut: "0x00 of 0x5f",
        defects: &[],
    },
    Meaning {
        seed: "every-capability",
        id: "8086:1592",
        port: "endpoint",
        acs: "0x1d of 0x5f",
        acs_if_cut: "0x1d of 0x5f",
        defects: &[],
    },
    Meaning {
        seed: "extended-loop",
        id: "8086:1592",
        port: "endpoint",
        acs: CONTRADICTORY,
        acs_if_cut: CONTRADICTORY,
        defects: &[LOOP_AT_100],
    },
    Meaning {
        seed: "header-only",
        id: "8086:1592",
        port: CUT_AT_64,
        acs: CUT_AT_64,
        acs_if_cut: CUT_AT_64,
        defects: &[],
    },
    Meaning {
        seed: "host-bridge",
        id: "8086:4c43",
        port: "integrated endpoint",
        acs: "none",
        acs_if_cut: "none",
        defects: &[],
    },
    Meaning {
        seed: "ones",
        id: CONTRADICTORY,
        port: CONTRADICTORY,
        acs: CONTRADICTORY,
        acs_if_cut: CONTRADICTORY,
        defects: &[NOBODY_ONES],
    },
    Meaning {
        seed: "root-port",
        id: "8086:2030",
        port: "root port",
        acs: "0x00 of 0x5d",
        acs_if_cut: "0x00 of 0x5d",
        defects: &[],
    },
    Meaning {
        seed: "upstream-port",
        id: "1000:c030",
        port: "switch upstream port",
        acs: "none",
        acs_if_cut: "none",
        defects: &[],
    },
    Meaning {
        seed: "zeros",
        id: CONTRADICTORY,
        port: CONTRADICTORY,
        acs: CONTRADICTORY,
        acs_if_cut: CONTRADICTORY,
        defects: &[NOBODY_ZEROS],
    },
];

fn told<T>(fact: Fact<Option<T>>, show: impl FnOnce(T) -> String) -> String {
    match fact {
        Fact::Known(Some(value)) => show(value),
        Fact::Known(None) => "none".into(),
        Fact::Unknown(why) => format!("unknown: {why}"),
    }
}

fn acs(config: &Config) -> String {
    told(config.acs.clone(), |acs| {
        format!("{:#04x} of {:#04x}", acs.control.bits(), acs.capable.bits())
    })
}

fn meaning(seed: String, bytes: &[u8]) -> Meaning<String, Vec<String>> {
    let mut defects = Vec::new();
    let config = Config::parse(ConfigView::new(bytes, Extent::Whole), &mut defects);
    let cut = Config::parse(ConfigView::new(bytes, Extent::MayGoOn), &mut Vec::new());
    Meaning {
        seed,
        id: told(config.id.map(Some), |id| id.to_string()),
        port: told(config.express, |express| express.port_type.to_string()),
        acs: acs(&config),
        acs_if_cut: acs(&cut),
        defects: defects.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_seed_is_understood_as_it_was_made() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/config_space");
    let entries = fs::read_dir(&folder).expect("the folder can be read");
    let mut seeds: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    seeds.sort();
    let expected = |meaning: &Meaning| Meaning {
        seed: meaning.seed.to_owned(),
        id: meaning.id.to_owned(),
        port: meaning.port.to_owned(),
        acs: meaning.acs.to_owned(),
        acs_if_cut: meaning.acs_if_cut.to_owned(),
        defects: meaning.defects.iter().map(ToString::to_string).collect(),
    };
    let mut meanings = MEANINGS.iter().map(expected);
    for seed in seeds {
        let name = seed.file_name().expect("a name").to_string_lossy().into_owned();
        let bytes = fs::read(&seed).expect("the seed can be read");
        assert_eq!(Some(meaning(name, &bytes)), meanings.next());
    }
    assert_eq!(meanings.next(), None, "there is no such seed");
}
