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
