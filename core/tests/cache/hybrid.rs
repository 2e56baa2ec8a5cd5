//! States move with pages: of a model whose layers are mostly of the delta rule, and of one that routes too.

use super::numeric::{decode, logits, roomy};
use super::support::{Fixed, everywhere, routing_everywhere, rwkv7_everywhere};
use foveate_core::cache::{Kind, Saved};
use foveate_core::config::Mixer;
use foveate_core::coprocessor::{Job, Policy, Splice};
use foveate_core::kernels::dtype::DType;
use foveate_core::model::Model;
use foveate_core::session::{Input, RollbackTarget, Session};
use foveate_core::{Any, Error};
use pollster::block_on;
use std::sync::Arc;

fn text(model: &Model<Any>, n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 37 + 11) % model.config().vocab).collect()
}

fn models() -> Vec<Arc<Model<Any>>> {
    let convolved = ["lfm2_adjust", "lfm3", "mamba2", "falcon_h1", "kimi_linear"]
        .map(|name| everywhere(&format!("../families/{name}")));
    [everywhere("qwen3_5"), routing_everywhere(), rwkv7_everywhere(), convolved.concat()].concat()
}

#[test]
fn forks_and_checkpoints_hold_states() {
    for model in models() {
        let all = text(&model, 110);
        let mut session = roomy(&model, DType::F32).expect("room");
        session.read(Input::Tokens(&all[..40])).expect("it reads");
        session.checkpoint();
        let version = session.version();
        let wanted = logits(&mut session, Input::Tokens(&all[40..50]));
        let mut fork = session.fork().expect("a fork");
        let after = decode(&mut session, &[7], 5);
        assert_eq!(decode(&mut fork, &[7], 5), after);
        // Back where states are kept: exact. Elsewhere: what it would take.
        let between = session.rollback(RollbackTarget::Len(45));
        assert_eq!(between, Err(Error::Rollback { to: 45, nearest: 40, replay: 5 }));
        let prefix = session.best_prefix(&all[..48]);
        assert_eq!((prefix.same, prefix.len, prefix.replay()), (48, 40, 8));
        session.rollback(RollbackTarget::Version(version)).expect("its states are kept");
        assert_eq!(logits(&mut session, Input::Tokens(&all[40..50])), wanted);
        session.rollback(RollbackTarget::Len(0)).expect("nothing is to be kept");
        session.read(Input::Tokens(&all[..40])).expect("it reads");
        assert_eq!(logits(&mut session, Input::Tokens(&all[40..50])), wanted);
        session.checkpoint_every(8);
        decode(&mut session, &[7], 20);
        let prefix = session.best_prefix(&session.tokens()[..69]);
        assert!(prefix.same == 69 && (1..8).contains(&prefix.replay()), "{prefix:?}");
        let pool = session.pool().clone();
        drop((session, fork));
        assert_eq!(pool.state_slots().free(), pool.state_slots().count());
        assert_eq!(pool.pages().free(), pool.pages().count());
    }
}

/// (21) of the delta family, with states of every kind.
#[test]
fn saved_states_go_on_bit_for_bit() {
    for model in models() {
        let all = text(&model, 80);
        let mut session = roomy(&model, DType::F32).expect("room");
        session.read(Input::Tokens(&all[..70])).expect("it reads");
        let bytes = block_on(session.save()).expect("it is whole");
        let mut again = roomy(&model, DType::F32).expect("room");
        block_on(again.restore(bytes)).expect("it fits");
        assert_eq!(logits(&mut again, Input::Tokens(&all[70..])), logits(&mut session, Input::Tokens(&all[70..])));
    }
}

#[test]
fn latents_run_through_the_states() {
    let Some(model) = everywhere("qwen3_5").into_iter().next() else { return };
    let (all, dim) = (text(&model, 60), model.config().dim as usize);
    let rows: Vec<f32> = (0..2 * dim).map(|i| (i as f32 * 0.37).sin()).collect();
    let mut session = roomy(&model, DType::F32).expect("room");
    session.read(Input::Tokens(&all[..30])).expect("it reads");
    let (mut job, task) = Job::new(session.snapshot(), 2);
    block_on(task.run(&mut Fixed(rows.clone())));
    session.read(Input::Tokens(&all[30..40])).expect("it reads");
    assert!(matches!(session.splice(&mut job, Policy::AtSnapshot), Splice::Spliced(_)));
    let mut plain = roomy(&model, DType::F32).expect("room");
    plain.read(Input::Tokens(&all[..30])).expect("it reads");
    plain.read(Input::Embeddings(Kind::Latent, &rows)).expect("it reads");
    plain.read(Input::Tokens(&all[30..40])).expect("it reads");
    let next = Input::Tokens(&all[40..]);
    assert_eq!(logits(&mut session, next), logits(&mut plain, next));
    // States have read the segment: it can't be taken out from under them.
    let latent = session.segments()[1].id;
    assert!(matches!(session.remove(latent), Err(Error::Rollback { to: 30, .. })));
}

#[test]
fn state_of_a_layer_is_what_a_saved_cache_has_of_it() {
    for model in models() {
        let mut session = roomy(&model, DType::F32).expect("room");
        let layers = model.config().layers.len();
        let state = |session: &Session<Any>, layer| block_on(session.state(layer)).expect("it can be read");
        let before: Vec<_> = (0..layers).filter_map(|layer| state(&session, layer)).collect();
        assert!(!before.is_empty() && before.iter().flatten().all(|byte| *byte == 0));
        session.read(Input::Tokens(&text(&model, 9))).expect("it reads");
        let file = block_on(session.save()).expect("it is whole");
        let saved = block_on(Saved::read(file)).expect("it was just written");
        // Beside its memory a layer of the delta rule saves what its convolution sees.
        let memories = |states: &mut std::slice::Iter<'_, Vec<u8>>, mixer: &Mixer| match mixer {
            Mixer::Attention(_) => None,
            Mixer::Scan(_) | Mixer::Both(..) => {
                let memory = states.next().cloned();
                assert!(states.next().is_some());
                memory
            }
            // Its own last input, and that of the MLP behind it.
            Mixer::TimeMix(_) => {
                let memory = states.next().cloned();
                assert!(states.next().is_some() && states.next().is_some());
                memory
            }
            Mixer::Delta(delta) => {
                let memory = states.next().cloned();
                assert!(delta.window == 1 || states.next().is_some());
                memory
            }
            _ => states.next().cloned(),
        };
        let mut states = saved.states.iter();
        for (index, layer) in model.config().layers.iter().enumerate() {
            assert_eq!(state(&session, index), memories(&mut states, &layer.mixer), "layer {index}");
        }
        assert!(states.next().is_none());
        assert_eq!(state(&session, layers), None);
    }
}
