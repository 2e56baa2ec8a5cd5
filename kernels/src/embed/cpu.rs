use super::Spec;
use crate::host::{Args, Host};

pub(super) fn run(spec: &Spec, _host: &dyn Host, args: &mut Args<'_>) {
    super::reference::run(spec, args)
}
