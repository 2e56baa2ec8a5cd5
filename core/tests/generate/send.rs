//! Futures move between threads, on any backend. These are compiled, not run.

use foveate_core::cache::Snapshot;
use foveate_core::check;
use foveate_core::coprocessor::{Coprocessor, Task};
use foveate_core::generate::{Chat, Generation, Generator};
use foveate_core::model::{Files, Model};
use foveate_core::sample::Sampler;
use foveate_core::session::{Batch, Buffered, Input, Session, SoftTokens, Turn, Windows};
use foveate_core::weights::{Checkpoint, Source};
use foveate_core::{Any, Backend};

fn send<T: Send>(_: &T) {}
fn send_and_sync<T: Send + Sync>() {}

fn sessions<B: Backend>(mut session: Session<B>, mut sampler: Sampler, snapshot: Snapshot<B>, backend: &B) {
    send(&session.next(&[1], &mut sampler));
    send(&session.next_after(Input::Tokens(&[1]), &mut sampler));
    send(&session.logits(&[1], |_| {}));
    send(&session.hidden(Input::Tokens(&[1]), |_| {}));
    send(&session.score(&[1]));
    send(&session.score_windows(&[1], Windows::new(2)));
    send(&session.embeddings(&[1]));
    send(&session.save());
    send(&session.restore(Vec::new()));
    send(&session.state(0));
    send(&session.wait());
    send(&snapshot.rows(backend));
}

fn texts<B: Backend>(mut text: Buffered<B>, mut batch: Batch<B>, mut chat: Chat<B>, mut turns: Vec<Turn<'_, B>>) {
    send(&batch.next(&mut turns));
    send(&text.save());
    send(&Generator::new(&mut text, &Generation::new()).ok().map(|mut g| send(&g.step())));
    if let Ok(mut reply) = chat.send("", &Generation::new()) {
        send(&reply);
        send(&reply.step());
    }
}

fn loading<B: Backend>(backend: B, files: Files, model: &Model<B>, other: Files) {
    send(&Model::load(backend, files, &mut |_| Ok(())));
    send(&model.load_on_same_backend(other, &mut |_| Ok(())));
}

fn coprocessors<B: Backend>(task: Task<B>, mut soft: SoftTokens<B>, snapshot: Snapshot<B>) {
    send(&soft.augment(&snapshot, 1, &Default::default()));
    send(&task.run(&mut soft));
}

fn files(source: Box<dyn Source>, checkpoint: &Checkpoint, other: Box<dyn Source>) {
    send(&source.read(0, 1));
    send(&Checkpoint::gguf(source));
    send(&Checkpoint::safetensors(vec![other]));
    send(&checkpoint.fingerprint());
}

fn checks(device: Any, golden: &Checkpoint, files: Files, bounds: check::Bounds) {
    send(&check::outline(&files));
    send(&check::op(&device, golden, bounds));
    send(&foveate_core::gpu::adapters());
    send(&foveate_core::gpu::Gpu::open(foveate_core::gpu::Options::default()));
}

#[test]
fn sessions_and_models_are_send_and_sync() {
    // Naming the functions is enough: their bodies have compiled.
    let _ = (sessions::<Any>, texts::<Any>, loading::<Any>, coprocessors::<Any>, files, checks);
    send_and_sync::<Model<Any>>();
    send_and_sync::<Session<Any>>();
    send_and_sync::<Chat<Any>>();
    send_and_sync::<Generator<Any>>();
    send_and_sync::<Checkpoint>();
}
