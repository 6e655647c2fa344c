//! Promises of machine files: errors say where and what to write instead; defaults make short files whole.

use super::*;
use proptest::prelude::*;

fn error(text: &str) -> String {
    load(text).expect_err(text).to_string()
}

#[test]
fn an_error_names_the_line_what_is_wrong_and_what_to_write_instead() {
    let port = |line: &str| format!("[[bridge]]\n[[bridge.port]]\n{line}\n");
    let device = |rest: &str| format!("[[bridge]]\n[[bridge.port]]\ndevice = {{ {rest} }}\n");
    for (text, parts) in [
        (
            "bridge = 5".into(),
            ["line 1, column 10", "`bridge` is 5", "a table: a host bridge"],
        ),
        ("".into(), ["line 1", "a machine needs `bridge`", "[[bridge]]"]),
        (
            port("lnik = \"gen4 x4\""),
            ["line 3, column 1", "a port has no `lnik`", "did you mean `link`?"],
        ),
        (
            port("link = \"gen7 x4\""),
            ["line 3, column 8", "`link` is \"gen7 x4\"", "\"gen5 x16\""],
        ),
        (
            port("acs = \"RX\""),
            ["line 3", "`acs` is \"RX\"", "R request redirect"],
        ),
        (
            port("acs = { on = \"r\" }"),
            ["line 3", "`on` is \"r\"", "C completion redirect"],
        ),
        (
            port("acs = { can = \"RC\", forbid = [1] }"),
            ["line 3", "egress control", "write E"],
        ),
        (
            port("acs = { can = \"E\", forbid = [\"x\"] }"),
            ["line 3", "named `x`", "ports of the same switch"],
        ),
        (port("mps = 300"), ["line 3", "`mps` is 300", "128, 256, 512"]),
        (
            port("mps = 1024"),
            ["line 2", "more than the 512 bytes", "raise `mps-supported`"],
        ),
        (
            port("name = \"a\"\n[[bridge.port]]\nname = \"a\""),
            ["line 4", "the name `a` is taken in line 2", "one thing"],
        ),
        (
            device("kind = \"gpu\""),
            ["line 3", "`kind` is \"gpu\"", "\"accelerator\""],
        ),
        (
            device("kind = \"card\", bar = { size = 5 }"),
            ["line 3", "`size` is 5", "a power of two"],
        ),
        (
            device("kind = \"nvme\", slot = \"3.0\""),
            ["line 3", "slot 3.0 does not exist below a port", "0.N"],
        ),
        (
            device("kind = \"nvme\", slot = \"0.1\""),
            ["line 2", "no function 0", "DEVICE.0"],
        ),
        (
            "iommu = \"on\"\n[[bridge]]".into(),
            ["line 1, column 9", "`iommu` is \"on\"", "\"translating\""],
        ),
        (
            "[[bridge]]\n[[bridge]]\nbus = 0".into(),
            ["line 2", "takes buses 0x00 to 0x00", "another `domain`"],
        ),
        (
            "[[bridge]]\nwindow = { bus = 0x8000_0000, size = \"1 MiB\" }\ndevice = { kind = \"card\" }"
                .into(),
            ["line 1", "0x4000000 bytes of BARs", "enlarge its `window`"],
        ),
        (
            "[[bridge]]\nwindow = { bus = 0x1000_0000, size = \"1 MiB\" }".into(),
            ["line 1", "RAM or another window", "move its `cpu` address"],
        ),
        (
            "iommu = \"off\"\nswitch-latency = \"1001 ms\"\n[[bridge]]".into(),
            ["line 2", "`switch-latency` is", "a time up to one second"],
        ),
        (
            "root-complex-latency = \"3600000 ms\"\n[[bridge]]".into(),
            ["line 1", "`root-complex-latency` is", "a time up to one second"],
        ),
        (
            "jitter = 1000000000001\n[[bridge]]".into(),
            ["line 1", "`jitter` is", "a time up to one second"],
        ),
        (
            "completion-timeout = \"65000 ms\"\n[[bridge]]".into(),
            ["line 1", "`completion-timeout` is", "a time up to 64 seconds"],
        ),
        ("[[bridge]".into(), ["line 1", "column", ""]),
    ] {
        let found = error(&text);
        for part in parts {
            assert!(
                found.contains(part),
                "{text}\n gives: {found}\n which lacks: {part}"
            );
        }
    }
}

#[test]
fn hostile_files_are_refused_within_bounds() {
    let mut nested = String::from("[[bridge]]\n");
    let mut key = String::from("bridge.port");
    for _ in 0..36 {
        nested += &format!("[[{key}]]\n");
        key += ".switch";
        nested += &format!("[{key}]\n");
        key += ".port";
    }
    assert!(!error(&nested).is_empty());
    let ports = "[[bridge.port]]\n[bridge.port.switch]\n".to_owned()
        + &"[[bridge.port.switch.port]]\n[bridge.port.switch.port.switch]\n".repeat(32);
    assert!(error(&format!("[[bridge]]\n{}", ports.repeat(4))).contains("no bus number left"));
    assert!(
        error(&"[[bridge]]\n".repeat(300))
            .starts_with("line 257, column 1: there are more than 256 host bridges")
    );
    assert!(error(&" ".repeat(MOST_FILE_BYTES + 1)).contains("at most"));
    assert!(
        error(&format!(
            "[[bridge]]\n{}",
            "[[bridge.device]]\nkind = \"card\"\n".repeat(32)
        ))
        .contains("32 devices")
    );
    let hole = "a = ".to_owned() + &"[".repeat(5000);
    assert!(!error(&hole).is_empty());
}

#[test]
fn the_shortest_file_is_a_whole_machine() {
    let blueprint = load("[[bridge]]\nport = { device = { kind = \"nvme\" } }\n").unwrap();
    assert_eq!(blueprint.snapshot.functions().len(), 3);
    assert_eq!(blueprint.devices.len(), 1);
}

#[test]
fn no_range_reaches_beyond_the_addresses_that_there_are() {
    for text in [
        "ram = [{ from = 0xffffffffff000, size = 8192 }]\n[[bridge]]",
        "ram = [{ from = 4096, size = \"4096 TiB\" }]\n[[bridge]]",
        "[[bridge]]\nwindow = { bus = 0xfffffffe00000, size = \"3 MiB\" }",
        "[[bridge]]\nwindow = { bus = 0x80000000, cpu = 0xfffffffe00000, size = \"3 MiB\" }",
    ] {
        assert!(error(text).contains("ends below 2^52"), "{}", error(text));
    }
    assert!(load("[[bridge]]\nwindow = { bus = 0xfffffffe00000, size = \"2 MiB\" }").is_ok());
}

#[test]
fn a_switch_counts_as_the_two_bridges_that_it_is() {
    let below = |count: usize| {
        let switches = "{ switch = { port = ".repeat(count) + "{}" + &" } }".repeat(count);
        format!("[[bridge]]\nport = {switches}\n")
    };
    assert!(load(&below(15)).is_ok());
    // 32 bridges, and one below.
    assert!(error(&below(16)).contains("more than 32 bridges lie above one another"));
    let chain = |count: usize| {
        "[[bridge]]\nconventional = ".to_owned()
            + &"{ conventional = ".repeat(count)
            + "{}"
            + &"}".repeat(count)
    };
    assert!(load(&chain(31)).is_ok());
    assert!(error(&chain(32)).contains("more than 32 bridges"));
}

#[test]
fn an_error_about_the_whole_file_has_a_line_too() {
    let mut nested = String::from("[[bridge]]\n[[bridge.port]]\n");
    nested += &format!("[bridge.port{}]\n", ".switch.port".repeat(40));
    for (text, line, part) in [
        (nested.as_str(), 3, "nested too deeply"),
        (&format!("\nseed = {}", "[".repeat(200)), 2, "nested too deeply"),
        ("[[bridge]]\n[host]\nx = 1", 2, "a machine has no `host`"),
        (
            "\nram = [\n{ from = 0, size = 4096 },\n{ from = 4095, size = 1 }]\n[[bridge]]",
            4,
            "two ranges of RAM overlap: 0x0 to 0xfff and 0xfff to 0xfff",
        ),
        ("seed = 1\n\n# Nothing else.\n", 3, "a machine needs `bridge`"),
        (
            "seed = 1\nbridge = []",
            2,
            "`bridge` is an empty list; write at least one [[bridge]]",
        ),
        (
            "seed = 1\n[[brige]]",
            2,
            "a machine has no `brige`; did you mean `bridge`?",
        ),
        (
            "[[bridge]]\ndevice = [\n{ kimd = \"card\" }]",
            3,
            "a device has no `kimd`; did you mean `kind`?",
        ),
        (
            "[[bridge]]\nport = { device = { kind = \"nvme\", namespace = [\n{ file = \"\" }] } }",
            3,
            "`file` is \"\"; write the path of a file",
        ),
    ] {
        let found = error(text);
        assert!(
            found.starts_with(&format!("line {line}, ")) && found.contains(part),
            "{text}\n gives: {found}"
        );
    }
}

#[test]
fn the_keys_that_there_are_come_in_the_order_of_their_names() {
    assert!(
        error("[[bridge]]\nfirmware = 1\nqqqqqqqqq = 1")
            .contains("a host bridge has no `firmware`; it has bus, conventional, device, domain,")
    );
    let keys = error("[[bridge]]\n[firmware]\nqqqqqqqqq = 1");
    assert!(
        keys.ends_with("firmware has no `qqqqqqqqq`; it has bars, bus-master, memory, mps"),
        "{keys}"
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        let _ = load(&text);
    }
}
