//! What forks, rollbacks and prefixes cost on a real model.

// The model is all that is needed here.
#[allow(dead_code)]
mod support;

use foveate::core::cache::{PAGE, Pool};
use foveate::core::kernels::dtype::DType;
use foveate::core::model::{Input, Model, Session, To};
use foveate::core::sample::{Sampler, Sampling};
use foveate::{Device, device, wait};
use std::sync::Arc;
use std::time::Instant;

#[test]
fn eight_forks_of_a_prompt_cost_what_they_write() {
    let Some(path) = support::model("SmolLM2-135M-Instruct.Q4_1.gguf") else { return };
    let files = foveate::open(&path.to_string_lossy()).expect("a model");
    let cpu = device(Device::Cpu).expect("a processor");
    let model = Arc::new(wait(Model::load(cpu, files, &mut |_| Ok(()))).expect("it loads"));
    let (prompt, forks) = (1000, 8);
    let tokens = prompt + forks * 2 * PAGE;
    let pool = Pool::new(model.backend(), model.config(), DType::F16, tokens).expect("memory");
    let mut session = Session::over(model.clone(), Arc::new(pool), 1300).expect("room");
    let ids: Vec<u32> = (0..prompt).map(|i| 100 + i * 37 % 2000).collect();
    session.read(Input::Tokens(&ids)).expect("it reads");
    let pages = session.pool().pages().clone();
    let held = || pages.count() - pages.free();
    let prompt_pages = held();
    assert_eq!(prompt_pages, prompt.div_ceil(PAGE));
    let mut all: Vec<_> = (0..forks).map(|_| session.fork().expect("a fork")).collect();
    assert_eq!(held(), prompt_pages, "a fork took pages before it wrote");
    let mut sampler = Sampler::new(Sampling::default()).expect("settings in range");
    for (i, fork) in (0..).zip(&mut all) {
        wait(fork.next(&[200 + i], &mut sampler)).expect("a token");
    }
    // The page that all share and none may write is copied once for each.
    assert_eq!(held(), prompt_pages + forks);
    println!("{forks} forks of {prompt} tokens: {prompt_pages} pages, then {} with a token each", held());
    let best = (0..5).map(|i| {
        let mut fork = session.fork().expect("a fork");
        let started = Instant::now();
        fork.rollback(To::Len(800 + i)).expect("it was that long");
        started.elapsed()
    });
    let best = best.min().expect("five");
    println!("a rollback of 200 tokens: {best:?}");
    assert!(best.as_micros() < 1000, "{best:?}");
    let prefix = session.best_prefix(&[&ids[..700], &[1, 2, 3]].concat());
    assert_eq!((prefix.same, prefix.len, prefix.replay()), (700, 700, 0));
    drop((all, session));
    assert_eq!(held(), 0);
}
