use super::{NAME, Spec};
use crate::error::{Error, Result};
use crate::plan::{Caps, Plan};

pub(super) fn plan(_: &Spec, _: &Caps) -> Result<Plan> {
    Err(Error::Unsupported { op: NAME, what: "a GPU".into() })
}
