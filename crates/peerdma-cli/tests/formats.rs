//! `tsv` and `csv`, which other programs read: the order of lines, quotes, and the class of packets.

mod support;

use peerdma_linux::ids;
use support::{File, ended, function, switch};

const REQUEST_REDIRECT: u16 = 0x04;
const DIRECT_TRANSLATED: u16 = 0x40;

fn matrix(machine: &File, format: &str, options: &[&str]) -> String {
    let arguments = ["matrix", "-q", "--from", machine.name(), "--format", format];
    let (code, out, errors) = ended(&[&arguments, options].concat());
    assert_eq!((code, &errors[..]), (Some(0), ""));
    out
}

/// The records of a text in the form of RFC 4180.
fn records(text: &str) -> Vec<Vec<String>> {
    let mut records = vec![vec![String::new()]];
    let mut is_quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let record = records.last_mut().expect("never empty");
        let field = record.last_mut().expect("never empty");
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' if is_quoted => is_quoted = false,
            '"' if field.is_empty() => is_quoted = true,
            ',' if !is_quoted => record.push(String::new()),
            '\n' if !is_quoted => records.push(vec![String::new()]),
            character => field.push(character),
        }
    }
    records.pop();
    records
}

#[test]
fn lines_come_by_provider_and_then_by_client_in_the_order_of_addresses() {
    let machine = File::machine(switch(0, 0));
    let addresses = [
        "0000:00:00.0",
        "0000:00:01.0",
        "0000:01:00.0",
        "0000:02:00.0",
        "0000:02:01.0",
        "0000:03:00.0",
        "0000:04:00.0",
    ];
    let expected: Vec<(&str, &str)> = addresses
        .iter()
        .flat_map(|provider| addresses.iter().map(move |client| (*provider, *client)))
        .collect();
    let tsv = matrix(&machine, "tsv", &[]);
    let lines: Vec<Vec<&str>> = tsv.lines().map(|line| line.split('\t').collect()).collect();
    let pairs: Vec<(&str, &str)> = lines.iter().map(|line| (line[0], line[1])).collect();
    assert_eq!(pairs, expected);
    let csv = records(&matrix(&machine, "csv", &[]));
    let pairs: Vec<(&str, &str)> = csv
        .iter()
        .skip(1)
        .map(|line| (&line[0][..], &line[3][..]))
        .collect();
    assert_eq!(pairs, expected);
}

#[test]
fn the_class_of_packets_decides_in_every_format() {
    // The GPU's port redirects what it has to translate, and lets translated requests turn.
    let machine = File::machine(switch(0, REQUEST_REDIRECT | DIRECT_TRANSLATED));
    for (class, expected) in [("strict", "NOT_SUPPORTED"), ("translated", "BUS_ADDR")] {
        let options = [
            "--kernel",
            "next",
            "--tlp",
            class,
            "--provider",
            "nvme0",
            "--client",
            "04:00.0",
        ];
        let tsv = matrix(&machine, "tsv", &options);
        assert_eq!(tsv.split('\t').nth(3), Some(expected), "{class}: {tsv}");
        let csv = records(&matrix(&machine, "csv", &options));
        assert_eq!((&csv[1][6][..], &csv[1][8][..]), (expected, expected), "{class}");
        let json = matrix(&machine, "json", &options);
        assert!(json.contains(&format!("{{\"map_type\":\"{expected}\"")), "{json}");
        assert!(json.contains(&format!("\"tlp\":\"{class}\"")), "{json}");
    }
}

/// A device of Intel's whose name holds this character, as peerdma shows it.
fn device_with(character: char) -> Option<(u16, u16, String)> {
    ids::vendors().find_map(|vendor| {
        let (device, name) = vendor.devices().find(|(_, name)| name.contains(character))?;
        let number = (0..=u16::MAX)
            .find(|&number| ids::vendor(number).is_some_and(|known| known.name() == vendor.name()))?;
        Some((number, device, name.to_owned()))
    })
}

#[test]
fn names_with_commas_and_quotes_stay_one_field() {
    let mut functions = vec![function("00:00.0", None, 0x06_00_00, 0)];
    functions[0].os.names = vec!["a,b\"c\",".into()];
    let mut device_names = vec![None];
    for (slot, character) in [(1, ','), (2, '"')] {
        let Some((vendor, device, name)) = device_with(character) else {
            panic!("no device has {character} in its name");
        };
        let mut named = function(&format!("00:0{slot}.0"), None, 0x02_00_00, 0);
        named.config.id = peerdma::fact::Fact::Known(peerdma::pci::Id { vendor, device });
        functions.push(named);
        device_names.push(Some(name));
    }
    let csv = records(&matrix(&File::machine(functions), "csv", &[]));
    assert_eq!(csv.len(), 10);
    for record in &csv {
        assert_eq!(record.len(), 11, "{record:?}");
    }
    for (index, record) in csv[1..].iter().enumerate() {
        let (provider, client) = (index / 3, index % 3);
        let name = |of: usize| if of == 0 { "a,b\"c\"," } else { "" };
        assert_eq!((&record[1][..], &record[4][..]), (name(provider), name(client)));
        for (of, shown) in [(provider, &record[2]), (client, &record[5])] {
            if let Some(name) = &device_names[of] {
                assert!(shown.ends_with(name), "{shown:?} {name:?}");
            }
        }
    }
}
