//! Names that mean more than one function.

mod support;

use support::{File, ended, switch};

#[test]
fn a_kernel_name_of_two_functions_is_an_error_and_never_the_first_of_them() {
    let mut functions = switch(0, 0);
    functions[6].os.names = vec!["gpu0".into(), "nvme0".into()];
    let machine = File::machine(functions);
    let machine = machine.name();
    for arguments in [
        &["route", "nvme0", "02:00.0"][..],
        &["route", "02:00.0", "nvme0"],
        // A namespace means its controller.
        &["route", "nvme0n1", "02:00.0"],
        &["check", "nvme0", "02:00.0"],
        &["check", "--between", "nvme0", "all"],
        &["matrix", "--client", "nvme0"],
    ] {
        let (code, out, errors) = ended(&[arguments, &["-q", "--from", machine]].concat());
        assert_eq!((code, &out[..]), (Some(2), ""), "{arguments:?}");
        assert!(errors.contains("names 2 functions"), "{arguments:?}: {errors}");
        assert!(
            errors.contains("0000:03:00.0") && errors.contains("0000:04:00.0"),
            "{arguments:?}: {errors}"
        );
        assert!(errors.contains("give the address"), "{arguments:?}: {errors}");
    }
    let (code, ..) = ended(&["route", "gpu0", "02:00.0", "-q", "--from", machine]);
    assert_eq!(code, Some(0));
}

#[test]
fn an_empty_word_is_said_to_be_empty() {
    for arguments in [
        &["route", "", "nvme0"][..],
        &["check", "nvme0", ""],
        &["copy", "", "nvme1n1"],
        &["bench", ""],
        &["probe", "nvme0", " "],
    ] {
        let (code, out, errors) = ended(&[arguments, &["--machine", "two-ssds"]].concat());
        assert_eq!((code, &out[..]), (Some(2), ""), "{arguments:?}");
        assert!(
            errors.contains("one of the names is empty"),
            "{arguments:?}: {errors}"
        );
    }
    for arguments in [
        &["copy", "a.img", ""][..],
        &["bench", ""],
        &["bind", "", "--dry-run"],
    ] {
        let (code, out, errors) = ended(arguments);
        assert_eq!((code, &out[..]), (Some(2), ""), "{arguments:?}");
        assert!(
            errors.contains("one of the names is empty"),
            "{arguments:?}: {errors}"
        );
    }
}
