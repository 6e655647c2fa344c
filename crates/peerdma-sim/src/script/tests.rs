//! Reading scripts.

use super::transfer::Start;
use super::*;
use proptest::prelude::*;

#[test]
fn a_script_says_what_it_says() {
    let script = read(
        r#"
        seed = 7
        [[transfer]]
        name = "copy"
        from = "gpu0:bar2+0x1000"
        to = "0000:04:00.0:bar2+64 KiB"
        bytes = "1 MiB"
        by = "gpu0"
        class = "translated-relaxed"
        address = "bus"
        expect = "all-ones"
        [[transfer]]
        from = "ram+0x100000"
        to = "nvme0:cmb"
        bytes = 4096
        together = true
        [[fault]]
        kind = "completion-lost"
        to = "gpu0"
        nth = 3
        "#,
    )
    .unwrap();
    let spots: Vec<String> = (script.transfers.iter())
        .flat_map(|line| [line.from.value.to_string(), line.to.value.to_string()])
        .collect();
    assert_eq!(
        spots,
        [
            "gpu0:bar2+0x1000",
            "0000:04:00.0:bar2+0x10000",
            "ram+0x100000",
            "nvme0:cmb"
        ]
    );
    let [first, second] = &script.transfers[..] else {
        panic!()
    };
    assert_eq!(
        (first.class, first.form),
        (Class::TranslatedRelaxed, Some(Form::Bus))
    );
    assert_eq!(
        (first.expected, first.start),
        (Some(Expected::AllOnes), Start::After)
    );
    assert_eq!(
        (second.start, second.bytes, script.seed),
        (Start::Together, 4096, Some(7))
    );
    assert_eq!(script.faults.len(), 1);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let told = |text: &str| read(text).unwrap_err().to_string();
    for (text, expected) in [
        ("", "line 1, column 1: the script moves nothing"),
        (
            "seed = 1\n# Nothing.\n\n",
            "line 2, column 1: the script moves nothing",
        ),
        (
            "seed = 1\ntransfer = []",
            "line 2, column 12: the script moves nothing",
        ),
        (
            "seed = 1\n[[trasnfer]]",
            "line 2, column 3: a script has no `trasnfer`; did you mean `transfer`?",
        ),
        (
            "[[transfer]]\nfrom = 3",
            "line 2, column 8: `from` is 3; write a place such as",
        ),
        (
            "[[transfer]]\nfrom = \"gpu0:bar9\"",
            "line 2, column 8: `from` is \"gpu0:bar9\"; write a place",
        ),
        (
            "[[transfer]]\nfrom = \"a\"\nto = \"b\"\nbytes = \"2 GiB\"",
            "line 4, column 9: `bytes` is \"2 GiB\"; write a number of bytes up to",
        ),
        (
            "[[transfer]]\nfrom = \"a\"\nto = \"b\"\nbytes = 1\nexpected = \"intact\"",
            "line 5, column 1: a transfer has no `expected`; did you mean `expect`?",
        ),
        (
            "[[fault]]\nkind = \"iommu\"\nnth = 1\none-in = 2",
            "line 4, column 10: `one-in` is 2; write either",
        ),
    ] {
        assert!(told(text).starts_with(expected), "{}", told(text));
    }
}

#[test]
fn the_first_that_is_too_many_is_named() {
    let fault = "[[fault]]\nkind = \"allocation\"\n";
    let told = read(&fault.repeat(MOST_FAULTS + 1)).unwrap_err();
    assert_eq!(told.at.line as usize, 2 * MOST_FAULTS + 1);
    let transfer = "[[transfer]]\nfrom = \"a\"\nto = \"b\"\nbytes = \"1 GiB\"\n";
    assert!(read(&transfer.repeat(16)).is_ok());
    let told = read(&transfer.repeat(17)).unwrap_err();
    assert_eq!((told.wrong, told.at.line), (Wrong::TooMuchInAll, 16 * 4 + 1));
    let deep = format!("seed = 1\n[transfer{}]", ".a".repeat(200));
    let told = read(&deep).unwrap_err().to_string();
    assert!(
        told.starts_with("line 2, ") && told.contains("nested too deeply"),
        "{told}"
    );
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in "[\\[\\]a-z0-9=\"+:. \n]{0,200}", spot in ".{0,60}") {
        let _ = read(&text);
        let _ = read(&format!("[[transfer]]\nfrom = \"{spot}\"\nto = \"ram\"\nbytes = 1"));
        if let Some(parsed) = Spot::parse(&spot) {
            prop_assert_eq!(Spot::parse(&parsed.to_string()), Some(parsed));
        }
    }
}
