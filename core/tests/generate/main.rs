//! The generation loop, conversations, and what may move between threads.

mod chat;
mod constrain;
mod decode;
mod dropped;
#[path = "../golden_folder/mod.rs"]
mod golden_folder;
mod pairs;
mod parts;
mod samplers;
mod schemas;
mod searches;
mod send;
mod speculation;
#[path = "../tiny/mod.rs"]
mod tiny;
mod trials;

use foveate_core::Any;
use foveate_core::cache::Pool;
use foveate_core::generate::{Generation, Generator, Prompt};
use foveate_core::host::HostBackend;
use foveate_core::kernels::dtype::DType;
use foveate_core::model::{Files, Hub, Model};
use foveate_core::session::{Buffered, Session};
use foveate_core::weights::{Checkpoint, Memory};
use std::sync::{Arc, LazyLock};

fn files() -> Files {
    let [(_, config), (_, tokenizer), (_, tokenizer_config), (name, weights)] = tiny::files();
    let weights = pollster::block_on(Checkpoint::safetensors(vec![Box::new(Memory::new(name, weights))]));
    let hub = Hub {
        config: &config,
        tokenizer: Some(&tokenizer),
        tokenizer_config: Some(&tokenizer_config),
        ..Hub::default()
    };
    Files::from_hub(weights.expect("a whole file"), hub).expect("a known family")
}

fn load() -> Arc<Model<Any>> {
    load_on(HostBackend::cpu(1))
}

fn load_on(host: HostBackend) -> Arc<Model<Any>> {
    Arc::new(pollster::block_on(Model::load(Any::Host(host), files(), &mut |_| Ok(()))).expect("it loads"))
}

fn model() -> Arc<Model<Any>> {
    static MODEL: LazyLock<Arc<Model<Any>>> = LazyLock::new(load);
    MODEL.clone()
}

fn start(prompt: impl Into<Prompt>, options: &Generation) -> Generator<Any> {
    Generator::start(model(), prompt, tiny::CONTEXT, DType::F32, options).expect("a generation")
}

fn prompt() -> Vec<u32> {
    Prompt::from("the thing and then").ids(&model()).expect("a tokenizer")
}

/// A session of `context` tokens that holds a prompt, in a pool with room for `sequences` of its kind.
fn begun(model: &Arc<Model<Any>>, prompt: &[u32], sequences: u32, context: u32) -> Buffered<Any> {
    let (backend, config) = (model.backend(), model.config());
    let pool = Pool::with_windows(backend, config, DType::F32, sequences * (context + 128), sequences + 2);
    let session = Session::in_pool(model.clone(), Arc::new(pool.expect("memory")), context).expect("a session");
    let mut text = Buffered::new(session);
    text.append(prompt).expect("room");
    text
}

/// Choices that differ from token to token.
fn drawn() -> Generation {
    Generation::new().temperature(1.0).seed(3).ignore_eos(true).max_tokens(60)
}
