//! What a prefix saves in a chat, and what a coprocessor beside a decoder costs it: `beside MODEL [SECONDS]`.
//!
//! The decoder has one thread, the coprocessor another: on a machine with a free core neither waits for the other.

use foveate::cache::Pool;
use foveate::chat::Message;
use foveate::coprocessor::{Cancel, Coprocessor};
use foveate::kernels::dtype::DType;
use foveate::model::Model;
use foveate::session::SoftTokens;
use foveate::session::{Input, RollbackTarget, Session};
use foveate::{Any, RuntimeError};
use foveate::{Device, Options, device_with, open, wait};
use foveate::{Sampler, Sampling};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

const LATENTS: u32 = 16;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("a model is needed")?;
    let span = Duration::from_secs_f64(arguments.next().map_or(Ok(3.0), |s| s.parse())?);
    let load = || -> Result<Arc<Model<Any>>, Failure> {
        let backend = device_with(Device::Cpu, Options::default().threads(1))?;
        Ok(Arc::new(wait(Model::load(backend, open(&path)?, &mut |_| Ok(())))?))
    };
    let (model, changed) = (load()?, load()?);
    chat(&model)?;
    beside(&model, &changed, span)
}

/// Two conversations over one system prompt: the second one reads what differs.
fn chat(model: &Arc<Model<Any>>) -> Result<(), Failure> {
    let system = "You answer briefly, in plain words, and say so when you do not know. ".repeat(40);
    let ids = |question: &str| {
        let messages = [("system", &*system), ("user", question)].map(|(role, text)| Message::new(role, text));
        let text = model.template()?.render(&messages, true)?;
        model.tokenizer()?.encode(&text, false)
    };
    let (first, second) = (ids("What is the capital of France?")?, ids("Why is the sky blue?")?);
    let mut session = Session::new(model.clone(), 2048.min(model.config().context))?;
    let mut sampler = Sampler::new(Sampling::default())?;
    for ids in [&first, &second] {
        let started = Instant::now();
        let prefix = session.best_prefix(&ids[..ids.len() - 1]);
        session.rollback(RollbackTarget::Len(prefix.len))?;
        wait(session.next(&ids[prefix.len as usize..], &mut sampler))?;
        println!("a chat of {} tokens, {} of them there: {:?}", ids.len(), prefix.len, started.elapsed());
        session.checkpoint();
    }
    Ok(())
}

/// Rounds of decoding by itself and with a coprocessor that never rests, in turn.
fn beside(model: &Arc<Model<Any>>, changed: &Arc<Model<Any>>, span: Duration) -> Result<(), Failure> {
    let context = 1024;
    let pool = Pool::with_windows(model.backend(), model.config(), DType::F32, 3 * context, 3)?;
    let mut session = Session::in_pool(model.clone(), Arc::new(pool), context)?;
    let prompt: Vec<u32> = (0..200).map(|i| 100 + i * 37 % 2000).collect();
    session.read(Input::Tokens(&prompt))?;
    let width = model.config().dim;
    let rows = vec![0.02; (LATENTS * width) as usize];
    let mut coprocessor = SoftTokens::new(changed.clone(), rows)?;
    let (mut best, mut ratios, snapshot) = ([0.0f64; 2], Vec::new(), session.snapshot());
    for _ in 0..9 {
        let alone = decode(&mut session, span)?;
        let (done, jobs) = (AtomicBool::new(false), AtomicU32::new(0));
        let with = std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let rows = wait(coprocessor.augment(&snapshot, LATENTS, &Cancel::default()))?;
                    assert_eq!(rows.len() as u32, LATENTS * width);
                    jobs.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, RuntimeError>(())
            });
            let with = decode(&mut session, span);
            done.store(true, Ordering::Relaxed);
            reading.join().map_err(|_| "the coprocessor panicked")??;
            with
        })?;
        let jobs = jobs.into_inner();
        println!(
            "{alone:.1} tok/s alone, {with:.1} beside {jobs} jobs of {LATENTS} latents ({:.1}%)",
            with / alone * 100.0
        );
        best = [best[0].max(alone), best[1].max(with)];
        ratios.push(with / alone * 100.0);
    }
    ratios.sort_by(f64::total_cmp);
    println!("best: {:.1} and {:.1} tok/s; median of the ratios {:.1}%", best[0], best[1], ratios[ratios.len() / 2]);
    Ok(())
}

/// Tokens of a second behind the prompt.
fn decode(session: &mut Session<Any>, span: Duration) -> Result<f64, Failure> {
    let (at, mut sampler) = (session.tokens().len() as u32, Sampler::new(Sampling::default())?);
    let (started, mut next, mut count) = (Instant::now(), 300, 0);
    while started.elapsed() < span {
        next = wait(session.next(&[next], &mut sampler))?;
        count += 1;
        if session.tokens().len() as u32 >= at + 200 {
            session.rollback(RollbackTarget::Len(at))?;
        }
    }
    let speed = f64::from(count) / started.elapsed().as_secs_f64();
    session.rollback(RollbackTarget::Len(at))?;
    Ok(speed)
}
