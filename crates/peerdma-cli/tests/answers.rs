//! What answers say, over the shipped machine and over changes of it.

mod shipped;

use serde_json::{Value, json};
use shipped::{Changed, SERVER, function, functions, in_columns, peerdma, stderr, stdout, unwrapped};
use std::path::Path;

/// A machine of which everything is known; its root complex forwards writes alone, and one port of its
/// switch redirects.
const STORES_ONLY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/stores-only.json");

fn answer(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(arguments)).expect("an answer is JSON")
}

#[test]
fn an_inferred_processor_is_told_as_inferred_and_never_kept() {
    let snapshot: Value =
        serde_json::from_str(&stdout(&["snapshot", "-q", "--from", SERVER])).expect("a snapshot is JSON");
    assert_eq!(
        snapshot["snapshot"]["host"]["cpu"],
        json!({"unknown": "not-in-source"})
    );
    assert!(!stderr(&["snapshot", "--from", SERVER]).contains("taken for Intel"));
    assert!(unwrapped(&stdout(&["matrix", "-q", "--from", SERVER])).contains("Processor: Intel (inferred)."));
    let machine = answer(&["matrix", "--json", "--from", SERVER])["machine"].take();
    assert_eq!(machine["cpu"], json!({"unknown": "not-in-source"}));
    assert_eq!(machine["cpu_inferred"], "GenuineIntel");
    let told =
        answer(&["matrix", "--json", "--from", SERVER, "--cpu", "AuthenticAMD:0x19"])["machine"].take();
    assert_eq!(told["cpu"]["known"]["vendor"], "AuthenticAMD");
    assert_eq!(told["cpu_inferred"], Value::Null);
}

#[test]
fn a_function_meets_itself_as_linux_sees_it() {
    let matrix = |bdf: &str| {
        stdout(&[
            "matrix",
            "-q",
            "--from",
            SERVER,
            "--provider",
            bdf,
            "--client",
            bdf,
        ])
    };
    for (bdf, code, counted) in [
        ("03:00.0", "=", "0 ordered pairs"),
        ("06:00.0", "?", "1 unknown"),
        ("82:08.0", "-", "1 refused"),
    ] {
        let text = matrix(bdf);
        let row = text
            .lines()
            .find(|line| line.starts_with("1  0000:"))
            .expect("a row");
        assert!(row.ends_with(&format!(" {code}")), "{row}");
        assert!(text.contains(counted), "{text}");
    }
}

#[test]
fn the_way_to_oneself_has_no_drawing_and_no_remedy() {
    let text = unwrapped(&stdout(&["route", "82:08.0", "82:08.0", "-q", "--from", SERVER]));
    assert!(text.contains("nothing travels"), "{text}");
    assert!(text.contains("counts the function's own redirect bits"), "{text}");
    assert!(
        text.contains("would not even map its own memory by bus address"),
        "{text}"
    );
    assert!(
        !text.contains("setpci") && !text.contains("The way of a request"),
        "{text}"
    );
    assert!(!text.contains("may not read"), "{text}");
    let answer = answer(&["route", "82:08.0", "82:08.0", "--json", "--from", SERVER]);
    assert_eq!(answer["remedy"], Value::Null);
}

#[test]
fn an_unknown_root_port_is_not_an_unknown_kernel() {
    let machine = Changed::new(|snapshot| {
        functions(snapshot).retain(|function| function["bdf"] != "0000:00:00.0");
        let first = function(snapshot, "0000:00:01.0");
        // An Intel bridge that some releases list and others do not.
        first["config"]["id"] = json!({"known": {"vendor": 0x8086, "device": 0x2f00}});
        first["config"]["express"] = json!({"unknown": "access-denied"});
        first["os"]["port_type"] = json!({"unknown": "access-denied"});
    });
    let text = unwrapped(&stdout(&[
        "route",
        "10:00.0",
        "03:00.0",
        "-q",
        "--from",
        machine.path(),
    ]));
    assert!(text.contains("is a root port is unknown"), "{text}");
    assert!(!text.contains("and the kernel is unknown"), "{text}");
}

#[test]
fn a_listing_without_the_first_function_is_warned_of() {
    let lacking = Changed::new(|snapshot| {
        functions(snapshot).retain(|function| function["bdf"] != "0000:00:00.0");
    });
    let warned = unwrapped(&stderr(&["matrix", "--from", lacking.path()]));
    assert!(warned.contains("may lack 0000:00:00.0"), "{warned}");
    assert!(warned.contains("by the wrong function"), "{warned}");
    let whole = stderr(&["matrix", "--from", SERVER]);
    assert!(!whole.contains("may lack"), "{whole}");
    let from_kernel = Changed::new(|snapshot| {
        functions(snapshot).retain(|function| function["bdf"] != "0000:00:00.0");
        function(snapshot, "0000:00:01.0")["upstream"] = json!({"known": null});
    });
    let quiet = stderr(&["matrix", "--from", from_kernel.path()]);
    assert!(!quiet.contains("may lack"), "{quiet}");
    let text = unwrapped(&stdout(&["route", "10:00.0", "03:00.0", "-q", "--from", SERVER]));
    assert!(
        text.contains("the first function on its root bus in this source"),
        "{text}"
    );
}

#[test]
fn a_port_that_blocks_translated_requests_is_named_as_such() {
    let blocks = |bdf: &'static str| {
        Changed::new(move |snapshot| {
            function(snapshot, bdf)["config"]["acs"] = json!({"known": {"capable": 127, "control": 2}});
        })
    };
    let route = |machine: &Changed| {
        let arguments = [
            "route",
            "85:00.0",
            "83:00.0",
            "-q",
            "--kernel",
            "next",
            "--tlp",
            "translated",
        ];
        unwrapped(&stdout(&[&arguments[..], &["--from", machine.path()]].concat()))
    };
    let below = route(&blocks("0000:82:11.0"));
    assert!(
        below.contains("0000:82:11.0 blocks translated requests (B)"),
        "{below}"
    );
    assert!(!below.contains("cannot read"), "{below}");
    // What is redirected goes up past the common switch and is stopped at the root port.
    let above = route(&blocks("0000:80:02.0"));
    assert!(
        above.contains("0000:80:02.0 blocks translated requests (B)"),
        "{above}"
    );
    assert!(
        above.contains("◄ decides: blocks translated requests (B) on their way up"),
        "{above}"
    );
    assert!(above.contains("stops there, below the root complex"), "{above}");
}

#[test]
fn each_remedy_has_its_own_price() {
    let text = unwrapped(&stdout(&["route", "85:00.0", "83:00.0", "-q", "--from", SERVER]));
    assert!(text.contains("Linux may drop other bits"), "{text}");
    assert!(
        text.contains("The price of setpci, which changes R, C and E only"),
        "{text}"
    );
}

#[test]
fn a_processor_in_the_wrong_spelling_is_refused_with_the_right_one() {
    for (given, right) in [
        ("AMD:25", "AuthenticAMD:0x19"),
        ("genuineintel:6", "GenuineIntel:0x6"),
    ] {
        let output = peerdma(&["matrix", "--from", SERVER, "--cpu", given]);
        assert_eq!(output.status.code(), Some(2), "{given}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(right), "{given}");
    }
    let noted = peerdma(&["matrix", "--from", SERVER, "--cpu", "Elbrus:4"]);
    assert!(noted.status.success());
    assert!(String::from_utf8_lossy(&noted.stderr).contains("note: --cpu names the vendor Elbrus"));
    let known = peerdma(&["matrix", "--from", SERVER, "--cpu", "HygonGenuine:0x18"]);
    assert_eq!(String::from_utf8_lossy(&known.stderr), "");
}

#[test]
fn the_posted_rewrite_is_asked_in_three_ways() {
    let tsv = |options: &[&str]| {
        let arguments = ["matrix", "-q", "--format", "tsv", "--from", SERVER];
        let output = peerdma(&[&arguments[..], options].concat());
        assert!(output.status.success(), "{options:?}");
        output.stdout
    };
    let next = tsv(&["--kernel", "next"]);
    assert_eq!(next, tsv(&["--policy", "next"]));
    assert_eq!(next, tsv(&["--policy", "linux", "--kernel", "next"]));
    let help = unwrapped(&stdout(&["matrix", "--help"]));
    assert!(help.contains("what --kernel names (a release or next)"), "{help}");
}

#[test]
fn usage_errors_are_json_where_json_is_asked_for() {
    for arguments in [
        &["matrix", "--json", "--bogus"][..],
        &["route", "--json"],
        &["--json"],
        &["check", "--json", "--require", "luck"],
        &["toaster", "--json"],
    ] {
        let output = peerdma(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error: Value = serde_json::from_slice(&output.stderr).expect("JSON");
        assert_eq!(error["schema"], "peerdma.error/1", "{arguments:?}");
        for field in ["error", "why", "fix"] {
            assert!(
                error[field].as_str().is_some_and(|text| !text.is_empty()),
                "{error}"
            );
        }
    }
    let help = peerdma(&["matrix", "--json", "--help"]);
    assert_eq!((help.status.code(), help.stderr.is_empty()), (Some(0), true));
}

#[test]
fn every_field_of_every_answer_is_described() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/json.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let mut open: Vec<Value> = [
        &["topo"][..],
        &["matrix"],
        &["route", "85:00.0", "83:00.0"],
        &["route", "06:00.0", "03:00.0"],
        &["route", "06:00.0", "03:00.0", "--bandwidth"],
        &["matrix", "--bandwidth"],
        &["check", "03:00.0", "83:00.0"],
    ]
    .iter()
    .map(|arguments| answer(&[*arguments, &["--json", "--from", SERVER]].concat()))
    .collect();
    for arguments in [
        &["route", "card0", "nvme1"][..],
        &["route", "card0", "nvme1", "--policy", "spec", "--bandwidth"],
        &["matrix", "--policy", "all", "--bandwidth"],
        &["check", "card0", "nvme1", "--policy", "spec"],
    ] {
        open.push(answer(&[arguments, &["--json", "--from", STORES_ONLY]].concat()));
    }
    let mut fields = std::collections::BTreeSet::new();
    while let Some(value) = open.pop() {
        match value {
            Value::Array(values) => open.extend(values),
            Value::Object(object) => {
                for (field, value) in object {
                    fields.insert(field);
                    open.push(value);
                }
            }
            _ => {}
        }
    }
    assert!(fields.len() > 50, "{fields:?}");
    for field in fields {
        let is_told = page.contains(&format!("`{field}`")) || page.contains(&format!("\"{field}\""));
        assert!(is_told, "docs/json.md does not tell of {field}");
    }
}

#[test]
fn nothing_is_wider_than_the_terminal_and_lines_of_check_stay_whole() {
    let wide = Changed::new(|snapshot| {
        function(snapshot, "0000:10:00.0")["os"]["names"] = json!(["網路卡網路卡網路卡"]);
        functions(snapshot).retain(|function| function["bdf"] != "0000:00:00.0");
    });
    for columns in ["60", "80", "120"] {
        let most: usize = columns.parse().expect("a number");
        for arguments in [
            &["topo", "-v"][..],
            &["topo"],
            &["matrix"],
            &["matrix", "--all"],
            &["matrix", "--all", "--bandwidth"],
            &["route", "10:00.0", "03:00.0"],
            &["route", "10:00.0", "06:00.0", "--bandwidth"],
            &["route", "10:00.0", "06:00.0", "--policy", "all"],
            &["route", "10:00.0", "03:00.0", "--policy", "spec"],
            &["matrix", "--policy", "spec"],
            &["matrix", "--policy", "all"],
        ] {
            let output = in_columns(columns, &[arguments, &["--from", wide.path()]].concat());
            assert!(output.status.success(), "{arguments:?}");
            for line in [output.stdout, output.stderr]
                .concat()
                .split(|byte| *byte == b'\n')
            {
                let line = std::str::from_utf8(line).expect("UTF-8");
                let wide = line
                    .chars()
                    .filter(|c| ('\u{4e00}'..'\u{a000}').contains(c))
                    .count();
                assert!(
                    line.chars().count() + wide <= most,
                    "{arguments:?} {columns}: {line}"
                );
            }
        }
        let check = in_columns(columns, &["check", "03:00.0", "83:00.0", "-q", "--from", SERVER]);
        let lines = String::from_utf8(check.stdout).expect("UTF-8");
        assert_eq!(lines.lines().count(), 2);
        for line in lines.lines() {
            let reason = line.rsplit('\t').next().expect("a reason");
            assert!(reason.len() <= 100, "{reason}");
        }
    }
}

#[test]
fn no_name_in_csv_is_a_formula() {
    let machine = Changed::new(|snapshot| {
        function(snapshot, "0000:10:00.0")["os"]["names"] = json!(["=1+1"]);
    });
    let csv = stdout(&["matrix", "-q", "--format", "csv", "--from", machine.path()]);
    assert!(csv.contains(",'=1+1,") && !csv.contains(",=1+1,"));
    assert!(csv.contains(",NOT_SUPPORTED,-1,"), "numbers stay numbers");
}

#[test]
fn the_specification_tells_reading_and_writing_apart() {
    let answer = answer(&["matrix", "--policy", "all", "--json", "--from", STORES_ONLY]);
    assert_eq!(answer["policy"], "all");
    let pairs = answer["pairs"].as_array().expect("pairs");
    let of = |provider: &str, client: &str| {
        pairs
            .iter()
            .find(|pair| pair["provider"] == provider && pair["client"] == client)
            .expect("every pair is there")
    };
    // The port above nvme1 redirects to a root complex that forwards writes alone.
    let redirected = &of("0000:03:00.0", "0000:05:00.0")["policies"];
    assert_eq!(redirected["linux"]["read"]["map_type"], "THRU_HOST_BRIDGE");
    assert_eq!(redirected["spec"]["read"]["map_type"], "NOT_SUPPORTED");
    assert_eq!(redirected["spec"]["write"]["map_type"], "THRU_HOST_BRIDGE");
    // The other way round requests turn at the switch, and only completions are redirected.
    let answered = &of("0000:05:00.0", "0000:03:00.0")["policies"];
    assert_eq!(answered["spec"]["read"]["map_type"], "NOT_SUPPORTED");
    assert_eq!(answered["spec"]["write"]["map_type"], "BUS_ADDR");
}

#[test]
fn one_policy_gives_in_every_format_what_all_give_for_it() {
    for policy in ["linux", "next", "spec"] {
        let one = answer(&["matrix", "--policy", policy, "--json", "--from", STORES_ONLY]);
        let all = answer(&["matrix", "--policy", "all", "--json", "--from", STORES_ONLY]);
        let pairs = |answer: &Value| answer["pairs"].as_array().expect("pairs").clone();
        for (one, all) in pairs(&one).iter().zip(&pairs(&all)) {
            for access in ["read", "write"] {
                assert_eq!(one[access], all["policies"][policy][access], "{policy} {one}");
            }
        }
        let csv = stdout(&[
            "matrix",
            "--policy",
            policy,
            "--format",
            "csv",
            "--from",
            STORES_ONLY,
        ]);
        let tsv = stdout(&[
            "matrix",
            "--policy",
            policy,
            "--format",
            "tsv",
            "--from",
            STORES_ONLY,
        ]);
        assert_eq!(csv.lines().count(), tsv.lines().count() + 1);
        for (csv, tsv) in csv.lines().skip(1).zip(tsv.lines()) {
            let ends: Vec<&str> = csv.rsplit(',').take(5).collect();
            let [raw, write_distance, write, read_distance, read] = ends[..] else {
                panic!("{csv}");
            };
            let both = |a: &str, b: &str| if a == b { a.to_owned() } else { format!("{a}/{b}") };
            let (distance, map_type) = match read == write {
                true => (read_distance.to_owned(), read.to_owned()),
                false => (format!("{read_distance}/{write_distance}"), both(read, write)),
            };
            assert!(
                tsv.ends_with(&format!("\t{distance}\t{map_type}\t{raw}")),
                "{tsv} {csv}"
            );
        }
    }
}

#[test]
fn bandwidth_is_that_of_the_way_that_the_policy_names() {
    let rates = |policy: &str| {
        let csv = stdout(&[
            "matrix",
            "--policy",
            policy,
            "--bandwidth",
            "--format",
            "csv",
            "--provider",
            "card0",
            "--client",
            "nvme1",
            "--from",
            STORES_ONLY,
        ]);
        let line = csv.lines().nth(1).expect("a pair").to_owned();
        let mut fields: Vec<String> = line.rsplit(',').take(2).map(str::to_owned).collect();
        fields.reverse();
        fields
    };
    assert!(rates("linux").iter().all(|rate| rate.parse::<u64>().is_ok()));
    let by_specification = rates("spec");
    assert_eq!(by_specification[0], "-");
    assert_eq!(by_specification[1], rates("linux")[1]);
}

#[test]
fn what_is_off_because_nothing_runs_a_device_is_said_with_what_would_be_then() {
    let whole: Value =
        serde_json::from_str(&stdout(&["snapshot", "-q", "--machine", "two-ssds"])).expect("JSON");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("machine.json");
    let asked = |driver: Value, command: u16| {
        let mut machine = whole.clone();
        let one = function(&mut machine["snapshot"], "0000:04:00.0");
        one["os"]["driver"] = json!({ "known": driver });
        one["config"]["command"] = json!({ "known": command });
        std::fs::write(&path, machine.to_string()).expect("it is written");
        let arguments = ["route", "nvme0", "nvme1", "-q", "--policy", "spec", "--from"];
        let arguments = [&arguments[..], &[path.to_str().expect("UTF-8")]].concat();
        let said = unwrapped(&stdout(&arguments));
        (answer(&[&arguments[..], &["--json"]].concat()), said)
    };
    let (answered, said) = asked(json!("vfio-pci"), 2);
    // The verdict is the one that holds now.
    assert_eq!(answered["directions"][1]["write"]["map_type"], "NOT_SUPPORTED");
    let idle = &answered["idle"];
    assert_eq!(
        idle["functions"],
        json!([{ "function": "0000:04:00.0", "driver": "vfio-pci", "off": ["bus-master"] }])
    );
    assert_eq!(idle["then"][1]["write"]["map_type"], "BUS_ADDR");
    assert!(
        said.contains("because it is bound to vfio-pci, and nothing runs it"),
        "{said}"
    );
    assert!(said.contains("A driver switches that on"), "{said}");
    let (answered, said) = asked(Value::Null, 0);
    assert_eq!(
        answered["idle"]["functions"][0]["off"],
        json!(["bus-master", "memory"])
    );
    assert!(said.contains("because no driver is bound to it"), "{said}");
    // Its driver has its reasons, and what is on needs no word.
    for (driver, command) in [(json!("nvme"), 0), (json!("vfio-pci"), 6), (Value::Null, 6)] {
        assert_eq!(asked(driver, command).0["idle"], Value::Null);
    }
}

#[test]
fn the_bridges_above_a_device_that_nothing_runs_are_switched_on_with_it() {
    let mut machine: Value =
        serde_json::from_str(&stdout(&["snapshot", "-q", "--machine", "two-ssds"])).expect("JSON");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("machine.json");
    let end = "0000:04:00.0";
    let one = function(&mut machine["snapshot"], end);
    one["os"]["driver"] = json!({ "known": null });
    one["config"]["command"] = json!({ "known": 0 });
    let bridge = one["upstream"]["known"].as_str().expect("an address").to_owned();
    let above = function(&mut machine["snapshot"], &bridge);
    above["os"]["driver"] = json!({ "known": "pcieport" });
    above["config"]["command"] = json!({ "known": 2 });
    std::fs::write(&path, machine.to_string()).expect("it is written");
    let arguments = ["route", "nvme0", "nvme1", "-q", "--policy", "spec", "--from"];
    let arguments = [&arguments[..], &[path.to_str().expect("UTF-8")]].concat();
    let answered = answer(&[&arguments[..], &["--json"]].concat());
    assert_eq!(
        answered["idle"]["functions"],
        json!([
            { "function": end, "driver": null, "off": ["bus-master", "memory"] },
            { "function": bridge, "driver": "pcieport", "off": ["bus-master"] },
        ])
    );
    for direction in 0..2 {
        assert_eq!(
            answered["idle"]["then"][direction]["write"]["map_type"],
            "BUS_ADDR"
        );
    }
    let said = unwrapped(&stdout(&arguments));
    assert!(
        said.contains(
            "it passes no requests upwards (bus master enable is clear), because nothing below it is in use"
        ),
        "{said}"
    );
    assert!(
        said.contains("(the kernel does it for the bridges above)"),
        "{said}"
    );
}
