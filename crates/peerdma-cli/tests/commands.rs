//! Every command, exit code and form of error over the machines that ship with the repository: what
//! `tests/cmd` shows is what people get. `TRYCMD=overwrite cargo test -p peerdma-cli` writes it anew;
//! look at the difference before you commit it.

#[test]
fn every_command_prints_what_is_shown() {
    trycmd::TestCases::new()
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .case("tests/cmd/*.trycmd");
}
