//! Comparison of results with expected values, used by every check.

/// Largest accepted difference between a result and its expected value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Tolerance {
    /// Root mean square of the error divided by that of the expected values.
    pub relative_rms: f64,
    /// `e` in `|got - want| <= e (1 + |want|)` for every element; `None` skips the elementwise check.
    pub elementwise: Option<f64>,
}

impl Tolerance {
    /// Outputs and states of a reference, which sums in f64 and takes and returns f32.
    pub const REFERENCE: Tolerance = Tolerance { relative_rms: 2e-6, elementwise: None };
    /// Gradients of a reference.
    pub const REFERENCE_GRADIENT: Tolerance = Tolerance { relative_rms: 1e-5, elementwise: None };
    /// Outputs and states of the f32 executors.
    pub const EXECUTOR: Tolerance = Tolerance { relative_rms: 5e-5, elementwise: Some(1e-3) };
    /// Outputs of products whose activations are rounded to 16
    /// bits. Exact forms are never compared with this tolerance.
    pub const ROUNDED: Tolerance = Tolerance { relative_rms: 5e-5, elementwise: None };
    /// Outputs of two such products multiplied, as in a gated activation.
    /// The error of each factor is scaled by the other factor.
    pub const ROUNDED_GATED: Tolerance = Tolerance { relative_rms: 2e-4, elementwise: None };
    /// Gradients of the f32 executors.
    pub const EXECUTOR_GRADIENT: Tolerance = Tolerance { relative_rms: 5e-4, elementwise: Some(1e-3) };
    /// Logits of a whole model on the reference.
    pub const MODEL_REFERENCE: Tolerance = Tolerance { relative_rms: 1e-5, elementwise: None };
    /// Logits of a whole model on the executors.
    pub const MODEL_EXECUTOR: Tolerance = Tolerance { relative_rms: 2e-4, elementwise: None };
    /// Copies, which must be bit-exact.
    pub const EXACT: Tolerance = Tolerance { relative_rms: 0.0, elementwise: None };
}

/// Result of a comparison.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// `|got - want| / |want|`, in the 2-norm over all elements.
    pub relative_rms: f64,
    /// Largest `|got - want|`; `index`, `got` and `want` describe that element.
    pub largest: f64,
    /// The element with the largest difference.
    pub index: usize,
    /// The value of that element.
    pub got: f32,
    /// The value that was expected of it.
    pub want: f32,
    /// First element where `got` and `want` differ and one of them is not finite.
    pub not_finite: Option<usize>,
    /// Whether the difference is within the tolerance.
    pub within: bool,
}

/// Compares two slices element by element.
///
/// If the lengths differ, the result is never `within`. An expected value that is not
/// finite must be met exactly (NaN by NaN) and does not enter the error. If all expected
/// values are zero, `relative_rms` is the root mean square of the error itself.
pub fn compare(got: &[f32], want: &[f32], tolerance: Tolerance) -> Difference {
    let mut found = Difference {
        relative_rms: f64::INFINITY,
        largest: f64::INFINITY,
        index: 0,
        got: f32::NAN,
        want: f32::NAN,
        not_finite: None,
        within: false,
    };
    if got.len() != want.len() {
        return found;
    }
    let (mut error, mut size, mut exceeded) = (0.0, 0.0, false);
    (found.largest, found.relative_rms) = (-1.0, 0.0);
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let same = g == w || (g.is_nan() && w.is_nan());
        if !w.is_finite() || !g.is_finite() {
            if !same {
                found.not_finite = found.not_finite.or(Some(i));
            }
            continue;
        }
        let d = f64::from(g) - f64::from(w);
        error += d * d;
        size += f64::from(w) * f64::from(w);
        exceeded |= tolerance.elementwise.is_some_and(|e| d.abs() > e * (1.0 + f64::from(w).abs()));
        if d.abs() > found.largest {
            (found.largest, found.index, found.got, found.want) = (d.abs(), i, g, w);
        }
    }
    found.largest = found.largest.max(0.0);
    let n = got.len().max(1) as f64;
    found.relative_rms = if size > 0.0 { libm::sqrt(error / size) } else { libm::sqrt(error / n) };
    found.within = found.not_finite.is_none() && !exceeded && found.relative_rms <= tolerance.relative_rms;
    found
}

impl core::fmt::Display for Difference {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if let Some(i) = self.not_finite {
            return write!(f, "not finite at {i}");
        }
        if self.largest.is_infinite() {
            return f.write_str("lengths differ");
        }
        write!(
            f,
            "relative rms {:.2e}, largest {:.2e} at {} (got {}, want {})",
            self.relative_rms, self.largest, self.index, self.got, self.want
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compare_refuses_what_is_not_there() {
        assert!(!compare(&[1.0], &[1.0, 2.0], Tolerance::EXECUTOR).within);
        assert!(!compare(&[f32::NAN], &[1.0], Tolerance::EXECUTOR).within);
        assert!(!compare(&[1.0], &[f32::INFINITY], Tolerance::EXECUTOR).within);
        assert!(compare(&[f32::NEG_INFINITY], &[f32::NEG_INFINITY], Tolerance::EXECUTOR).within);
    }

    #[test]
    fn compare_holds_both_bounds() {
        // One element in ten million is off by 0.1: within the root mean square bound, beyond the elementwise bound.
        let want = alloc::vec![1.0f32; 10_000_000];
        let mut got = want.clone();
        got[77] = 1.1;
        let found = compare(&got, &want, Tolerance::EXECUTOR);
        assert!(found.relative_rms < 5e-5 && !found.within && found.index == 77);
        assert!(compare(&want, &want, Tolerance::EXACT).within);
    }
}
