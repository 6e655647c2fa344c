use super::*;
use proptest::prelude::*;

fn read_text(text: &str) -> Result<Snapshot, JsonError> {
    read(text.as_bytes(), &mut Warnings::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_as_it_was(snapshot in super::arbitrary::snapshot()) {
        let mut text = Vec::new();
        write(&snapshot, &mut text).unwrap();
        let mut warnings = Warnings::default();
        prop_assert_eq!(read(&text, &mut warnings).unwrap(), snapshot);
        prop_assert!(warnings.list().is_empty());
    }

    #[test]
    fn a_snapshot_cut_short_is_an_error_with_its_place(
        snapshot in super::arbitrary::snapshot(),
        part in 0.0..1.0f64,
    ) {
        let mut text = Vec::new();
        write(&snapshot, &mut text).unwrap();
        text.truncate(((text.len() - 2) as f64 * part) as usize);
        let form = matches!(read(&text, &mut Warnings::default()), Err(JsonError::Form(_)));
        prop_assert!(form);
    }
}

#[test]
fn another_version_is_named_and_so_is_the_one_that_is_read() {
    let error =
        read_text(r#"{"snapshot": {"machine": 7}, "peerdma_snapshot": 2, "captured_by": "peerdma 9"}"#)
            .unwrap_err()
            .to_string();
    assert!(error.contains("version 2"), "{error}");
    assert!(error.contains("reads version 1"), "{error}");
    assert!(error.contains("peerdma 9"), "{error}");
}

#[test]
fn json_of_another_program_is_no_snapshot() {
    assert!(matches!(read_text("{}"), Err(JsonError::NotASnapshot)));
    let error = read_text("{\"peerdma_snapshot\": 1,\n \"snapshot\": {\"functions\": [{\"bdf\": \"x\"}]}}")
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("line 2 column "), "{error}");
    assert_eq!(error.matches("line 2").count(), 1, "{error}");
}

#[test]
fn functions_out_of_order_and_twice_are_put_right() {
    let text = r#"{"peerdma_snapshot": 1, "snapshot": {"functions": [
        {"bdf": "0000:02:00.0"}, {"bdf": "0000:01:00.0"}, {"bdf": "0000:02:00.0"}]}}"#;
    let mut warnings = Warnings::default();
    let snapshot = read(text.as_bytes(), &mut warnings).unwrap();
    assert_eq!(snapshot.functions().len(), 2);
    assert_eq!(warnings.list().len(), 1);
    assert_eq!(snapshot.position("0000:01:00.0".parse().unwrap()), Some(0));
}

#[test]
fn more_functions_than_a_machine_has_are_refused() {
    let function = r#"{"bdf": "0000:00:00.0"}"#;
    let list = |count: usize| {
        let functions = vec![function; count].join(",");
        format!(r#"{{"peerdma_snapshot": 1, "snapshot": {{"functions": [{functions}]}}}}"#)
    };
    let error = read_text(&list(MOST_FUNCTIONS + 1)).unwrap_err().to_string();
    assert!(error.contains("at most 262144 functions"), "{error}");
    // What comes after the limit is not even taken for a function.
    let odd = list(MOST_FUNCTIONS).replace("]}}", ", 7]}}");
    assert!(read_text(&odd).unwrap_err().to_string().contains("at most"));
    assert!(read_text(&list(300)).is_ok());
}
