//! Initial centroids, computed once on the host from a sample of tokens.

use crate::rng::Rng;
use alloc::{vec, vec::Vec};

/// Picks `k` of the `points [n, dim]` that are far apart: each is drawn with a probability proportional to the square
/// of its distance to the nearest earlier pick (k-means++, Arthur and Vassilvitskii 2007). If fewer than `k` points
/// are distinct, points are picked repeatedly. If there are no points, returns none.
///
/// Cost: `2 n k dim` flop.
pub fn plus_plus(points: &[f32], dim: usize, k: usize, rng: &mut Rng) -> Vec<f32> {
    let n = points.len().checked_div(dim).unwrap_or(0);
    let point = |i: usize| &points[i * dim..][..dim];
    if n == 0 || k == 0 {
        return Vec::new();
    }
    let mut chosen = point(rng.below(n as u32) as usize).to_vec();
    let mut far = vec![f32::MAX; n];
    while chosen.len() < k * dim {
        let last = chosen[chosen.len() - dim..].to_vec();
        far.iter_mut().enumerate().for_each(|(i, far)| *far = far.min(distance(point(i), &last)));
        let mut rest = rng.unit() * far.iter().sum::<f32>();
        let reaches = |far: &f32| {
            rest -= far;
            rest < 0.0
        };
        let next = far.iter().position(reaches).unwrap_or_else(|| rng.below(n as u32) as usize);
        chosen.extend_from_slice(point(next));
    }
    chosen
}

/// Moves `centroids [k, dim]` to the means of the `points [n, dim]` nearest to each, `iterations` times (Lloyd 1982).
/// Centroids that are nearest to no point stay. Returns the mean squared distance before the last iteration, which no
/// iteration raises; 0 if there are no points.
///
/// Cost: `3 n k dim` flop per iteration.
pub fn lloyd(points: &[f32], dim: usize, centroids: &mut [f32], iterations: usize) -> f32 {
    let mut off = 0.0;
    if dim == 0 || points.len() < dim || centroids.len() < dim {
        return off;
    }
    for _ in 0..iterations {
        let mut sums = vec![0f64; centroids.len()];
        let mut counts = vec![0u32; centroids.len() / dim];
        let mut all = 0f64;
        for point in points.chunks_exact(dim) {
            let mut best = (0, f32::MAX);
            for (c, centroid) in centroids.chunks_exact(dim).enumerate() {
                let far = distance(point, centroid);
                if far < best.1 {
                    best = (c, far);
                }
            }
            all += f64::from(best.1);
            counts[best.0] += 1;
            sums[best.0 * dim..][..dim].iter_mut().zip(point).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        off = (all / (points.len() / dim) as f64) as f32;
        let moved = centroids.chunks_exact_mut(dim).zip(sums.chunks_exact(dim)).zip(&counts);
        for ((centroid, sum), &count) in moved.filter(|(_, count)| **count > 0) {
            centroid.iter_mut().zip(sum).for_each(|(c, sum)| *c = (sum / f64::from(count)) as f32);
        }
    }
    off
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}
