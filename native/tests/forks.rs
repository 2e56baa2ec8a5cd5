//! What forks, rollbacks, prefixes and long texts cost on real models.

// The model is all that is needed here.
#[allow(dead_code)]
mod support;

use foveate::Any;
use foveate::cache::{PAGE, Pool};
use foveate::kernels::dtype::DType;
use foveate::model::Model;
use foveate::session::{Input, RollbackTarget, Session};
use foveate::{Device, device, wait};
use foveate::{Sampler, Sampling};
use std::sync::Arc;
use std::time::Instant;

fn load(name: &str) -> Option<Arc<Model<Any>>> {
    let files = foveate::open(support::model(name)?).expect("a model");
    let cpu = device(Device::Cpu).expect("a processor");
    Some(Arc::new(wait(Model::load(cpu, files, &mut |_| Ok(()))).expect("it loads")))
}

#[test]
fn eight_forks_of_a_prompt_cost_what_they_write() {
    let Some(model) = load("SmolLM2-135M-Instruct.Q4_1.gguf") else { return };
    let (prompt, forks) = (1000, 8);
    let tokens = prompt + forks * 2 * PAGE;
    let pool = Pool::new(model.backend(), model.config(), DType::F16, tokens).expect("memory");
    let mut session = Session::in_pool(model.clone(), Arc::new(pool), 1300).expect("room");
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
        fork.rollback(RollbackTarget::Len(800 + i)).expect("it was that long");
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

#[test]
fn a_long_text_of_gemma_holds_its_windows() {
    let Some(model) = load("gemma-3-270m-q4_k_m.gguf") else { return };
    let (backend, config, format) = (model.backend(), model.config(), DType::Q8_0);
    let (context, prompt) = (8192, 1600);
    let pools = [
        Pool::with_windows(backend, config, format, context, 1).expect("memory"),
        Pool::new(backend, config, format, context).expect("memory"),
    ];
    let [bytes, whole] = pools.each_ref().map(Pool::bytes);
    // 15 of 18 layers slide over 512 tokens; a step is 512 as well.
    assert_eq!((Pool::<Any>::window_pages(config), whole / 18 % 128), (17, 0));
    assert_eq!(bytes, whole / 18 * 3 + whole / 18 * 15 * 17 / 128);
    let ids: Vec<u32> = (0..prompt).map(|i| 100 + i * 37 % 2000).collect();
    let said = pools.map(|pool| {
        let mut session = Session::in_pool(model.clone(), Arc::new(pool), context).expect("room");
        session.read(Input::Tokens(&ids)).expect("it reads");
        let windows = session.pool().holders().windows.as_ref().expect("layers that slide").0.clone();
        let held = windows.count() - windows.free();
        println!("{prompt} tokens: {} pages of full layers, {held} of sliding ones", prompt.div_ceil(PAGE));
        assert!(held <= if windows.count() < context / PAGE { 17 } else { prompt.div_ceil(PAGE) });
        let (mut next, mut said) = (300, Vec::new());
        let mut sampler = Sampler::new(Sampling::default()).expect("settings in range");
        for _ in 0..8 {
            next = wait(session.next(&[next], &mut sampler)).expect("a token");
            said.push(next);
        }
        said
    });
    println!("a pool of {context} tokens in {format}: {bytes} bytes, {whole} where sliding layers keep everything");
    assert_eq!(said[0], said[1]);
}
