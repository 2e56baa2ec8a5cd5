//! Matrices of whole numbers of a few bits with scales and zeros of groups: GPTQ, AWQ, and compressed-tensors' packed ones.

use super::{Around, Replacement, expect, expect_type, odd};
use crate::error::{Error, Result};
use crate::weights::checkpoint::Checkpoint;
use crate::weights::made::{Grouped, Layout, Made, ScaleType};
use crate::weights::tensor::TensorInfo;

const FLOATS: [&str; 3] = ["f16", "bf16", "f32"];

/// Returns the type of scales that were checked to be floats.
fn floats(scales: &TensorInfo) -> Result<ScaleType> {
    expect_type(scales, &FLOATS)?;
    ScaleType::of(scales).ok_or_else(|| odd(scales, "floats"))
}

/// GPTQ: `NAME.qweight`, `NAME.scales`, and `NAME.qzeros` and `NAME.g_idx` where they are.
pub(super) async fn gptq(
    files: &Checkpoint,
    bits: u32,
    size: Option<u64>,
    symmetric: bool,
    less: u32,
) -> Result<Vec<Replacement>> {
    let mut all = Vec::new();
    for (around, words) in Around::all(files, ".qweight") {
        let [packed, outputs] = words.shape[..] else { return Err(odd(words, "[inputs bits / 32, outputs]")) };
        expect_type(words, &["i32"])?;
        let inputs = packed.checked_mul(32).map(|n| n / u64::from(bits)).filter(|n| *n > 0);
        let inputs = inputs.ok_or_else(|| odd(words, "fewer inputs"))?;
        let size = size.unwrap_or(inputs);
        let groups = inputs.div_ceil(size);
        let scales = around.require(".scales", &[groups, outputs], &FLOATS)?;
        let mut parts = vec![words.clone(), scales.clone()];
        let words = (outputs * u64::from(bits)).div_ceil(32);
        let zeros = zeros(&around, ".qzeros", &[groups, words], &mut parts)?;
        let order = order(files, &around, ".g_idx", [inputs, groups, size], &mut parts).await?;
        let recipe = Grouped {
            layout: Layout::Gptq { less },
            bits,
            inputs,
            outputs,
            groups,
            size,
            scales: floats(scales)?,
            zeros,
            symmetric: symmetric || !zeros,
            order,
        };
        let name = format!("{}.weight", around.base);
        all.push(Made::new(name, recipe.format(), vec![outputs, inputs], recipe, parts)?);
    }
    Ok(all)
}

/// Adds the packed zeros of groups to `parts`, and returns whether there are any.
fn zeros(around: &Around<'_>, name: &str, shape: &[u64], parts: &mut Vec<TensorInfo>) -> Result<bool> {
    let Some(zeros) = around.get(name) else { return Ok(false) };
    expect(zeros, shape, &["i32"])?;
    parts.push(zeros.clone());
    Ok(true)
}

/// Returns the group of each input if the groups do not follow each other. Adds the tensor that says so to `parts`.
async fn order(
    files: &Checkpoint,
    around: &Around<'_>,
    name: &str,
    [inputs, groups, size]: [u64; 3],
    parts: &mut Vec<TensorInfo>,
) -> Result<Option<Vec<u32>>> {
    let Some(index) = around.get(name) else { return Ok(None) };
    expect(index, &[inputs], &["i32"])?;
    parts.push(index.clone());
    let bytes = files.read(index, 0, index.bytes).await?;
    let order: Vec<u32> = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    if let Some(group) = order.iter().find(|group| u64::from(**group) >= groups) {
        return Err(Error::format(&index.name, format!("group {group} of {groups}")));
    }
    let follows = (0u64..).zip(&order).all(|(i, group)| i / size == u64::from(*group));
    Ok((!follows).then_some(order))
}

/// AWQ: `NAME.qweight [inputs, outputs / 8]`, `NAME.qzeros`, `NAME.scales`.
pub(super) fn awq(files: &Checkpoint, size: Option<u64>) -> Result<Vec<Replacement>> {
    let mut all = Vec::new();
    for (around, words) in Around::all(files, ".qweight") {
        let [inputs, packed] = words.shape[..] else { return Err(odd(words, "[inputs, outputs / 8]")) };
        expect_type(words, &["i32"])?;
        let outputs = packed.checked_mul(8).ok_or_else(|| odd(words, "fewer outputs"))?;
        let size = size.unwrap_or(inputs).max(1);
        let groups = inputs.div_ceil(size);
        let scales = around.require(".scales", &[groups, outputs], &FLOATS)?;
        let zeros = around.require(".qzeros", &[groups, packed], &["i32"])?;
        let recipe = Grouped {
            layout: Layout::Awq,
            bits: 4,
            inputs,
            outputs,
            groups,
            size,
            scales: floats(scales)?,
            zeros: true,
            symmetric: false,
            order: None,
        };
        let parts = vec![words.clone(), scales.clone(), zeros.clone()];
        let name = format!("{}.weight", around.base);
        all.push(Made::new(name, recipe.format(), vec![outputs, inputs], recipe, parts)?);
    }
    Ok(all)
}

/// compressed-tensors: `NAME.weight_packed [outputs, inputs bits / 32]`, `NAME.weight_scale [outputs, groups]`,
/// `NAME.weight_shape [2]`, and `NAME.weight_zero_point` and `NAME.weight_g_idx` where they are.
pub(super) async fn packed(
    files: &Checkpoint,
    bits: u32,
    size: Option<u64>,
    symmetric: bool,
) -> Result<Vec<Replacement>> {
    let mut all = Vec::new();
    for (around, words) in Around::all(files, ".weight_packed") {
        let [outputs, row] = words.shape[..] else { return Err(odd(words, "[outputs, inputs bits / 32]")) };
        expect_type(words, &["i32"])?;
        let shape = around.require(".weight_shape", &[2], &["I64", "i32"])?;
        let bytes = files.read(shape, 0, shape.bytes).await?;
        let dims: Vec<u64> = match bytes.len() {
            16 => bytes
                .chunks_exact(8)
                .map(|b| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
                .collect(),
            _ => bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()).collect(),
        };
        let inputs = dims[1];
        let fits = inputs > 0 && inputs.checked_mul(bits.into()).map(|n| n.div_ceil(32)) == Some(row);
        if dims[0] != outputs || !fits {
            return Err(Error::format(&shape.name, format!("it says {dims:?}, the words are {:?}", words.shape)));
        }
        let size = size.unwrap_or(inputs);
        let groups = inputs.div_ceil(size);
        let scales = around.require(".weight_scale", &[outputs, groups], &FLOATS)?;
        let mut parts = vec![words.clone(), scales.clone()];
        let words = (outputs * u64::from(bits)).div_ceil(32);
        let zeros = zeros(&around, ".weight_zero_point", &[words, groups], &mut parts)?;
        let order = order(files, &around, ".weight_g_idx", [inputs, groups, size], &mut parts).await?;
        let recipe = Grouped {
            layout: Layout::Rows,
            bits,
            inputs,
            outputs,
            groups,
            size,
            scales: floats(scales)?,
            zeros,
            symmetric: symmetric || !zeros,
            order,
        };
        parts.push(shape.clone());
        let name = format!("{}.weight", around.base);
        all.push(Made::new(name, recipe.format(), vec![outputs, inputs], recipe, parts)?);
    }
    Ok(all)
}
