//! The order of the rows of adapters' products.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::weights::adapters::{Adapter, Pair};

/// Architectures whose GGUF files hold the rows of queries and keys in another order than folders of the hub.
const REORDERED: [&str; 7] = ["llama", "mistral3", "smollm3", "arcee", "granite", "granitemoe", "granitehybrid"];

/// Brings the rows of queries and keys into the order that the model's files have.
pub(super) fn reordered(mut adapter: Adapter, config: &Config, gguf: bool) -> Result<Adapter> {
    let order = match (&adapter.gguf, gguf) {
        (None, true) if REORDERED.contains(&&*config.architecture) => Order::Neighbours,
        (Some(of), false) if REORDERED.contains(&of.as_str()) => Order::Halves,
        _ => return Ok(adapter),
    };
    for (key, pair) in &mut adapter.pairs {
        let Some((layer, name)) = key.split_once('.') else { continue };
        let of = layer.parse().ok().and_then(|layer: usize| config.layers.get(layer)?.mixer.attention());
        let heads = match name {
            "self_attn.q_proj.weight" | "attn_q.weight" => of.map(|a| a.heads),
            "self_attn.k_proj.weight" | "attn_k.weight" => of.map(|a| a.kv_heads),
            "self_attn.qkv_proj.weight" | "attn_qkv.weight" => {
                let reason = format!("{}: rows of fused queries and keys are not reordered", pair.name);
                return Err(Error::Config { reason });
            }
            _ => None,
        };
        if let Some(heads) = heads {
            reorder(pair, heads, order)?;
        }
    }
    Ok(adapter)
}

/// The places of two elements of a head that are rotated together.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// The two lie beside each other, as in GGUF files.
    Neighbours,
    /// The two lie half a head apart, as in folders of the hub.
    Halves,
}

fn reorder(pair: &mut Pair, heads: u32, to: Order) -> Result<()> {
    if !pair.outputs.is_multiple_of(2 * heads.max(1)) {
        let reason = format!("{} has {} rows, which are no whole pairs of {heads} heads", pair.name, pair.outputs);
        return Err(Error::Config { reason });
    }
    let (rank, dim) = (pair.rank as usize, (pair.outputs / heads.max(1)) as usize);
    let half = dim / 2;
    let mut rows = Vec::with_capacity(pair.b.len());
    for head in pair.b.chunks(dim * rank) {
        for row in 0..dim {
            let from = match to {
                Order::Neighbours => row % 2 * half + row / 2,
                Order::Halves => row % half * 2 + row / half,
            };
            rows.extend_from_slice(&head[from * rank..][..rank]);
        }
    }
    pair.b = rows;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_heads_are_reordered_and_back() {
        let b: Vec<f32> = (0u8..16).map(f32::from).collect();
        let pair = Pair { rank: 1, inputs: 1, outputs: 16, a: vec![1.0], b: b.clone(), name: "q".into() };
        let mut moved = pair.clone();
        reorder(&mut moved, 2, Order::Neighbours).expect("whole heads");
        // Elements 0 and 4 of a head of 8 are rotated together.
        assert_eq!(moved.b[..8], [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
        reorder(&mut moved, 2, Order::Halves).expect("whole heads");
        assert_eq!(moved.b, b);
        assert!(reorder(&mut moved, 3, Order::Halves).is_err());
    }
}
