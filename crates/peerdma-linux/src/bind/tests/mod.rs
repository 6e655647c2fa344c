//! Binding, and the way back, on a machine that is a folder.

mod fake;
mod gpus;
mod refusals;

use super::{BindError, GroupWish, Plan, Record, Refusal, Undone, VFIO, plan, returns};
use fake::{BRIDGE, Fake, NIC, NVME, OTHER, bdf, home};
use std::fs;

fn planned(fake: &mut Fake, named: &[&str], wish: GroupWish) -> Result<Plan, Vec<Refusal>> {
    let (system, state) = (fake.system.clone(), fake.state());
    let named: Vec<_> = named.iter().map(|name| bdf(name)).collect();
    plan(&system, fake, &named, wish, &state)
}

fn bind(fake: &mut Fake, named: &[&str]) -> Result<(), BindError> {
    let plan = planned(fake, named, GroupWish::Named).unwrap();
    let system = fake.system.clone();
    plan.carry_out(&system, fake, |_| ())
}

fn unbind(fake: &mut Fake, named: &[&str]) -> Result<(), BindError> {
    let named: Vec<_> = named.iter().map(|name| bdf(name)).collect();
    let plan = returns(&fake.system, &named, GroupWish::Named, &fake.state()).unwrap();
    let system = fake.system.clone();
    plan.carry_out(&system, fake, |_| ())
}

#[test]
fn unbinding_puts_back_exactly_what_was_there() {
    let mut fake = Fake::new();
    fake.file(&format!("{}/driver_override", home(OTHER)), "nvme\n");
    let before = fake.everything();
    bind(&mut fake, &[NVME, OTHER, NIC]).unwrap();
    for at in [NVME, OTHER, NIC] {
        assert_eq!(fake.driver(at).as_deref(), Some(VFIO), "{at}");
        assert!(Record::path(&fake.state(), bdf(at)).exists());
    }
    assert_eq!(fake.driver(BRIDGE).as_deref(), Some("pcieport"));

    unbind(&mut fake, &[NVME, OTHER, NIC]).unwrap();
    assert_eq!(fake.everything(), before);
}

#[test]
fn whichever_step_of_binding_fails_everything_is_as_it_was() {
    // Of three functions: record, override, unbind (two have a driver), bind.
    const STEPS: usize = 4 + 4 + 3;
    for step in 0..STEPS {
        let mut fake = Fake::new();
        let before = fake.everything();
        fake.fails_at = vec![step];
        let error = bind(&mut fake, &[NVME, OTHER, NIC]).unwrap_err();
        assert!(matches!(error.undone, Undone::Whole), "step {step}: {error}");
        assert_eq!(fake.everything(), before, "step {step}");
    }
    let mut fake = Fake::new();
    bind(&mut fake, &[NVME, OTHER, NIC]).unwrap();
    assert_eq!(fake.calls, STEPS);
}

#[test]
fn whichever_step_of_unbinding_fails_everything_is_as_it_was() {
    for step in 0..11 {
        let mut fake = Fake::new();
        bind(&mut fake, &[NVME, OTHER, NIC]).unwrap();
        let before = fake.everything();
        fake.fails_at = vec![fake.calls + step];
        let error = unbind(&mut fake, &[NVME, OTHER, NIC]).unwrap_err();
        assert!(matches!(error.undone, Undone::Whole), "step {step}: {error}");
        assert_eq!(fake.everything(), before, "step {step}");
    }
}

#[test]
fn what_came_into_use_after_the_plan_is_not_taken() {
    let mut fake = Fake::new();
    let before = fake.everything();
    let plan = planned(&mut fake, &[NIC, NVME, OTHER], GroupWish::Named).unwrap();
    fake.claimed = vec!["nvme0n1p1"];
    let system = fake.system.clone();
    let error = plan.carry_out(&system, &mut fake, |_| ()).unwrap_err();
    assert_eq!(error.source.kind(), std::io::ErrorKind::ResourceBusy);
    assert!(error.to_string().contains("nvme0n1p1"), "{error}");
    assert_eq!(fake.everything(), before);
}

#[test]
fn what_somebody_else_has_bound_after_the_plan_stays_his() {
    let mut fake = Fake::new();
    let plan = planned(&mut fake, &[NVME, OTHER], GroupWish::Named).unwrap();
    fs::remove_file(fake.system.path(format!("{}/driver", home(NVME)))).unwrap();
    fake.link(
        &format!("{}/driver", home(NVME)),
        "../../../bus/pci/drivers/vfio-pci",
    );
    let before = fake.everything();
    let system = fake.system.clone();
    let error = plan.carry_out(&system, &mut fake, |_| ()).unwrap_err();
    assert_eq!(
        (error.bdf, error.source.kind()),
        (bdf(NVME), std::io::ErrorKind::ResourceBusy)
    );
    assert_eq!(fake.everything(), before);
}

#[test]
fn a_driver_that_takes_nothing_in_silence_is_found_out_and_undone() {
    let mut fake = Fake::new();
    let before = fake.everything();
    fake.refusing = Some(VFIO);
    let error = bind(&mut fake, &[NVME, OTHER]).unwrap_err();
    assert!(error.step.is_none());
    assert!(
        error.to_string().contains("its driver is none, not vfio-pci"),
        "{error}"
    );
    assert_eq!(fake.everything(), before);
}

#[test]
fn where_undoing_fails_too_the_record_stays_and_a_later_run_puts_back() {
    let mut fake = Fake::new();
    let before = fake.everything();
    // Binding to vfio-pci fails, and so does binding to the old driver.
    fake.fails_at = vec![3, 5];
    let named = [NVME, OTHER];
    let error = bind(&mut fake, &named).unwrap_err();
    let Undone::No { bdf: lost, .. } = error.undone else {
        panic!("{error}");
    };
    assert_eq!((lost, fake.driver(NVME)), (bdf(NVME), None));
    unbind(&mut fake, &[NVME]).unwrap();
    assert_eq!(fake.everything(), before);
}

#[test]
fn a_run_that_is_killed_after_any_step_is_made_good_by_unbinding() {
    let all = [NVME, OTHER, NIC];
    let recorded = |fake: &Fake| -> Vec<&str> {
        let has = |at: &&str| Record::path(&fake.state(), bdf(at)).exists();
        all.into_iter().filter(has).collect()
    };
    for step in 0..22 {
        let mut fake = Fake::new();
        let before = fake.everything();
        // From some step on nothing is done any more, not even undone.
        fake.fails_at = (step..100).collect();
        let bound = bind(&mut fake, &all);
        if bound.is_ok() {
            unbind(&mut fake, &all).unwrap_err();
        }
        fake.fails_at.clear();
        let left = recorded(&fake);
        unbind(&mut fake, &left).unwrap();
        assert_eq!(fake.everything(), before, "step {step}");
    }
}

#[test]
fn a_group_is_bound_as_a_whole_without_its_bridges_and_comes_back_as_a_whole() {
    let mut fake = Fake::new();
    let before = fake.everything();
    let system = fake.system.clone();
    let plan = planned(&mut fake, &[NVME], GroupWish::Whole).unwrap();
    let taken: Vec<_> = plan.taken.iter().map(|taken| taken.bdf).collect();
    assert_eq!(taken, [bdf(NVME), bdf(OTHER)]);
    plan.carry_out(&system, &mut fake, |_| ()).unwrap();

    let back = returns(&system, &[bdf(OTHER)], GroupWish::Whole, &fake.state()).unwrap();
    assert_eq!(back.taken.len(), 2);
    back.carry_out(&system, &mut fake, |_| ()).unwrap();
    assert_eq!(fake.everything(), before);
}

#[test]
fn what_is_bound_already_is_left_alone() {
    let mut fake = Fake::new();
    bind(&mut fake, &[NIC]).unwrap();
    let before = fake.everything();
    let plan = planned(&mut fake, &[NIC], GroupWish::Named).unwrap();
    assert_eq!((plan.already, plan.taken.len()), (vec![bdf(NIC)], 0));
    assert_eq!(fake.everything(), before);
}

#[test]
fn a_record_that_says_something_else_is_not_acted_on() {
    let good = |fake: &Fake| fs::read_to_string(Record::path(&fake.state(), bdf(NIC))).unwrap();
    let changes: [(&str, &str, &str); 5] = [
        ("\"peerdma_binding\": 1", "\"peerdma_binding\": 2", "version"),
        (NIC, NVME, "it is about"),
        (
            "\"driver\": null",
            "\"driver\": \"../../../x\"",
            "no name of a driver",
        ),
        ("this-boot", "another", "before the last boot"),
        ("{", "", "expected"),
    ];
    for (from, to, why) in changes {
        let mut fake = Fake::new();
        bind(&mut fake, &[NIC]).unwrap();
        let text = good(&fake);
        assert!(text.contains(from), "{text}");
        fs::write(Record::path(&fake.state(), bdf(NIC)), text.replace(from, to)).unwrap();
        let refusals = returns(&fake.system, &[bdf(NIC)], GroupWish::Named, &fake.state()).unwrap_err();
        assert!(refusals[0].to_string().contains(why), "{}", refusals[0]);
    }
}
