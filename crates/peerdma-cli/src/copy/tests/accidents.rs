//! Accidents: at every moment of a copy a device is taken out, breaks down or loses its link; one completion after the other is lost or bad.

use super::rig::{Case, FEW, cases, tries_everything, within_time};
use peerdma::addr::Bdf;
use peerdma_sim::machine::{Fate, Fault, Turn};
use peerdma_sim::time::Time;

/// After so many in a row that changed nothing there are none left.
const UNCHANGED: u32 = 16;

/// A fault of a device at a time.
type At = fn(Bdf, Time) -> Fault;

/// It happens to each device that takes part, at so many moments of the copy. Gives how many copies it ended, and how many
/// were proven all the same.
fn at_every_moment(what: At) -> (u64, u64) {
    let (send, receive) = std::sync::mpsc::channel();
    within_time(move |log| {
        let moments = if tries_everything() { 40 } else { 5 };
        let (mut ended, mut proven) = (0, 0);
        for case in cases(&FEW) {
            let whole_ns = case.switch_on(Vec::new(), 0).run().at_ns;
            for device in ["nvme0", "nvme1", "gpu0", "switch", "switch0"]
                .iter()
                .filter_map(|name| case.find(name))
            {
                for moment in 0..moments {
                    let at = Time::from_ps(1 + whole_ns * 1000 * moment / moments);
                    let fault = what(device, at);
                    log.begin(&(case, fault));
                    match case.switch_on(vec![fault], moment).run().result {
                        Ok(()) => proven += 1,
                        Err(_) => ended += 1,
                    }
                }
            }
        }
        let _ = send.send((ended, proven));
    });
    let (ended, proven) = receive.recv().expect("it came to its end");
    println!("{ended} ended by it, {proven} proven all the same");
    (ended, proven)
}

#[test]
fn a_device_may_be_taken_out_at_any_moment() {
    let (ended, _) = at_every_moment(|device, at| Fault::Removed { device, at });
    assert!(ended > 0);
}

#[test]
fn a_link_may_go_down_at_any_moment() {
    let (ended, _) = at_every_moment(|below, at| Fault::LinkDown { below, at });
    assert!(ended > 0);
}

#[test]
fn a_device_may_break_down_at_any_moment() {
    let (ended, proven) = at_every_moment(|device, at| Fault::BreaksDown { device, at });
    assert!(ended > 0 && proven > 0);
}

/// One completion after the other does not arrive as it was sent, until the copy needs no more of them.
fn each_completion(fate: Fate) {
    within_time(move |log| {
        let stride = if tries_everything() { 1 } else { 7 };
        let mut ended = 0;
        for case in cases(&FEW) {
            let whole_ns = case.switch_on(vec![one(fate, u64::MAX)], 0).run().at_ns;
            let mut same = 0;
            for nth in (1..).step_by(stride) {
                ended += u64::from(with_one(case, fate, nth, log, whole_ns, &mut same));
                if same == UNCHANGED {
                    break;
                }
            }
        }
        println!("{fate:?}: {ended} copies ended by it");
        assert!(ended > 0);
    });
}

/// Gives whether it ended the copy; counts in `same` how many in a row did not change anything.
fn with_one(case: Case, fate: Fate, nth: u64, log: &super::rig::Log, whole_ns: u64, same: &mut u32) -> bool {
    let fault = one(fate, nth);
    log.begin(&(case, fault));
    let ending = case.switch_on(vec![fault], 0).run();
    *same = match ending.result.is_ok() && ending.at_ns == whole_ns {
        true => *same + 1,
        false => 0,
    };
    ending.result.is_err()
}

fn one(fate: Fate, nth: u64) -> Fault {
    Fault::Completion {
        from: None,
        to: None,
        turn: Turn::Nth(nth),
        fate,
    }
}

#[test]
fn each_completion_may_be_lost() {
    each_completion(Fate::Lost);
}

#[test]
fn each_completion_may_be_bad() {
    each_completion(Fate::Poisoned);
}
