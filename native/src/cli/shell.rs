//! Completions of shells, and the manual page.

use super::Cli;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use foveate::{Error, Result};
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct CompletionArguments {
    /// The shell whose completions are printed.
    shell: Shell,
}

pub(super) fn completions(arguments: &CompletionArguments) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "foveate", &mut script);
    super::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page: of the program, then of each command.
pub(super) fn manual() -> Result<ExitCode> {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(Error::Output)?;
    for part in command.get_subcommands().filter(|part| !part.is_hide_set() && part.get_name() != "help") {
        let mut own = Vec::new();
        clap_mangen::Man::new(part.clone()).render(&mut own).map_err(Error::Output)?;
        page.extend(own);
    }
    super::print(&String::from_utf8_lossy(&page))?;
    Ok(ExitCode::SUCCESS)
}
