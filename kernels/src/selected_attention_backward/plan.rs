use super::NAME;
use crate::error::{Error, Result};
use crate::plan::{Caps, Plan};
use crate::selected_attention::Spec;

pub(super) fn plan(_: &Spec, _: &Caps) -> Result<Plan> {
    Err(Error::Unsupported { op: NAME, what: "a GPU".into() })
}
