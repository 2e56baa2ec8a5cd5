//! Models whose numbers leave f32 in the midst of a text: an error that names the position, and sessions as before.

use super::numeric::roomy;
use super::support::{adapter, checkpoint, cpu, files, folder, load};
use foveate_core::host::HostBackend;
use foveate_core::model::Model;
use foveate_core::sample::{Sampler, Sampling};
use foveate_core::session::Windows;
use foveate_core::session::{Session, Turn};
use foveate_core::{Any, Backend, Error, Result};
use foveate_kernels::dtype::DType;
use pollster::block_on;
use std::sync::Arc;

/// The token whose embedding holds `wrong`.
const BAD: u32 = 7;

/// The golden model with an embedding that holds `wrong`, and with output weights that don't.
fn damaged(family: &str, wrong: f32) -> Vec<Arc<Model<Any>>> {
    let Some(path) = folder(family) else { return Vec::new() };
    let mut bytes = std::fs::read(path.join("model.safetensors")).expect("weights in the folder");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let names: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).expect("a header of JSON");
    let begin = names["model.embed_tokens.weight"]["data_offsets"][0].as_u64().expect("an offset") as usize;
    let at = 8 + header + begin + 4 * (64 * BAD as usize + 5);
    bytes[at..at + 4].copy_from_slice(&wrong.to_le_bytes());
    let backends = [Some(Any::Host(HostBackend::reference())), Some(cpu()), adapter()];
    let model = |backend| {
        let mut files = files(family).expect("the folder is there");
        files.weights = checkpoint("model.safetensors", bytes.clone());
        load(backend, files)
    };
    backends.into_iter().flatten().map(model).collect()
}

fn models() -> Vec<Arc<Model<Any>>> {
    let kinds = [("qwen2", f32::NAN), ("qwen3", f32::INFINITY), ("qwen3_5", f32::NAN)];
    kinds.into_iter().flat_map(|(family, wrong)| damaged(family, wrong)).collect()
}

fn samplers() -> [Sampler; 3] {
    let drawn = Sampling::default().temperature(1.0).seed(3);
    [Sampling::default(), drawn, drawn.repetition_penalty(1.2)]
        .map(|sampling| Sampler::new(sampling).expect("settings in range"))
}

fn prompt(tokens: u32) -> Vec<u32> {
    (0..tokens).map(|i| 100 + i * 3 % 200).collect()
}

fn session(model: &Arc<Model<Any>>) -> Session<Any> {
    roomy(model, DType::F32).expect("room")
}

#[test]
fn next_names_the_position_and_leaves_the_session() {
    for model in models() {
        for sampler in samplers() {
            let (mut here, mut twin) = (session(&model), session(&model));
            let (mut sampler, mut other) = (sampler.clone(), sampler);
            for session in [&mut here, &mut twin] {
                let first = block_on(session.next(&prompt(20), &mut sampler.clone()));
                assert!(first.is_ok(), "{first:?}");
            }
            let version = here.version();
            let stateless = model.config().layers.iter().all(|layer| layer.mixer.attention().is_some());
            let refused = block_on(here.next(&[9, BAD], &mut sampler.clone()));
            assert_eq!(refused, Err(Error::NotFinite { position: 22 }));
            assert_eq!(here.tokens(), prompt(20));
            // Where states went on, what leads to them was read again.
            assert!(here.version() == version || !stateless);
            let [got, wanted] = [(&mut here, &mut sampler), (&mut twin, &mut other)]
                .map(|(s, sampler)| block_on(s.next(&[9], sampler)));
            assert!(wanted.is_ok(), "{wanted:?}");
            assert_eq!(got, wanted);
        }
    }
}

#[test]
fn batch_names_the_position_and_leaves_every_session() {
    for model in models() {
        let first = session(&model);
        let mut batch = first.batch(3).expect("room for three");
        let mut sessions: Vec<_> = (0..3).map(|_| first.fork().expect("a fork")).collect();
        let mut samplers = samplers();
        for ((session, sampler), n) in sessions.iter_mut().zip(&samplers).zip([5, 12, 8]) {
            let first = block_on(session.next(&prompt(n), &mut sampler.clone()));
            assert!(first.is_ok(), "{first:?}");
        }
        for tokens in [[9, BAD, BAD], [9, BAD, 9]] {
            let mut turns: Vec<_> = sessions
                .iter_mut()
                .zip(&mut samplers)
                .zip(tokens)
                .map(|((session, sampler), token)| Turn { session, token, sampler })
                .collect();
            let refused = block_on(batch.next(&mut turns));
            assert_eq!(refused, Err(Error::NotFinite { position: 13 }));
            for (session, n) in sessions.iter().zip([5, 12, 8]) {
                assert_eq!(session.tokens(), prompt(n));
            }
        }
        let mut turns: Vec<_> = sessions
            .iter_mut()
            .zip(&mut samplers)
            .map(|(session, sampler)| Turn { session, token: 9, sampler })
            .collect();
        let ids = block_on(batch.next(&mut turns)).expect("tokens that follow");
        assert!(ids.iter().all(|&id| id < model.config().vocab), "{ids:?}");
    }
}

/// Whether `scored` names `position`; or, on executors whose attention works on tiles, one before it of the same piece of 32
/// tokens: there a masked key's weight of 0 times NaN is NaN, as it is in PyTorch.
fn names(model: &Model<Any>, scored: &Result<Vec<f64>>, position: u64) -> bool {
    let exact = model.backend().describe() == "reference";
    match scored {
        Err(Error::NotFinite { position: named }) => *named == position || !exact && (1..position).contains(named),
        _ => false,
    }
}

#[test]
fn score_names_the_first_position_that_nothing_predicts() {
    for model in models() {
        let mut text = prompt(40);
        text[23] = BAD;
        let scored = block_on(session(&model).score(&text));
        assert!(names(&model, &scored, 24), "{scored:?}");
        let losses = block_on(session(&model).score(&text[..23])).expect("sound predictions");
        assert!(losses.len() == 22 && losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
        for (bos, position) in [(None, 24), (Some(1), 25)] {
            for stride in [None, Some(4)] {
                let windows = Windows::new(10).stride(stride).bos(bos);
                let scored = block_on(session(&model).score_windows(&text, windows));
                assert!(names(&model, &scored, position), "{windows:?}: {scored:?}, not {position}");
            }
        }
    }
}
