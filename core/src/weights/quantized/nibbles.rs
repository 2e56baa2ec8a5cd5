//! Matrices of codes of four bits with scales of short blocks: MXFP4 and bitsandbytes'.

use super::{Around, Replacement, expect, expect_type, odd};
use crate::error::{Error, Result, one_line};
use crate::weights::checkpoint::Checkpoint;
use crate::weights::made::{Made, Nested, Normal, Pairs};
use foveate_kernels::dtype::DType;
use foveate_kernels::quant;
use serde_json::Value;

/// Matrices in MXFP4: `NAME_blocks [.., rows, blocks, 16]` and `NAME_scales [.., rows, blocks]`, of bytes.
pub(super) fn pairs(files: &Checkpoint) -> Result<Vec<Replacement>> {
    let mut all = Vec::new();
    for (around, nibbles) in Around::all(files, "_blocks") {
        let [ref front @ .., blocks, 16] = nibbles.shape[..] else { continue };
        let scales = around.require("_scales", &nibbles.shape[..nibbles.shape.len() - 1], &["U8", "F8_E8M0"])?;
        expect_type(nibbles, &["U8"])?;
        let width = blocks.checked_mul(32).ok_or_else(|| odd(nibbles, "fewer blocks"))?;
        let shape = [front, &[width]].concat();
        let inputs = vec![nibbles.clone(), scales.clone()];
        all.push(Made::new(around.base.into(), DType::MXFP4, shape, Pairs { blocks }, inputs)?);
    }
    Ok(all)
}

/// Matrices of bitsandbytes: `NAME` of bytes, and beside it `NAME.absmax`, `NAME.quant_map`, a text that describes them
/// (`NAME.quant_state.bitsandbytes__nf4`), and `NAME.nested_absmax`, `NAME.nested_quant_map` where scales are quantised.
pub(super) async fn bitsandbytes(files: &Checkpoint) -> Result<Vec<Replacement>> {
    let mut all = Vec::new();
    for (around, scales) in Around::all(files, ".absmax") {
        let states = ["nf4", "fp4"].map(|kind| around.get(&format!(".quant_state.bitsandbytes__{kind}")));
        let missing =
            || Error::MissingTensor { name: format!("{}.quant_state.bitsandbytes__nf4", around.base), shape: vec![] };
        let state = states.into_iter().flatten().next().ok_or_else(missing)?;
        expect_type(state, &["U8"])?;
        let bad = |reason: &str| Error::format(&state.name, reason);
        let text: Value = serde_json::from_slice(&files.read(state, 0, state.bytes).await?)
            .map_err(|e| bad(&one_line(&e.to_string())))?;
        let number = |key: &str| text.get(key).and_then(Value::as_u64);
        let shape: Option<Vec<u64>> =
            text.get("shape").and_then(Value::as_array).and_then(|dims| dims.iter().map(Value::as_u64).collect());
        let block = number("blocksize").filter(|n| (1..=1 << 16).contains(n)).ok_or_else(|| bad("no blocksize"))?;
        let shape = shape.filter(|shape| shape.len() == 2).ok_or_else(|| bad("its shape is no matrix's"))?;
        let elements = shape[0].checked_mul(shape[1]).filter(|n| *n > 0).ok_or_else(|| bad("its shape is empty"))?;
        let weight = around.get("").ok_or_else(|| Error::MissingTensor { name: around.base.into(), shape: vec![] })?;
        expect(weight, &[elements.div_ceil(2), 1], &["U8"])?;
        let table = around.require(".quant_map", &[16], &["f32"])?;
        let count = elements.div_ceil(block);
        let mut inputs = vec![weight.clone(), scales.clone(), table.clone()];
        let nested = match number("nested_blocksize") {
            None => {
                expect(scales, &[count], &["f32"])?;
                None
            }
            Some(nested) => {
                let nested =
                    Some(nested).filter(|n| (1..=1 << 16).contains(n)).ok_or_else(|| bad("nested_blocksize"))?;
                expect(scales, &[count], &["U8"])?;
                inputs.push(around.require(".nested_absmax", &[count.div_ceil(nested)], &["f32"])?.clone());
                inputs.push(around.require(".nested_quant_map", &[256], &["f32"])?.clone());
                let offset = text.get("nested_offset").and_then(Value::as_f64).unwrap_or(0.0) as f32;
                Some(Nested { block: nested, offset })
            }
        };
        let mut codes = [0.0; 16];
        quant::decode(DType::F32, &files.read(table, 0, 64).await?, &mut codes);
        let recipe = Normal { width: shape[1], elements, block, normal: codes == quant::NORMAL, nested };
        inputs.push(state.clone());
        all.push(Made::new(around.base.into(), recipe.format(), shape, recipe, inputs)?);
    }
    Ok(all)
}
