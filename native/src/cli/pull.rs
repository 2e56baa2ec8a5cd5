//! `foveate pull`

use super::progress::Bars;
use clap::Args;
use foveate::{Error, Result, catalogue};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct Arguments {
    /// A hub id (org/repo) or a name of the catalogue. Without a name, the catalogue is listed.
    name: Option<String>,
    /// Put the file into this folder instead of the user's cache.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Some(name) = &arguments.name else {
        for entry in catalogue::CATALOGUE {
            super::print(&format!("{:20} {}\n", entry.name, entry.about))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    if std::path::Path::new(name).exists() && catalogue::find(name).is_none() {
        return Err(Error::Usage { reason: format!("{name} is a path; --model takes it as it is") });
    }
    let path = foveate::pull(name, arguments.to.as_deref(), &mut Bars::default().report())?;
    super::print(&format!("{}\n", path.display()))?;
    Ok(ExitCode::SUCCESS)
}
