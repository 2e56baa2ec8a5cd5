//! Runs the host forms of the ops one after the other; intermediate results stay in the cache.

use super::Spec;
use crate::cpu::{Args, Host};

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    spec.apart(args, |op, args| op.cpu(host, args));
}
