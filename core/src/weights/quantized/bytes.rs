//! Matrices of bytes with scales beside them: FP8, signed bytes, and BitNet's, of which a byte holds four numbers.

use super::{Around, Replacement, expect_type, is, odd};
use crate::error::{Error, Result};
use crate::weights::checkpoint::Checkpoint;
use crate::weights::made::{Code, Made, ScaleType, Scaled, Ternary};
use crate::weights::tensor::TensorInfo;

/// Matrices in FP8 with `NAME_scale_inv` or `NAME_scale`, both of which are factors, and those of signed bytes with the
/// latter. `block` holds the rows and columns that share a scale, where scales are a matrix.
pub(super) fn scaled(files: &Checkpoint, block: [u64; 2]) -> Result<Vec<Replacement>> {
    let mut all = Vec::new();
    for tensor in files.tensors() {
        let code = match () {
            () if is(tensor, "F8_E4M3") && !tensor.name.ends_with("_scale") => Code::E4m3,
            () if is(tensor, "I8") => Code::Int8,
            () => continue,
        };
        let around = Around { files, base: &tensor.name };
        let scales = around.get("_scale_inv").or_else(|| around.get("_scale"));
        let missing = || Error::MissingTensor { name: format!("{}_scale", tensor.name), shape: vec![1] };
        let scales = scales.ok_or_else(missing)?;
        let (block, grid) = grid(tensor, scales, block)?;
        let mut inputs = vec![tensor.clone(), scales.clone()];
        // Of activations, which are not quantised here.
        let module = Around { files, base: tensor.name.strip_suffix("weight").unwrap_or(&tensor.name) };
        inputs.extend(["input_scale", "activation_scale"].iter().filter_map(|name| module.get(name)).cloned());
        all.push(made(tensor, code, [block, grid], ScaleType::of(scales), 1.0, inputs)?);
    }
    Ok(all)
}

/// bitsandbytes' matrices of signed bytes: `NAME.weight`, and `NAME.SCB [rows]`, the largest magnitude of each row.
pub(super) fn int8(files: &Checkpoint) -> Result<Vec<Replacement>> {
    let mut all = Vec::new();
    for (around, scales) in Around::all(files, ".SCB") {
        let [rows] = scales.shape[..] else { return Err(odd(scales, "[rows]")) };
        expect_type(scales, &["f32"])?;
        let weight = around.get(".weight").filter(|weight| is(weight, "I8") && weight.shape.len() == 2);
        let Some(weight) = weight.filter(|weight| weight.shape[0] == rows) else {
            return Err(Error::MissingTensor { name: format!("{}.weight", around.base), shape: vec![rows] });
        };
        let mut inputs = vec![weight.clone(), scales.clone()];
        inputs.extend(around.get(".weight_format").cloned());
        let of = [[1, weight.shape[1]], [rows, 1]];
        all.push(made(weight, Code::Int8, of, ScaleType::of(scales), 127.0, inputs)?);
    }
    Ok(all)
}

fn made(
    tensor: &TensorInfo,
    code: Code,
    [block, grid]: [[u64; 2]; 2],
    scales: Option<ScaleType>,
    divisor: f32,
    inputs: Vec<TensorInfo>,
) -> Result<Replacement> {
    let unknown = |tensor: &TensorInfo| Error::UnsupportedTensorType {
        tensor: tensor.name.clone(),
        dtype: tensor.stored.to_string(),
    };
    let scales = scales.ok_or_else(|| unknown(&inputs[1]))?;
    let [.., of, width] = tensor.shape[..] else { return Err(odd(tensor, "a matrix")) };
    let recipe = Scaled { code, width, of, block, grid, scales, divisor };
    Made::new(tensor.name.clone(), recipe.format(), tensor.shape.clone(), recipe, inputs)
}

/// Returns the rows and columns that share a scale, and the rows and columns of the scales of a matrix.
fn grid(tensor: &TensorInfo, scales: &TensorInfo, block: [u64; 2]) -> Result<([u64; 2], [u64; 2])> {
    let [ref front @ .., rows, width] = tensor.shape[..] else { return Err(odd(tensor, "a matrix")) };
    let matrices: u64 = front.iter().product();
    if scales.elements() == matrices {
        return Ok(([rows, width], [1, 1]));
    }
    if scales.elements() == matrices * rows && scales.shape.last().is_some_and(|n| *n == 1 || *n == rows) {
        return Ok(([1, width], [rows, 1]));
    }
    let grid = [rows.div_ceil(block[0]), width.div_ceil(block[1])];
    let expected = [front, &grid].concat();
    match scales.shape == expected {
        true => Ok((block, grid)),
        false => Err(Error::TensorShape { name: scales.name.clone(), expected, got: scales.shape.clone() }),
    }
}

/// BitNet's matrices: `NAME.weight [rows / 4, width]` of bytes, and `NAME.weight_scale` of one number.
pub(super) async fn ternary(files: &Checkpoint, divide: bool) -> Result<Vec<Replacement>> {
    let mut all = Vec::new();
    for (around, tensor) in Around::all(files, ".weight").filter(|(_, tensor)| is(tensor, "U8")) {
        let [packed, width] = tensor.shape[..] else { return Err(odd(tensor, "[rows / 4, width]")) };
        let missing = || Error::MissingTensor { name: format!("{}.weight_scale", around.base), shape: vec![1] };
        let scale = around.get(".weight_scale").filter(|scale| scale.elements() == 1).ok_or_else(missing)?;
        expect_type(scale, &["f32", "f16", "bf16"])?;
        let unknown = || odd(scale, "a number");
        let kind = ScaleType::of(scale).ok_or_else(unknown)?;
        let given = kind.decode(&files.read(scale, 0, scale.bytes).await?).first().copied().unwrap_or(0.0);
        let factor = if divide { 1.0 / given } else { given };
        if !(factor.is_finite() && factor != 0.0) {
            return Err(Error::format(&scale.name, format!("it is {given}: a scale is finite and not 0")));
        }
        let rows = packed.checked_mul(4).ok_or_else(|| odd(tensor, "fewer rows"))?;
        let recipe = Ternary { rows, width, scale: factor };
        let inputs = vec![tensor.clone(), scale.clone()];
        all.push(Made::new(tensor.name.clone(), recipe.format(), vec![rows, width], recipe, inputs)?);
    }
    Ok(all)
}
