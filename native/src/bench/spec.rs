//! Specs to time, from `name=value` pairs.

use crate::error::{Error, Result};
use foveate_core::kernels::ops::Op;
use foveate_core::settings;

/// Bytes that all operands of an op may take.
const MOST_BYTES: u64 = 4 << 30;

/// The op of this name with these settings, `T=1024,heads=8`; what is not named has a default, and strides are dense.
///
/// # Errors
/// `Usage` for a name that is no op or no setting of it, or a value that can't be read; the op's own error for a spec that
/// is not valid; `OutOfMemory` for one whose operands are too large to be made.
pub fn op(name: &str, settings: &str) -> Result<Op> {
    let op = settings::op(name, settings).map_err(|error| match error {
        foveate_core::Error::Config { reason } => Error::Usage { reason },
        other => other.into(),
    })?;
    let args = op.kernel().args();
    if let Some(empty) = args.iter().find(|arg| arg.bytes() == 0) {
        let reason = format!("{name}: {} has no elements, there is nothing to time", empty.name);
        return Err(Error::Usage { reason });
    }
    match args.iter().map(|arg| arg.bytes()).sum() {
        needs if needs > MOST_BYTES => Err(foveate_core::Error::OutOfMemory { needs, has: MOST_BYTES }.into()),
        _ => Ok(op),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_timed_is_refused_before_anything_is_made() {
        for (name, settings, words) in [
            ("convolution", "", "there is no op convolution; there are embed, linear, fused_linear"),
            ("linaer", "", "did you mean linear?"),
            ("attention", "T=0", "no elements"),
            ("linear", "N=2000000,K=2000", "out of memory: needs"),
            ("embed", "dim=0,vocab=4294967295", "no elements"),
        ] {
            let error = op(name, settings).expect_err(settings).to_string();
            assert!(error.contains(words), "{name} {settings}: {error}");
        }
        let error = op("attention", "causal=yes").expect_err("refused");
        assert!(matches!(error, Error::Usage { .. }), "{error}");
    }
}
