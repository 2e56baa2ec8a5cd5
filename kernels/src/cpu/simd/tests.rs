use super::{Function, Simd};
use crate::draw::weights;
use crate::dtype::DType;
use crate::rng::Rng;
use alloc::{vec, vec::Vec};

/// Lengths around register and unroll sizes: shorter than one register, whole registers, one more and one less.
const LENGTHS: [usize; 14] = [0, 1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 67, 131];

fn close(got: f32, want: f64, size: f64) {
    assert!((f64::from(got) - want).abs() <= 2e-6 * size.max(1.0), "{got}, expected {want}");
}

#[test]
fn simd_levels_agree_on_sums_and_products() {
    for simd in Simd::available() {
        for n in LENGTHS {
            let mut rng = Rng::new(n as u64);
            let (a, b) = (rng.normals(n, 1.0), rng.normals(n, 1.0));
            let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
                a.iter().zip(&b).map(|(&a, &b)| f(f64::from(a), f64::from(b))).sum()
            };
            close(simd.dot(&a, &b), sum(&|a, b| a * b), n as f64);
            close(simd.sum(&a), sum(&|a, _| a), n as f64);
            close(simd.squares(&a, 0.5), sum(&|a, _| (a - 0.5) * (a - 0.5)), n as f64);
            assert_eq!(simd.max(&a), a.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            for floor in [f32::NEG_INFINITY, -0.5, 0.5, 9.0] {
                let (mut at, want) = (vec![0; a.len()], (0..a.len() as u32).filter(|i| a[*i as usize] >= floor));
                let count = simd.above(&a, floor, &mut at);
                assert!(want.eq(at[..count].iter().copied()));
            }
        }
    }
}

#[test]
fn simd_rows_and_columns_are_products() {
    for simd in Simd::available() {
        for (rows, width, stride) in [(1, 1, 1), (3, 7, 9), (4, 16, 16), (9, 64, 70), (6, 131, 131), (5, 33, 40)] {
            let mut rng = Rng::new(width as u64);
            let (a, weights, matrix) =
                (rng.normals(width, 1.0), rng.normals(rows, 1.0), rng.normals(rows * stride, 1.0));
            let (mut dots, mut sums) = (vec![f32::NAN; rows], vec![1.0; width]);
            simd.dots(&a, &matrix, stride, &mut dots);
            simd.add_rows(&weights, &matrix, stride, &mut sums);
            let at = |j: usize, i: usize| f64::from(matrix[j * stride + i]);
            for (j, dot) in dots.iter().enumerate() {
                close(*dot, (0..width).map(|i| f64::from(a[i]) * at(j, i)).sum(), width as f64);
            }
            for (i, sum) in sums.iter().enumerate() {
                close(*sum, 1.0 + (0..rows).map(|j| f64::from(weights[j]) * at(j, i)).sum::<f64>(), rows as f64);
            }
        }
    }
}

#[test]
fn simd_products_of_several_vectors_are_those_of_each() {
    for simd in Simd::available() {
        for (count, rows, width, stride) in [
            (1, 3, 7, 9),
            (2, 4, 16, 16),
            (3, 9, 64, 70),
            (4, 6, 131, 131),
            (5, 5, 33, 40),
            (8, 21, 128, 256),
            (7, 1, 1, 1),
        ] {
            let (mut rng, out_stride) = (Rng::new(count as u64), rows + 3);
            let (a, weights, matrix) = (
                rng.normals(count * width, 1.0),
                rng.normals(count * out_stride, 1.0),
                rng.normals(rows * stride, 1.0),
            );
            let (mut dots, mut sums) = (vec![9.0; count * out_stride], vec![1.0; count * width]);
            let (mut want_dots, mut want_sums) = (dots.clone(), sums.clone());
            simd.dots_of_several(&a, &matrix, [count, width, rows], [stride, out_stride], &mut dots);
            simd.add_rows_to_several(&weights, &matrix, [count, width, rows], [stride, out_stride], &mut sums);
            for t in 0..count {
                let out = &mut want_dots[t * out_stride..][..rows];
                simd.dots(&a[t * width..][..width], &matrix, stride, out);
                let out = &mut want_sums[t * width..][..width];
                simd.add_rows(&weights[t * out_stride..][..rows], &matrix, stride, out);
            }
            assert_eq!((dots, sums), (want_dots, want_sums));
        }
    }
}

#[test]
fn simd_products_of_cached_matrices() {
    for simd in Simd::available() {
        let sizes: [[usize; 3]; 7] =
            [[1, 1, 1], [6, 5, 16], [13, 33, 131], [9, 0, 40], [2, 64, 80], [0, 3, 4], [7, 8, 0]];
        for [rows, terms, columns] in sizes {
            for add in [false, true] {
                let [a_stride, b_stride, c_stride] = [terms + 3, columns.next_multiple_of(super::PADDED), columns + 1];
                let mut rng = Rng::new((rows + terms) as u64);
                let (a, b) = (rng.normals(rows * a_stride, 1.0), rng.normals(columns * terms, 1.0));
                // Rows of `b` from its columns; padding must not affect the product.
                let mut right = vec![f32::NAN; terms * b_stride];
                simd.transpose(&b, &mut right, [columns, terms], [terms, b_stride]);
                let mut c = vec![2.0; rows * c_stride];
                simd.multiply(&a, &right, &mut c, [rows, terms, columns], [a_stride, b_stride, c_stride], add);
                // Repeats the product with the right side in strips of columns.
                let mut strips = vec![f32::NAN; terms * b_stride];
                let (size, between) = ([columns, terms], super::PADDED * terms);
                simd.transpose_strips(&b, &mut strips, size, [terms, super::PADDED, between]);
                let (right, mut same) = (super::Right::strips(&strips, terms), vec![2.0; rows * c_stride]);
                simd.product(&a, right, &mut same, [rows, terms, columns], [a_stride, c_stride], add);
                assert_eq!(same, c);
                for (r, line) in c.chunks_exact(c_stride).enumerate() {
                    for (n, &got) in line[..columns].iter().enumerate() {
                        let at = |t: usize| f64::from(a[r * a_stride + t]) * f64::from(b[n * terms + t]);
                        close(got, (0..terms).map(at).sum::<f64>() + if add { 2.0 } else { 0.0 }, terms as f64);
                    }
                    assert_eq!(line[columns], 2.0, "written behind a row");
                }
            }
        }
    }
}

#[test]
fn simd_functions_are_accurate_and_reach_their_limits() {
    let tanh_gelu =
        |x: f64| x / (1.0 + libm::exp(-2.0 * libm::sqrt(2.0 / core::f64::consts::PI) * (x + 0.044715 * x * x * x)));
    #[allow(clippy::type_complexity)]
    let functions: [(Function, &dyn Fn(f64) -> f64, f64); 8] = [
        (Function::Exp, &libm::exp, 2e-7),
        (Function::Tanh, &libm::tanh, 2e-7),
        (Function::Silu, &|x| x / (1.0 + libm::exp(-x)), 3e-7),
        (Function::Sigmoid, &|x| 1.0 / (1.0 + libm::exp(-x)), 3e-7),
        (Function::Gelu, &|x| 0.5 * x * libm::erfc(-x / core::f64::consts::SQRT_2), 6e-7),
        (Function::GeluTanh, &tanh_gelu, 3e-7),
        (Function::Relu, &|x| x.max(0.0), 0.0),
        (Function::Relu2, &|x| x.max(0.0) * x.max(0.0), 1e-7),
    ];
    let limits = [-3e38, -1e20, -200.0, -0.0, 0.0, 1e-30, 200.0, 1e20, 3e38];
    let inputs: Vec<f32> = (-8000..8000).map(|i| i as f32 * 1e-3).chain(limits).collect();
    for simd in Simd::available() {
        for (function, exact, tolerance) in functions {
            let mut got = inputs.clone();
            simd.apply(function, &mut got);
            for (&got, &x) in got.iter().zip(&inputs) {
                let want = exact(f64::from(x)) as f32;
                // Rounding the exponent makes the relative error grow with
                // its magnitude, beyond -3 for arguments that underflow.
                let tolerance = tolerance * if x < -1.0 { f64::from(x * x).min(64.0) } else { 1.0 };
                let off = (f64::from(got) - f64::from(want)).abs();
                let close = off <= tolerance * f64::from(want.abs()) + 1e-37 || got == want;
                assert!(close, "{function:?}({x}) is {got} on {}, expected {want}", simd.name());
            }
            let mut nan = [f32::NAN];
            simd.apply(function, &mut nan);
            assert_eq!(nan[0].is_nan(), !matches!(function, Function::Relu | Function::Relu2), "{function:?} of NaN");
        }
    }
}

#[test]
fn simd_exp_underflows_through_subnormal_numbers() {
    for simd in Simd::available() {
        let mut x = [-87.0, -88.0, -100.0, -103.0, -104.5, -1e30, f32::NEG_INFINITY, 88.7, 89.0, f32::INFINITY];
        let want = x.map(libm::expf);
        simd.apply(Function::Exp, &mut x);
        for (got, want) in x.into_iter().zip(want) {
            assert!(got == want || (got - want).abs() <= 3e-7 * want + 2e-45, "{got}, expected {want}");
        }
        let mut row = [0.5, -1.0, f32::NEG_INFINITY];
        close(simd.exp_sum(&mut row, 0.5), 1.0 + libm::exp(-1.5), 1.0);
        assert_eq!((row[0], row[2]), (1.0, 0.0));
    }
}

#[test]
fn simd_weights_decode_as_the_definition() {
    for simd in Simd::available() {
        for format in DType::WEIGHTS {
            for blocks in [1, 2, 5] {
                let ragged = if format.block_len() == 1 { 7 } else { 0 };
                let n = format.block_len().max(32) as usize * blocks + ragged;
                let mut rng = Rng::new(n as u64);
                let bytes = weights(format, n, &mut rng);
                let (mut got, mut want) = (vec![f32::NAN; n], vec![0.0; n]);
                simd.decode(format, &bytes, &mut got);
                crate::quant::decode(format, &bytes, &mut want);
                got.iter().zip(&want).for_each(|(&g, &w)| close(g, f64::from(w), 0.1));
                for tokens in 1..=4 {
                    let x = rng.normals(tokens * (n + 3), 1.0);
                    let mut out = vec![f32::NAN; tokens];
                    simd.weight_dots(format, &bytes, bytes.len(), &x, [tokens, n, n + 3], &mut out);
                    for (t, &out) in out.iter().enumerate() {
                        let x = &x[t * (n + 3)..][..n];
                        let dot = x.iter().zip(&want).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
                        close(out, dot, 10.0 * n as f64);
                    }
                }
            }
        }
    }
}

#[test]
fn simd_f16_covers_all_values() {
    let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let mut want = vec![0.0; 1 << 16];
    crate::quant::decode(DType::F16, &bytes, &mut want);
    for simd in Simd::available() {
        let mut got = vec![0.0; 1 << 16];
        simd.decode(DType::F16, &bytes, &mut got);
        assert!(got.iter().zip(&want).all(|(g, w)| g.to_bits() == w.to_bits() || (g.is_nan() && w.is_nan())));
    }
}
