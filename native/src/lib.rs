pub use foveate_core as core;
