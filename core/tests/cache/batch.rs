//! Sequences of different lengths that step together, against each by itself.

use super::numeric::roomy;
use super::support::{everywhere, recursion_everywhere, routing_everywhere};
use foveate_core::cache::Pool;
use foveate_core::kernels::dtype::DType;
use foveate_core::model::Model;
use foveate_core::sample::{Sampler, Sampling};
use foveate_core::session::{Input, RollbackTarget, Session, Turn};
use foveate_core::{Any, Backend, Error};
use pollster::block_on;
use std::sync::Arc;

fn text(model: &Model<Any>, seed: u32, n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 37 + seed) % model.config().vocab).collect()
}

fn settings(index: usize) -> Sampling {
    // Every other session draws with a penalty of what was seen.
    let drawn = Sampling::default().temperature(0.8).repetition_penalty(1.3).seed(index as u64);
    if index % 2 == 1 { drawn } else { Sampling::default() }
}

/// What session `index` says for `count` tokens behind its prompt, by itself.
fn alone(model: &Arc<Model<Any>>, index: usize, prompt: &[u32], count: usize) -> Vec<u32> {
    let mut session = roomy(model, DType::F32).expect("room");
    let mut sampler = Sampler::new(settings(index)).expect("settings in range");
    let mut next = prompt.to_vec();
    (0..count)
        .map(|_| {
            let id = block_on(session.next(&next, &mut sampler)).expect("a token");
            next = vec![id];
            id
        })
        .collect()
}

#[test]
fn sequences_that_step_together_say_what_each_says_alone() {
    let experts = [everywhere("../families/qwen3_moe"), everywhere("../families/deepseek_v3")].concat();
    let convolved = ["lfm2_adjust", "mamba2", "falcon_h1", "kimi_linear"]
        .map(|name| everywhere(&format!("../families/{name}")))
        .concat();
    let known = ["llama", "gemma3", "qwen3_5"].map(everywhere).concat();
    let models = [known, routing_everywhere(), recursion_everywhere(), experts, convolved];
    for model in models.concat() {
        let first = roomy(&model, DType::F32).expect("room");
        let mut batch = first.batch(4).expect("room for four");
        let prompts: Vec<Vec<u32>> = [3, 61, 64, 1].iter().zip(0..).map(|(n, i)| text(&model, i, *n)).collect();
        let mut sessions: Vec<_> = prompts.iter().map(|_| first.fork().expect("a fork")).collect();
        let mut samplers: Vec<_> = (0..4).map(|i| Sampler::new(settings(i)).expect("settings in range")).collect();
        let mut said: Vec<Vec<u32>> = Vec::new();
        for ((session, prompt), sampler) in sessions.iter_mut().zip(&prompts).zip(&mut samplers) {
            said.push(vec![block_on(session.next(prompt, sampler)).expect("a token")]);
        }
        for step in 0..10 {
            // The third leaves for a while, then the first.
            let present: Vec<usize> = (0..4).filter(|&i| !(i == 2 && step < 3 || i == 0 && step > 6)).collect();
            let before = model.backend().stats();
            let mut turns: Vec<_> = sessions
                .iter_mut()
                .zip(&mut samplers)
                .enumerate()
                .filter(|(i, _)| present.contains(i))
                .map(|(i, (session, sampler))| Turn { session, token: said[i][said[i].len() - 1], sampler })
                .collect();
            let ids = block_on(batch.next(&mut turns)).expect("a token of each");
            let after = model.backend().stats();
            assert_eq!(after.downloads - before.downloads, 1);
            assert!(after.submissions - before.submissions <= 1);
            present.iter().zip(ids).for_each(|(&i, id)| said[i].push(id));
        }
        for (i, (prompt, said)) in prompts.iter().zip(&said).enumerate() {
            let wanted = alone(&model, i, prompt, said.len() + 1);
            assert_eq!(*said, wanted[..said.len()], "sequence {i}");
            // It goes on by itself as if it had always been alone.
            let next = block_on(sessions[i].next(&said[said.len() - 1..], &mut samplers[i]));
            assert_eq!(next, Ok(wanted[said.len()]), "sequence {i} by itself");
        }
    }
}

#[test]
fn a_batch_that_does_not_fit_leaves_every_sequence_as_it_was() {
    for model in [everywhere("llama"), everywhere("gemma3"), everywhere("qwen3_5")].concat() {
        // Four pages, one of each: for their next tokens the first and the second need another, and one is free.
        let pool = Pool::new(model.backend(), model.config(), DType::F32, 4 * 64).expect("room");
        let first = Session::in_pool(model.clone(), Arc::new(pool), 128).expect("room");
        let mut sessions =
            [first.fork().expect("a fork"), first.fork().expect("a fork"), first.fork().expect("a fork")];
        let lengths = [64, 64, 5];
        for (i, (session, n)) in sessions.iter_mut().zip(lengths).enumerate() {
            session.read(Input::Tokens(&text(&model, i as u32, n))).expect("it reads");
        }
        let mut batch = first.batch(3).expect("room for three");
        sessions[2].checkpoint();
        let seen = |sessions: &[Session<Any>; 3]| sessions.each_ref().map(|s| (s.version(), s.tokens().to_vec()));
        let before = seen(&sessions);
        let free = (sessions[0].pool().pages().free(), sessions[0].pool().state_slots().free());
        let mut sampler = [(); 3].map(|()| Sampler::new(Sampling::default()).expect("settings in range"));
        let [a, b, c] = &mut sampler;
        let [one, two, three] = &mut sessions;
        let mut turns = [
            Turn { session: three, token: 1, sampler: c },
            Turn { session: one, token: 2, sampler: a },
            Turn { session: two, token: 3, sampler: b },
        ];
        assert!(matches!(block_on(batch.next(&mut turns)), Err(Error::OutOfPages { .. })));
        assert_eq!(seen(&sessions), before);
        assert_eq!((sessions[0].pool().pages().free(), sessions[0].pool().state_slots().free()), free);
        sessions[2].rollback(RollbackTarget::Len(5)).expect("its checkpoint is still there");
        // What fits goes on, and says what it would have said.
        let mut turns = [Turn { session: &mut sessions[2], token: 1, sampler: &mut sampler[2] }];
        let id = block_on(batch.next(&mut turns)).expect("a token")[0];
        let mut plain = roomy(&model, DType::F32).expect("room");
        plain.read(Input::Tokens(&text(&model, 2, 5))).expect("it reads");
        assert_eq!(block_on(plain.next(&[1], &mut sampler[0])), Ok(id));

        assert!(matches!(block_on(batch.next(&mut [])), Err(Error::Config { .. })));
        assert!(matches!(first.batch(0), Err(Error::Config { .. })));
        let mut turns = [Turn { session: &mut plain, token: 1, sampler: &mut sampler[0] }];
        assert!(matches!(block_on(batch.next(&mut turns)), Err(Error::Config { .. })));
        let mut turns = [Turn { session: &mut sessions[2], token: u32::MAX, sampler: &mut sampler[0] }];
        assert!(matches!(block_on(batch.next(&mut turns)), Err(Error::Tokenizer { .. })));
    }
}
