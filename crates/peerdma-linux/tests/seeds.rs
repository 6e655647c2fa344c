//! What each seed of the fuzz targets for readers means. Replaying seeds shows that no promise is broken;
//! this shows that they are understood.

use peerdma::fact::Fact;
use peerdma::snapshot::Warnings;
use peerdma_linux::{KeepConfig, source};
use std::fs;
use std::path::Path;

/// What is read from a seed.
enum Meaning {
    /// Functions with one word on their ACS each, group by group; and the warnings.
    Machine(
        &'static [(&'static [&'static str], &'static str)],
        &'static [&'static str],
    ),
    /// An error that says this.
    Refused(&'static str),
}

use Meaning::{Machine, Refused};

const CUT_AT_32: &str = "configuration space was read only up to 32 bytes";
const CUT_AT_64: &str = "configuration space was read only up to 64 bytes";
const CUT_AT_256: &str = "configuration space was read only up to 256 bytes";
const DENIED: &str = "reading it needs more privilege";
const CONTRADICTORY: &str = "the source contradicts itself";

const HOST_BRIDGE: &str = "0000:00:00.0";
const ROOT_PORT: &str = "0000:00:01.0";
const SWITCH: &str = "0000:01:00.0";
const PORT: &str = "0000:02:00.0";
const FOUR: &[&str] = &[HOST_BRIDGE, ROOT_PORT, SWITCH, PORT];
const TWELVE: &[&str] = &[
    HOST_BRIDGE,
    ROOT_PORT,
    SWITCH,
    PORT,
    "0000:02:01.0",
    "0000:03:00.0",
    "0000:04:00.0",
    "0000:04:00.1",
    "0000:04:00.2",
    "0000:04:00.3",
    "0000:04:00.4",
    "0000:04:00.5",
];

/// What root reads of the machine of two and of four functions.
const TWO_WHOLE: Meaning = Machine(&[(&[HOST_BRIDGE], "none"), (&[ROOT_PORT], "0x00")], &[]);
const FOUR_WHOLE: Meaning = Machine(
    &[(&[HOST_BRIDGE, SWITCH, PORT], "none"), (&[ROOT_PORT], "0x00")],
    &["../outside: a member of the archive that leads out of it; skipped"],
);

/// One a seed, in the order of names: a new seed gets its line here.
const MEANINGS: &[(&str, &[(&str, Meaning)])] = &[
    (
        "lspci",
        &[
            ("numbers-x", Machine(&[(TWELVE, CUT_AT_64)], &[])),
            ("numbers-xxx", Machine(&[(FOUR, CUT_AT_256)], &[])),
            ("numbers-xxxx", TWO_WHOLE),
            (
                "text-vvv",
                Machine(&[(&[HOST_BRIDGE, SWITCH], "none"), (&[ROOT_PORT], "0x00")], &[]),
            ),
            (
                "text-vvv-unprivileged",
                Machine(&[(&[HOST_BRIDGE, ROOT_PORT, SWITCH], DENIED)], &[]),
            ),
            (
                "twin-addresses",
                Machine(
                    &[(&[HOST_BRIDGE], CONTRADICTORY), (&[ROOT_PORT], CUT_AT_64)],
                    &[
                        "0000:00:00.0: the source describes two functions at this address; all facts about it are unknown",
                    ],
                ),
            ),
        ],
    ),
    (
        "snapshot_json",
        &[
            ("cut-with-bytes.json", Machine(&[(FOUR, CUT_AT_256)], &[])),
            ("known.json", TWO_WHOLE),
            (
                "other-version.json",
                Refused("this snapshot has version 2; this peerdma reads version 1"),
            ),
            (
                "twin-addresses.json",
                Machine(
                    &[(&[HOST_BRIDGE], "none"), (&[ROOT_PORT], CONTRADICTORY)],
                    &[
                        "0000:00:01.0: the source describes two functions at this address; all facts about it are unknown",
                    ],
                ),
            ),
        ],
    ),
    (
        "source",
        &[
            ("json", TWO_WHOLE),
            ("json-cut", Refused("line 71 column 7: EOF")),
            (
                "listing",
                Machine(
                    &[
                        (&[HOST_BRIDGE, ROOT_PORT, SWITCH], CUT_AT_64),
                        (&[PORT], CUT_AT_32),
                    ],
                    &[
                        "line 22: expected `OFFSET: ` and up to 16 bytes of two hexadecimal digits; 0000:02:00.0 keeps the 32 bytes before this line",
                    ],
                ),
            ),
            ("listing-gzip", Machine(&[(TWELVE, CUT_AT_64)], &[])),
            ("nothing", Refused("at offset 0 it is empty")),
            ("png", Refused("at offset 0 it starts with \"\\x89PNG")),
            ("tar", Machine(&[(FOUR, CUT_AT_64)], &[])),
            ("tar-bzip2", FOUR_WHOLE),
            ("tar-gzip", FOUR_WHOLE),
            ("zeros", Refused("at offset 0 it starts with \"\\x00\\x00")),
        ],
    ),
    (
        "sysfs_archive",
        &[
            ("links-that-lead-outside.tar", FOUR_WHOLE),
            (
                "members-that-lead-outside.tar",
                Machine(
                    &[(FOUR, CUT_AT_64)],
                    &[
                        "../sys/bus/pci/devices/0000:05:00.0/vendor: a member of the archive that leads out of it; skipped",
                        "sys/bus/pci/devices/../devices/0000:06:00.0/vendor: a member of the archive that leads out of it; skipped",
                        "/sys/bus/pci/devices/0000:07:00.0/vendor: a member of the archive that leads out of it; skipped",
                    ],
                ),
            ),
            ("root.tar.bz2", FOUR_WHOLE),
            ("root.tar.gz", FOUR_WHOLE),
            ("unprivileged.tar", Machine(&[(FOUR, CUT_AT_64)], &[])),
        ],
    ),
];

/// Panics where a seed does not mean this.
fn check(seed: &str, bytes: &[u8], meaning: &Meaning) {
    let mut warnings = Warnings::default();
    let read = source::read(bytes, "seed", 0, KeepConfig::Drop, &mut warnings);
    match (read, meaning) {
        (Ok(snapshot), Machine(groups, expected_warnings)) => {
            let functions = snapshot.functions().iter().map(|function| {
                let acs = match &function.config.acs {
                    Fact::Known(Some(acs)) => format!("{:#04x}", acs.control.bits()),
                    Fact::Known(None) => "none".into(),
                    Fact::Unknown(why) => why.to_string(),
                };
                (function.bdf.to_string(), acs)
            });
            let mut expected: Vec<(String, String)> = groups
                .iter()
                .flat_map(|(group, acs)| group.iter().map(|at| ((*at).to_owned(), (*acs).to_owned())))
                .collect();
            expected.sort();
            assert_eq!(functions.collect::<Vec<_>>(), expected, "{seed}");
            let warnings: Vec<String> = warnings.list().iter().map(ToString::to_string).collect();
            assert_eq!(warnings, *expected_warnings, "{seed}");
        }
        (Err(error), Refused(words)) => {
            let error = error.to_string();
            assert!(error.contains(words), "{seed}: {error}");
        }
        (Ok(_), Refused(words)) => panic!("{seed}: read, though {words}"),
        (Err(error), Machine(..)) => panic!("{seed}: {error}"),
    }
}

#[test]
fn every_seed_is_understood_as_it_was_made() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    for (target, meanings) in MEANINGS {
        let folder = seeds.join(target);
        let entries = fs::read_dir(&folder).expect("the folder can be read");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        let listed: Vec<&str> = meanings.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, listed, "{target}");
        for (name, meaning) in *meanings {
            let bytes = fs::read(folder.join(name)).expect("the seed can be read");
            check(&format!("{target}/{name}"), &bytes, meaning);
        }
    }
}
