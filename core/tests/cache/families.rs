//! Families whose layers have more than keys, values and states of their own: keys of earlier layers, vectors of each token,
//! several streams, and blocks that layers share.

use super::numeric::{decode, greedy, logits, roomy};
use super::support::{checkpoint, cpu, folder, load};
use foveate_core::cache::Pool;
use foveate_core::kernels::dtype::DType;
use foveate_core::model::{Family, Files, Model};
use foveate_core::session::{Input, RollbackTarget, Session, Turn};
use foveate_core::{Any, Error};
use pollster::block_on;
use std::sync::Arc;

/// A golden family with room for long texts.
fn model(family: &str) -> Option<Arc<Model<Any>>> {
    let folder = folder(&format!("../families/{family}"))?;
    let weights = std::fs::read(folder.join("model.safetensors")).expect("weights in the folder");
    let config = std::fs::read_to_string(folder.join("config.json")).expect("a configuration beside the weights");
    let config = config.replace(r#""max_position_embeddings": 256"#, r#""max_position_embeddings": 4096"#);
    let family = Family::from_json(config.as_bytes()).expect("a known family");
    let weights = checkpoint("model.safetensors", weights);
    Some(load(cpu(), Files { weights, family, tokenizer: None, template: None }))
}

fn text(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * i % 251 + 13 * i) % 249).collect()
}

#[test]
fn layers_without_keys_read_those_of_others_in_their_window() {
    const CONTEXT: u32 = 1300;
    let Some(model) = model("gemma4") else { return };
    let (backend, config) = (model.backend(), model.config());
    let pool = Pool::with_windows(backend, config, DType::F32, 2 * CONTEXT, 1).expect("memory");
    let whole = Pool::new(backend, config, DType::F32, 4 * CONTEXT).expect("memory");
    assert!((0..4).all(|layer| pool.layer(layer).is_some()) && (4..6).all(|layer| pool.layer(layer).is_none()));
    let open = |pool| Session::in_pool(model.clone(), Arc::new(pool), CONTEXT).expect("room");
    let [mut session, mut whole] = [pool, whole].map(open);
    let text = text(1140);
    for piece in text[..1100].chunks(520) {
        session.read(Input::Tokens(piece)).expect("it reads");
        whole.read(Input::Tokens(piece)).expect("it reads");
    }
    let next = Input::Tokens(&text[1100..]);
    let wanted = logits(&mut whole, next);
    assert!(logits(&mut session, next) == wanted, "a window sees something else");
    assert_eq!(decode(&mut session, &[1], 8), decode(&mut whole, &[1], 8));
    session.rollback(RollbackTarget::Len(1100)).expect("it is kept");
    assert!(logits(&mut session, next) == wanted, "after a rollback");
    let far = session.rollback(RollbackTarget::Len(300));
    assert_eq!(far, Err(Error::Rollback { to: 300, nearest: 0, replay: 300 }));
    let mut fork = session.fork().expect("a fork");
    assert_eq!(decode(&mut fork, &[1], 3), decode(&mut session, &[1], 3));
}

#[test]
fn sequences_step_together_as_each_alone() {
    for family in ["gemma4", "gemma3n", "zamba2"] {
        let Some(model) = model(family) else { return };
        let first = roomy(&model, DType::F32).expect("room");
        let text = text(40);
        let mut batch = first.batch(2).expect("room for two");
        let [mut sessions, mut alone] = [0; 2].map(|_| [0; 2].map(|_| first.fork().expect("a fork")));
        for (i, n) in [31, 17].into_iter().enumerate() {
            sessions[i].read(Input::Tokens(&text[i..n])).expect("it reads");
            alone[i].read(Input::Tokens(&text[i..n])).expect("it reads");
        }
        let (mut samplers, mut said) = ([greedy(), greedy()], vec![vec![1, 2]]);
        for step in 0..6 {
            let turns = sessions.iter_mut().zip(&mut samplers).zip(&said[step]);
            let mut turns: Vec<_> =
                turns.map(|((session, sampler), &token)| Turn { session, token, sampler }).collect();
            said.push(block_on(batch.next(&mut turns)).expect("a token of each"));
        }
        for (i, alone) in alone.iter_mut().enumerate() {
            let wanted = decode(alone, &[said[0][i]], 6);
            assert_eq!(said[1..].iter().map(|ids| ids[i]).collect::<Vec<_>>(), wanted, "{family}: sequence {i}");
        }
    }
}

/// Latents: one row a token, whatever the number of heads.
#[test]
fn latents_are_cached_once_and_read_in_any_pieces() {
    for family in ["deepseek_v2", "deepseek_v3", "glm4_moe_lite", "minicpm3", "mistral4"] {
        let Some(model) = model(family) else { return };
        let config = model.config();
        let row =
            |layer: &foveate_core::config::Layer| layer.mixer.attention().and_then(|a| a.latent).expect("latents");
        let rows: u64 = config.layers.iter().map(row).map(|latent| u64::from(latent.rank + latent.shared)).sum();
        let bytes = |format| Pool::<Any>::page_bytes(config, format).expect("a format of keys");
        assert_eq!([bytes(DType::F32), bytes(DType::F16)], [[64 * 4 * rows, 0], [64 * 2 * rows, 0]], "{family}");
        for format in [DType::F32, DType::F16] {
            let text = text(140);
            let open = || roomy(&model, format).expect("room");
            let mut whole = open();
            let wanted = logits(&mut whole, Input::Tokens(&text));
            for piece in [1, 3, 7, 64, 100] {
                let (mut session, mut got) = (open(), Vec::new());
                for part in text.chunks(piece) {
                    got.extend(logits(&mut session, Input::Tokens(part)));
                    // A fork that goes its own way, and a way back.
                    let len = session.tokens().len() as u32;
                    let mut fork = session.fork().expect("a fork");
                    decode(&mut fork, &[3], 2);
                    session.read(Input::Tokens(&[5, 6])).expect("it reads");
                    session.rollback(RollbackTarget::Len(len)).expect("it was that long");
                }
                // Rows rounded to f16 may differ by a bit where sums were added in another order.
                let bound = if format == DType::F32 { 2e-4 } else { 2e-2 };
                let scale = wanted.iter().map(|x| f32::from_bits(*x).abs()).fold(0.0, f32::max);
                let off = got.iter().zip(&wanted).map(|(a, b)| (f32::from_bits(*a) - f32::from_bits(*b)).abs());
                let off = off.fold(0.0, f32::max);
                assert!(off <= bound * scale, "{family}: {format} in pieces of {piece} is off by {off} of {scale}");
            }
        }
    }
}

/// Embeddings that belong to no token have the vectors of padding in Gemma 4, and of no token in Gemma 3n.
#[test]
fn embeddings_of_no_token_have_vectors() {
    for (family, padding) in [("gemma4", Some(0)), ("gemma3n", None)] {
        let Some(model) = model(family) else { return };
        let mut session = roomy(&model, DType::F32).expect("room");
        let rows = |session: &mut Session<Any>, ids: &[u32]| block_on(session.embeddings(ids)).expect("known tokens");
        let of = |session: &mut Session<Any>, input: Input<'_>| {
            session.rollback(RollbackTarget::Len(0)).expect("the beginning");
            logits(session, input)
        };
        let kind = foveate_core::cache::Kind::Latent;
        let zeros = rows(&mut session, &[0, 0]);
        let zeros_read = of(&mut session, Input::Embeddings(kind, &zeros));
        let same = zeros_read == of(&mut session, Input::Tokens(&[0, 0]));
        assert_eq!(same, padding.is_some(), "{family}");
        let other = rows(&mut session, &[7, 8]);
        let other_read = of(&mut session, Input::Embeddings(kind, &other));
        assert!(other_read != of(&mut session, Input::Tokens(&[7, 8])), "{family}: vectors count");
        assert!(other_read.iter().all(|bits| f32::from_bits(*bits).is_finite()));
    }
}
