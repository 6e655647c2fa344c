//! `lab-guest`: the part of the lab's checks that runs inside a guest, as root of a system that is made for it alone.
//!
//! One command a check, one file a command; `cargo xtask lab` puts it into the guest and reads what it says
//! ([`say`]) and sends ([`outbox`]). What it changes on a machine it does not put back: never run it anywhere else.

use std::process::ExitCode;

mod copies;
mod iommufd;
mod kernel_path;
mod ours;
mod outbox;
mod pci;
mod probe;
mod say;
mod speed;
mod user_path;
mod verdicts;
mod wrong;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["send", name, file] => outbox::send_file(name, file),
        ["verdicts", settings] => verdicts::run(settings),
        ["copies"] => copies::run(),
        ["kernel-path", setting] => kernel_path::run(setting),
        ["probe", driver, scope] => probe::run(driver, scope),
        ["speed", rounds, seconds] => speed::run(rounds, seconds),
        ["iommufd", scope, controllers] => iommufd::run(scope, controllers),
        ["user-path", api, controllers, memories] => user_path::run(api, controllers, memories),
        ["wrong", words @ ..] => wrong::run(words),
        _ => Err(
            "usage: lab-guest send NAME FILE | verdicts SETTINGS | copies | kernel-path SETTING | \
             probe DRIVER SCOPE | user-path API CONTROLLERS MEMORIES | iommufd SCOPE CONTROLLERS | speed ROUNDS SECONDS | wrong SCENARIO API"
                .into(),
        ),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say::failed(words.first().unwrap_or(&"lab-guest"), &why);
            ExitCode::FAILURE
        }
    }
}
