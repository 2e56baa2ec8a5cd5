//! Where the tests' data lies.

use libtest_mimic::Failed;
use std::path::{Path, PathBuf};

/// Golden cases, if they are here.
pub(crate) fn golden() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/golden");
    let path = std::env::var_os("FOVEATE_GOLDEN").map_or_else(beside, PathBuf::from);
    present(path, "golden cases")
}

/// The file of a model, if it is here.
pub(crate) fn model(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FOVEATE_MODELS").map(PathBuf::from).unwrap_or_default();
    present(folder.join(name), "the model file in FOVEATE_MODELS")
}

fn present(path: PathBuf, what: &str) -> Option<PathBuf> {
    let required = std::env::var("REQUIRE_GOLDEN").is_ok_and(|v| v == "1");
    assert!(path.exists() || !required, "REQUIRE_GOLDEN is set and {what} is missing: {}", path.display());
    path.exists().then_some(path)
}

/// An assertion whose message reaches the report.
pub(crate) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}
