//! Futures that are dropped while a device works.

use super::files;
use foveate_core::backend::{Backend, Copy, Operand, Stats};
use foveate_core::generate::{Generation, Generator};
use foveate_core::host::{HostBackend, HostBuffer};
use foveate_core::kernels::dtype::DType;
use foveate_core::kernels::ops::Op;
use foveate_core::model::Model;
use foveate_core::sample::{Sampler, Sampling};
use foveate_core::session::{Session, Turn};
use foveate_core::{MaybeSend, Result};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

/// The processor, where the next download can be made to last forever.
struct Stalling {
    host: HostBackend,
    stalls: AtomicBool,
}

fn inner<'a>(operand: &Operand<'a, Stalling>) -> Operand<'a, HostBackend> {
    Operand::at(operand.buffer, operand.offset)
}

impl Backend for Stalling {
    type Buffer = HostBuffer;

    fn describe(&self) -> String {
        "stalling".into()
    }

    fn alloc(&self, label: &'static str, bytes: u64) -> Result<HostBuffer> {
        self.host.alloc(label, bytes)
    }

    fn upload(&self, buffer: &HostBuffer, offset: u64, data: &[u8]) -> Result<()> {
        self.host.upload(buffer, offset, data)
    }

    fn copy(&self, copies: &[Copy<'_, Self>]) -> Result<()> {
        let copies = copies.iter().map(|c| Copy { from: inner(&c.from), to: inner(&c.to), bytes: c.bytes });
        self.host.copy(&copies.collect::<Vec<_>>())
    }

    fn run_positional(&self, op: &Op, operands: &[Operand<'_, Self>]) -> Result<()> {
        self.host.run_positional(op, &operands.iter().map(inner).collect::<Vec<_>>())
    }

    fn submit(&self) -> Result<()> {
        self.host.submit()
    }

    fn download(
        &self,
        buffer: &HostBuffer,
        offset: u64,
        bytes: u64,
    ) -> impl Future<Output = Result<Vec<u8>>> + MaybeSend {
        let (download, stalls) =
            (self.host.download(buffer, offset, bytes), self.stalls.swap(false, Ordering::Relaxed));
        async move {
            if stalls {
                std::future::pending::<()>().await;
            }
            download.await
        }
    }

    fn stats(&self) -> Stats {
        self.host.stats()
    }
}

fn model() -> Arc<Model<Stalling>> {
    let backend = Stalling { host: HostBackend::cpu(1), stalls: AtomicBool::new(false) };
    let mut report = |_| Ok(());
    Arc::new(pollster::block_on(Model::load(backend, files(), &mut report)).expect("it loads"))
}

/// Polls a future once, while the device stalls, and drops it.
fn drop_half_way<T>(model: &Model<Stalling>, future: impl Future<Output = T>) {
    model.backend().stalls.store(true, Ordering::Relaxed);
    let polled = Box::pin(future).as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
}

#[test]
fn dropped_step_leaves_the_session_as_it_was() {
    let model = model();
    let greedy = Generation::new().max_tokens(12).ignore_eos(true);
    for options in [greedy.clone(), greedy.repetition_penalty(1.3), Generation::new().max_tokens(12).logprobs(2)] {
        let options = options.ignore_eos(true);
        let start = || Generator::start(model.clone(), "the king", 100, DType::F32, &options).expect("room");
        let plain = pollster::block_on(start().text()).expect("it runs");
        let mut generator = start();
        let mut text = String::new();
        for _ in 0..6 {
            let before = generator.session().tokens();
            drop_half_way(&model, generator.step());
            assert_eq!(generator.session().tokens(), before);
            let piece = pollster::block_on(generator.step()).expect("it runs").expect("a piece");
            text.push_str(&piece.text);
        }
        text.push_str(&pollster::block_on(generator.text()).expect("it runs"));
        assert_eq!(text, plain);
        assert_eq!(generator.usage().generated_tokens, 12);
    }
}

#[test]
fn dropped_step_of_a_batch_leaves_all_sessions_as_they_were() {
    let model = model();
    let mut sampler = Sampler::new(Sampling::default()).expect("in range");
    let mut first = Session::new(model.clone(), 300).expect("room");
    let token = pollster::block_on(first.next(&[10, 11], &mut sampler)).expect("a token");
    let mut second = first.fork().expect("memory");
    let mut batch = first.batch(2).expect("memory");
    let mut other = sampler.clone();
    let mut turns = [
        Turn { session: &mut first, token, sampler: &mut sampler },
        Turn { session: &mut second, token, sampler: &mut other },
    ];
    drop_half_way(&model, batch.next(&mut turns));
    assert!(turns.iter().all(|turn| turn.session.tokens() == [10, 11]));
    let next = pollster::block_on(batch.next(&mut turns)).expect("two tokens");
    assert_eq!(next[0], next[1]);
    assert!(turns.iter().all(|turn| turn.session.tokens() == [10, 11, token]));
}
