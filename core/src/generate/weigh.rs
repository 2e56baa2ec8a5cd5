//! Choosing a token on the host, from logits that came back.

use crate::cache::NO_TOKEN;
use crate::error::{Error, Result};
use crate::host::HostBackend;
use crate::operands::run_on;
use crate::sample::Sampler;
use foveate_kernels::ops::Op;

/// The token that the op `sample` chooses, or [`NOT_FINITE`](foveate_kernels::sample::NOT_FINITE), run on the processor: the
/// same on every executor. `seen` are the tokens that a repetition penalty looks at.
pub(super) async fn chosen(row: &[f32], sampler: &mut Sampler, seen: &[u32]) -> Result<u32> {
    let op = Op::from(sampler.next(row.len() as u32));
    let mut bits = vec![0u32; row.len().div_ceil(32)];
    let ids = seen.iter().filter(|id| **id != NO_TOKEN);
    ids.for_each(|&id| bits[id as usize / 32] |= 1 << (id % 32));
    let bytes = |words: Vec<u32>| words.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    let (logits, seen) = (bytes(row.iter().map(|z| z.to_bits()).collect()), bytes(bits));
    let mut inputs: Vec<(&str, &[u8])> = vec![("logits", &logits)];
    // Without a penalty the op takes no set of tokens that were seen.
    inputs.extend(op.kernel().args().iter().any(|arg| arg.name == "seen").then_some(("seen", &seen[..])));
    let outputs = run_on(&HostBackend::cpu(1), &op, &inputs).await?;
    let internal = || Error::device("the choice of a token came to nothing");
    outputs.u32("token").and_then(|ids| ids.first().copied()).ok_or_else(internal)
}
