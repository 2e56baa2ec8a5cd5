//! The layers of flash-linear-attention, written out in f64.

use crate::folder::{DIM, Folder, LAYERS, VOCAB};

pub(crate) type Rows = Vec<Vec<f64>>;

/// Logits after each token.
pub(crate) fn logits(folder: &Folder, ids: &[u32]) -> Vec<f32> {
    let embedding = folder.matrix("model.embeddings.weight");
    let mut x: Rows = ids.iter().map(|&id| embedding[id as usize].clone()).collect();
    for layer in 0..LAYERS {
        let name = |inside: &str| format!("model.layers.{layer}.{inside}.weight");
        let mixed = mixer(folder, layer, &norm(&x, &folder.vector(&name("attn_norm"))));
        add(&mut x, &mixed);
        let input = norm(&x, &folder.vector(&name("mlp_norm")));
        add(&mut x, &folder.mlp(layer, &input));
    }
    let x = norm(&x, &folder.vector("model.norm.weight"));
    let head = if folder.tensors.contains_key("lm_head.weight") { "lm_head.weight" } else { "model.embeddings.weight" };
    let logits = folder.product(head, &x).concat();
    assert_eq!(logits.len(), ids.len() * VOCAB);
    logits.into_iter().map(|x| x as f32).collect()
}

fn mixer(folder: &Folder, layer: usize, x: &Rows) -> Rows {
    let name = |inside: &str| format!("model.layers.{layer}.attn.{inside}");
    let weight = |inside: &str| name(&format!("{inside}.weight"));
    let gated_net = folder.tensors.contains_key(&name("A_log"));
    let heads = 2;
    let value_heads = folder.tensors[&weight("b_proj")].0[0];
    let keys_as = |x: f64| match () {
        _ if folder.config.contains(r#""qk_activation":"relu""#) => x.max(0.0),
        _ if folder.config.contains(r#""qk_activation":"elu""#) => {
            if x > 0.0 {
                x + 1.0
            } else {
                x.exp()
            }
        }
        _ if folder.config.contains(r#""qk_activation":"identity""#) => x,
        _ => silu(x),
    };
    let branch = |part: &str, f: &dyn Fn(f64) -> f64| -> Rows {
        let input = folder.product(&weight(&format!("{part}_proj")), x);
        let out = match folder.tensors.get(&weight(&format!("{part}_conv1d"))) {
            Some((shape, w)) => convolve(&input, w, shape[2]),
            None => input,
        };
        out.iter().map(|row| row.iter().map(|x| f(*x)).collect()).collect()
    };
    let (q, k, v) = (branch("q", &keys_as), branch("k", &keys_as), branch("v", &silu));
    let most = if folder.flag("allow_neg_eigval", true) { 2.0 } else { 1.0 };
    let beta = folder.product(&weight("b_proj"), x);
    let (key_dim, value_dim) = (q[0].len() / heads, v[0].len() / value_heads);
    let mut out = vec![vec![0.0; v[0].len()]; x.len()];
    for h in 0..value_heads {
        let mut state = vec![vec![0.0; value_dim]; key_dim];
        let head = |x: &Rows, t: usize| {
            let first = h / (value_heads / heads) * key_dim;
            let part = &x[t][first..first + key_dim];
            let length = (part.iter().map(|x| x * x).sum::<f64>() + 1e-6).sqrt();
            part.iter().map(|x| x / length).collect::<Vec<f64>>()
        };
        for t in 0..x.len() {
            if gated_net {
                let a = folder.product(&weight("a_proj"), x)[t][h] + folder.vector(&name("dt_bias"))[h];
                let g = -folder.vector(&name("A_log"))[h].exp() * (1.0 + a.exp()).ln();
                state.iter_mut().flatten().for_each(|x| *x *= g.exp());
            }
            let (q, k) = (head(&q, t), head(&k, t));
            let strength = most / (1.0 + (-beta[t][h]).exp());
            for c in 0..value_dim {
                let held: f64 = (0..key_dim).map(|i| state[i][c] * k[i]).sum();
                let update = strength * (v[t][h * value_dim + c] - held);
                (0..key_dim).for_each(|i| state[i][c] += k[i] * update);
                let read: f64 = (0..key_dim).map(|i| state[i][c] * q[i]).sum();
                out[t][h * value_dim + c] = read / (key_dim as f64).sqrt();
            }
        }
    }
    let gate = folder.tensors.contains_key(&weight("g_proj")).then(|| folder.product(&weight("g_proj"), x));
    let o_norm = folder.vector(&weight("o_norm"));
    for (t, row) in out.iter_mut().enumerate() {
        for (h, head) in row.chunks_exact_mut(value_dim).enumerate() {
            head.copy_from_slice(&norm(&vec![head.to_vec()], &o_norm)[0]);
            if let Some(gate) = &gate {
                head.iter_mut().zip(&gate[t][h * value_dim..]).for_each(|(x, g)| *x *= silu(*g));
            }
        }
    }
    folder.product(&weight("o_proj"), &out)
}

/// Each channel over its last `window` tokens.
fn convolve(x: &Rows, weight: &[f32], window: usize) -> Rows {
    let at = |t: usize, c: usize| {
        let tap =
            |j: usize| (t + j).checked_sub(window - 1).map_or(0.0, |t| x[t][c] * f64::from(weight[c * window + j]));
        (0..window).map(tap).sum()
    };
    (0..x.len()).map(|t| (0..x[0].len()).map(|c| at(t, c)).collect()).collect()
}

pub(crate) fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

pub(crate) fn norm(x: &Rows, weight: &[f64]) -> Rows {
    let row = |x: &Vec<f64>| {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        x.iter().zip(weight).map(|(x, w)| x / (mean + 1e-6).sqrt() * w).collect()
    };
    x.iter().map(row).collect()
}

pub(crate) fn add(x: &mut Rows, branch: &Rows) {
    x.iter_mut().flatten().zip(branch.iter().flatten()).for_each(|(x, b)| *x += b);
    assert_eq!(x[0].len(), DIM);
}

impl Folder {
    pub(crate) fn vector(&self, name: &str) -> Vec<f64> {
        self.tensors[name].1.iter().map(|&x| x.into()).collect()
    }

    pub(crate) fn matrix(&self, name: &str) -> Rows {
        self.vector(name).chunks_exact(self.tensors[name].0[1]).map(<[f64]>::to_vec).collect()
    }

    pub(crate) fn mlp(&self, layer: usize, x: &Rows) -> Rows {
        let name = |inside: &str| format!("model.layers.{layer}.mlp.{inside}.weight");
        let (gate, up) = (self.product(&name("gate_proj"), x), self.product(&name("up_proj"), x));
        let inner: Rows =
            gate.iter().zip(&up).map(|(g, u)| g.iter().zip(u).map(|(g, u)| silu(*g) * u).collect()).collect();
        self.product(&name("down_proj"), &inner)
    }

    /// `x W^T`
    pub(crate) fn product(&self, name: &str, x: &Rows) -> Rows {
        let weight = self.matrix(name);
        let row = |x: &Vec<f64>| weight.iter().map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum()).collect();
        x.iter().map(row).collect()
    }
}
