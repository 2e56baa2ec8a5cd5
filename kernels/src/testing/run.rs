//! An op's inputs, its definition's outputs, and an assertion that compares with them: what a test of a kernel needs.

use super::{Tolerance, compare};
use crate::cpu::{Args, View};
use crate::error::Result;
use crate::ops::Op;
use crate::plan::{Access, Tensors, order};
use crate::rng::Rng;
use alloc::{vec, vec::Vec};

/// Draws inputs that make a meaningful run of `op`, by the names of its arguments: ids inside the vocabulary, page tables
/// inside the pool, normal values elsewhere. Arguments that are only written are not among them.
///
/// # Errors
/// `Shape` for a spec that is not valid.
pub fn draw_inputs(op: &Op, seed: u64) -> Result<Tensors> {
    op.kernel().validate()?;
    let mut inputs = Tensors::default();
    let drawn = op.kernel().inputs(&mut Rng::new(seed));
    for (arg, bytes) in op.kernel().args().iter().zip(drawn).filter(|(arg, _)| arg.access != Access::Write) {
        inputs.push(arg, bytes);
    }
    Ok(inputs)
}

/// Runs the definition of `op` over inputs by name, in any order, and returns what it writes. Arguments that are only
/// written may be left out: they hold NaN bits before the run.
///
/// ```
/// use foveate_kernels::attention;
/// use foveate_kernels::testing::{Tolerance, assert_close, draw_inputs, run_reference};
///
/// # fn main() -> Result<(), foveate_kernels::error::Error> {
/// let op = attention::Spec::causal(1, 1, 1, 1, 1, 4).into(); // one query of one head over one key
/// let inputs = draw_inputs(&op, 7)?;
/// let want = run_reference(&op, &inputs.views())?;
///
/// // A kernel of one's own: of one key, attention is its value.
/// let got = inputs.f32("v").expect("v is drawn in f32");
/// assert_close("out", &got, &want.f32("out").expect("out is f32"), Tolerance::EXECUTOR);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Shape` for a spec or a length that does not fit, `Operand` for a name that is unknown, missing or given twice.
pub fn run_reference(op: &Op, inputs: &[(&str, &[u8])]) -> Result<Tensors> {
    op.kernel().validate()?;
    let args = op.kernel().args();
    let places = order(op.name(), &args, &inputs.iter().map(|(name, _)| *name).collect::<Vec<_>>())?;
    let lengths = args.iter().zip(&places).map(|(arg, place)| match place {
        Some(place) => inputs[*place].1.len() as u64,
        None => arg.bytes(),
    });
    op.check(&lengths.collect::<Vec<_>>())?;
    // Views are aligned to whole words.
    let mut memory: Vec<Vec<u32>> = Vec::new();
    for (arg, place) in args.iter().zip(&places) {
        let bytes = arg.bytes() as usize;
        let mut words = vec![u32::MAX; bytes.div_ceil(4)];
        if let Some(place) = place {
            bytemuck::cast_slice_mut::<u32, u8>(&mut words)[..bytes].copy_from_slice(&inputs[*place].1[..bytes]);
        }
        memory.push(words);
    }
    let views = memory.iter_mut().zip(&args).map(|(words, arg)| match arg.access {
        Access::Read => View::In(bytemuck::cast_slice(words)),
        _ => View::Out(bytemuck::cast_slice_mut(words)),
    });
    op.kernel().reference(&mut Args::new(&args, views.collect()));
    let mut outputs = Tensors::default();
    for (arg, words) in args.iter().zip(&memory).filter(|(arg, _)| arg.access.writes()) {
        outputs.push(arg, bytemuck::cast_slice(words)[..arg.bytes() as usize].to_vec());
    }
    Ok(outputs)
}

/// Asserts that `got` is as close to `want` as `tolerance` asks; see [`compare`] for infinities and NaN.
///
/// A kernel that computes in f32 is measured by [`Tolerance::EXECUTOR`], its gradients by
/// [`Tolerance::EXECUTOR_GRADIENT`]: those are what foveate's own kernels are held to.
///
/// # Panics
/// If it is not, with the largest error, its place and both values.
#[track_caller]
pub fn assert_close(name: &str, got: &[f32], want: &[f32], tolerance: Tolerance) {
    let found = compare(got, want, tolerance);
    let lengths = (got.len(), want.len());
    assert!(lengths.0 == lengths.1, "{name} has {} elements, expected {}", lengths.0, lengths.1);
    assert!(found.within, "{name} is not within the tolerance: {found}; allowed {tolerance:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::{attention, norm};

    #[test]
    fn run_reference_takes_names_in_any_order_and_refuses_wrong_ones() {
        let op = Op::from(attention::Spec::causal(1, 1, 1, 1, 1, 4));
        let inputs = draw_inputs(&op, 3).unwrap();
        let mut views = inputs.views();
        views.reverse();
        let want = inputs.f32("v").expect("v is drawn in f32");
        assert_eq!(run_reference(&op, &views).unwrap().f32("out"), Some(want));
        assert!(matches!(run_reference(&op, &views[1..]), Err(Error::Operand { problem: "is missing", .. })));
        let short = [("q", &[0u8; 4][..]), views[1], views[0]];
        assert!(matches!(run_reference(&op, &short), Err(Error::Shape { arg: "q", .. })));
    }

    #[test]
    fn draw_inputs_refuses_a_spec_that_is_not_valid() {
        let op = Op::from(norm::Spec::rms(1, 0, 1e-6));
        assert!(matches!(draw_inputs(&op, 1), Err(Error::Shape { arg: "dim", .. })));
    }

    #[test]
    #[should_panic(expected = "out is not within the tolerance")]
    fn assert_close_refuses_a_result_that_is_off() {
        assert_close("out", &[1.0, 2.0], &[1.0, 2.1], Tolerance::EXECUTOR);
    }
}
