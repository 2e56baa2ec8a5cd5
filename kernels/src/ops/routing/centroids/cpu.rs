//! One task per head. Tokens are normalised in f32 one after the other and summed in the order of the lists.

use super::{Lists, SMOOTHING, Spec, Update};
use crate::cpu::{Args, Host, Shared, Simd};
use crate::ops::routing::route::{EPS, Norm};
use alloc::{vec, vec::Vec};

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let x = args.f32("x");
    let lists = Lists::new(spec, args);
    let shared = |values| Shared::new(values);
    let centroids = shared(args.out("centroids"));
    let counts = args.optional_out("counts").map(shared);
    let means = args.optional_out("means").map(shared);
    let loss = spec.commitment.map(|_| args.out("loss"));
    let dx = args.optional_out("dx");
    let dx = dx.map(|dx| {
        dx.fill(0.0);
        shared(dx)
    });
    let (heads, dim, clusters) = (spec.heads as usize, spec.dim as usize, spec.clusters as usize);
    let mut losses = vec![0f64; heads];
    {
        let losses = Shared::new(&mut losses);
        host.parallel(heads, &|h| {
            let own = h * clusters..(h + 1) * clusters;
            // SAFETY: a head's centroids, counts, means, rows and losses belong to one task.
            let (centroids, loss) = unsafe { (centroids.part(own.start * dim..own.end * dim), losses.part(h..h + 1)) };
            // SAFETY: as above.
            let counts = counts.as_ref().map(|counts| unsafe { counts.part(own.clone()) });
            // SAFETY: as above.
            let means = means.as_ref().map(|means| unsafe { means.part(own.start * dim..own.end * dim) });
            let head = Head { spec, simd: host.simd(), x, lists: &lists, h };
            if let Some(dx) = &dx {
                for (c, centroid) in centroids.chunks_exact(dim).enumerate() {
                    loss[0] += head.commit(c, centroid, dx);
                }
            }
            head.update(centroids, counts, means);
        });
    }
    if let Some(loss) = loss {
        loss[0] = (spec.loss_scale() * losses.iter().sum::<f64>()) as f32;
    }
}

struct Head<'a> {
    spec: &'a Spec,
    simd: Simd,
    x: &'a [f32],
    lists: &'a Lists<'a>,
    h: usize,
}

impl Head<'_> {
    /// Normalises a row into `n` and returns the factor applied by the norm.
    fn normal(&self, row: usize, n: &mut [f32]) -> f32 {
        let dim = n.len();
        n.copy_from_slice(&self.x[row * dim..][..dim]);
        let square = |n: &[f32], mean: f32| {
            let square = self.simd.squares(n, mean);
            // Outside of this range f32 overflows or loses bits, so the squares are summed in f64.
            if square > 1e-30 && square < 1e30 {
                return f64::from(square);
            }
            n.iter().map(|x| (f64::from(*x) - f64::from(mean)) * (f64::from(*x) - f64::from(mean))).sum()
        };
        let factor = match self.spec.norm {
            Norm::None => return 1.0,
            Norm::L2 => match square(n, 0.0) {
                0.0 => 0.0,
                square => 1.0 / libm::sqrt(square),
            },
            Norm::Layer => {
                let mean = self.simd.sum(n) / dim as f32;
                let square = square(n, mean);
                n.iter_mut().for_each(|x| *x -= mean);
                1.0 / libm::sqrt(square / dim as f64 + f64::from(EPS))
            }
        } as f32;
        self.simd.scale(n, factor);
        factor
    }

    /// Writes the gradients of a centroid's tokens and returns the sum of their squared distances.
    fn commit(&self, c: usize, centroid: &[f32], dx: &Shared<'_, f32>) -> f64 {
        let (dim, scale) = (centroid.len(), 2.0 * self.spec.loss_scale() as f32);
        let (mut n, mut off, mut sum) = (vec![0.0; dim], vec![0.0; dim], 0.0);
        for row in self.lists.rows(self.h, c) {
            let factor = self.normal(row, &mut n);
            off.iter_mut().zip(n.iter().zip(centroid)).for_each(|(off, (n, c))| *off = n - c);
            sum += f64::from(self.simd.dot(&off, &off));
            let (mean, along) = match self.spec.norm {
                Norm::None => (0.0, 0.0),
                Norm::L2 => (0.0, self.simd.dot(&off, &n)),
                Norm::Layer => (self.simd.sum(&off) / dim as f32, self.simd.dot(&off, &n) / dim as f32),
            };
            // SAFETY: the rows of a head belong to one task.
            let dx = unsafe { dx.part(row * dim..(row + 1) * dim) };
            let all = dx.iter_mut().zip(off.iter().zip(&n));
            all.for_each(|(dx, (off, n))| *dx = factor * scale * (off - mean - n * along));
        }
        sum
    }

    fn update(&self, centroids: &mut [f32], mut counts: Option<&mut [f32]>, mut means: Option<&mut [f32]>) {
        let (dim, decay) = (self.spec.dim as usize, self.spec.decay);
        let number = |c: usize| self.lists.count(self.h, c) as f32;
        let old = counts.as_deref().map_or(vec![], <[f32]>::to_vec);
        let new: Vec<f32> = old.iter().enumerate().map(|(c, old)| decay * old + (1.0 - decay) * number(c)).collect();
        let all: f32 = new.iter().sum();
        let (mut n, mut sum) = (vec![0.0; dim], vec![0.0; dim]);
        for (c, centroid) in centroids.chunks_exact_mut(dim).enumerate() {
            if (number(c) == 0.0 || decay == 1.0) && self.spec.update != Update::Smoothed {
                continue;
            }
            sum.fill(0.0);
            for row in self.lists.rows(self.h, c) {
                self.normal(row, &mut n);
                sum.iter_mut().zip(&n).for_each(|(sum, n)| *sum += n);
            }
            let length = libm::sqrtf(self.simd.dot(&sum, &sum));
            let over = |over: f32| if over > 0.0 { 1.0 / over } else { 0.0 };
            // Weights of the old centroid and of the sum of its tokens, and the factor of the result.
            let (from, by, share) = match self.spec.update {
                Update::Sums => (decay, 1.0 - decay, 1.0),
                Update::Unit => (decay, (1.0 - decay) * over(length), 1.0),
                Update::Counted => (decay * old[c] * over(new[c]), (1.0 - decay) * over(new[c]), 1.0),
                Update::Smoothed => {
                    let smooth = (new[c] + SMOOTHING) / (all + self.spec.clusters as f32 * SMOOTHING) * all;
                    (decay, 1.0 - decay, over(smooth))
                }
            };
            if let Some(means) = means.as_deref_mut() {
                let means = &mut means[c * dim..][..dim];
                means.iter_mut().zip(&sum).for_each(|(m, s)| *m = from * *m + by * s);
                centroid.iter_mut().zip(means).for_each(|(c, m)| *c = share * *m);
            } else {
                centroid.iter_mut().zip(&sum).for_each(|(c, s)| *c = from * *c + by * s);
            }
            if let Some(counts) = counts.as_deref_mut() {
                counts[c] = new[c];
            }
        }
    }
}
