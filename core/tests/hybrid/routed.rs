//! The layers of `routing_transformer`, written out in f64: every token routes all that came before it again.

use crate::folder::Folder;
use crate::layers::{Rows, add, norm};

/// Of all heads.
const HEAD: usize = 8;

/// Logits after each token.
pub(crate) fn logits(folder: &Folder, kinds: &[&str], ids: &[u32]) -> Vec<f32> {
    let embedding = folder.matrix("model.embed_tokens.weight");
    let mut x: Rows = ids.iter().map(|&id| embedding[id as usize].clone()).collect();
    for (layer, kind) in kinds.iter().enumerate() {
        let name = |inside: &str| format!("model.layers.{layer}.{inside}.weight");
        let input = norm(&x, &folder.vector(&name("input_layernorm")));
        if folder.tensors.contains_key(&name("self_attn.q_proj")) {
            let window = if *kind == "full" { ids.len() } else { folder.number("local_window", 0.0) as usize };
            let mixed = attention(folder, layer, &input, window);
            add(&mut x, &mixed);
        }
        if *kind == "routing" {
            add(&mut x, &routing(folder, layer, &input));
        }
        let input = norm(&x, &folder.vector(&name("post_attention_layernorm")));
        add(&mut x, &folder.mlp(layer, &input));
    }
    let x = norm(&x, &folder.vector("model.norm.weight"));
    folder.product("model.embed_tokens.weight", &x).concat().into_iter().map(|x| x as f32).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The mean of values, weighted by the softmax of logits.
fn soften(terms: &[(f64, &[f64])]) -> Vec<f64> {
    let max = terms.iter().map(|term| term.0).fold(f64::MIN, f64::max);
    let sum: f64 = terms.iter().map(|term| (term.0 - max).exp()).sum();
    (0..HEAD).map(|d| terms.iter().map(|(z, v)| (z - max).exp() / sum * v[d]).sum()).collect()
}

fn attention(folder: &Folder, layer: usize, x: &Rows, window: usize) -> Rows {
    let weight = |part: &str| format!("model.layers.{layer}.self_attn.{part}_proj.weight");
    let turned = |part: &str| -> Rows {
        let mut rows = folder.product(&weight(part), x);
        for (t, row) in rows.iter_mut().enumerate() {
            for head in row.chunks_exact_mut(HEAD) {
                for i in 0..HEAD / 2 {
                    let theta = folder.number("rope_theta", 0.0);
                    let (sin, cos) = (t as f64 * theta.powf(-2.0 * i as f64 / HEAD as f64)).sin_cos();
                    let (a, b) = (head[i], head[i + HEAD / 2]);
                    (head[i], head[i + HEAD / 2]) = (a * cos - b * sin, b * cos + a * sin);
                }
            }
        }
        rows
    };
    let (q, k, v) = (turned("q"), turned("k"), folder.product(&weight("v"), x));
    let mut out = vec![Vec::new(); x.len()];
    for (t, out) in out.iter_mut().enumerate() {
        for h in (0..q[0].len()).step_by(HEAD) {
            let term = |j: usize| {
                let z = dot(&q[t][h..h + HEAD], &k[j][h..h + HEAD]) / (HEAD as f64).sqrt();
                (z, &v[j][h..h + HEAD])
            };
            let seen: Vec<_> = ((t + 1).saturating_sub(window)..=t).map(term).collect();
            out.extend(soften(&seen));
        }
    }
    folder.product(&weight("o"), &out)
}

fn routing(folder: &Folder, layer: usize, x: &Rows) -> Rows {
    let weight = |part: &str| format!("model.layers.{layer}.routing.{part}_proj.weight");
    let mut q = folder.product(&weight("qk"), x);
    for head in q.iter_mut().flat_map(|row| row.chunks_exact_mut(HEAD)) {
        let mean = head.iter().sum::<f64>() / HEAD as f64;
        head.iter_mut().for_each(|x| *x -= mean);
        let spread = (head.iter().map(|x| x * x).sum::<f64>() / HEAD as f64 + 1e-6).sqrt();
        head.iter_mut().for_each(|x| *x /= spread);
    }
    let (v, centroids) =
        (folder.product(&weight("v"), x), folder.vector(&format!("model.layers.{layer}.routing.centroids")));
    let (clusters, window) =
        (folder.number("num_centroids", 0.0) as usize, folder.number("routing_window", 0.0) as usize);
    let scale = folder.number("routing_scale", 1.0 / (HEAD as f64).sqrt());
    let nearest = folder.config.contains(r#""routing_selection":"nearest""#);
    let mut out = vec![Vec::new(); x.len()];
    for (t, out) in out.iter_mut().enumerate() {
        for (h, centroids) in centroids.chunks_exact(clusters * HEAD).enumerate() {
            let part = |row: &'_ [f64]| -> Vec<f64> { row[h * HEAD..(h + 1) * HEAD].to_vec() };
            let score = |j: usize, c: usize| dot(&part(&q[j]), &centroids[c * HEAD..][..HEAD]);
            let best = |j: usize| (0..clusters).fold(0, |best, c| if score(j, c) > score(j, best) { c } else { best });
            let mut sum = [0.0; HEAD];
            let mut count = 0.0;
            for c in 0..clusters {
                let mut members: Vec<usize> = (0..=t).collect();
                if nearest {
                    members.retain(|&j| best(j) == c);
                    members.drain(..members.len().saturating_sub(window));
                } else {
                    // The sort keeps the order of equals: the earlier wins.
                    members.sort_by(|&a, &b| score(b, c).total_cmp(&score(a, c)));
                    members.truncate(window);
                }
                if !members.contains(&t) {
                    continue;
                }
                let rows: Vec<_> =
                    members.iter().map(|&j| (scale * dot(&part(&q[t]), &part(&q[j])), part(&v[j]))).collect();
                let terms: Vec<_> = rows.iter().map(|(z, v)| (*z, &v[..])).collect();
                sum.iter_mut().zip(soften(&terms)).for_each(|(sum, x)| *sum += x);
                count += 1.0;
            }
            out.extend(sum.iter().map(|x| if count > 0.0 { x / count } else { 0.0 }));
        }
    }
    folder.product(&weight("o"), &out)
}
