use super::{Split, Tiles};
use crate::cpu::{Matrix, Tile};
use crate::rng::Rng;
use alloc::{vec, vec::Vec};

/// Computes `c = a b`, or `c += a b` with `add`.
fn product(tiles: Tiles, a: Matrix<'_>, b: Matrix<'_>, c: &mut Tile<'_>, add: bool) {
    let [m, k] = a.shape();
    // The left side requires contiguous terms.
    let dense: Vec<f32> = (0..m * k).map(|i| a.get(i / k, i % k)).collect();
    let (mut left, mut right) = (Split::new(), Split::new());
    tiles.left(Matrix::new(&dense, [m, k], k), &mut left);
    tiles.right(b, &mut right);
    tiles.multiply(&left, &right, c, add);
}

#[test]
fn tiles_multiply_as_sums_of_products_do() {
    let Some(tiles) = Tiles::detect() else { return };
    multiplies(tiles, 2e-5);
    multiplies(tiles.coarse(), 8e-3);
}

fn multiplies(tiles: Tiles, tolerance: f64) {
    for [m, n, k] in [[1, 1, 1], [16, 16, 32], [17, 33, 31], [64, 40, 0], [31, 100, 97], [300, 32, 64]] {
        let mut rng = Rng::new((m + n) as u64);
        let (a, b) = (rng.normals(m * (k + 3), 1.0), rng.normals((n + 2) * (k + 2), 1.0));
        for case in 0..8 {
            let [add, left, right] = [case & 1, case & 2, case & 4].map(|bit| bit != 0);
            let a = if left { Matrix::new(&a, [k, m], m).transposed() } else { Matrix::new(&a, [m, k], k + 3) };
            let b = if right { Matrix::new(&b, [n, k], k + 2).transposed() } else { Matrix::new(&b, [k, n], n + 2) };
            let mut c = vec![1.0; m * (n + 1)];
            product(tiles, a, b, &mut Tile::new(&mut c, [m, n], n + 1), add);
            for (i, row) in c.chunks_exact(n + 1).enumerate() {
                for (j, &got) in row[..n].iter().enumerate() {
                    let terms = || (0..k).map(|l| f64::from(a.get(i, l)) * f64::from(b.get(l, j)));
                    let want = terms().sum::<f64>() + if add { 1.0 } else { 0.0 };
                    let size = 1.0 + terms().map(f64::abs).sum::<f64>();
                    assert!(
                        (f64::from(got) - want).abs() <= tolerance * size,
                        "{m} {n} {k} {case}: {got}, expected {want}"
                    );
                }
                assert_eq!(row[n], 1.0, "what lies between the rows is left alone");
            }
        }
    }
}

#[test]
fn tiles_make_nan_of_what_is_not_finite() {
    let Some(tiles) = Tiles::detect() else { return };
    for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let (mut a, b, mut c) = (vec![1.0; 40 * 40], vec![2.0; 40 * 40], vec![0.0; 40 * 40]);
        a[40 * 3 + 7] = special;
        let (a, b) = (Matrix::new(&a, [40, 40], 40), Matrix::new(&b, [40, 40], 40));
        product(tiles, a, b, &mut Tile::new(&mut c, [40, 40], 40), false);
        for (i, row) in c.chunks_exact(40).enumerate() {
            let same = |got: f32| if i != 3 { got == 80.0 } else { got.is_nan() };
            assert!(row.iter().all(|&got| same(got)), "row {i}: {row:?}");
        }
    }
}
