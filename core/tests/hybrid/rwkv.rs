//! RWKV-7 written out in f64.

use crate::folder::{DIM, Folder, LAYERS};
use crate::gguf_file::Gguf;
use crate::layers::{Rows, add};
use foveate_core::Error;
use foveate_core::model::{Family, Files};
use foveate_core::weights::{Checkpoint, Memory};

const HEADS: usize = 2;
/// The epsilon of the folder's layer norms.
const EPS: f64 = 4e-5;

/// Logits after each token.
pub(crate) fn logits(folder: &Folder, ids: &[u32]) -> Vec<f32> {
    let embedding = folder.matrix("model.embeddings.weight");
    let mut x: Rows = ids.iter().map(|&id| embedding[id as usize].clone()).collect();
    let mut first = None;
    if !folder.flag("norm_first", false) {
        x = norm(folder, &x, "model.layers.0.pre_norm");
    }
    for layer in 0..LAYERS {
        let mixed = time_mix(folder, layer, &norm(folder, &x, &format!("model.layers.{layer}.attn_norm")), &mut first);
        add(&mut x, &mixed);
        let input = norm(folder, &x, &format!("model.layers.{layer}.ffn_norm"));
        let name = |inside: &str| format!("model.layers.{layer}.ffn.{inside}");
        let mut inner = folder.product(&name("key.weight"), &shared(&input, &folder.vector(&name("x_k"))));
        inner.iter_mut().flatten().for_each(|x| *x = x.max(0.0) * x.max(0.0));
        add(&mut x, &folder.product(&name("value.weight"), &inner));
    }
    let x = norm(folder, &x, "model.norm");
    folder.product("lm_head.weight", &x).concat().into_iter().map(|x| x as f32).collect()
}

/// Each row mixed with the row before it.
fn shared(x: &Rows, shares: &[f64]) -> Rows {
    let before = |t: usize, c: usize| if t == 0 { 0.0 } else { x[t - 1][c] };
    (0..x.len()).map(|t| (0..DIM).map(|c| x[t][c] + (before(t, c) - x[t][c]) * shares[c]).collect()).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn time_mix(folder: &Folder, layer: usize, x: &Rows, first: &mut Option<Rows>) -> Rows {
    let name = |inside: &str| format!("model.layers.{layer}.attn.{inside}");
    let read = |letter: &str| shared(x, &folder.vector(&name(&format!("x_{letter}"))));
    let product = |letter: &str| folder.product(&name(&format!("{letter}_proj.weight")), &read(letter));
    let low_rank = |letter: &str, between: &dyn Fn(f64) -> f64| -> Rows {
        let inside = |end: &str| name(&format!("{letter}_lora.lora.{end}"));
        let mut latent = folder.product(&inside("0.weight"), &read(letter));
        latent.iter_mut().flatten().for_each(|x| *x = between(*x));
        let mut out = folder.product(&inside("2.weight"), &latent);
        if folder.tensors.contains_key(&inside("2.bias")) {
            let bias = folder.vector(&inside("2.bias"));
            out.iter_mut().for_each(|row| row.iter_mut().zip(&bias).for_each(|(x, b)| *x += b));
        }
        out
    };
    let (r, mut k, mut v) = (product("r"), product("k"), product("v"));
    let w = low_rank("w", &f64::tanh);
    let a = low_rank("a", &|x| x);
    let gated = folder.tensors.contains_key(&name("g_lora.lora.0.weight"));
    let g = gated.then(|| low_rank("g", &sigmoid));
    match first {
        None => *first = Some(v.clone()),
        Some(first) => {
            let share = low_rank("v", &|x| x);
            for ((row, first), share) in v.iter_mut().zip(first).zip(&share) {
                row.iter_mut().zip(first).zip(share).for_each(|((v, f), s)| *v += (*f - *v) * sigmoid(*s));
            }
        }
    }
    let (values, dim) = (v[0].len(), DIM / HEADS);
    let [k_k, k_a, r_k] = ["k_k", "k_a", "r_k"].map(|vector| folder.vector(&name(vector)));
    let (weight, bias) = (folder.vector(&name("g_norm.weight")), folder.vector(&name("g_norm.bias")));
    let width = values / HEADS;
    let mut out = vec![vec![0.0; values]; x.len()];
    for h in 0..HEADS {
        let keys = h * dim..(h + 1) * dim;
        let mut state = vec![vec![0.0; width]; dim];
        for t in 0..x.len() {
            let unit: Vec<f64> = keys.clone().map(|c| k[t][c] * k_k[c]).collect();
            let length = unit.iter().map(|x| x * x).sum::<f64>().sqrt();
            let unit: Vec<f64> = unit.iter().map(|x| x / length).collect();
            let rate: Vec<f64> = keys.clone().map(|c| sigmoid(a[t][c])).collect();
            keys.clone().zip(&rate).for_each(|(c, rate)| k[t][c] *= 1.0 + (rate - 1.0) * k_a[c]);
            let v = &v[t][h * width..(h + 1) * width];
            for (j, value) in v.iter().enumerate() {
                let held: f64 = (0..dim).map(|i| state[i][j] * unit[i]).sum();
                for i in 0..dim {
                    let decay = (-(-0.5f64).exp() * sigmoid(w[t][h * dim + i])).exp();
                    state[i][j] = state[i][j] * decay - held * unit[i] * rate[i] + k[t][h * dim + i] * value;
                }
                out[t][h * width + j] = (0..dim).map(|i| state[i][j] * r[t][h * dim + i]).sum();
            }
            let head = &mut out[t][h * width..(h + 1) * width];
            let (mean, deviation) = statistics(head, dim as f64 * EPS);
            let bonus: f64 = keys.clone().map(|c| r[t][c] * k[t][c] * r_k[c]).sum();
            for (j, x) in head.iter_mut().enumerate() {
                let c = h * width + j;
                *x = ((*x - mean) / deviation * weight[c] + bias[c] + bonus * v[j])
                    * g.as_ref().map_or(1.0, |g| g[t][c]);
            }
        }
    }
    folder.product(&name("o_proj.weight"), &out)
}

fn statistics(x: &[f64], eps: f64) -> (f64, f64) {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    (mean, (x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / x.len() as f64 + eps).sqrt())
}

fn norm(folder: &Folder, x: &Rows, name: &str) -> Rows {
    let weight = folder.vector(&format!("{name}.weight"));
    let bias = match folder.tensors.contains_key(&format!("{name}.bias")) {
        true => folder.vector(&format!("{name}.bias")),
        false => vec![0.0; DIM],
    };
    let row = |x: &Vec<f64>| {
        let (mean, deviation) = statistics(x, EPS);
        x.iter().zip(weight.iter().zip(&bias)).map(|(x, (w, b))| (x - mean) / deviation * w + b).collect()
    };
    x.iter().map(row).collect()
}

/// A GGUF file, opened.
pub(crate) fn files(file: &Gguf) -> Result<Files, Error> {
    let source = Memory::new("model.gguf", file.bytes());
    let weights = pollster::block_on(Checkpoint::gguf(Box::new(source)))?;
    let family = Family::from_gguf(weights.gguf_metadata().expect("a GGUF file has metadata"))?;
    Ok(Files { weights, family, tokenizer: None, template: None })
}
