//! Folders of golden models, which lie at `FOVEATE_GOLDEN` or at `shared/golden` beside the repository.

use std::path::{Path, PathBuf};

/// Returns the folder of a golden model, or `None` where this machine has not got it.
pub(crate) fn golden_folder(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/golden")).into();
    let golden: PathBuf = std::env::var_os("FOVEATE_GOLDEN").map_or_else(beside, PathBuf::from);
    let folder = golden.join(name);
    if !folder.exists() {
        assert!(std::env::var_os("REQUIRE_GOLDEN").is_none(), "{} does not exist", folder.display());
        println!("ignored: {} does not exist", folder.display());
        return None;
    }
    Some(folder)
}
