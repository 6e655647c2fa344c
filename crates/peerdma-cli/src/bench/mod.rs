//! `peerdma bench`: how fast a volume is.
use crate::args::BenchArgs;
use crate::error::Failure;
use std::process::ExitCode;
pub(crate) fn run(_args: &BenchArgs) -> Result<ExitCode, Failure> { Ok(ExitCode::SUCCESS) }
