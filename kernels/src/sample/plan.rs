use super::{NAME, Spec};
use crate::error::{Error, Result};
use crate::plan::{Caps, Plan};

pub(super) fn plan(_spec: &Spec, _caps: &Caps) -> Result<Plan> {
    Err(Error::Unsupported { op: NAME, what: "a GPU form".into() })
}
