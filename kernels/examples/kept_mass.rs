//! What routing keeps of full attention: the share of its probability mass that falls on keys which a query still sees,
//! against a local window that sees as many keys. `cargo run --release -p foveate-kernels --example kept_mass`
//!
//! Tokens are unit vectors around some directions, which change from token to token or stay for a while; queries are keys,
//! logits `20 cos`, causal, and a token's own position, which both see, is left out of the mass.

use foveate_kernels::centroids::{lloyd, plus_plus};
use foveate_kernels::cpu::{Args, SingleThread, View};
use foveate_kernels::ops::Kernel;
use foveate_kernels::plan::Access;
use foveate_kernels::rng::Rng;
use foveate_kernels::route::{Selection, Spec};

const TOKENS: usize = 1024;
const DIM: usize = 64;
/// `K = W = sqrt(T)`
const ROOT: usize = 32;
const SHARPNESS: f32 = 20.0;

/// Tokens around `centres`; the centre changes with a chance of one in `stay`.
fn draw(centres: &[f32], noise: f32, stay: u32, rng: &mut Rng) -> Vec<f32> {
    let mut centre = 0;
    let mut all = Vec::new();
    for t in 0..TOKENS {
        if t == 0 || rng.below(stay) == 0 {
            centre = rng.below((centres.len() / DIM) as u32) as usize;
        }
        all.extend(unit(centres[centre * DIM..][..DIM].iter().map(|c| c + noise * rng.normal() / 8.0).collect()));
    }
    all
}

fn unit(x: Vec<f32>) -> Vec<f32> {
    let length = x.iter().map(|x| x * x).sum::<f32>().sqrt();
    x.into_iter().map(|x| x / length).collect()
}

/// `(query, key)` pairs that routing computes, with repetitions.
fn routed(selection: Selection, x: &[f32], centroids: &[f32]) -> Vec<(usize, usize)> {
    let spec = Spec::new(1, TOKENS as u32, 1, DIM as u32, ROOT as u32, ROOT as u32).with_selection(selection);
    spec.validate().expect("a small spec");
    let args = spec.args();
    let mut memory: Vec<Vec<u32>> = args.iter().map(|arg| vec![0; arg.elements as usize]).collect();
    memory[0].copy_from_slice(bytemuck::cast_slice(x));
    memory[1].copy_from_slice(bytemuck::cast_slice(centroids));
    let views = args.iter().zip(&mut memory).map(|(arg, words)| match arg.access {
        Access::Read => View::In(bytemuck::cast_slice(words)),
        _ => View::Out(bytemuck::cast_slice_mut(words)),
    });
    spec.cpu(&SingleThread, &mut Args::new(&args, views.collect()));
    let (members, ranges, until) = (&memory[2], &memory[3], &memory[4]);
    let mut pairs = Vec::new();
    for range in ranges.chunks_exact(2) {
        for query in range[0] as usize..range[1] as usize {
            let i = members[query];
            let keys = (range[0] as usize..=query).filter(|key| until[*key] > i);
            pairs.extend(keys.map(|key| (i as usize, members[key] as usize)));
        }
    }
    pairs
}

/// The mean mass on the keys that `sees`, of the queries in the second half.
fn kept(weights: &[Vec<f32>], sees: &dyn Fn(usize, usize) -> bool) -> f32 {
    let share = |i: usize| -> f32 { (0..i).filter(|&j| sees(i, j)).map(|j| weights[i][j]).sum() };
    (TOKENS / 2..TOKENS).map(share).sum::<f32>() / (TOKENS / 2) as f32
}

fn main() {
    println!("| directions | noise | stays for | keys a query | prefix | window | keys a query | nearest | window |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for (directions, noise, stay) in
        [(16, 0.5, 1), (32, 0.5, 1), (64, 0.5, 1), (32, 1.0, 1), (32, 2.0, 1), (32, 0.5, 8), (32, 0.5, 64)]
    {
        let mut rng = Rng::new(7);
        let centres: Vec<f32> = (0..directions).flat_map(|_| unit(rng.normals(DIM, 1.0))).collect();
        // Centroids are found in another text.
        let other = draw(&centres, noise, stay, &mut rng);
        let mut centroids = plus_plus(&other, DIM, ROOT, &mut rng);
        lloyd(&other, DIM, &mut centroids, 10);
        let x = draw(&centres, noise, stay, &mut rng);
        let row = |i: usize| &x[i * DIM..][..DIM];
        let weigh = |i: usize| {
            let cos = |j: usize| row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum::<f32>();
            let all: Vec<f32> = (0..i).map(|j| (SHARPNESS * (cos(j) - 1.0)).exp()).collect();
            let sum: f32 = all.iter().sum();
            all.into_iter().map(|w| w / sum).collect::<Vec<f32>>()
        };
        let weights: Vec<Vec<f32>> = (0..TOKENS).map(weigh).collect();
        print!("| {directions} | {noise} | {stay} |");
        for selection in [Selection::Prefix, Selection::Nearest] {
            let pairs = routed(selection, &x, &centroids);
            // Of the queries that the mass is of.
            let cost = pairs.iter().filter(|(i, _)| *i >= TOKENS / 2).count() as f32 / (TOKENS / 2) as f32;
            let mut seen = vec![false; TOKENS * TOKENS];
            pairs.iter().for_each(|(i, j)| seen[i * TOKENS + j] = true);
            let window = cost.ceil() as usize;
            let routing = kept(&weights, &|i, j| seen[i * TOKENS + j]);
            let local = kept(&weights, &|i, j| i - j < window);
            print!(" {cost:.1} | {:.1}% | {:.1}% |", 100.0 * routing, 100.0 * local);
        }
        println!();
    }
}
