use super::{BLOCK, Bytes, LARGEST, Panel};
use crate::cpu::Tile;
use crate::draw::weights;
use crate::dtype::DType;
use crate::quant;
use crate::rng::Rng;
use alloc::{vec, vec::Vec};

/// Returns every unit, with two bytes per activation and with one.
fn units() -> Vec<Bytes> {
    [Bytes::PORTABLE].into_iter().chain(Bytes::available()).flat_map(|bytes| [bytes, bytes.coarse()]).collect()
}

/// Returns activations as a unit with one byte rounds them.
fn coarse(x: &[f32]) -> Vec<f32> {
    let block = |x: &[f32]| {
        let max = x.iter().fold(0.0f32, |max, x| max.max(x.abs()));
        let q = |x: f32| (libm::rintf(x * (LARGEST / max)) as i32 + 128) >> 8;
        x.iter().map(|x| if max > 0.0 { 256.0 * q(*x) as f32 * (max / LARGEST) } else { 0.0 }).collect::<Vec<_>>()
    };
    x.chunks_exact(BLOCK).flat_map(block).collect()
}

/// Rounds, packs and multiplies on every unit. Products with
/// and without packing must match those of the decoded weights.
#[test]
fn bytes_multiply_as_decoded_weights_do() {
    let units = units();
    let formats = DType::WEIGHTS.into_iter().filter(|format| Bytes::takes(*format));
    for (format, bytes) in formats.flat_map(|f| units.iter().map(move |u| (f, u))) {
        for (tokens, blocks, outputs) in
            [(1, 1, 1), (2, 2, 4), (3, 17, 5), (4, 33, 18), (9, 3, 33), (13, 16, 40), (9, 140, 2), (1, 4104, 1)]
        {
            let (inputs, mut rng) = (format.block_len() as usize * blocks, Rng::new(blocks as u64));
            let mut x = rng.normals(tokens * inputs, 1.0);
            x[..32].fill(0.0);
            let rows = weights(format, outputs * inputs, &mut rng);
            let row_bytes = rows.len() / outputs;
            let mut decoded = vec![0.0; outputs * inputs];
            quant::decode(format, &rows, &mut decoded);

            let mut rounded = bytes.rounded(tokens, inputs);
            for (row, x) in rounded.rows_mut().zip(x.chunks_exact(inputs)) {
                bytes.round(x, row);
            }
            if bytes.coarse {
                x = coarse(&x);
            }
            let mut y = vec![f32::NAN; tokens * (outputs + 1)];
            let mut panel = Panel::new(format, outputs, inputs);
            bytes.pack(format, &rows, row_bytes, &mut panel);
            bytes.multiply(&panel, &rounded, &mut Tile::new(&mut y, [tokens, outputs], outputs + 1));
            for first in (0..tokens).step_by(4) {
                let some = first..tokens.min(first + 4);
                let mut dots = vec![f32::NAN; outputs * some.len()];
                bytes.dots(format, &rows, row_bytes, &rounded, some.clone(), &mut dots);
                for (n, w) in decoded.chunks_exact(inputs).enumerate() {
                    for t in some.clone() {
                        let terms = || w.iter().zip(&x[t * inputs..]).map(|(w, x)| f64::from(*w) * f64::from(*x));
                        let (want, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                        for got in [y[t * (outputs + 1) + n], dots[n * some.len() + t - first]] {
                            assert!((f64::from(got) - want).abs() <= 3e-5 * size, "{format} {bytes:?} {got} {want}");
                        }
                    }
                }
            }
            assert!(y[outputs].is_nan(), "what lies between the rows is left alone");
        }
    }
}

/// The emulator of the tests has dot products: without them, the tests here would pass and show nothing.
#[cfg(all(target_arch = "aarch64", feature = "std"))]
#[test]
fn bytes_have_dot_products_in_emulation() {
    if std::env::var_os("REQUIRE_DOT_PRODUCTS").is_some() {
        assert!(Bytes::detect().is_some());
    }
}

#[test]
fn bytes_hand_on_what_is_not_finite() {
    for bytes in units() {
        for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (mut x, mut rounded, mut out) = (vec![1.0; 64], bytes.rounded(1, 64), [0.0]);
            x[40] = special;
            for row in rounded.rows_mut() {
                bytes.round(&x, row);
            }
            bytes.dots(DType::Q8_0, &weights(DType::Q8_0, 64, &mut Rng::new(3)), 68, &rounded, 0..1, &mut out);
            assert!(!out[0].is_finite());
        }
    }
}

#[test]
fn bytes_take_the_smallest_activations_as_0() {
    for bytes in units() {
        for tiny in [1e-45, 1e-42, 1e-38, 1e-31] {
            let (mut rounded, mut out) = (bytes.rounded(1, 64), [f32::NAN]);
            let x: Vec<f32> = (0..64).map(|i| if i % 2 == 0 { tiny } else { -tiny / 2.0 }).collect();
            for row in rounded.rows_mut() {
                bytes.round(&x, row);
            }
            bytes.dots(DType::Q8_0, &weights(DType::Q8_0, 64, &mut Rng::new(3)), 68, &rounded, 0..1, &mut out);
            assert_eq!(out[0], 0.0, "{tiny}");
        }
    }
}
