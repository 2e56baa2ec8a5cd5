use super::Spec;
use crate::cpu::Args;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    spec.apart(args, |op, args| op.reference(args));
}
