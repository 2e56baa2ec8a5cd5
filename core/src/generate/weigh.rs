//! Choosing a token on the host, from logits that came back.

use crate::cache::NO_TOKEN;
use crate::check;
use crate::error::{Error, Result};
use crate::host::HostBackend;
use crate::sample::Sampler;
use foveate_kernels::ops::Op;
use foveate_kernels::plan::Access;

/// Chooses a token by the op `sample`, run on the processor: the same on every executor. `seen` are the tokens that a
/// repetition penalty looks at.
pub(super) async fn chosen(row: &[f32], sampler: &mut Sampler, seen: &[u32]) -> Result<u32> {
    let op = Op::from(sampler.next(row.len() as u32));
    let args = op.kernel().args();
    let mut bits = vec![0u32; row.len().div_ceil(32)];
    let ids = seen.iter().filter(|id| **id != NO_TOKEN);
    ids.for_each(|&id| bits[id as usize / 32] |= 1 << (id % 32));
    let to_bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let logits: Vec<u32> = row.iter().map(|z| z.to_bits()).collect();
    let inputs: Vec<Vec<u8>> = args
        .iter()
        .enumerate()
        .map(|(i, arg)| match (arg.access, i) {
            (Access::Write, _) => vec![0; arg.bytes() as usize],
            (_, 0) => to_bytes(&logits),
            _ => to_bytes(&bits),
        })
        .collect();
    let outputs = check::run(&HostBackend::cpu(1), &op, &args, &inputs).await?;
    let written = outputs.iter().rev().find_map(|bytes| bytes.first_chunk::<4>());
    let internal = || Error::device("the choice of a token came to nothing");
    written.map(|bytes| u32::from_le_bytes(*bytes)).ok_or_else(internal)
}
