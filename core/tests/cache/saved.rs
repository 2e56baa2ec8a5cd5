//! Caches as files: whole ones go on bit for bit, all others are refused.

use super::numeric::logits;
use super::support::{cpu, everywhere, files, folder, load, recursion_everywhere};
use foveate_core::cache::{Kind, Saved};
use foveate_core::kernels::dtype::DType;
use foveate_core::model::Files;
use foveate_core::session::{Input, Session};
use foveate_core::weights::{BoxFuture, Checkpoint, Memory, Source};
use foveate_core::{Any, Error};
use pollster::block_on;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A session with latents between two texts.
fn some(model: &std::sync::Arc<foveate_core::model::Model<Any>>, format: DType) -> Session<Any> {
    let mut session = super::numeric::roomy(model, format).expect("room");
    let text: Vec<u32> = (0..100).map(|i| (i * 31 + 7) % model.config().vocab).collect();
    session.read(Input::Tokens(&text[..70])).expect("it reads");
    let rows: Vec<f32> = (0..3 * model.config().dim).map(|i| (i as f32 * 0.37).sin()).collect();
    session.read(Input::Embeddings(Kind::Latent, &rows)).expect("it reads");
    session.read(Input::Tokens(&text[70..])).expect("it reads");
    session
}

#[test]
fn a_restored_cache_goes_on_bit_for_bit() {
    for model in [everywhere("llama"), recursion_everywhere()].concat() {
        for format in [DType::F32, DType::F16] {
            let mut session = some(&model, format);
            // A segment that was taken out leaves a gap in the positions.
            let latent = session.segments()[1].id;
            let mut cut = session.fork().expect("a fork");
            cut.remove(latent).expect("it is there");
            for session in [&mut session, &mut cut] {
                let bytes = block_on(session.save()).expect("it is whole");
                let mut again = Session::with_format(model.clone(), 150, format).expect("room");
                again.read(Input::Tokens(&[1, 2, 3])).expect("it reads");
                block_on(again.restore(bytes.clone())).expect("it fits");
                assert_eq!(again.tokens(), session.tokens());
                let shape = |s: &Session<Any>| {
                    s.segments().iter().map(|s| (s.kind, s.start, s.len, s.position)).collect::<Vec<_>>()
                };
                assert_eq!(shape(&again), shape(session));
                assert_eq!(block_on(again.save()), Ok(bytes));
                let next = [9, 8, 7, 6];
                assert_eq!(logits(&mut again, Input::Tokens(&next)), logits(session, Input::Tokens(&next)));
            }
        }
    }
}

/// A file that is not in memory, and counts the bytes that were asked for.
struct Streamed {
    file: Memory,
    read: Arc<AtomicU64>,
}

impl Source for Streamed {
    fn name(&self) -> &str {
        self.file.name()
    }

    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read(&self, offset: u64, len: u64) -> BoxFuture<'_, foveate_core::Result<Vec<u8>>> {
        self.read.fetch_add(len, Ordering::Relaxed);
        self.file.read(offset, len)
    }
}

#[test]
fn a_streamed_model_has_the_fingerprint_of_its_files_and_is_read_once() {
    for family in ["llama", "qwen3_5"] {
        let (Some(whole), Some(streamed), Some(folder)) = (files(family), files(family), folder(family)) else {
            return;
        };
        let fingerprint = block_on(whole.weights.fingerprint()).expect("it is in memory");
        let bytes = std::fs::read(folder.join("model.safetensors")).expect("weights in the folder");
        let (read, size) = (Arc::new(AtomicU64::new(0)), bytes.len() as u64);
        let source = Streamed { file: Memory::new("model.safetensors", bytes), read: read.clone() };
        let weights = block_on(Checkpoint::safetensors(vec![Box::new(source)])).expect("a whole file");
        let model = load(cpu(), Files { weights, ..streamed });
        assert_eq!(model.fingerprint(), Some(&*fingerprint));
        let read = read.load(Ordering::Relaxed);
        assert!(read <= size + size / 100, "{read} bytes were read of {size}");
    }
}

#[test]
fn a_damaged_or_foreign_cache_is_refused_and_nothing_changes() {
    let (Some(llama), Some(qwen)) = (files("llama"), files("qwen2")) else { return };
    let (model, other) = (load(cpu(), llama), load(cpu(), qwen));
    let session = some(&model, DType::F32);
    let bytes = block_on(session.save()).expect("it is whole");
    let mut target = Session::new(model.clone(), 150).expect("room");
    target.read(Input::Tokens(&[1, 2, 3])).expect("it reads");
    let (version, free) = (target.version(), target.pool().pages().free());
    let mut refuse = |bytes: Vec<u8>| {
        let error = block_on(target.restore(bytes)).expect_err("it must be refused");
        assert_eq!((target.version(), target.pool().pages().free()), (version, free));
        error
    };
    assert!(matches!(refuse(Vec::new()), Error::Format { .. }));
    for cut in [1, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        assert!(matches!(refuse(bytes[..cut].to_vec()), Error::Format { .. }), "cut to {cut}");
    }
    // Any one bit, of the header and of the rows.
    for at in (8..bytes.len()).step_by(bytes.len() / 150) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        refuse(damaged);
    }
    let saved = block_on(Saved::read(bytes.clone())).expect("it is whole");
    let changed = |change: fn(&mut Saved)| {
        let mut saved = saved.clone();
        change(&mut saved);
        saved.write().expect("a file")
    };
    assert!(matches!(refuse(changed(|s| s.model = "0".into())), Error::WrongBase { .. }));
    assert!(matches!(refuse(changed(|s| s.kv = "f16".into())), Error::CacheMismatch { .. }));
    assert!(matches!(refuse(changed(|s| s.rope.push('0'))), Error::CacheMismatch { .. }));
    assert!(matches!(refuse(changed(|s| s.tokens[0] = 999_999)), Error::Tokenizer { .. }));
    assert!(matches!(refuse(changed(|s| s.segments[0].2 = 90)), Error::Format { .. }));
    assert!(matches!(refuse(changed(|s| s.segments[2].2 = 190)), Error::ContextFull { .. }));
    assert!(matches!(refuse(changed(|s| s.layers.truncate(1))), Error::Format { .. }));
    assert!(matches!(refuse(changed(|s| s.layers[1].0.truncate(8))), Error::Format { .. }));
    let mut foreign = Session::new(other, 150).expect("room");
    assert!(matches!(block_on(foreign.restore(bytes.clone())), Err(Error::WrongBase { .. })));
    let mut small = Session::new(model.clone(), 64).expect("room");
    assert!(matches!(block_on(small.restore(bytes)), Err(Error::ContextFull { tokens: 103, context: 64 })));
}
