//! `peerdma completions` and `peerdma man`: what is generated from the command line's definition.

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::error::{Failure, Problem};
use clap::CommandFactory;
use std::io::{self, Write};
use std::path::Path;

/// Prints a completion script.
///
/// # Errors
/// [`Failure`] where it cannot be written.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "peerdma", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(())
}

/// Prints the main manual page, or writes all pages into a folder.
///
/// # Errors
/// [`Failure`] where they cannot be written.
pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    let command = Args::command();
    match &args.folder {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            io::stdout().lock().write_all(&page)?;
        }
        Some(folder) => {
            into_folder(command, folder).map_err(|error| {
                Problem::new(
                    format_args!("the manual pages were not written into {}", folder.display()),
                    error,
                    "name a folder that exists and may be written to",
                )
            })?;
        }
    }
    Ok(())
}

fn into_folder(command: clap::Command, folder: &Path) -> io::Result<()> {
    clap_mangen::generate_to(command, folder)
}
