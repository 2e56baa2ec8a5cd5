use super::{Lists, SMOOTHING, Spec, Update};
use crate::cpu::Args;
use crate::ops::routing::route::{EPS, Norm};
use alloc::{vec, vec::Vec};
use libm::sqrt;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let x = args.f32("x");
    let lists = Lists::new(spec, args);
    let centroids = args.out("centroids");
    let (mut counts, mut means) = (args.optional_out("counts"), args.optional_out("means"));
    let commitment = spec.commitment.map(|_| (args.out("loss"), args.out("dx")));
    let (heads, dim, clusters) = (spec.heads as usize, spec.dim as usize, spec.clusters as usize);
    if let Some((loss, dx)) = commitment {
        dx.fill(0.0);
        let mut sum = 0.0;
        for (h, c) in (0..heads).flat_map(|h| (0..clusters).map(move |c| (h, c))) {
            let centroid = &centroids[(h * clusters + c) * dim..][..dim];
            for row in lists.rows(h, c) {
                let (n, factor) = normal(spec.norm, &x[row * dim..][..dim]);
                let off: Vec<f64> = n.iter().zip(centroid).map(|(n, c)| n - f64::from(*c)).collect();
                sum += off.iter().map(|e| e * e).sum::<f64>();
                let dn: Vec<f64> = off.iter().map(|e| 2.0 * spec.loss_scale() * e).collect();
                let along: f64 = dn.iter().zip(&n).map(|(a, b)| a * b).sum();
                let (mean, along) = match spec.norm {
                    Norm::None => (0.0, 0.0),
                    Norm::L2 => (0.0, along),
                    Norm::Layer => (dn.iter().sum::<f64>() / dim as f64, along / dim as f64),
                };
                let dx = &mut dx[row * dim..][..dim];
                dx.iter_mut()
                    .zip(dn.iter().zip(&n))
                    .for_each(|(dx, (dn, n))| *dx = (factor * (dn - mean - n * along)) as f32);
            }
        }
        loss[0] = (spec.loss_scale() * sum) as f32;
    }
    let decay = f64::from(spec.decay);
    for h in 0..heads {
        let number = |c: usize| lists.count(h, c) as f64;
        let own = h * clusters..(h + 1) * clusters;
        let old: Vec<f64> =
            counts.as_deref().map_or(vec![], |all| all[own.clone()].iter().map(|n| f64::from(*n)).collect());
        let new: Vec<f64> = old.iter().enumerate().map(|(c, old)| decay * old + (1.0 - decay) * number(c)).collect();
        let all: f64 = new.iter().sum();
        for c in 0..clusters {
            if (number(c) == 0.0 || decay == 1.0) && spec.update != Update::Smoothed {
                continue;
            }
            let mut sum = vec![0.0; dim];
            for row in lists.rows(h, c) {
                let (n, _) = normal(spec.norm, &x[row * dim..][..dim]);
                sum.iter_mut().zip(n).for_each(|(sum, n)| *sum += n);
            }
            let length = sqrt(sum.iter().map(|s| s * s).sum());
            let small = f64::from(SMOOTHING);
            let (from, by, over) = match spec.update {
                Update::Sums => (1.0, 1.0, 1.0),
                Update::Unit => (1.0, if length > 0.0 { 1.0 / length } else { 0.0 }, 1.0),
                Update::Counted => (old[c], 1.0, new[c]),
                Update::Smoothed => (1.0, 1.0, (new[c] + small) / (all + clusters as f64 * small) * all),
            };
            let at = (h * clusters + c) * dim;
            for (d, sum) in sum.iter().enumerate() {
                let before = f64::from(means.as_deref().map_or(centroids[at + d], |means| means[at + d]));
                let moved = decay * from * before + (1.0 - decay) * by * sum;
                if let Some(means) = means.as_deref_mut() {
                    means[at + d] = moved as f32;
                }
                // A centroid that never had a token has no mean.
                centroids[at + d] = if over > 0.0 { moved / over } else { 0.0 } as f32;
            }
            if let Some(counts) = counts.as_deref_mut() {
                counts[h * clusters + c] = new[c] as f32;
            }
        }
    }
}

/// Returns a normalised token and the factor applied by its norm.
fn normal(norm: Norm, x: &[f32]) -> (Vec<f64>, f64) {
    let n = x.len() as f64;
    let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    let mean = if norm == Norm::Layer { x.iter().sum::<f64>() / n } else { 0.0 };
    let square: f64 = x.iter().map(|x| (x - mean) * (x - mean)).sum();
    let factor = match norm {
        Norm::None => 1.0,
        Norm::L2 => {
            if square > 0.0 {
                1.0 / sqrt(square)
            } else {
                0.0
            }
        }
        Norm::Layer => 1.0 / sqrt(square / n + f64::from(EPS)),
    };
    (x.iter().map(|x| (x - mean) * factor).collect(), factor)
}
